//! Immutable bytes, found in an object.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "blobs")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) storage_id: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) size_bytes: i64,
    pub(crate) object_id: i64,
    pub(crate) offset_bytes: i64,
    pub(crate) crc32c: Option<i64>,
    pub(crate) damaged_since_us: Option<i64>,
    pub(crate) kept: bool,
    pub(crate) created_at_us: i64,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
