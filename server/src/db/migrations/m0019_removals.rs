//! Files in place that go with their records.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0019_removals"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// Before it is committed a removal is a plan, which ends with its lease. The index tells
// whether another record names a path: there may be many, and few of them in place.
const UP: &str = r#"
CREATE TABLE removals (
    id {id},
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    lease_until_us BIGINT NOT NULL,
    committed_at_us BIGINT
);
CREATE INDEX removals_storage ON removals (storage_id);
CREATE TABLE removal_files (
    removal_id BIGINT NOT NULL REFERENCES removals (id) ON DELETE CASCADE,
    path {text} NOT NULL,
    folder {text},
    sha256 {bytes} NOT NULL,
    size_bytes BIGINT NOT NULL,
    store_etag {text},
    modified_us BIGINT NOT NULL,
    PRIMARY KEY (removal_id, path)
);
CREATE INDEX removal_files_path ON removal_files (path);
CREATE INDEX artifacts_in_place ON artifacts (storage_id, "key") WHERE NOT key_is_virtual;
"#;
