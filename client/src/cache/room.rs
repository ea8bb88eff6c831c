//! Makes room: copies go that were not used for the longest time, and none that is in use.
//!
//! Each copy counts with all of its bytes, also those that it shares with another version,
//! so that the bound holds whatever goes first.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::slot::lock_of;
use crate::{convert, fetch::is_still_at};

/// How long what an interrupted program left is kept for another run.
const LEFT_OVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A copy that may go.
struct Copy {
    id: String,
    path: PathBuf,
    used: SystemTime,
    size_bytes: u64,
}

/// Removes copies until there is room for so many bytes, or none is left that may go.
pub(super) fn make_room(root: &Path, bytes_max: u64, needed_bytes: u64) -> io::Result<()> {
    let room = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join("room"))?;
    match room.try_lock() {
        Ok(()) => {}
        // Somebody else is at it.
        Err(fs::TryLockError::WouldBlock) => return Ok(()),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    remove_left_over(root)?;
    let mut copies = copies(root)?;
    copies.sort_by_key(|copy| copy.used);
    let mut bytes: u64 = copies.iter().map(|copy| copy.size_bytes).sum();
    for copy in copies {
        if bytes.saturating_add(needed_bytes) <= bytes_max {
            break;
        }
        if remove(root, &copy)? {
            bytes -= copy.size_bytes;
        }
    }
    Ok(())
}

fn copies(root: &Path) -> io::Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for family in entries(&root.join("copies"))? {
        for path in entries(&family)? {
            let Some(id) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let lock = lock_of(root, id);
            let size = fs::read_to_string(&lock).ok().and_then(|text| text.parse().ok());
            let used = fs::metadata(&lock).and_then(|lock| lock.modified());
            copies.push(Copy {
                size_bytes: size.unwrap_or_default(),
                // One without a lock was not used through this cache.
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
                id: id.to_owned(),
                path,
            });
        }
    }
    Ok(copies)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes a copy, unless somebody uses it.
fn remove(root: &Path, copy: &Copy) -> io::Result<bool> {
    let path = lock_of(root, &copy.id);
    fs::create_dir_all(root.join("locks"))?;
    let lock = File::options().write(true).create(true).truncate(false).open(&path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(false),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let leaving = set_aside(root, &copy.path)?;
    // Whoever waits for this lock sees that it is gone.
    if is_still_at(&lock, &path)? {
        fs::remove_file(&path)?;
    }
    drop(lock);
    remove_all(&leaving)?;
    // The last copy of a family.
    let _ = fs::remove_dir(copy.path.parent().unwrap_or(root));
    Ok(true)
}

/// Takes something out of sight in one step.
pub(super) fn set_aside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let leaving = root.join("leaving");
    fs::create_dir_all(&leaving)?;
    let aside = leaving.join(convert::draw_request_id());
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Removes what an interrupted program left.
fn remove_left_over(root: &Path) -> io::Result<()> {
    for path in entries(&root.join("leaving"))? {
        remove_all(&path)?;
    }
    for path in entries(&root.join("coming"))? {
        let age = fs::metadata(&path).and_then(|found| found.modified()).ok();
        let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFT_OVER);
        if is_old && File::open(&path)?.try_lock().is_ok() {
            remove_all(&path)?;
        }
    }
    Ok(())
}

/// Two that remove the same thing both succeed.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
