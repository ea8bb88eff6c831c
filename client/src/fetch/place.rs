//! Where a download goes, and how it takes its place.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use artifactd_domain::{Sha256, Sha256Hasher};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::IfExists;

/// Bytes of the name of a target that its part shows.
const SHOWN_BYTES_MAX: usize = 100;

/// A target, whose folder is there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    target: PathBuf,
    folder: PathBuf,
    name: OsString,
    if_exists: IfExists,
}

impl Place {
    /// Looks at a target and makes the folders above it. An error when what is there must stay.
    pub(crate) fn new(target: &Path, if_exists: IfExists) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a download needs a name"))?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if if_exists == IfExists::Refuse {
            require_absent(target)?;
        }
        fs::create_dir_all(folder).map_err(|error| match error.kind() {
            // What is there and is no folder.
            io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
            _ => error,
        })?;
        Ok(Self {
            target: target.to_owned(),
            folder: folder.to_owned(),
            name: name.to_owned(),
            if_exists,
        })
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn if_exists(&self) -> IfExists {
        self.if_exists
    }

    /// Where a content is kept until it is complete: the same for every run.
    pub(crate) fn part(&self, sha256: Sha256) -> PathBuf {
        let name = self.name.to_string_lossy();
        let mut both = name.as_bytes().to_vec();
        both.extend_from_slice(sha256.as_bytes());
        let id = Sha256::of(&both).to_string();
        let shown = &name[..name.floor_char_boundary(SHOWN_BYTES_MAX)];
        self.folder.join(format!(".{shown}.{}.part", &id[..16]))
    }

    /// Lets a file take its place.
    pub(super) fn take_file(&self, part: &Path, durable: bool) -> io::Result<()> {
        match self.if_exists {
            IfExists::Refuse | IfExists::KeepSame => rename_to_nothing(part, &self.target)?,
            IfExists::ReplaceFile => fs::rename(part, &self.target)?,
            IfExists::Replace => match fs::rename(part, &self.target) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => self.exchange(part)?,
                renamed => renamed?,
            },
        }
        if durable { sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Lets a folder take its place.
    pub(super) fn take_folder(&self, part: &Path, durable: bool) -> io::Result<()> {
        match require_absent(&self.target) {
            Ok(()) => fs::rename(part, &self.target)?,
            Err(_) if self.if_exists == IfExists::Replace => self.exchange(part)?,
            Err(error) => return Err(error),
        }
        if durable { sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Changes places with what is there, in one step where the system can, and removes that.
    fn exchange(&self, part: &Path) -> io::Result<()> {
        let old = match renameat_with(CWD, part, CWD, &self.target, RenameFlags::EXCHANGE) {
            Ok(()) => part.to_owned(),
            Err(_) => {
                let old = part.with_extension("old");
                fs::rename(&self.target, &old)?;
                if let Err(error) = fs::rename(part, &self.target) {
                    fs::rename(&old, &self.target)?;
                    return Err(error);
                }
                old
            }
        };
        match fs::symlink_metadata(&old)?.is_dir() {
            true => fs::remove_dir_all(old),
            false => fs::remove_file(old),
        }
    }
}

/// An error when something is there, also a link that leads nowhere. A rename would
/// silently take the place of an empty folder.
pub(super) fn require_absent(target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Renames a file to a name that nothing has, and whoever comes second hears of it.
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has second names.
        Err(_) => {
            require_absent(to)?;
            fs::rename(from, to)
        }
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a path is a regular file with this content.
pub(crate) fn is_same_file(path: &Path, size_bytes: u64, sha256: Sha256) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(metadata.is_file() && metadata.len() == size_bytes && hash(path)? == sha256)
}

/// The sha256 of a file.
pub(crate) fn hash(path: &Path) -> io::Result<Sha256> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256Hasher::default());
    let mut memory = vec![0; 256 << 10];
    loop {
        match file.read(&mut memory)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&memory[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(target: &Path, if_exists: IfExists) -> Place {
        Place::new(target, if_exists).unwrap()
    }

    fn part(folder: &Path) -> PathBuf {
        let part = folder.join("part");
        fs::write(&part, b"new").unwrap();
        part
    }

    #[test]
    fn a_part_has_the_same_name_in_every_run_and_another_for_another_content() {
        let place = place(Path::new("/tmp/a.csv"), IfExists::ReplaceFile);
        let (one, two) = (Sha256::of(b"1"), Sha256::of(b"2"));
        assert_eq!(place.part(one), place.part(one));
        assert_ne!(place.part(one), place.part(two));
        let long = Path::new("/tmp").join("é".repeat(127));
        let name = self::place(&long, IfExists::ReplaceFile).part(one);
        assert!(name.file_name().unwrap().len() < 255);
    }

    #[test]
    fn what_is_there_stays_unless_it_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, b"old").unwrap();
        assert!(Place::new(&target, IfExists::Refuse).is_err());
        let refused = place(&target, IfExists::KeepSame).take_file(&part(folder.path()), true);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        place(&target, IfExists::ReplaceFile)
            .take_file(&part(folder.path()), true)
            .unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_link_gives_way_and_what_it_leads_to_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (target, victim) = (folder.path().join("target"), folder.path().join("victim"));
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, &target).unwrap();
        place(&target, IfExists::ReplaceFile)
            .take_file(&part(folder.path()), true)
            .unwrap();
        assert!(!fs::symlink_metadata(&target).unwrap().is_symlink());
        assert_eq!(fs::read(victim).unwrap(), b"precious");
    }

    #[test]
    fn a_folder_gives_way_only_when_that_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let (target, part) = (folder.path().join("target"), folder.path().join("part"));
        let fill = |folder: &Path, name: &str| {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(name), b"x").unwrap();
        };
        fill(&target, "old");
        fill(&part, "new");
        for refused in [IfExists::KeepSame, IfExists::ReplaceFile] {
            assert!(place(&target, refused).take_folder(&part, true).is_err(), "{refused:?}");
        }
        assert!(target.join("old").exists());
        place(&target, IfExists::Replace).take_folder(&part, true).unwrap();
        assert!(target.join("new").exists() && !target.join("old").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
