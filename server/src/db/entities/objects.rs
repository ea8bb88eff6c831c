//! Physical objects in storages.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "objects")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) storage_id: i64,
    pub(crate) name: String,
    pub(crate) is_pack: bool,
    pub(crate) size_bytes: i64,
    pub(crate) store_etag: Option<String>,
    pub(crate) garbage_since_us: Option<i64>,
    pub(crate) deleted_at_us: Option<i64>,
    pub(crate) created_at_us: i64,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
