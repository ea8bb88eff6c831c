//! crc32c of the blocks of blobs that have more than one.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "blob_checksums")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) blob_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) page: i64,
    pub(crate) crc32c: Vec<u8>,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
