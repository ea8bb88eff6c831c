//! Uploads under way to one key, counted.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0018_upload_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// Open and finalizing ones are under way.
const UP: &str = r#"
ALTER TABLE uploads ADD COLUMN key {text};
CREATE INDEX uploads_of_key ON uploads (space_id, key, expires_at_us) WHERE state < 2 AND key IS NOT NULL;
"#;
