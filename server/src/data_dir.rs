//! The data folder, held by one process at a time.
//!
//! The embedded database and the embedded storage have one writer. A lock on a
//! file of the folder keeps a second server out; the kernel gives it back however
//! this process ends, so a crash leaves nothing to clean up.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

const LOCK_FILE: &str = "artifactd.lock";
const FOLDER_MODE: u32 = 0o700;
const LOCK_MODE: u32 = 0o600;

/// A clock that moved further than this since the last start is worth a warning.
const CLOCK_AHEAD: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
const CLOCK_BACK: Duration = Duration::from_secs(24 * 3600);

/// 2025-01-01, before the first release: an earlier time is a clock that is not set.
const CLOCK_LEAST: Duration = Duration::from_secs(1_735_689_600);

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server works on it.
    #[error("{} is in use by another artifactd{holder}; stop it or use another --data-dir", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// ` (process …)`, or nothing when the other one did not say.
        holder: String,
    },
    /// It lies on a file system that other machines write to.
    #[error("{} lies on a network file system, where SQLite cannot protect its database", .0.display())]
    Network(PathBuf),
    /// It cannot be made, read or written.
    #[error("{}", .folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A data folder that is ours until this value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder when it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io {
            folder: path.to_owned(),
            source,
        };
        make_folder(path).map_err(io)?;
        let mut lock = open_lock_file(&path.join(LOCK_FILE)).map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(DataDirError::InUse {
                    folder: path.to_owned(),
                    holder: holder_of(&mut lock),
                });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        warn_about_clock(SystemTime::now(), last_start(&lock));
        note_holder(&mut lock).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Refuses a folder that lies on NFS, SMB or the like.
pub(crate) fn refuse_network(folder: &Path) -> Result<(), DataDirError> {
    const NETWORK: [u64; 7] = [
        0x6969,      // NFS
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB 2
        0x517b,      // SMB
        0x0102_1997, // 9P
        0x00c3_6400, // Ceph
        0x5346_414f, // AFS
    ];
    let found = rustix::fs::statfs(folder).map_err(|errno| DataDirError::Io {
        folder: folder.to_owned(),
        source: errno.into(),
    })?;
    match u64::try_from(found.f_type) {
        Ok(kind) if NETWORK.contains(&(kind & 0xffff_ffff)) => Err(DataDirError::Network(folder.to_owned())),
        _ => Ok(()),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(LOCK_MODE)
        .open(path)
}

fn holder_of(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.take(32).read_to_string(&mut text) {
        Ok(_) if text.trim().bytes().all(|byte| byte.is_ascii_digit()) && !text.trim().is_empty() => {
            format!(" (process {})", text.trim())
        }
        _ => String::new(),
    }
}

fn note_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// When the last server on this folder started: it wrote the lock file then.
fn last_start(lock: &File) -> Option<SystemTime> {
    let meta = lock.metadata().ok()?;
    if meta.len() == 0 { None } else { meta.modified().ok() }
}

/// Times of records come from this clock; a server with a wrong one works, but
/// its records would lie.
fn warn_about_clock(now: SystemTime, last_start: Option<SystemTime>) {
    if let Some(doubt) = clock_doubt(now, last_start) {
        tracing::warn!("The clock of this machine {doubt}; times of records may be wrong");
    }
}

fn clock_doubt(now: SystemTime, last_start: Option<SystemTime>) -> Option<&'static str> {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since_1970 < CLOCK_LEAST {
        return Some("is not set");
    }
    match now.duration_since(last_start?) {
        Ok(ahead) if ahead > CLOCK_AHEAD => Some("is years ahead of the last start"),
        Err(back) if back.duration() > CLOCK_BACK => Some("is behind the last start"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        assert_eq!(held.path(), path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FOLDER_MODE);
    }

    #[test]
    fn a_second_server_is_refused_and_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::open(folder.path()).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err();
        assert!(matches!(error, DataDirError::InUse { .. }));
        let process = format!("(process {})", std::process::id());
        assert!(error.to_string().contains(&process), "{error}");
        drop(held);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Io { .. })));
    }

    #[test]
    fn a_local_folder_is_not_taken_for_a_network_one() {
        let folder = tempfile::tempdir().unwrap();
        refuse_network(folder.path()).unwrap();
        refuse_network(&folder.path().join("missing")).unwrap_err();
    }

    #[test]
    fn a_clock_that_is_unset_or_jumped_raises_a_doubt() {
        let now = SystemTime::UNIX_EPOCH + CLOCK_LEAST + CLOCK_AHEAD;
        assert_eq!(clock_doubt(SystemTime::UNIX_EPOCH, None), Some("is not set"));
        assert_eq!(
            clock_doubt(now, Some(now + CLOCK_BACK * 2)),
            Some("is behind the last start")
        );
        assert_eq!(
            clock_doubt(now + CLOCK_AHEAD * 2, Some(now)),
            Some("is years ahead of the last start")
        );
        assert_eq!(clock_doubt(now, Some(now - Duration::from_secs(3600))), None);
        assert_eq!(clock_doubt(now, None), None);
    }
}
