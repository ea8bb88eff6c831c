//! What happened, in order once it has a position.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) position: Option<i64>,
    pub(crate) space_id: i64,
    pub(crate) principal_id: i64,
    pub(crate) kind: String,
    pub(crate) artifact_uid: Option<String>,
    pub(crate) call_id: String,
    pub(crate) detail: String,
    pub(crate) at_us: i64,
    pub(crate) subject: Option<String>,
}

/// None are declared: the queries say their joins.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
