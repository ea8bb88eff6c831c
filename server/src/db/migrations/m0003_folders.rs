//! Folders: saves of large ones in progress, and manifests that nobody uses any more.
//!
//! A page that is in no manifest yet is held by the save that wrote it, for as long
//! as its lease runs. Manifests of destroyed artifacts are taken apart in steps.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_folders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

const UP: &str = r#"
ALTER TABLE manifests ADD COLUMN garbage_since_us BIGINT;
ALTER TABLE manifests ADD COLUMN keeps_bytes BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX manifests_garbage ON manifests (id) WHERE garbage_since_us IS NOT NULL;
DROP INDEX manifests_content;
CREATE TABLE folder_saves (
    id {id},
    uid {text} NOT NULL UNIQUE,
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    principal_id BIGINT NOT NULL REFERENCES principals (id),
    lease_until_us BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX folder_saves_lease ON folder_saves (lease_until_us);
CREATE TABLE folder_save_pages (
    save_id BIGINT NOT NULL REFERENCES folder_saves (id) ON DELETE CASCADE,
    page_id BIGINT NOT NULL REFERENCES manifest_pages (id),
    PRIMARY KEY (save_id, page_id)
);
CREATE INDEX folder_save_pages_page ON folder_save_pages (page_id);
"#;
