//! Packs of which little is needed: what is needed moves to a new one.
//!
//! Readers are not disturbed: the old pack stays for the grace, and who comes later finds
//! the new place. A content that is found damaged stays where it is, and its pack with it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{content::digest_of, placing::integer, random},
    Collector, GarbageReason, Result, StorageGarbage, StoragePlace, now_us,
};
use crate::{
    db::{
        Batch, DbError,
        blobs::{self, BlobPlace, NewObject},
        entities::blobs::Model as Blob,
        garbage::{self, SparsePack},
    },
    fault,
    storage::{ObjectName, PACK_ENTRY_BYTES, PackWriter},
};

/// Packs in one query.
const PACKS_AT_ONCE: i64 = 100;

/// Contents that move in one transaction.
const MOVED_AT_ONCE: usize = 500;

/// A content, and where it lies in the new pack.
type Moved = (Blob, i64);

/// A pack that is being filled with what is needed of others.
struct Filling {
    pack: PackWriter,
    moved: Vec<Moved>,
}

impl Collector {
    /// Moves what is needed out of packs of which less than half is.
    pub(super) async fn compact_packs(&self, storage: &StoragePlace, found: &mut StorageGarbage) -> Result<()> {
        let (mut after, before) = (0, self.due_us());
        let mut filling: Option<Filling> = None;
        loop {
            let reader = self.registry.db.reader();
            let place = (after, before);
            let sparse =
                garbage::sparse_packs(reader, storage.id, place, PACK_ENTRY_BYTES as i64, PACKS_AT_ONCE).await?;
            let Some(last) = sparse.last() else { break };
            after = last.id;
            for pack in sparse {
                if self.registry.is_ending() {
                    break;
                }
                let dead = (pack.size_bytes - pack.live_bytes).unsigned_abs();
                found.add(GarbageReason::Sparse, true, dead);
                if !self.how.dry_run
                    && let Err(error) = self.empty(storage, &pack, &mut filling).await
                {
                    found.failed("a pack", &error);
                }
            }
        }
        // What others did meanwhile ends this pack, not the collection.
        if let Some(filling) = filling
            && let Err(error) = self.finish(storage, filling).await
        {
            found.failed("a pack", &error);
        }
        Ok(())
    }

    /// Copies what is needed of a pack into the one that is being filled.
    async fn empty(&self, storage: &StoragePlace, sparse: &SparsePack, filling: &mut Option<Filling>) -> Result<()> {
        let needed = garbage::blobs_in(self.registry.db.reader(), sparse.id).await?;
        for blob in needed {
            let Some(bytes) = self.read(storage, &blob).await? else {
                continue;
            };
            let digest = digest_of(&bytes);
            if filling
                .as_ref()
                .is_some_and(|filling| !filling.pack.has_room_for(digest.size_bytes))
                && let Some(full) = filling.take()
            {
                self.finish(storage, full).await?;
            }
            let into = filling.get_or_insert_with(|| Filling {
                pack: PackWriter::new(storage.store.writer.begin(ObjectName::of_pack(random()))),
                moved: Vec::new(),
            });
            match into.pack.put(bytes, &digest).await {
                Ok(offset) => into.moved.push((blob, integer(offset)?)),
                Err(error) => {
                    if let Some(broken) = filling.take() {
                        broken.pack.abort().await;
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// The bytes of a content; `None` when they are damaged or gone, which `verify` tells.
    async fn read(&self, storage: &StoragePlace, blob: &Blob) -> Result<Option<bytes::Bytes>> {
        if blob.damaged_since_us.is_some() {
            return Ok(None);
        }
        let Some(object) = blobs::object(self.registry.db.reader(), blob.object_id).await? else {
            return Ok(None);
        };
        let content = self.registry.content_at(&BlobPlace {
            blob_id: blob.id,
            object_name: object.name,
            offset_bytes: blob.offset_bytes,
            size_bytes: blob.size_bytes,
            crc32c: blob.crc32c,
        })?;
        let view = self.registry.view(&storage.store, Vec::new());
        let bytes = match view.read(&content, 0..content.size_bytes).await {
            Ok(bytes) => bytes,
            Err(crate::storage::StorageError::Corrupt { .. } | crate::storage::StorageError::NotFound { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let is_right = digest_of(&bytes).sha256.as_bytes().as_slice() == blob.sha256;
        Ok(is_right.then_some(bytes))
    }

    /// Makes the new pack durable, and says that the contents lie there.
    async fn finish(&self, storage: &StoragePlace, filling: Filling) -> Result<()> {
        let Filling { pack, moved } = filling;
        fault::point("gc.pack_filled");
        let finished = pack.finish().await?;
        fault::point("gc.pack_durable");
        let object = Arc::new(NewObject {
            storage_id: storage.id,
            name: finished.object.name.to_string(),
            is_pack: true,
            size_bytes: integer(finished.object.size_bytes)?,
            store_etag: finished.object.store_etag.clone(),
        });
        for some in moved.chunks(MOVED_AT_ONCE) {
            let (object, some) = (Arc::clone(&object), Arc::new(some.to_vec()));
            let moved = self.registry.db.write::<_, DbError, _>(move |txn| {
                let (object, some) = (Arc::clone(&object), Arc::clone(&some));
                Box::pin(async move {
                    let object_id = blobs::ensure_object(txn, &object, now_us()).await?;
                    for (blob, offset) in some.iter() {
                        garbage::move_blob(txn, blob, (object_id, *offset)).await?;
                    }
                    let mut batch = Batch::new(txn);
                    let emptied: BTreeSet<i64> = some.iter().map(|(blob, _)| blob.object_id).collect();
                    for id in emptied {
                        batch.push(&blobs::discard_object_if_unused(id, now_us()));
                    }
                    batch.run(txn).await?;
                    fault::point("gc.moved_in_transaction");
                    Ok(())
                })
            });
            moved.await?;
        }
        Ok(())
    }
}
