//! Objects in which nothing lies, bytes without a row, and blobs that nothing uses.

use std::{collections::HashSet, time::UNIX_EPOCH};

use futures::TryStreamExt;

use super::{Collector, GarbageReason, Result, StorageGarbage, StoragePlace, now_us};
use crate::{
    db::{
        Batch, DbError, blobs,
        garbage::{self, GarbageObject, Known},
        uploads,
    },
    fault,
    storage::StoredObject,
};

/// Rows in one query.
const ROWS_AT_ONCE: i64 = 1_000;

/// Blobs that are looked at in one query.
const BLOBS_AT_ONCE: i64 = 10_000;

impl Collector {
    /// Removes the bytes of objects that are garbage for long enough.
    pub(super) async fn collect_objects(&self, storage: &StoragePlace, found: &mut StorageGarbage) -> Result<()> {
        let mut after = 0;
        while !self.registry.is_ending() {
            let page = garbage::objects(self.registry.db.reader(), storage.id, after, ROWS_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for object in page {
                self.collect_object(storage, &object, found).await?;
            }
        }
        Ok(())
    }

    async fn collect_object(
        &self,
        storage: &StoragePlace,
        object: &GarbageObject,
        found: &mut StorageGarbage,
    ) -> Result<()> {
        let (is_due, bytes) = (self.is_due(object.garbage_since_us), object.size_bytes.unsigned_abs());
        if !is_due || self.how.dry_run {
            found.add(GarbageReason::Unused, is_due, bytes);
            return Ok(());
        }
        let id = object.id;
        fault::point("gc.before_condemned");
        let condemned = self.registry.db.write::<_, DbError, _>(move |txn| {
            Box::pin(async move {
                let condemned = garbage::condemn(txn, id, now_us()).await?;
                fault::point("gc.condemned_in_transaction");
                Ok(condemned)
            })
        });
        if !condemned.await? {
            return Ok(());
        }
        fault::point("gc.condemned");
        // Where this fails, the bytes are found by the next thorough collection.
        match self.remove(storage, &object.name).await {
            Ok(()) => found.add(GarbageReason::Unused, true, bytes),
            Err(error) => found.failed(&object.name, &error),
        }
        fault::point("gc.removed");
        Ok(())
    }

    /// Marks objects in which nothing lies though nothing says so: the contents of a pack
    /// may have gone while they moved there.
    pub(super) async fn mark_empty_objects(&self, storage: &StoragePlace) -> Result<()> {
        let (mut after, before) = (0, self.due_us());
        loop {
            let reader = self.registry.db.reader();
            let empty = garbage::empty_objects(reader, storage.id, (after, before), ROWS_AT_ONCE).await?;
            let Some(last) = empty.last() else { return Ok(()) };
            after = *last;
            let marked = self.registry.db.write::<_, DbError, _>(move |txn| {
                let empty = empty.clone();
                Box::pin(async move {
                    let mut batch = Batch::new(txn);
                    for id in empty {
                        batch.push(&blobs::discard_object_if_unused(id, now_us()));
                    }
                    batch.run(txn).await
                })
            });
            marked.await?;
        }
    }

    /// Takes objects without a row for garbage, removes bytes that should be gone, and looks
    /// for rows whose bytes are.
    pub(super) async fn collect_orphans(&self, storage: &StoragePlace, found: &mut StorageGarbage) -> Result<()> {
        let (mut pages, began_us) = (storage.store.writer.list_objects(), now_us());
        let mut seen = String::new();
        while let Some(some) = pages.try_next().await? {
            fault::point("gc.objects_listed");
            if self.registry.is_ending() {
                return Ok(());
            }
            let Some(last) = some.last().map(|object| object.name.to_string()) else {
                continue;
            };
            self.collect_listed(storage, &some, found).await?;
            let listed = some.iter().map(|object| object.name.as_str()).collect();
            let between = (seen.as_str(), Some(last.as_str()), began_us);
            self.find_missing(storage, between, &listed, found).await?;
            seen = last;
        }
        let rest = (seen.as_str(), None, began_us);
        self.find_missing(storage, rest, &HashSet::new(), found).await
    }

    /// Rows in a range of names, made before a time, whose bytes the storage did not list and
    /// does not have.
    async fn find_missing(
        &self,
        storage: &StoragePlace,
        (after, until, before_us): (&str, Option<&str>, i64),
        listed: &HashSet<&str>,
        found: &mut StorageGarbage,
    ) -> Result<()> {
        let reader = self.registry.db.reader();
        let mut after = after.to_owned();
        loop {
            let names = garbage::needed(reader, storage.id, (&after, until, before_us), ROWS_AT_ONCE).await?;
            let Some(last) = names.last() else { return Ok(()) };
            after.clone_from(last);
            for name in names.iter().filter(|name| !listed.contains(name.as_str())) {
                // It may have gone rightly while the list was made.
                if storage.store.reader_size(name).await?.is_none()
                    && garbage::known(reader, std::slice::from_ref(name)).await?.get(name) == Some(&Known::Kept)
                {
                    found.missing += 1;
                    tracing::error!(object = name, "Object {name} is missing");
                }
            }
        }
    }

    async fn collect_listed(
        &self,
        storage: &StoragePlace,
        listed: &[StoredObject],
        found: &mut StorageGarbage,
    ) -> Result<()> {
        for some in listed.chunks(ROWS_AT_ONCE as usize) {
            let names: Vec<String> = some.iter().map(|object| object.name.to_string()).collect();
            // Uploads first: one that is saved meanwhile has its row then.
            let uploads = uploads::named(self.registry.db.reader(), &names).await?;
            let known = garbage::known(self.registry.db.reader(), &names).await?;
            for object in some {
                fault::point("gc.objects_known");
                match known.get(object.name.as_str()) {
                    None if uploads.contains(object.name.as_str()) => {}
                    Some(Known::Kept) => {}
                    Some(Known::Deleted) => self.remove_again(storage, object, found).await,
                    None => self.adopt(storage, object, found).await?,
                }
            }
        }
        Ok(())
    }

    async fn adopt(&self, storage: &StoragePlace, object: &StoredObject, found: &mut StorageGarbage) -> Result<()> {
        let is_due = self.is_old(object.modified);
        if !is_due || self.how.dry_run {
            found.add(GarbageReason::Orphan, is_due, object.size_bytes);
            return Ok(());
        }
        let (storage_id, name, is_pack) = (storage.id, object.name.to_string(), object.name.is_pack());
        let size_bytes = super::super::placing::integer(object.size_bytes)?;
        // It has been garbage since it was written, so it need not wait again.
        let written = object.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = super::micros(written).min(now_us());
        let adopted = self.registry.db.write::<_, DbError, _>(move |txn| {
            let name = name.clone();
            Box::pin(async move { garbage::adopt(txn, storage_id, (&name, is_pack), size_bytes, since).await })
        });
        if adopted.await? {
            fault::point("gc.adopted");
            tracing::info!(object = %object.name, "Object {} has no row and is garbage", object.name);
        }
        Ok(())
    }

    async fn remove_again(&self, storage: &StoragePlace, object: &StoredObject, found: &mut StorageGarbage) {
        if self.how.dry_run {
            found.add(GarbageReason::Unused, true, object.size_bytes);
            return;
        }
        match storage.store.writer.delete(&object.name).await {
            Ok(()) => found.add(GarbageReason::Unused, true, object.size_bytes),
            Err(error) => found.failed(object.name.as_str(), &error),
        }
    }

    /// Removes blobs that nothing uses and whose row stayed: two that destroy the last
    /// two users of one at the same time each see the other. Answers how many.
    pub(super) async fn collect_blobs(&self, storage: &StoragePlace) -> Result<u64> {
        let (db, before) = (&self.registry.db, self.due_us());
        let (mut after, mut removed) = (0, 0);
        while let Some(last) = garbage::blob_step(db.reader(), after, BLOBS_AT_ONCE).await? {
            if self.registry.is_ending() {
                break;
            }
            for blob in garbage::unused_blobs(db.reader(), storage.id, (after, last), before).await? {
                if self.how.dry_run {
                    removed += 1;
                    continue;
                }
                fault::point("gc.before_blob");
                let went = db.write::<_, DbError, _>(move |txn| {
                    let blob = blob.clone();
                    Box::pin(async move {
                        let went = garbage::remove_blob(txn, &blob, now_us()).await?;
                        fault::point("gc.blob_in_transaction");
                        Ok(went)
                    })
                });
                removed += u64::from(went.await?);
            }
            after = last;
        }
        Ok(removed)
    }
}
