//! Uploads that end without an artifact: aborted, or expired.

use std::sync::Arc;

use super::{
    super::{Caller, Registry, RegistryError, Result, now_us},
    UploadState, object_of,
};
use crate::{
    db::{
        DbError,
        uploads::{self, UploadRow},
    },
    fault,
    storage::Store,
};

/// Uploads that are swept in one go.
const SWEPT_AT_ONCE: i64 = 100;

impl Registry {
    /// Ends an upload that is no artifact, and removes what came.
    pub async fn abort_upload(self: &Arc<Self>, caller: &Caller, uid: &str) -> Result<()> {
        let row = self.find_upload(caller, uid).await?;
        if UploadState::of(&row)? == UploadState::Saved {
            return Err(RegistryError::UploadNotOpen(row.uid));
        }
        let registry = Arc::clone(self);
        let removing = self.spawn(async move { registry.remove_upload(&row).await });
        removing.await.unwrap_or(Err(RegistryError::StreamIncomplete))
    }

    /// Removes an upload that is no artifact: its row first, so that nothing more is recorded.
    async fn remove_upload(&self, row: &UploadRow) -> Result<()> {
        self.upload_locks.supersede(row.id);
        self.hashes_ahead.forget(row.id);
        let id = row.id;
        let removed = self.db.write::<_, DbError, _>(move |txn| {
            Box::pin(async move {
                let Some(row) = uploads::lock(txn, id).await? else {
                    return Ok(false);
                };
                if row.state != UploadState::Saved.code() {
                    uploads::delete(txn, id).await?;
                }
                fault::point("uploads.removed_in_transaction");
                Ok(row.state != UploadState::Saved.code())
            })
        });
        if !removed.await? {
            return Ok(());
        }
        fault::point("uploads.row_removed");
        let storage = self.places.storage_by_id(row.storage_id)?;
        let object = object_of(row)?;
        storage.store.parts.abort(&object).await?;
        if row.state != UploadState::Open.code() {
            storage.store.writer.delete(&object.name).await?;
        }
        Ok(())
    }

    /// Ends an upload whose store has forgotten it, so that the same request begins another;
    /// answers what to say of it, else of what failed.
    pub(super) async fn end_if_lost(
        &self,
        (row, epoch): (&UploadRow, i64),
        store: &Store,
        otherwise: RegistryError,
    ) -> RegistryError {
        let Ok(object) = object_of(row) else { return otherwise };
        if !store.parts.is_lost(&object).await.unwrap_or(false) {
            return otherwise;
        }
        tracing::warn!(upload = row.uid, object = %object.name, "The storage has forgotten an upload");
        let id = row.id;
        let ended = self.db.write::<_, DbError, _>(move |txn| {
            Box::pin(async move {
                // Another part of it may have found the same before.
                let Some(now) = uploads::lock(txn, id).await? else {
                    return Ok(true);
                };
                let is_held = now.epoch == epoch && now.state != UploadState::Saved.code();
                if is_held {
                    uploads::delete(txn, id).await?;
                }
                Ok(is_held)
            })
        });
        match ended.await {
            Ok(true) => {
                self.hashes_ahead.forget(id);
                RegistryError::UploadNotFound(row.uid.clone())
            }
            Ok(false) => RegistryError::UploadFenced(row.uid.clone()),
            Err(_) => otherwise,
        }
    }

    /// Removes uploads that expired, and what is known of those that are artifacts.
    pub(in crate::registry) async fn sweep_uploads(&self) -> Result<u64> {
        let mut swept = 0;
        loop {
            let expired = uploads::expired(self.db.reader(), now_us(), SWEPT_AT_ONCE).await?;
            if expired.is_empty() || self.is_ending() {
                return Ok(swept);
            }
            for row in expired {
                swept += 1;
                if UploadState::of(&row)? != UploadState::Saved {
                    self.remove_upload(&row).await?;
                    continue;
                }
                let id = row.id;
                let forgotten = self
                    .db
                    .write::<_, DbError, _>(move |txn| Box::pin(async move { uploads::delete(txn, id).await }));
                forgotten.await?;
            }
        }
    }
}
