//! All versions that share a stem: their lock and their memory.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "families")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) stem: String,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) next_number: i32,
    pub(crate) next_suffix: Option<String>,
    pub(crate) live_key: Option<String>,
    pub(crate) created_at_us: i64,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
