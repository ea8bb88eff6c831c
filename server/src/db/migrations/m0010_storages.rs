//! Storages that are registered while the server runs.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0010_storages"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// What a configuration names is not registered: only that server opens it.
const UP: &str = r#"
ALTER TABLE storages ADD COLUMN registered BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE storages ADD COLUMN region {text};
ALTER TABLE storages ADD COLUMN endpoint {text};
ALTER TABLE storages ADD COLUMN description {text};
ALTER TABLE storages ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE storages ADD COLUMN created_by BIGINT REFERENCES principals (id);
ALTER TABLE storages ADD COLUMN updated_at_us BIGINT;
"#;
