//! Indexes that fit what is asked.
//!
//! Artifacts with one content are read newest first, few of many. Most artifacts
//! have no manifest, and nobody reads them in the order of a storage.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_content_order"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

const UP: &str = r#"
DROP INDEX artifacts_content;
CREATE INDEX artifacts_content ON artifacts (space_id, sha256, size_bytes, id);
DROP INDEX artifacts_manifest;
CREATE INDEX artifacts_manifest ON artifacts (manifest_id) WHERE manifest_id IS NOT NULL;
DROP INDEX artifacts_storage;
"#;
