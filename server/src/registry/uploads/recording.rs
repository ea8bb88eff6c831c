//! Parts that came in: made durable, then recorded, one after another.

use std::sync::Arc;

use artifactd_domain::BlockChecksums;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    super::{Registry, RegistryError, Result, now_us, placing::integer},
    hashing::State,
    locks::{PartTurn, WriterTurn},
    unsigned,
};
use crate::{
    db::uploads::{self, PartRow, UploadRow},
    fault,
    storage::{PartedObject, PendingPart, StorageError, Store},
};

/// A part that is coming in.
pub(super) struct OpenPart {
    pub(super) number: u64,
    pub(super) size_bytes: u64,
    pub(super) sums: BlockChecksums,
    pub(super) target: Target,
    /// Held until it is recorded, where parts come in any order.
    pub(super) turn: Option<PartTurn>,
}

/// A part that came in, and the state of the hash behind it.
pub(super) struct FilledPart {
    pub(super) part: OpenPart,
    pub(super) hash: Option<State>,
}

/// Where the bytes of a part go.
pub(super) enum Target {
    Store(Box<dyn PendingPart>),
    /// Nowhere: it is durable already, and must be the same.
    Compared(PartRow),
    /// Nowhere: there are no bytes.
    Nothing,
}

/// Makes parts durable and records them, one after another.
pub(super) struct Recorder {
    pub(super) registry: Arc<Registry>,
    pub(super) row: Arc<UploadRow>,
    pub(super) object: PartedObject,
    pub(super) store: Store,
    pub(super) epoch: i64,
    /// Held until the last part is recorded.
    pub(super) turn: Option<WriterTurn>,
}

impl OpenPart {
    pub(super) async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        self.sums.update(&bytes);
        if let Some(turn) = &self.turn {
            turn.touch();
        }
        if let Target::Store(part) = &mut self.target {
            part.put(bytes).await?;
        }
        Ok(())
    }
}

impl Recorder {
    pub(super) async fn run(self, mut filled: mpsc::Receiver<FilledPart>, acks: mpsc::Sender<Result<u64>>) {
        while let Some(FilledPart { part, hash }) = filled.recv().await {
            let end = part.number * unsigned(self.row.part_bytes) + part.size_bytes;
            let is_mark = part.size_bytes == 0;
            let recorded = self.record(part, hash).await;
            let is_over = recorded.is_err();
            if is_mark && !is_over {
                continue;
            }
            // Whoever went away finds out from the upload itself.
            let _ = acks.send(recorded.map(|()| end)).await;
            if is_over {
                break;
            }
        }
        drop(self.turn);
    }

    async fn record(&self, part: OpenPart, hash: Option<State>) -> Result<()> {
        let OpenPart {
            number,
            size_bytes,
            sums,
            target,
            turn: _turn,
        } = part;
        let crc32c: Vec<u8> = sums.finish().iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let store_part = match target {
            Target::Store(part) => match part.finish().await {
                Ok(store_part) => store_part,
                Err(error) => return Err(self.explain(error).await),
            },
            Target::Nothing => String::new(),
            Target::Compared(there) if there.crc32c == crc32c && unsigned(there.size_bytes) == size_bytes => {
                return Ok(());
            }
            Target::Compared(_) => return Err(RegistryError::PartConflict(number)),
        };
        fault::point("uploads.part_durable");
        let hash_state = match hash {
            // A thread that ended before it said so leaves the upload without.
            Some(hash) => hash.await.ok(),
            None => None,
        };
        let end = number * unsigned(self.row.part_bytes) + size_bytes;
        let hash_state = hash_state.and_then(|state| self.registry.hash_seal.seal(&self.row.uid, end, &state));
        let part = PartRow {
            number: integer(number)?,
            size_bytes: integer(size_bytes)?,
            crc32c,
            store_part,
        };
        self.store(part, hash_state).await?;
        fault::point("uploads.part_recorded");
        if self.row.is_parallel {
            self.registry.hash_ahead(&self.row, &self.object, &self.store);
        }
        Ok(())
    }

    /// Why a part could not be stored: its upload may be another's by now, or over, or the
    /// store has forgotten it.
    async fn explain(&self, error: StorageError) -> RegistryError {
        match uploads::by_uid(self.registry.db.reader(), &self.row.uid).await {
            Ok(Some(now)) if now.epoch == self.epoch => {}
            Ok(Some(_)) => return RegistryError::UploadFenced(self.row.uid.clone()),
            Ok(None) => return RegistryError::UploadNotFound(self.row.uid.clone()),
            Err(_) => return error.into(),
        }
        let held = (&*self.row, self.epoch);
        self.registry.end_if_lost(held, &self.store, error.into()).await
    }

    async fn store(&self, part: PartRow, hash_state: Option<String>) -> Result<()> {
        let (row, epoch) = (Arc::clone(&self.row), self.epoch);
        let expires_at_us = self.registry.expires_at(now_us());
        let recorded = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            let (row, part, hash_state) = (Arc::clone(&row), part.clone(), hash_state.clone());
            Box::pin(async move {
                let held = (row.id, epoch);
                let is_held = if row.is_parallel {
                    uploads::renew(txn, held, expires_at_us).await?
                } else {
                    uploads::renew_hashed(txn, held, expires_at_us, hash_state).await?
                };
                if !is_held {
                    return Err(RegistryError::UploadFenced(row.uid.clone()));
                }
                // In order, what comes behind a part that is sent again comes again too.
                if !row.is_parallel {
                    uploads::put_part(txn, row.id, &part).await?;
                } else if !uploads::add_part(txn, row.id, &part).await? {
                    return Err(RegistryError::PartConflict(unsigned(part.number)));
                }
                fault::point("uploads.part_in_transaction");
                Ok(())
            })
        });
        recorded.await
    }
}
