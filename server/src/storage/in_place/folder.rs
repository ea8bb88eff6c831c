//! Files in place in a local folder.
//!
//! Every segment of a path is opened by itself and none may be a link, so that nobody who
//! can write below a root leads out of it.

use std::{collections::BTreeSet, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{FileSeen, FileToRemove, Removed};
use crate::storage::{StorageError, error::Result};

/// An open root.
pub(super) struct Folder(OwnedFd);

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let opened = rustix::fs::open(root, FOLDER, Mode::empty());
        let opened = opened.map_err(|error| StorageError::from_write("open the storage folder", error))?;
        Ok(Self(opened))
    }

    /// A file as it is now.
    pub(super) fn look(&self, path: &str) -> Result<Option<FileSeen>> {
        let (above, name) = split(path);
        let Some(folder) = self.folder(above, path)? else {
            return Ok(None);
        };
        look_in(&folder, name, path)
    }

    /// A folder below the root; `None` when there is none.
    fn folder(&self, below: &str, path: &str) -> Result<Option<OwnedFd>> {
        let mut open = self.0.try_clone().map_err(|source| StorageError::Io {
            context: "open the storage folder",
            source,
        })?;
        for segment in below.split('/').filter(|segment| !segment.is_empty()) {
            open = match rustix::fs::openat(&open, segment, FOLDER, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(no_file(path)),
                Err(error) => return Err(StorageError::from_write("open a folder in place", error)),
            };
        }
        Ok(Some(open))
    }

    fn remove(&self, was: &FileSeen) -> Result<Removed> {
        match self.remove_file(was) {
            // A link, or a folder, is another thing than the file that was there.
            Err(StorageError::Corrupt { .. }) => Ok(Removed::Changed),
            removed => removed,
        }
    }

    fn remove_file(&self, was: &FileSeen) -> Result<Removed> {
        let (above, name) = split(&was.path);
        let Some(folder) = self.folder(above, &was.path)? else {
            return Ok(Removed::Gone);
        };
        match look_in(&folder, name, &was.path)? {
            None => return Ok(Removed::Gone),
            Some(is) if is != *was => return Ok(Removed::Changed),
            Some(_) => {}
        }
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Removed::Gone),
            Err(error) => Err(StorageError::from_write("remove a file in place", error)),
        }
    }

    /// Makes what went from a folder permanent.
    fn sync(&self, below: &str) -> Result<()> {
        let folder = match self.folder(below, below) {
            Ok(Some(folder)) => folder,
            // From what is gone, or a link by now, nothing was removed.
            Ok(None) | Err(StorageError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        rustix::fs::fsync(&folder).map_err(|error| StorageError::from_write("make a removal durable", error))
    }

    /// Removes a folder if it is empty.
    fn remove_empty(&self, below: &str) -> Result<bool> {
        let (above, name) = split(below);
        let Some(folder) = self.folder(above, below)? else {
            return Ok(true);
        };
        match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            // Something else is in it, or it is a link by now, or busy: it stays.
            Err(_) => Ok(false),
        }
    }
}

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC);

/// A path as the folder that holds it, and its name there.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn no_file(path: &str) -> StorageError {
    StorageError::Corrupt {
        object: path.to_owned(),
        offset: 0,
        what: "a link or a folder lies in its place".to_owned(),
    }
}

fn look_in(folder: &OwnedFd, name: &str, path: &str) -> Result<Option<FileSeen>> {
    let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(StorageError::from_write("look at a file in place", error)),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(no_file(path));
    }
    let size_bytes = found.st_size.unsigned_abs();
    let modified_us = found.st_mtime * 1_000_000 + found.st_mtime_nsec as i64 / 1_000;
    Ok(Some(FileSeen {
        path: path.to_owned(),
        size_bytes,
        // As `object_store` tells it, and the records have it.
        etag: Some(format!("{:x}-{:x}-{size_bytes:x}", found.st_ino, modified_us.max(0))),
        modified_us,
    }))
}

/// Removes files that are as they were seen, and then the folders that they leave empty.
pub(super) fn remove(root: &Path, files: &[FileToRemove]) -> Vec<Result<Removed>> {
    let root = match Folder::open(root) {
        Ok(root) => root,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "Could not open a storage");
            let away = |_: &FileToRemove| Err(away());
            return files.iter().map(away).collect();
        }
    };
    let mut removed: Vec<Result<Removed>> = files.iter().map(|file| root.remove(&file.seen)).collect();
    let folders: BTreeSet<&str> = files.iter().map(|file| split(&file.seen.path).0).collect();
    for folder in folders {
        if root.sync(folder).is_err() {
            // Whether its files are gone for good is not known: they are tried again.
            for (file, outcome) in files.iter().zip(&mut removed) {
                if split(&file.seen.path).0 == folder {
                    *outcome = Err(away());
                }
            }
        }
    }
    remove_emptied(&root, files);
    removed
}

fn away() -> StorageError {
    StorageError::Unavailable("its folder cannot be opened or made durable".into())
}

/// Removes the empty folders of what was a folder, from the innermost on. One that stays is
/// an empty folder, and nothing more.
fn remove_emptied(root: &Folder, files: &[FileToRemove]) {
    let mut folders = BTreeSet::new();
    for file in files {
        let Some(top) = &file.folder else { continue };
        let mut folder = split(&file.seen.path).0;
        while folder
            .strip_prefix(top.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            folders.insert(folder);
            folder = split(folder).0;
        }
    }
    // What lies in a folder comes behind it.
    for folder in folders.iter().rev() {
        let _ = root.remove_empty(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use object_store::{ObjectStoreExt, local::LocalFileSystem};

    use super::*;

    fn seen(root: &Path, path: &str) -> FileSeen {
        Folder::open(root).unwrap().look(path).unwrap().unwrap()
    }

    fn doomed(root: &Path, path: &str, folder: Option<&str>) -> FileToRemove {
        FileToRemove {
            seen: seen(root, path),
            folder: folder.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn a_file_is_seen_as_records_have_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("set")).unwrap();
        fs::write(root.path().join("set/a"), b"12345").unwrap();
        let files = LocalFileSystem::new_with_prefix(root.path()).unwrap();
        let meta = files.head(&"set/a".into()).await.unwrap();
        assert_eq!(seen(root.path(), "set/a"), super::super::seen("set/a", meta));
        let missing = Folder::open(root.path()).unwrap().look("set/b/c").unwrap();
        assert_eq!(missing, None);
    }

    #[test]
    fn what_changed_and_what_is_elsewhere_stays() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        let outside = tempfile::tempdir().unwrap();
        for path in ["set/deep/a", "set/deep/b", "set/other", "left/a"] {
            fs::create_dir_all(real.join(path).parent().unwrap()).unwrap();
            fs::write(real.join(path), path).unwrap();
        }
        fs::write(outside.path().join("a"), "left/a").unwrap();
        let all = ["set/deep/a", "set/deep/b", "left/a"].map(|path| doomed(&real, path, Some("set")));
        fs::write(real.join("set/deep/b"), "another one").unwrap();
        fs::remove_dir_all(real.join("left")).unwrap();
        symlink(outside.path(), real.join("left")).unwrap();
        let removed = remove(&real, &all);
        assert_eq!(*removed[0].as_ref().unwrap(), Removed::Gone);
        assert_eq!(*removed[1].as_ref().unwrap(), Removed::Changed);
        assert_eq!(*removed[2].as_ref().unwrap(), Removed::Changed);
        assert!(Folder::open(&real).unwrap().look("left/a").is_err());
        assert!(outside.path().join("a").exists() && real.join("set/deep/b").exists());
        // Again is fine; what is emptied goes, up to the folder that goes.
        fs::remove_file(real.join("set/other")).unwrap();
        let all = ["set/deep/b"].map(|path| doomed(&real, path, Some("set")));
        for _ in 0..2 {
            let removed = remove(&real, &all);
            assert_eq!(*removed[0].as_ref().unwrap(), Removed::Gone);
        }
        assert!(!real.join("set").exists() && real.exists());
    }
}
