//! Which blobs the entries of a manifest page name.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "manifest_page_blobs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) page_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) blob_id: i64,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
