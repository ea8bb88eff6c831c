//! An artifact as its row says it, read by the numbers of its columns.

use sea_orm::{DbErr, FromQueryResult};
use serde::{Deserialize, Serialize};

use crate::db::cells::{Cell, Cells, FromCells};

/// An artifact and where its bytes lie.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct ArtifactRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) family_id: i64,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) version_number: i32,
    pub(crate) version_label: String,
    pub(crate) is_latest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) key_is_virtual: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) kind: i16,
    pub(crate) suffix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) hash_type: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) n_objects: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest_id: Option<i64>,
    pub(crate) visibility: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) visibility_before_trash: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trash_batch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trashed_at_us: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_previous_runs: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transform_uid: Option<String>,
    /// Uids of runs that made it again or changed it.
    #[sea_orm(skip)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) previous_runs: Vec<String>,
    pub(crate) accessor: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) n_observations: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_is_pack: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset_bytes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<i64>,
}

impl FromCells for ArtifactRow {
    /// In the order in which [`select`](super::select) names its columns.
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            id: cells.next()?,
            uid: cells.next()?,
            family_id: cells.next()?,
            space_id: cells.next()?,
            storage_id: cells.next()?,
            version_number: cells.next()?,
            version_label: cells.next()?,
            is_latest: cells.next()?,
            key: cells.next()?,
            key_is_virtual: cells.next()?,
            description: cells.next()?,
            kind: cells.next()?,
            suffix: cells.next()?,
            file_name: cells.next()?,
            media_type: cells.next()?,
            size_bytes: cells.next()?,
            sha256: cells.next()?,
            hash_type: cells.next()?,
            n_objects: cells.next()?,
            blob_id: cells.next()?,
            manifest_id: cells.next()?,
            visibility: cells.next()?,
            visibility_before_trash: cells.next()?,
            trash_batch: cells.next()?,
            trashed_at_us: cells.next()?,
            revision: cells.next()?,
            created_by: cells.next()?,
            created_at_us: cells.next()?,
            updated_at_us: cells.next()?,
            run_id: cells.next()?,
            has_previous_runs: cells.next()?,
            accessor: cells.next()?,
            n_observations: cells.next()?,
            object_name: cells.next()?,
            object_is_pack: cells.next()?,
            run_uid: cells.next()?,
            transform_uid: cells.next()?,
            object_id: cells.next()?,
            offset_bytes: cells.next()?,
            crc32c: cells.next()?,
            previous_runs: Vec::new(),
        })
    }
}

/// An artifact, and what the query names behind its columns.
pub(super) struct With<T>(pub(super) ArtifactRow, pub(super) T);

impl<T: Cell + Send> FromCells for With<T> {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self(ArtifactRow::from_cells(cells)?, cells.next()?))
    }
}

impl ArtifactRow {
    /// Counts a change of the record, as [`touch`](super::touch) does in a statement.
    pub(crate) fn touch(&mut self, now_us: i64) {
        self.revision += 1;
        self.updated_at_us = std::cmp::Ord::max(self.updated_at_us, now_us);
    }
}
