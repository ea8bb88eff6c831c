//! What is known of a copy, and of what references led to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use artifactd_domain::Sha256;
use artifactd_proto::v1 as pb;
use prost::Message;

use crate::{
    Artifact, Error, Result, ToMessage, convert,
    fetch::hash,
    walk::{Stamp, walk},
};

/// The file of a record. No key and no path in a folder has such a segment.
const NAME: &str = ".artifactd";

/// What is written: an artifact, and its files.
#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(message, optional, tag = "1")]
    artifact: Option<pb::Artifact>,
    #[prost(message, repeated, tag = "2")]
    files: Vec<WrittenFile>,
}

#[derive(Clone, PartialEq, Message)]
struct WrittenFile {
    /// Empty for the copy of a file.
    #[prost(string, tag = "1")]
    path: String,
    #[prost(bytes = "vec", tag = "2")]
    sha256: Vec<u8>,
    #[prost(uint64, tag = "3")]
    size_bytes: u64,
    #[prost(sint64, tag = "4")]
    modified_ns: i64,
    #[prost(uint64, tag = "5")]
    inode: u64,
}

/// A file of a copy, and how it looked when it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedFile {
    /// Path in the folder; empty for the copy of a file.
    pub(super) path: String,
    pub(super) sha256: Sha256,
    pub(super) stamp: Stamp,
}

impl RecordedFile {
    pub(super) fn place(&self, copy: &Path) -> PathBuf {
        match self.path.as_str() {
            "" => copy.to_owned(),
            path => copy.join(path),
        }
    }
}

/// What a copy is.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) artifact: Artifact,
    /// In the order of paths.
    pub(super) files: Vec<RecordedFile>,
}

/// How a copy looks beside its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    AsItWas,
    /// Something looked otherwise and holds the right bytes; the record says so now.
    Touched,
    Wrong,
}

impl Record {
    /// The record of a copy; none when it is not whole.
    pub(super) fn read(copy: &Path) -> Option<Self> {
        let written = read(&copy.join(NAME))?;
        let files = written.files.into_iter().map(|file| {
            Some(RecordedFile {
                sha256: Sha256::from_bytes(file.sha256.try_into().ok()?),
                stamp: Stamp {
                    size_bytes: file.size_bytes,
                    modified_ns: file.modified_ns,
                    inode: file.inode,
                },
                path: file.path,
            })
        });
        Some(Self {
            artifact: convert::some(written.artifact).ok()?,
            files: files.collect::<Option<_>>()?,
        })
    }

    /// Writes the record of a copy.
    pub(super) fn write(&self, copy: &Path) -> io::Result<()> {
        let files = self.files.iter().map(|file| WrittenFile {
            path: file.path.clone(),
            sha256: file.sha256.as_bytes().to_vec(),
            size_bytes: file.stamp.size_bytes,
            modified_ns: file.stamp.modified_ns,
            inode: file.stamp.inode,
        });
        let written = Written {
            artifact: Some(self.artifact.to_message()),
            files: files.collect(),
        };
        write(&copy.join(NAME), &written, true)
    }

    /// Compares a copy with its record, and hashes what looks otherwise.
    pub(super) fn check(&mut self, copy: &Path) -> Result<Checked> {
        let Some(found) = look(copy, self.artifact.n_objects.is_some())? else {
            return Ok(Checked::Wrong);
        };
        let is_listed = found
            .iter()
            .map(|(path, _)| path)
            .eq(self.files.iter().map(|file| &file.path));
        if !is_listed {
            return Ok(Checked::Wrong);
        }
        let mut checked = Checked::AsItWas;
        for (file, (_, stamp)) in self.files.iter_mut().zip(found) {
            if file.stamp == stamp {
                continue;
            }
            let path = file.place(copy);
            if stamp.size_bytes != file.stamp.size_bytes || !has_hash(&path, file.sha256)? {
                return Ok(Checked::Wrong);
            }
            file.stamp = stamp;
            checked = Checked::Touched;
        }
        Ok(checked)
    }

    /// The files of a copy that are right, with where they are.
    pub(super) fn good_files(&self, copy: &Path) -> impl Iterator<Item = (&RecordedFile, PathBuf)> {
        self.files.iter().filter_map(move |file| {
            let path = file.place(copy);
            let stamp = Stamp::of(&fs::symlink_metadata(&path).ok()?)?;
            let is_right = stamp == file.stamp
                || (stamp.size_bytes == file.stamp.size_bytes && has_hash(&path, file.sha256).unwrap_or(false));
            is_right.then_some((file, path))
        })
    }
}

fn has_hash(path: &Path, sha256: Sha256) -> Result<bool> {
    match hash(path) {
        Ok(actual) => Ok(actual == sha256),
        // Whoever may not read it has no good copy.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(Error::file(path, error)),
    }
}

/// How the files of a copy look, by path; none when it is not plain files.
pub(super) fn look(copy: &Path, is_folder: bool) -> Result<Option<Vec<(String, Stamp)>>> {
    let Ok(metadata) = fs::symlink_metadata(copy) else {
        return Ok(None);
    };
    if !is_folder {
        return Ok(Stamp::of(&metadata).map(|stamp| vec![(String::new(), stamp)]));
    }
    if !metadata.is_dir() {
        return Ok(None);
    }
    let (found, skipped) = walk(copy)?;
    let found = found.into_iter().map(|file| (file.path, file.stamp));
    Ok(skipped.is_empty().then(|| found.collect()))
}

/// The id of what is remembered under some texts.
pub(super) fn name_id(texts: &[&str]) -> String {
    let all: Vec<u8> = texts
        .iter()
        .flat_map(|text| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat())
        .collect();
    Sha256::of(&all).to_string()[..32].to_owned()
}

/// Remembers what a reference led to.
pub(super) fn note_name(root: &Path, name: &str, artifact: &Artifact) -> Result<()> {
    let path = root.join("names").join(name);
    let written = Written {
        artifact: Some(artifact.to_message()),
        files: Vec::new(),
    };
    if read(&path).as_ref() == Some(&written) {
        return Ok(());
    }
    let noted = fs::create_dir_all(root.join("names")).and_then(|()| write(&path, &written, false));
    noted.map_err(|error| Error::file(&path, error))
}

/// What a reference led to last.
pub(super) fn named_before(root: &Path, name: &str) -> Option<Artifact> {
    let written = read(&root.join("names").join(name))?;
    convert::some(written.artifact).ok()
}

/// A message and its sha256. A file that is not whole is none.
fn read(path: &Path) -> Option<Written> {
    let bytes = fs::read(path).ok()?;
    let (message, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    (Sha256::of(message).as_bytes() == sum).then(|| Written::decode(message).ok())?
}

fn write(path: &Path, written: &Written, durable: bool) -> io::Result<()> {
    let mut bytes = written.encode_to_vec();
    bytes.extend_from_slice(Sha256::of(&bytes).as_bytes());
    let new = path.with_extension(format!("new{}", convert::draw_request_id()));
    fs::write(&new, bytes)?;
    if durable {
        fs::File::open(&new)?.sync_all()?;
    }
    fs::rename(&new, path).inspect_err(|_| {
        // Nobody else knows it.
        let _ = fs::remove_file(&new);
    })
}
