//! What is known of the tables that artifacts hold.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tables")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) artifact_id: i64,
    pub(crate) format: String,
    pub(crate) arrow_schema: Vec<u8>,
    pub(crate) columns_json: String,
    pub(crate) hint_json: String,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
