//! A folder that is coming in: the files that are complete, and parts of large ones.

use std::{
    collections::{BTreeMap, HashMap},
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
    /// The folder in it that was made last, in which most often the next file is as well.
    made: Mutex<PathBuf>,
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
            let above = Path::new(&path).ancestors().skip(1);
            for folder in above.take_while(|folder| !folder.as_os_str().is_empty()) {
                if fs::remove_dir(files.join(folder)).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Where a file of the folder belongs; the folders above it are there then. Its path was
    /// parsed, so it leads nowhere else, and only what this made is here, so no link does.
    pub(super) fn place(&self, member: &Member) -> io::Result<PathBuf> {
        let path = self.files().join(member.path.as_str());
        let folder = path.parent().expect("it is below the files");
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if *made != folder {
            fs::create_dir_all(folder)?;
            folder.clone_into(&mut made);
        }
        Ok(path)
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
