//! Objects that come in parts, in a local folder: one file, written at many places.
//!
//! Whoever writes a part holds a shared lock on the file, and who closes it the only one:
//! no part is written from the moment at which its bytes are checked to that at which
//! they are an object. Where a writer that was frozen still holds the lock, the bytes are
//! copied to a new file, which that writer cannot reach when it wakes up.

mod closed;

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{
    ObjectName, StorageError,
    error::Result,
    gather::{self, Gathered},
    local::{LocalWriter, blocking},
    parts::{ClosedParts, PartPlace, PartStore, PartedObject, PendingPart},
};
use crate::fault;

/// The folder of objects that are on their way, below that of the server.
pub(super) const UPLOADS_FOLDER: &str = "uploads";

/// Parts begin where blocks do.
const PART_BYTES_MIN: u64 = artifactd_domain::BLOCK_BYTES as u64;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct LocalParts {
    writer: LocalWriter,
    /// The server's folder in the storage.
    system: PathBuf,
}

impl LocalParts {
    /// Parts of objects that `writer` publishes below `system`.
    pub(super) fn open(writer: LocalWriter, system: PathBuf) -> Result<Self> {
        super::local::make_durable_folder(&system.join(UPLOADS_FOLDER))?;
        Ok(Self { writer, system })
    }

    fn relative(object: &PartedObject) -> String {
        format!("{UPLOADS_FOLDER}/{}", object.name.file_name())
    }

    fn path(&self, object: &PartedObject) -> PathBuf {
        self.system.join(Self::relative(object))
    }

    fn object_path(&self, object: &PartedObject) -> PathBuf {
        self.system.join(object.name.as_str())
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let opened = rustix::fs::open(
        path,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    Ok(File::from(opened?))
}

/// Whether a file is the one with this path.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let there = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let file = file.metadata()?;
    Ok((file.dev(), file.ino()) == (there.dev(), there.ino()))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().expect("uploads lie in a folder");
    File::open(folder)?.sync_all()
}

fn read(file: &File, range: Range<u64>) -> Result<Bytes> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
    Ok(bytes.into())
}

fn failed(error: io::Error) -> StorageError {
    StorageError::from_write("take an object in parts", error)
}

#[async_trait]
impl PartStore for LocalParts {
    fn part_bytes_min(&self) -> u64 {
        PART_BYTES_MIN
    }

    fn reads_parts(&self) -> bool {
        true
    }

    async fn create(&self, name: ObjectName) -> Result<PartedObject> {
        Ok(PartedObject {
            name,
            store_upload_id: None,
        })
    }

    fn begin_part(&self, object: &PartedObject, place: PartPlace) -> Box<dyn PendingPart> {
        Box::new(PendingLocalPart {
            name: object.name.clone(),
            path: self.path(object),
            file: None,
            at: place.offset,
            waiting: Gathered::default(),
        })
    }

    async fn read(&self, object: &PartedObject, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(object);
        blocking(move || read(&open(&path, OFlags::RDONLY).map_err(failed)?, range)).await
    }

    async fn close(&self, object: &PartedObject, size_bytes: u64) -> Result<Box<dyn ClosedParts>> {
        let (parts, object) = (self.clone(), object.clone());
        let closed = blocking(move || parts.close_file(object, size_bytes)).await?;
        Ok(Box::new(closed))
    }

    async fn abort(&self, object: &PartedObject) -> Result<()> {
        let path = self.path(object);
        blocking(move || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        })
        .await
    }
}

struct PendingLocalPart {
    name: ObjectName,
    path: PathBuf,
    file: Option<File>,
    at: u64,
    waiting: Gathered,
}

/// Opens a file to write a part of it, and makes its name durable when it is new.
/// `Closed` when it is being completed, or was.
fn open_to_write(name: &ObjectName, path: &Path) -> Result<File> {
    let file = match open(path, OFlags::RDWR) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = open(path, OFlags::RDWR | OFlags::CREATE).map_err(failed)?;
            sync_folder_of(path).map_err(failed)?;
            file
        }
        Err(error) => return Err(failed(error)),
    };
    // A file system without locks is one that no other process uses.
    let is_locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::AGAIN);
    // It may have become an object, or gone, before it was locked.
    if is_locked || !is_named(&file, path).map_err(failed)? {
        let object = name.to_string();
        return Err(StorageError::Closed { object });
    }
    Ok(file)
}

impl PendingLocalPart {
    async fn write(&mut self, is_last: bool) -> Result<()> {
        let (name, path, file) = (self.name.clone(), self.path.clone(), self.file.take());
        let (pieces, at) = (self.waiting.take(), self.at);
        let (file, at) = blocking(move || {
            let file = match file {
                Some(file) => file,
                None => open_to_write(&name, &path)?,
            };
            let at = gather::write_all_at(&file, &pieces, at).map_err(failed)?;
            fault::point("uploads.part_written");
            if is_last {
                file.sync_data().map_err(failed)?;
            }
            Ok((file, at))
        })
        .await?;
        (self.file, self.at) = (Some(file), at);
        Ok(())
    }
}

#[async_trait]
impl PendingPart for PendingLocalPart {
    async fn put(&mut self, data: Bytes) -> Result<()> {
        self.waiting.push(data);
        if self.waiting.bytes() < WRITE_BYTES {
            return Ok(());
        }
        self.write(false).await
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        self.write(true).await?;
        Ok(String::new())
    }
}
