//! The file that is uploaded, and whether it stays what it was.

use std::{
    fs::{File, Metadata},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use artifactd_domain::crc32c;
use artifactd_proto::Outgoing;
use tokio::sync::mpsc;

use super::parts::Part;
use crate::{
    Error, Reason, Result,
    upload::{Buffers, next_chunk},
};

/// A file as it was when its upload began, or went on.
#[derive(Debug, Clone)]
pub(super) struct LocalFile {
    path: PathBuf,
    pub(super) size_bytes: u64,
    modified: Option<SystemTime>,
}

impl LocalFile {
    pub(super) async fn look(path: &Path) -> Result<Self> {
        let metadata = metadata(path).await?;
        if !metadata.is_file() {
            return Err(Error::Input(format!("{} is no regular file", path.display())));
        }
        Ok(Self {
            path: path.to_owned(),
            size_bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> Result<i64> {
        i64::try_from(self.size_bytes).map_err(|_| Error::Input("the content is too large".to_owned()))
    }

    /// That nobody has written to the file meanwhile.
    pub(super) async fn check_unchanged(&self) -> Result<()> {
        let metadata = metadata(&self.path).await?;
        if metadata.len() != self.size_bytes || metadata.modified().ok() != self.modified {
            return Err(self.changed("it was written to while it was uploaded"));
        }
        Ok(())
    }

    pub(super) fn changed(&self, what: &str) -> Error {
        Error::FileChanged {
            path: self.path.display().to_string(),
            what: what.to_owned(),
        }
    }

    /// Refusals that mean that parts of an upload are of another file. A digest that the
    /// caller declared may simply be wrong.
    pub(super) fn explain(&self, error: Error, is_declared: bool) -> Error {
        match error.reason() {
            Some(Reason::PartConflict | Reason::SizeMismatch) => self.changed(&error.to_string()),
            Some(Reason::DigestMismatch) if !is_declared => self.changed(&error.to_string()),
            _ => error,
        }
    }

    /// Reads a part in chunks, or as far as somebody takes them. Gives the memory back.
    pub(super) fn read(&self, part: Part, mut buffers: Buffers, to: &mpsc::Sender<Outgoing>) -> Result<Buffers> {
        let failed = |error| Error::file(&self.path, error);
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(part.offset)).map_err(failed)?;
        let mut rest = file.take(part.size_bytes);
        let mut offset = part.offset;
        while rest.limit() > 0 {
            let data = next_chunk(&mut rest, buffers.free()).map_err(failed)?;
            if data.is_empty() {
                return Err(self.changed("it became shorter while it was uploaded"));
            }
            buffers.keep(&data);
            let (bytes, sum) = (data.len() as u64, crc32c(&data));
            let chunk = Outgoing::chunk(data, sum, offset as i64);
            if to.blocking_send(chunk).is_err() {
                break;
            }
            offset += bytes;
        }
        Ok(buffers)
    }
}

async fn metadata(path: &Path) -> Result<Metadata> {
    tokio::fs::metadata(path)
        .await
        .map_err(|error| Error::file(path, error))
}
