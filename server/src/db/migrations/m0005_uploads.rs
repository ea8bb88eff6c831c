//! Uploads and their parts. The table of the spine was never used.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0005_uploads"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// An upload is open, then finalizing, then complete (its bytes are an object), then
// saved (a record names them): see `registry::uploads`. The header is kept as the door
// encoded it that took it.
const UP: &str = r#"
DROP TABLE uploads;
CREATE TABLE uploads (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    principal_id BIGINT NOT NULL REFERENCES principals (id),
    state SMALLINT NOT NULL,
    object_name {text} NOT NULL UNIQUE,
    store_upload_id {text},
    header {bytes} NOT NULL,
    request_id {text},
    request_hash {bytes},
    is_parallel BOOLEAN NOT NULL,
    part_bytes BIGINT NOT NULL,
    declared_size_bytes BIGINT,
    declared_sha256 {bytes},
    epoch BIGINT NOT NULL,
    hashed_bytes BIGINT NOT NULL,
    busy_until_us BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    answer {text},
    hash_state {text}
);
CREATE INDEX uploads_expiry ON uploads (expires_at_us);
CREATE INDEX uploads_owner ON uploads (principal_id, id);
CREATE UNIQUE INDEX uploads_request ON uploads (principal_id, request_id) WHERE request_id IS NOT NULL;
CREATE TABLE upload_parts (
    upload_id BIGINT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    crc32c {bytes} NOT NULL,
    store_part {text} NOT NULL,
    PRIMARY KEY (upload_id, number)
);
"#;
