//! Files in place that go with their records, where whoever destroys these asks for it.
//!
//! A file belongs to its owner, who may have changed it: it is looked at first, and one that
//! is not as it was registered refuses the call, before anything is lost. What is to go is
//! written down as a plan (`plan`). The transaction that destroys the records commits the
//! plan; from then on its files go, now or after the next start. A file stays that another
//! record needs (`needed`), and one that is not as it was seen any more.
//!
//! There is no grace, as there is for objects of the server: who reads a file in place is
//! told when it is gone, whoever removed it. And nothing can come to need a file that goes:
//! whoever registers it is turned away until it is gone.

mod needed;
mod plan;

use std::sync::Arc;

pub(super) use self::plan::Plan;
use super::{Registry, RegistryError, Result, StoragePlace, now_us};
use crate::{
    db::{
        DbError, Txn,
        removals::{self, DoomedFile, Removal},
    },
    fault,
    storage::{FileSeen, FileToRemove, StorageError},
};

/// Files that are looked at, or removed, at once.
const FILES_AT_ONCE: i64 = 256;

/// Files of abandoned plans that are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Fails where nothing may be removed, or where the root is away.
fn require_removable(storage: &StoragePlace) -> Result<()> {
    if storage.is_read_only {
        return Err(RegistryError::StorageOnlyRead(storage.name.clone()));
    }
    match storage.store.is_absent() {
        true => Err(StorageError::Unavailable(format!("storage {} is not open", storage.name).into()).into()),
        false => Ok(()),
    }
}

/// Fails while a file goes that is about to be registered, or one below a folder.
pub(super) async fn require_staying(txn: &Txn, storage_id: i64, key: &str, is_folder: bool) -> Result<()> {
    match removals::is_going(txn, storage_id, key, is_folder).await? {
        true => Err(RegistryError::ChangedInPlace(key.to_owned())),
        false => Ok(()),
    }
}

impl Registry {
    /// Removes the files of committed removals, and forgets plans that nobody committed. What
    /// cannot be removed now is tried again another time.
    pub(super) async fn sweep_removals(self: &Arc<Self>) -> Result<()> {
        let mut after = 0;
        while let Some(removal) = removals::committed(self.db.reader(), after).await? {
            if self.is_ending() {
                return Ok(());
            }
            after = removal.id;
            self.remove_files(removal).await?;
        }
        loop {
            let forgotten = self.db.write::<_, DbError, _>(move |txn| {
                Box::pin(async move { removals::forget_abandoned(txn, now_us(), FORGOTTEN_AT_ONCE).await })
            });
            if !forgotten.await? || self.is_ending() {
                return Ok(());
            }
        }
    }

    /// Removes the files of a committed removal.
    pub(super) async fn remove_files(self: &Arc<Self>, removal: Removal) -> Result<()> {
        // What lies below a root that is not there now goes another time.
        let Ok(storage) = self.places.storage_by_id(removal.storage_id) else {
            return Ok(());
        };
        if require_removable(storage).is_err() {
            return Ok(());
        }
        // Nothing may find a content in a file that goes: `verify` would miss it.
        self.sweep_folders().await?;
        let mut after = String::new();
        while !self.is_ending() {
            let files = removals::files(self.db.reader(), removal.id, &after, FILES_AT_ONCE).await?;
            let Some(last) = files.last() else {
                let ended = self
                    .db
                    .write::<_, DbError, _>(move |txn| Box::pin(async move { removals::end(txn, removal.id).await }));
                return Ok(ended.await?);
            };
            after.clone_from(&last.path);
            let done = self.remove_some(storage, files).await?;
            fault::point("remove.files_gone");
            let forgotten = self.db.write::<_, DbError, _>(move |txn| {
                let done = done.clone();
                Box::pin(async move {
                    removals::done(txn, removal.id, &done).await?;
                    fault::point("remove.in_transaction");
                    Ok(())
                })
            });
            forgotten.await?;
        }
        Ok(())
    }

    /// Removes some files; answers the paths of those that are gone or stay.
    async fn remove_some(&self, storage: &StoragePlace, files: Vec<DoomedFile>) -> Result<Vec<String>> {
        let needed = self.needed(storage.id, &files, &[]).await?;
        let (staying, going): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| needed.contains(&file.path));
        let mut done: Vec<String> = staying.into_iter().map(|file| file.path).collect();
        let paths: Vec<String> = going.iter().map(|file| file.path.clone()).collect();
        let going = going.into_iter().map(to_remove).collect();
        for (path, removed) in paths.into_iter().zip(storage.store.remove_in_place(going).await) {
            match removed {
                Ok(_) => done.push(path),
                Err(error) => {
                    let storage = &storage.name;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(storage, path, error, "Could not remove {path}, which goes another time");
                }
            }
        }
        Ok(done)
    }
}

fn to_remove(file: DoomedFile) -> FileToRemove {
    let DoomedFile {
        path,
        folder,
        sha256: _,
        size_bytes,
        store_etag,
        modified_us,
    } = file;
    FileToRemove {
        seen: FileSeen {
            path,
            size_bytes: size_bytes.unsigned_abs(),
            etag: store_etag,
            modified_us,
        },
        folder,
    }
}
