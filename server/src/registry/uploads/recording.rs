//! Parts that came in: made durable, then recorded, one after another.

use std::sync::Arc;

use artifactd_domain::BlockChecksums;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    super::{Registry, RegistryError, Result, now_us, placing::integer},
    expires_at,
    hashing::State,
    locks::WriterTurn,
    unsigned,
};
use crate::{
    db::uploads::{self, PartRow},
    fault,
    storage::PendingPart,
};

/// A part that is coming in.
pub(super) struct OpenPart {
    pub(super) number: u64,
    pub(super) size_bytes: u64,
    pub(super) sums: BlockChecksums,
    pub(super) target: Target,
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
}

/// Makes parts durable and records them, one after another.
pub(super) struct Recorder {
    pub(super) registry: Arc<Registry>,
    pub(super) id: i64,
    pub(super) uid: String,
    pub(super) epoch: i64,
    pub(super) part_bytes: u64,
    /// Held until the last part is recorded.
    pub(super) turn: Option<WriterTurn>,
}

impl OpenPart {
    pub(super) async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        self.sums.update(&bytes);
        if let Target::Store(part) = &mut self.target {
            part.put(bytes).await?;
        }
        Ok(())
    }
}

impl Recorder {
    pub(super) async fn run(self, mut filled: mpsc::Receiver<FilledPart>, acks: mpsc::Sender<Result<u64>>) {
        while let Some(FilledPart { part, hash }) = filled.recv().await {
            let end = part.number * self.part_bytes + part.size_bytes;
            let recorded = self.record(part, hash).await;
            let is_over = recorded.is_err();
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
        } = part;
        let crc32c: Vec<u8> = sums.finish().iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let store_part = match target {
            Target::Store(part) => part.finish().await?,
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
        let end = number * self.part_bytes + size_bytes;
        let hash_state = hash_state.and_then(|state| self.registry.hash_seal.seal(&self.uid, end, &state));
        let row = PartRow {
            number: integer(number)?,
            size_bytes: integer(size_bytes)?,
            crc32c,
            store_part,
        };
        let (id, epoch, uid) = (self.id, self.epoch, self.uid.clone());
        let recorded = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            let (row, uid, hash_state) = (row.clone(), uid.clone(), hash_state.clone());
            Box::pin(async move {
                if !uploads::renew(txn, (id, epoch), expires_at(now_us()), hash_state).await? {
                    return Err(RegistryError::UploadFenced(uid));
                }
                uploads::put_part(txn, id, &row).await?;
                fault::point("uploads.part_in_transaction");
                Ok(())
            })
        });
        recorded.await?;
        fault::point("uploads.part_recorded");
        Ok(())
    }
}
