//! Buckets that keep versions of what is removed, as trying them has shown.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0021_keeps_versions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

const UP: &str = r#"
ALTER TABLE storages ADD COLUMN keeps_versions BOOLEAN NOT NULL DEFAULT FALSE;
"#;
