//! A folder that is coming in: the files that are complete, and parts of large ones.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use artifactd_domain::{Sha256, manifest::Member};
use rustix::fs::OFlags;
use tokio::time;

use super::{
    part::is_still_at,
    place::{Place, hash},
};
use crate::{Error, Result, walk::walk};

/// How often to look whether another program is done with the folder.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A folder that is coming in. This program alone has it.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Of the whole; locked.
    folder: File,
    path: PathBuf,
    /// The folders below the files, by their own names. One that is there under another has
    /// a name that is one with it to this file system.
    made: Mutex<HashSet<PathBuf>>,
    /// What the files hold, where that is asked for later.
    digests: Mutex<HashMap<String, Sha256>>,
    is_settled: AtomicBool,
}

impl Tree {
    /// Goes on with the folder at a path, or begins it. Waits while another program has it,
    /// and says whether it did.
    pub(crate) async fn open(path: PathBuf) -> Result<(Self, bool)> {
        let failed = |error| Error::file(&path, error);
        let mut waited = false;
        let folder = loop {
            let folder = open_or_create(&path).map_err(failed)?;
            match folder.try_lock() {
                Ok(()) if is_still_at(&folder, &path).map_err(failed)? => break folder,
                // Another one has finished it, or given it up.
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    waited = true;
                    time::sleep(LOCK_POLL).await;
                }
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
        };
        let tree = Self {
            folder,
            made: Mutex::default(),
            digests: Mutex::default(),
            is_settled: AtomicBool::new(false),
            path: path.clone(),
        };
        for folder in [tree.files(), tree.parts()] {
            make_folder(&folder).map_err(failed)?;
        }
        Ok((tree, waited))
    }

    /// Where the files are.
    pub(crate) fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    fn parts(&self) -> PathBuf {
        self.path.join("parts")
    }

    /// Where the part of a large file is.
    pub(super) fn part(&self, member: &Member) -> PathBuf {
        let id = Sha256::of(member.path.as_str().as_bytes()).to_string();
        self.parts().join(&id[..32])
    }

    /// Where the part of the only file is.
    pub(crate) fn part_of_all(&self) -> PathBuf {
        self.parts().join("all")
    }

    /// Something beside the files, for whoever finishes the folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Remembers what a file holds.
    pub(super) fn note_digest(&self, member: &Member) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(member.path.to_string(), member.sha256);
    }

    /// What the files hold, by path.
    pub(crate) fn take_digests(&self) -> HashMap<String, Sha256> {
        std::mem::take(&mut self.digests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What an earlier run left, by path. When anything but files and folders is there,
    /// nothing of it is trusted.
    pub(super) fn found(&self) -> Result<BTreeMap<String, u64>> {
        let files = self.files();
        let failed = |error| Error::file(&files, error);
        let is_plain = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        if is_plain(&files) {
            let (found, skipped) = walk(&files)?;
            let strange = skipped
                .iter()
                .any(|(_, why)| !matches!(why, crate::Skipped::EmptyFolder));
            if !strange {
                for (path, _) in skipped {
                    fs::remove_dir(files.join(path)).map_err(failed)?;
                }
                let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                for file in &found {
                    made.extend(folders_above(&file.relative).map(Path::to_owned));
                }
                return Ok(found.into_iter().map(|file| (file.path, file.size_bytes)).collect());
            }
            fs::remove_dir_all(&files).map_err(failed)?;
        } else {
            fs::remove_file(&files).map_err(failed)?;
        }
        fs::create_dir(&files).map_err(failed)?;
        Ok(BTreeMap::new())
    }

    /// Whether a file that was found is this one; another one is removed.
    pub(super) fn keeps(&self, member: &Member, found: Option<u64>) -> io::Result<bool> {
        let Some(size_bytes) = found else {
            return Ok(false);
        };
        let path = self.files().join(member.path.as_str());
        if size_bytes == member.size_bytes && hash(&path)? == member.sha256 {
            return Ok(true);
        }
        fs::remove_file(path)?;
        Ok(false)
    }

    /// Removes files that do not belong to the folder, and the folders that they leave empty.
    pub(super) fn remove(&self, paths: impl Iterator<Item = String>) -> io::Result<()> {
        let files = self.files();
        for path in paths {
            fs::remove_file(files.join(&path))?;
            for folder in folders_above(Path::new(&path)) {
                if fs::remove_dir(files.join(folder)).is_err() {
                    break;
                }
                self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
            }
        }
        Ok(())
    }

    /// Where a file of the folder belongs; the folders above it are there then. Its path was
    /// parsed, so it leads nowhere else, and only what this made is here, so no link does.
    ///
    /// Folders of two names that are one to this file system do not become one folder.
    pub(super) fn place(&self, member: &Member) -> io::Result<PathBuf> {
        let (files, path) = (self.files(), Path::new(member.path.as_str()));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = folders_above(path).take_while(|folder| !made.contains(*folder));
        let missing: Vec<&Path> = missing.collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(files.join(folder)).map_err(merged)?;
            made.insert(folder.to_owned());
        }
        Ok(files.join(path))
    }

    /// Makes a file of the folder, which must not be there: two names that are one to this
    /// file system do not become one file.
    pub(super) fn create(&self, member: &Member) -> io::Result<File> {
        let path = self.place(member)?;
        File::options()
            .write(true)
            .create_new(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(merged)
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.folder)?;
        #[cfg(not(target_os = "linux"))]
        sync_all(&self.files())?;
        Ok(())
    }

    /// Makes it the folder that it was for.
    pub(super) fn become_folder(&self, place: &Place, durable: bool) -> io::Result<()> {
        if durable {
            self.sync()?;
        }
        place.take_folder(&self.files(), durable)?;
        self.is_settled.store(true, Ordering::Relaxed);
        fs::remove_dir_all(&self.path)
    }

    /// Removes it.
    pub(crate) fn discard(&self) {
        if !self.is_settled.swap(true, Ordering::Relaxed) {
            // What cannot be removed has a name that says what it is.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Whether nothing in it is worth going on with.
    fn is_empty(&self) -> bool {
        let is_empty = |folder: PathBuf| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        is_empty(self.files()) && is_empty(self.parts())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.is_settled.load(Ordering::Relaxed) && self.is_empty() {
            self.discard();
        }
    }
}

/// The folders that a path leads through, the innermost first.
fn folders_above(path: &Path) -> impl Iterator<Item = &Path> {
    let above = path.ancestors().skip(1);
    above.take_while(|folder| !folder.as_os_str().is_empty())
}

/// What is there was made under another name.
fn merged(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::new(
            io::ErrorKind::AlreadyExists,
            "to this file system it is one with another name of the folder",
        ),
        _ => error,
    }
}

/// Makes a folder where there is none. A link is none, wherever it leads.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path)?.is_dir() {
            true => Ok(()),
            false => Err(io::Error::other("something that is no folder lies where it would be")),
        },
        made => made,
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    make_folder(path)?;
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

#[cfg(not(target_os = "linux"))]
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => sync_all(&path)?,
            false => File::open(path)?.sync_all()?,
        }
    }
    super::place::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(path: &str) -> Member {
        Member {
            path: path.parse().unwrap(),
            size_bytes: 0,
            sha256: Sha256::of(b""),
        }
    }

    async fn open(folder: &Path) -> Tree {
        Tree::open(folder.join("tree")).await.unwrap().0
    }

    #[tokio::test]
    async fn files_are_made_in_any_order_also_where_an_earlier_run_was() {
        let folder = tempfile::tempdir().unwrap();
        let tree = open(folder.path()).await;
        for path in ["a/b/c", "A/b/d", "a/c", "x", "a/b/e/f"] {
            tree.create(&member(path)).unwrap();
        }
        drop(tree);
        let tree = open(folder.path()).await;
        assert_eq!(tree.found().unwrap().len(), 5);
        for path in ["a/b/g", "A/h", "a/b/e/i", "y/z"] {
            tree.create(&member(path)).unwrap();
        }
        // What is removed with its folders can come again.
        tree.remove(["y/z".to_owned()].into_iter()).unwrap();
        tree.create(&member("y/z")).unwrap();
    }

    /// To a file system to which `a` and `A` are one, there is an `a` once `A` was made.
    #[tokio::test]
    async fn what_is_there_under_another_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tree = open(folder.path()).await;
        tree.create(&member("A/x")).unwrap();
        tree.create(&member("B")).unwrap();
        fs::create_dir(tree.files().join("a")).unwrap();
        fs::write(tree.files().join("b"), b"of B").unwrap();
        for path in ["a/y", "b"] {
            let refused = tree.create(&member(path)).unwrap_err();
            assert!(refused.to_string().contains("one with another name"), "{refused}");
        }
        assert_eq!(fs::read(tree.files().join("b")).unwrap(), b"of B");
    }
}
