//! A file of parts to which nobody writes any more.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::{FlockOperation, OFlags},
    io::Errno,
};

use super::{LocalParts, WRITE_BYTES, failed, is_named, open, read, sync_folder_of};
use crate::storage::{
    FinishedObject, StorageError,
    error::Result,
    local::blocking,
    parts::{ClosedParts, PartedObject},
};

/// How long writers of parts are awaited.
const WRITERS_WAIT: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 5_000 });

const WRITERS_POLL: Duration = Duration::from_millis(20);

/// See the module. The lock goes with the last handle of the file.
pub(super) struct ClosedLocal {
    parts: LocalParts,
    object: PartedObject,
    size_bytes: u64,
    file: Arc<File>,
    is_object: bool,
}

impl LocalParts {
    pub(super) fn close_file(self, object: PartedObject, size_bytes: u64) -> Result<ClosedLocal> {
        let (path, complete) = (self.path(&object), self.object_path(&object));
        // It was completed before. It became an object while it was closed, so nobody writes to it.
        let there = open(&complete, OFlags::RDONLY).ok();
        let is_object = there.is_some();
        let file = match there {
            Some(file) => {
                // What a cut may have left is not needed.
                let _ = std::fs::remove_file(&path);
                file
            }
            None => self.take_alone(&object, &path, size_bytes)?,
        };
        Ok(ClosedLocal {
            parts: self,
            object,
            size_bytes,
            file: Arc::new(file),
            is_object,
        })
    }

    /// The file with the only lock on it, or a copy that nobody else has.
    fn take_alone(&self, object: &PartedObject, path: &Path, size_bytes: u64) -> Result<File> {
        // Content of no bytes has no part, and so no file yet.
        let make = if size_bytes == 0 {
            OFlags::CREATE
        } else {
            OFlags::empty()
        };
        let file = open(path, OFlags::RDWR | make).map_err(failed)?;
        let file = if is_alone(&file) {
            file
        } else {
            self.copy(object, &file, path, size_bytes)?
        };
        if !is_named(&file, path).map_err(failed)? {
            // Whoever closed it meanwhile holds the upload by now.
            let object = object.name.to_string();
            return Err(StorageError::Closed { object });
        }
        file.set_len(size_bytes).map_err(failed)?;
        Ok(file)
    }

    /// Puts a copy in the place of a file. Parts that were acknowledged stay durable.
    fn copy(&self, object: &PartedObject, from: &File, path: &Path, size_bytes: u64) -> Result<File> {
        tracing::warn!(object = %object.name, "Somebody still writes to {}: it is copied", object.name);
        let (copy, staged) = self.writer.stage_file(&object.name)?;
        let copied = copy_bytes(from, &copy, size_bytes).and_then(|()| {
            std::fs::rename(&staged, path).map_err(failed)?;
            sync_folder_of(path).map_err(failed)
        });
        if copied.is_err() {
            // What cannot be removed is listed as unfinished.
            let _ = std::fs::remove_file(&staged);
        }
        copied.map(|()| copy)
    }
}

/// Waits until nobody else holds the lock; false when somebody does for too long.
fn is_alone(file: &File) -> bool {
    let mut waited = Duration::ZERO;
    while rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN) {
        if waited >= WRITERS_WAIT {
            return false;
        }
        std::thread::sleep(WRITERS_POLL);
        waited += WRITERS_POLL;
    }
    true
}

fn copy_bytes(from: &File, to: &File, size_bytes: u64) -> Result<()> {
    let (mut buffer, mut at) = (vec![0; WRITE_BYTES], 0);
    while at < size_bytes {
        let wanted = (size_bytes - at).min(WRITE_BYTES as u64) as usize;
        from.read_exact_at(&mut buffer[..wanted], at).map_err(failed)?;
        to.write_all_at(&buffer[..wanted], at).map_err(failed)?;
        at += wanted as u64;
    }
    to.sync_all().map_err(failed)
}

#[async_trait]
impl ClosedParts for ClosedLocal {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let file = Arc::clone(&self.file);
        blocking(move || read(&file, range)).await
    }

    async fn complete(&mut self, _parts: Vec<String>) -> Result<FinishedObject> {
        if !self.is_object {
            let (parts, object, file) = (self.parts.clone(), self.object.clone(), Arc::clone(&self.file));
            blocking(move || {
                let file = file.try_clone().map_err(failed)?;
                parts
                    .writer
                    .publish_file(file, LocalParts::relative(&object), &object.name)
            })
            .await?;
            self.is_object = true;
        }
        Ok(FinishedObject {
            name: self.object.name.clone(),
            size_bytes: self.size_bytes,
            store_etag: None,
        })
    }

    /// What is there can be read, and is checked before it is completed.
    async fn replaced(&self, _parts: &[String]) -> Result<Vec<usize>> {
        Ok(Vec::new())
    }

    async fn reopen(self: Box<Self>) -> Result<()> {
        if !self.is_object {
            return Ok(());
        }
        let (path, complete) = (self.parts.path(&self.object), self.parts.object_path(&self.object));
        blocking(move || {
            std::fs::rename(&complete, &path).map_err(failed)?;
            sync_folder_of(&complete).map_err(failed)?;
            sync_folder_of(&path).map_err(failed)
        })
        .await
    }
}
