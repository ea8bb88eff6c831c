//! Garbage: an object whose bytes are removed keeps its row for a while.
//!
//! Names of objects are never used twice, but a process that was frozen may wake up
//! and name one. While the row is there it cannot.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0004_garbage"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

const UP: &str = r#"
ALTER TABLE objects ADD COLUMN deleted_at_us BIGINT;
CREATE INDEX objects_deleted ON objects (deleted_at_us) WHERE deleted_at_us IS NOT NULL;
"#;
