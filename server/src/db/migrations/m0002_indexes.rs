//! Indexes that fit what is asked; each costs every save a page.
//!
//! - Artifacts with one content are read newest first, few of many.
//! - Most artifacts have no manifest, and a label that is not the number itself is rare.
//! - Nobody reads artifacts in the order of a storage, or events by artifact.
//! - Old requests are removed in the order in which they came, which SQLite keeps in
//!   the table and PostgreSQL in an index of a few pages.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_indexes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            run_script(manager, UP_POSTGRES).await?;
        }
        Ok(())
    }
}

const UP: &str = r#"
DROP INDEX artifacts_content;
CREATE INDEX artifacts_content ON artifacts (space_id, sha256, size_bytes, id);
DROP INDEX artifacts_manifest;
CREATE INDEX artifacts_manifest ON artifacts (manifest_id) WHERE manifest_id IS NOT NULL;
DROP INDEX artifacts_version_label;
CREATE UNIQUE INDEX artifacts_version_label ON artifacts (family_id, version_label)
    WHERE version_label <> CAST(version_number AS TEXT);
DROP INDEX artifacts_storage;
DROP INDEX events_artifact;
DROP INDEX requests_created;
"#;

const UP_POSTGRES: &str = r#"
CREATE INDEX requests_created ON requests USING brin (created_at_us);
"#;
