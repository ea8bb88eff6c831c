//! Indexes for lists in every order, and for what filters look up.
//!
//! Each costs every save a page. A list in an order walks its index, and a filter on
//! an ordered column is a range of it. The index of keys also holds the time of
//! creation, so that the newest of those with a prefix are found without their rows.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0006_orders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

const UP: &str = r#"
CREATE INDEX artifacts_key ON artifacts (space_id, visibility, "key", uid, created_at_us);
CREATE INDEX artifacts_updated ON artifacts (space_id, visibility, updated_at_us, uid);
CREATE INDEX artifacts_size ON artifacts (space_id, visibility, size_bytes, uid);
"#;
