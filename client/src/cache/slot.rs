//! Where the copy of one content of one artifact is.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use rustix::fs::OFlags;

use super::make_root;
use crate::{Artifact, Error, Result, fetch::is_still_at};

/// How often to look whether whoever makes room has finished with a copy.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// Where a copy is.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) root: PathBuf,
    /// `<uid>.<hash>`: a replaced content is another copy.
    id: String,
    stem: String,
    name: String,
}

impl Slot {
    /// The slot of an artifact. What the server says of it may name no other place.
    pub(super) fn new(root: &Path, artifact: &Artifact) -> Result<Self> {
        let hash = artifact.sha256.to_string();
        Ok(Self {
            root: root.to_owned(),
            id: format!("{}.{}", artifact.uid, &hash[..16]),
            stem: artifact.stem().to_string(),
            name: artifact.local_name()?,
        })
    }

    /// The folder of the copy and its record.
    pub(super) fn copy(&self) -> PathBuf {
        self.root.join("copies").join(&self.stem).join(&self.id)
    }

    /// The copies of all versions.
    pub(super) fn family(&self) -> PathBuf {
        self.root.join("copies").join(&self.stem)
    }

    /// The file or folder itself.
    pub(super) fn path(&self) -> PathBuf {
        self.copy().join(&self.name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Where it is while it comes in.
    pub(super) fn coming(&self) -> PathBuf {
        self.root.join("coming").join(&self.id)
    }

    /// Keeps the copy from being removed, and notes that it is used.
    pub(super) fn lock(&self, size_bytes: u64) -> Result<File> {
        let path = lock_of(&self.root, &self.id);
        lock(&self.root, &path, size_bytes).map_err(|error| Error::file(&path, error))
    }
}

/// The lock of a copy.
pub(super) fn lock_of(root: &Path, id: &str) -> PathBuf {
    root.join("locks").join(id)
}

fn lock(root: &Path, path: &Path, size_bytes: u64) -> io::Result<File> {
    loop {
        let file = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_root(root)?;
                fs::create_dir_all(path.parent().expect("locks have a folder"))?;
                open(path)?
            }
            file => file?,
        };
        match file.try_lock_shared() {
            // Else it went with a copy that was removed.
            Ok(()) if is_still_at(&file, path)? => {
                if file.metadata()?.len() == 0 {
                    io::Write::write_all(&mut &file, size_bytes.to_string().as_bytes())?;
                }
                file.set_modified(SystemTime::now())?;
                return Ok(file);
            }
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}
