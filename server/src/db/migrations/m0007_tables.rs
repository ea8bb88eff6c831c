//! What a look into content found: tables.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0007_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// What an artifact is opened as stands in its row; what is only needed to open it stands
// apart, so that a save of anything else writes no more than before.
const UP: &str = r#"
ALTER TABLE artifacts ADD COLUMN accessor SMALLINT;
ALTER TABLE artifacts ADD COLUMN n_observations BIGINT;
CREATE TABLE tables (
    artifact_id BIGINT PRIMARY KEY REFERENCES artifacts (id) ON DELETE CASCADE,
    format {text} NOT NULL,
    arrow_schema {bytes} NOT NULL,
    columns_json {text} NOT NULL,
    hint_json {text} NOT NULL
);
"#;
