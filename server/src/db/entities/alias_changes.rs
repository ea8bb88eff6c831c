//! What happened to aliases.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alias_changes")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) family_id: i64,
    pub(crate) name: String,
    pub(crate) from_uid: Option<String>,
    pub(crate) to_uid: Option<String>,
    pub(crate) changed_by: i64,
    pub(crate) changed_at_us: i64,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
