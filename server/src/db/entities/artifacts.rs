//! Versions of datasets, models and code.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "artifacts")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) family_id: i64,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) version_number: i32,
    pub(crate) version_label: String,
    pub(crate) is_latest: bool,
    pub(crate) key: Option<String>,
    pub(crate) key_is_virtual: bool,
    pub(crate) description: Option<String>,
    pub(crate) kind: i16,
    pub(crate) suffix: String,
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) hash_type: i16,
    pub(crate) n_objects: Option<i64>,
    pub(crate) blob_id: Option<i64>,
    pub(crate) manifest_id: Option<i64>,
    pub(crate) visibility: i16,
    pub(crate) visibility_before_trash: Option<i16>,
    pub(crate) trash_batch: Option<String>,
    pub(crate) trashed_at_us: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
    pub(crate) run_id: Option<i64>,
    pub(crate) has_previous_runs: bool,
    pub(crate) accessor: Option<i16>,
    pub(crate) n_observations: Option<i64>,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
