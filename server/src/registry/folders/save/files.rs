//! The contents that come for a folder, small ones whole and large ones in pieces.

use artifactd_domain::{Suffix, manifest::Member};
use bytes::Bytes;

use super::{
    super::super::{
        RegistryError, Result,
        content::{Data, Declared, digest_of},
    },
    super::{
        contents::LargeFile,
        window::{ENTRIES_WAITING_MAX, identity},
    },
    FolderSave,
};
use crate::storage::PACKED_CONTENT_BYTES_END;

/// A file whose content is coming in pieces.
pub(super) enum Open {
    Writing(LargeFile),
    /// It was refused, or is not needed.
    Ignoring {
        number: u64,
        received: u64,
        result: Result<()>,
    },
}

impl FolderSave {
    /// Takes the content of a small file. The outer error ends the save, the inner one is
    /// that of this file, which can be sent again.
    pub async fn put(&mut self, number: u64, content: Bytes) -> Result<Result<()>> {
        if self.before.is_some() {
            return Ok(Ok(()));
        }
        let member = match self.window.wanted(number) {
            Ok(Some(member)) => member,
            Ok(None) => return Ok(Ok(())),
            Err(refused) => return Ok(Err(refused)),
        };
        if content.len() as u64 >= PACKED_CONTENT_BYTES_END {
            return Ok(Err(RegistryError::ContentTooLarge(PACKED_CONTENT_BYTES_END - 1)));
        }
        let digest = digest_of(&content);
        if let Err(refused) = declared(&member).check(&digest) {
            return Ok(Err(refused));
        }
        if self.contents.len() >= 2 * ENTRIES_WAITING_MAX {
            return Err(RegistryError::FolderWindowFull(ENTRIES_WAITING_MAX));
        }
        self.contents.put(content, digest).await?;
        self.window.came(&identity(&member));
        Ok(Ok(()))
    }

    /// Begins a file that comes in pieces. Only one can be open.
    pub fn begin_file(&mut self, number: u64) -> Result<()> {
        if self.open.is_some() {
            return Err(RegistryError::other("file", "begins before the one before has ended"));
        }
        let wanted = if self.before.is_some() {
            Ok(None)
        } else {
            self.window.wanted(number)
        };
        let member = match wanted {
            Ok(Some(member)) => self
                .registry
                .check_declared_size(declared(&member))
                .map(|()| Some(member)),
            wanted => wanted,
        };
        self.open = Some(match member {
            Ok(Some(member)) => {
                let suffix = Suffix::of_name(member.path.file_name());
                let file = LargeFile::begin(&self.registry, &self.storage, number, &suffix, declared(&member));
                Open::Writing(file)
            }
            refused => Open::Ignoring {
                number,
                received: 0,
                result: refused.map(drop),
            },
        });
        Ok(())
    }

    /// Bytes of the open file that came so far; `None` when none is open.
    pub fn received(&self) -> Option<u64> {
        match self.open.as_ref()? {
            Open::Writing(file) => Some(file.received),
            Open::Ignoring { received, .. } => Some(*received),
        }
    }

    /// Takes the next bytes of the open file.
    pub async fn put_piece(&mut self, data: Data) {
        match &mut self.open {
            Some(Open::Writing(file)) => file.put(data).await,
            Some(Open::Ignoring { received, .. }) => *received += data.size_bytes(),
            None => {}
        }
    }

    /// Refuses the open file for something that its adapter found.
    pub async fn refuse_file(&mut self, refused: RegistryError) {
        if let Some(Open::Writing(file)) = self.open.take_if(|open| matches!(open, Open::Writing(_))) {
            self.open = Some(Open::Ignoring {
                number: file.number,
                received: file.received,
                result: Err(refused),
            });
            file.abandon().await;
        }
    }

    /// Ends the open file; answers its number and what became of it.
    pub async fn end_file(&mut self) -> Result<(u64, Result<()>)> {
        match self.open.take() {
            None => Err(RegistryError::other("file", "ends before it began")),
            Some(Open::Ignoring { number, result, .. }) => Ok((number, result)),
            Some(Open::Writing(file)) => {
                let number = file.number;
                match file.end().await {
                    Ok(stored) => {
                        let identity = (stored.digest.sha256, stored.digest.size_bytes);
                        self.contents.put_object(stored);
                        self.window.came(&identity);
                        Ok((number, Ok(())))
                    }
                    Err(error @ RegistryError::Storage(_)) => Err(error),
                    Err(refused) => Ok((number, Err(refused))),
                }
            }
        }
    }
}

fn declared(member: &Member) -> Declared {
    Declared {
        sha256: Some(member.sha256),
        size_bytes: Some(member.size_bytes),
    }
}
