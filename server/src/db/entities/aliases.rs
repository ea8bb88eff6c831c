//! Names of families that point to versions.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "aliases")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) family_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) name: String,
    pub(crate) artifact_id: i64,
    pub(crate) revision: i64,
    pub(crate) set_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
