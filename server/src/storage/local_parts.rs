//! Objects that come in parts, in a local folder: one file, written at many places.
//!
//! Whoever writes a part holds a shared lock on the file. Completion takes it alone; when
//! a writer that was frozen still holds it, the bytes are copied to a fresh file, which
//! that writer cannot reach when it wakes up.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::{
    FinishedObject, ObjectName, StorageError,
    error::Result,
    gather::Gathered,
    local::{LocalWriter, blocking},
    parts::{PartPlace, PartStore, PartedObject, PendingPart},
};
use crate::fault;

/// The folder of objects that are on their way, below that of the server.
const UPLOADS_FOLDER: &str = "uploads";

/// Parts begin where blocks do.
const PART_BYTES_MIN: u64 = artifactd_domain::BLOCK_BYTES as u64;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// How long writers of parts are awaited at completion.
const WRITERS_WAIT: Duration = Duration::from_secs(5);

const WRITERS_POLL: Duration = Duration::from_millis(20);

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

    fn complete_file(&self, object: &PartedObject, size_bytes: u64) -> Result<()> {
        let path = self.path(object);
        let is_there = self
            .object_path(object)
            .metadata()
            .is_ok_and(|found| found.len() == size_bytes);
        if is_there {
            // It was completed before; what a cut may have left is not needed.
            let _ = std::fs::remove_file(&path);
            return Ok(());
        }
        // Content of no bytes has no part, and so no file yet.
        let make = if size_bytes == 0 {
            OFlags::CREATE
        } else {
            OFlags::empty()
        };
        let file = open(&path, OFlags::RDWR | make).map_err(failed)?;
        if is_alone(&file) {
            file.set_len(size_bytes).map_err(failed)?;
            return self.writer.publish_file(file, Self::relative(object), &object.name);
        }
        let copy = Self::relative(object) + ".copy";
        let copied = self.copy(&file, &copy, size_bytes)?;
        self.writer.publish_file(copied, copy, &object.name)?;
        std::fs::remove_file(&path).map_err(failed)
    }

    fn copy(&self, from: &File, to: &str, size_bytes: u64) -> Result<File> {
        let copy = open(&self.system.join(to), OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC).map_err(failed)?;
        let (mut buffer, mut at) = (vec![0; WRITE_BYTES], 0);
        while at < size_bytes {
            let wanted = (size_bytes - at).min(WRITE_BYTES as u64) as usize;
            from.read_exact_at(&mut buffer[..wanted], at).map_err(failed)?;
            copy.write_all_at(&buffer[..wanted], at).map_err(failed)?;
            at += wanted as u64;
        }
        Ok(copy)
    }
}

/// Waits until nobody else holds the lock; false when somebody does for too long.
fn is_alone(file: &File) -> bool {
    let mut waited = Duration::ZERO;
    while rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::AGAIN) {
        if waited >= WRITERS_WAIT {
            return false;
        }
        std::thread::sleep(WRITERS_POLL);
        waited += WRITERS_POLL;
    }
    true
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let opened = rustix::fs::open(
        path,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    Ok(File::from(opened?))
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
            path: self.path(object),
            file: None,
            at: place.offset,
            waiting: Gathered::default(),
        })
    }

    async fn read(&self, object: &PartedObject, range: Range<u64>) -> Result<Bytes> {
        let (path, complete) = (self.path(object), self.object_path(object));
        blocking(move || {
            let file = open(&path, OFlags::RDONLY).or_else(|_| open(&complete, OFlags::RDONLY));
            let read = file.and_then(|file| {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
            });
            read.map(Bytes::from).map_err(failed)
        })
        .await
    }

    async fn complete(&self, object: &PartedObject, _parts: Vec<String>, size_bytes: u64) -> Result<FinishedObject> {
        let (parts, parted) = (self.clone(), object.clone());
        blocking(move || parts.complete_file(&parted, size_bytes)).await?;
        Ok(FinishedObject {
            name: object.name.clone(),
            size_bytes,
            store_etag: None,
        })
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
    path: PathBuf,
    file: Option<File>,
    at: u64,
    waiting: Gathered,
}

impl PendingLocalPart {
    /// Opens the file, and makes its name durable when it is new.
    fn open(&self) -> Result<File> {
        let file = match open(&self.path, OFlags::RDWR) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = open(&self.path, OFlags::RDWR | OFlags::CREATE).map_err(failed)?;
                let folder = self.path.parent().expect("uploads lie in a folder");
                File::open(folder)
                    .and_then(|folder| folder.sync_all())
                    .map_err(failed)?;
                file
            }
            Err(error) => return Err(failed(error)),
        };
        // A file system without locks keeps what is written by a process that was frozen.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
        Ok(file)
    }

    async fn write(&mut self, is_last: bool) -> Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let (pieces, mut at) = (self.waiting.take(), self.at);
        let (file, at) = blocking(move || {
            for piece in pieces {
                file.write_all_at(&piece, at).map_err(failed)?;
                at += piece.len() as u64;
            }
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
