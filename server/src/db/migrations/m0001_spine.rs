//! The spine: places, families, versions, content, uploads, events.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_spine"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// Times are microseconds since 1970 UTC. Enumerations are small integers whose
// meaning `artifactd_domain` defines. Reference columns are foreign keys: they
// are what keeps bytes alive, so there are no counters to drift.
const UP: &str = r#"
CREATE TABLE principals (
    id {id},
    uid {text} NOT NULL UNIQUE,
    name {text} NOT NULL UNIQUE,
    created_at_us BIGINT NOT NULL
);
CREATE TABLE spaces (
    id {id},
    uid {text} NOT NULL UNIQUE,
    name {text} NOT NULL UNIQUE,
    default_storage_id BIGINT,
    created_at_us BIGINT NOT NULL
);
CREATE TABLE storages (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    name {text} NOT NULL UNIQUE,
    root {text} NOT NULL,
    managed BOOLEAN NOT NULL,
    read_only BOOLEAN NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE TABLE objects (
    id {id},
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    name {text} NOT NULL UNIQUE,
    is_pack BOOLEAN NOT NULL,
    size_bytes BIGINT NOT NULL,
    store_etag {text},
    garbage_since_us BIGINT,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX objects_garbage ON objects (garbage_since_us) WHERE garbage_since_us IS NOT NULL;
CREATE TABLE blobs (
    id {id},
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    sha256 {bytes} NOT NULL,
    size_bytes BIGINT NOT NULL,
    object_id BIGINT NOT NULL REFERENCES objects (id),
    offset_bytes BIGINT NOT NULL,
    crc32c BIGINT,
    damaged_since_us BIGINT,
    kept BOOLEAN NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX blobs_content ON blobs (storage_id, sha256, size_bytes);
CREATE INDEX blobs_object ON blobs (object_id);
CREATE TABLE blob_checksums (
    blob_id BIGINT NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
    page BIGINT NOT NULL,
    crc32c {bytes} NOT NULL,
    PRIMARY KEY (blob_id, page)
);
CREATE TABLE manifests (
    id {id},
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    sha256 {bytes} NOT NULL,
    size_bytes BIGINT NOT NULL,
    n_objects BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX manifests_content ON manifests (storage_id, sha256);
CREATE TABLE manifest_pages (
    id {id},
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    sha256 {bytes} NOT NULL,
    entries {bytes} NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX manifest_pages_content ON manifest_pages (storage_id, sha256);
CREATE TABLE manifest_page_places (
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    first_path {text} NOT NULL,
    page_id BIGINT NOT NULL REFERENCES manifest_pages (id),
    PRIMARY KEY (manifest_id, first_path)
);
CREATE INDEX manifest_page_places_page ON manifest_page_places (page_id);
CREATE TABLE manifest_page_blobs (
    page_id BIGINT NOT NULL REFERENCES manifest_pages (id) ON DELETE CASCADE,
    blob_id BIGINT NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (page_id, blob_id)
);
CREATE INDEX manifest_page_blobs_blob ON manifest_page_blobs (blob_id);
CREATE TABLE families (
    id {id},
    stem {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    next_number INTEGER NOT NULL,
    next_suffix {text},
    live_key {text},
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX families_live_key ON families (storage_id, live_key) WHERE live_key IS NOT NULL;
CREATE TABLE artifacts (
    id {id},
    uid {text} NOT NULL UNIQUE,
    family_id BIGINT NOT NULL REFERENCES families (id),
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    version_number INTEGER NOT NULL,
    version_label {text} NOT NULL,
    is_latest BOOLEAN NOT NULL,
    "key" {text},
    key_is_virtual BOOLEAN NOT NULL,
    description {text},
    kind SMALLINT NOT NULL,
    suffix {text} NOT NULL,
    file_name {text},
    media_type {text} NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 {bytes} NOT NULL,
    hash_type SMALLINT NOT NULL,
    n_objects BIGINT,
    blob_id BIGINT REFERENCES blobs (id),
    manifest_id BIGINT REFERENCES manifests (id),
    visibility SMALLINT NOT NULL,
    visibility_before_trash SMALLINT,
    trash_batch {text},
    trashed_at_us BIGINT,
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX artifacts_version_number ON artifacts (family_id, version_number);
CREATE UNIQUE INDEX artifacts_version_label ON artifacts (family_id, version_label);
CREATE UNIQUE INDEX artifacts_latest ON artifacts (family_id) WHERE is_latest;
CREATE INDEX artifacts_created ON artifacts (space_id, visibility, created_at_us, uid);
CREATE INDEX artifacts_content ON artifacts (space_id, sha256, size_bytes);
CREATE INDEX artifacts_blob ON artifacts (blob_id);
CREATE INDEX artifacts_manifest ON artifacts (manifest_id);
CREATE INDEX artifacts_storage ON artifacts (storage_id, id);
CREATE TABLE uploads (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    storage_id BIGINT NOT NULL REFERENCES storages (id),
    principal_id BIGINT NOT NULL REFERENCES principals (id),
    state SMALLINT NOT NULL,
    object_name {text} NOT NULL UNIQUE,
    store_upload_id {text},
    declared_size_bytes BIGINT,
    declared_sha256 {bytes},
    durable_size_bytes BIGINT NOT NULL,
    hash_state {bytes},
    epoch BIGINT NOT NULL,
    lease_until_us BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX uploads_expiry ON uploads (expires_at_us);
CREATE TABLE requests (
    principal_id BIGINT NOT NULL REFERENCES principals (id),
    request_id {text} NOT NULL,
    request_hash {bytes} NOT NULL,
    content_sha256 {bytes},
    answer {text} NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (principal_id, request_id)
);
CREATE INDEX requests_created ON requests (created_at_us);
CREATE TABLE events (
    id {id},
    position BIGINT UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    principal_id BIGINT NOT NULL REFERENCES principals (id),
    kind {text} NOT NULL,
    artifact_uid {text},
    call_id {text} NOT NULL,
    detail {text} NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE INDEX events_unplaced ON events (id) WHERE position IS NULL;
CREATE INDEX events_artifact ON events (artifact_uid, id);
CREATE TABLE leases (
    name {text} PRIMARY KEY,
    holder {text} NOT NULL,
    epoch BIGINT NOT NULL,
    until_us BIGINT NOT NULL
);
"#;
