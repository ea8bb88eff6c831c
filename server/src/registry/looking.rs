//! Looking into content while it is saved: what it is, and what its table is like.
//!
//! The bytes are durable by then and no record names them yet, so what is found stands
//! in the record from the start. A look is short, and a content that cannot be looked
//! into is saved all the same.

use std::{ops::Deref, sync::Arc};

use artifactd_domain::{Accessor, COLUMNS_SLOT, FoundColumn, Sha256, Suffix};
use bytes::Bytes;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::{
    Registry, RegistryError, Result, StoragePlace,
    content::{Declared, Stored},
    placing::integer,
};
use crate::{
    arrays::{self, Found, Place, TableSummary},
    blocking,
    db::{
        Batch,
        blobs::{self, BlobPlace},
        tables::{self, StoredTable},
    },
    storage::{BlobContent, BlockSums, Member},
};

/// What was found in the content of a save.
#[derive(Debug, Clone, Default)]
pub(in crate::registry) struct Facts(Arc<Found>);

impl Deref for Facts {
    type Target = Found;

    fn deref(&self) -> &Found {
        &self.0
    }
}

impl From<Found> for Facts {
    fn from(found: Found) -> Self {
        Self(Arc::new(found))
    }
}

impl Facts {
    /// Fails when the content is something else than its sender says.
    pub(in crate::registry) fn require(&self, expected: Option<Accessor>) -> Result<()> {
        match expected {
            Some(expected) if self.accessor != Some(expected) => Err(RegistryError::AccessorMismatch {
                expected,
                why: self
                    .why_not
                    .clone()
                    .unwrap_or_else(|| "its suffix is that of no table".to_owned()),
            }),
            _ => Ok(()),
        }
    }

    /// The names that were found, by slot; whatever finds further slots adds them here.
    pub(in crate::registry) fn slots(&self) -> Vec<(&'static str, Vec<&str>)> {
        let table = self.table.as_ref();
        let columns = table.map(|table| table.columns.iter().map(|column| column.name.as_str()).collect());
        columns.map(|columns| (COLUMNS_SLOT, columns)).into_iter().collect()
    }

    /// The columns with what they hold, where there is a table.
    pub(in crate::registry) fn typed_columns(&self) -> Result<Option<Vec<FoundColumn>>> {
        let Some(table) = &self.table else { return Ok(None) };
        let schema = arrays::read_schema(&table.schema).map_err(RegistryError::Array)?;
        Ok(Some(arrays::found_columns(&schema)))
    }

    pub(in crate::registry) fn accessor_code(&self) -> Option<i16> {
        self.accessor.map(Accessor::code)
    }

    pub(in crate::registry) fn n_observations(&self) -> Option<i64> {
        self.0.n_observations().and_then(|rows| i64::try_from(rows).ok())
    }

    /// Adds what is known of the table to the record of its artifact.
    pub(in crate::registry) fn write(&self, batch: &mut Batch, artifact_id: i64) {
        if let Some(table) = self.stored_table() {
            batch.insert(tables::insert(artifact_id, &table));
        }
    }

    /// What is known of the table, as it stands beside the record of an artifact.
    pub(in crate::registry) fn stored_table(&self) -> Option<StoredTable> {
        self.table.as_deref().map(to_row)
    }

    /// Whether these are the same, found once.
    pub(in crate::registry) fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What is known of a table that was looked at before; nothing where it cannot be read.
pub(super) fn from_row(stored: &StoredTable, n_observations: Option<i64>) -> Option<TableSummary> {
    Some(TableSummary {
        format: stored.format.clone(),
        n_rows: n_observations.and_then(|rows| u64::try_from(rows).ok()),
        columns: serde_json::from_str(&stored.columns_json).ok()?,
        schema: stored.arrow_schema.clone(),
        hint: serde_json::from_str(&stored.hint_json).ok()?,
    })
}

fn to_row(table: &TableSummary) -> StoredTable {
    StoredTable {
        format: table.format.clone(),
        arrow_schema: table.schema.clone(),
        columns_json: serde_json::to_string(&table.columns).expect("columns are plain data"),
        hint_json: serde_json::to_string(&table.hint).expect("hints are plain data"),
    }
}

impl Registry {
    /// Looks into content that is durable.
    pub(super) async fn look(
        &self,
        storage: &StoragePlace,
        suffix: &Suffix,
        stored: &Stored,
        whole: Option<&Bytes>,
    ) -> Facts {
        if !arrays::is_looked_at(suffix.as_str()) {
            return Facts::default();
        }
        if let Some(whole) = whole {
            return look_here(suffix, whole);
        }
        let content = BlobContent {
            object: stored.object.name.clone(),
            offset: 0,
            size_bytes: stored.digest.size_bytes,
            sums: BlockSums::Inline(stored.digest.block_crc32c.clone().into()),
        };
        self.look_at(storage, suffix, content).await
    }

    /// Looks into content that a storage is said to hold.
    async fn look_at_claimed(
        &self,
        storage: &StoragePlace,
        suffix: &Suffix,
        sha256: &Sha256,
        size_bytes: Option<u64>,
    ) -> Result<Facts> {
        if !arrays::is_looked_at(suffix.as_str()) {
            return Ok(Facts::default());
        }
        let reader = self.db.reader();
        let blob = match size_bytes {
            Some(size) => blobs::find(reader, storage.id, sha256, integer(size)?).await?,
            None => blobs::find_by_digest(reader, storage.id, sha256).await?,
        };
        let Some(blob) = blob.filter(|blob| blob.damaged_since_us.is_none()) else {
            return Ok(Facts::default());
        };
        match blobs::place(reader, blob.id).await? {
            Some(place) => self.look_at_place(storage, suffix, &place).await,
            None => Ok(Facts::default()),
        }
    }

    /// The same by what a sender declares.
    pub(super) async fn look_at_claim(
        &self,
        storage: &StoragePlace,
        suffix: &Suffix,
        declared: Declared,
    ) -> Result<Facts> {
        match declared.sha256 {
            Some(sha256) => {
                self.look_at_claimed(storage, suffix, &sha256, declared.size_bytes)
                    .await
            }
            None => Ok(Facts::default()),
        }
    }

    async fn look_at_place(&self, storage: &StoragePlace, suffix: &Suffix, place: &BlobPlace) -> Result<Facts> {
        let content = self.content_at(place)?;
        Ok(self.look_at(storage, suffix, content).await)
    }

    async fn look_at(&self, storage: &StoragePlace, suffix: &Suffix, content: BlobContent) -> Facts {
        let (path, size_bytes) = (Path::from("content"), content.size_bytes);
        let member = Member {
            path: path.clone(),
            content,
        };
        let view = self.view(&storage.store, vec![member]);
        // Ends the look when the save goes away.
        let cancel = CancellationToken::new();
        let _ended = cancel.clone().drop_guard();
        let place = Place::stored(Arc::new(view), path, size_bytes, cancel);
        let suffix = suffix.to_string();
        let looked = tokio::task::spawn_blocking(move || arrays::look_into(place, &suffix));
        looked.await.unwrap_or_default().into()
    }
}

/// Looks into content that is all here.
pub(super) fn look_here(suffix: &Suffix, content: &Bytes) -> Facts {
    if !arrays::is_looked_at(suffix.as_str()) {
        return Facts::default();
    }
    let place = Place::here(content.clone());
    blocking::in_place(|| arrays::look_into(place, suffix.as_str())).into()
}
