//! Ordered sets of artifacts.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0009_collections"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// A member is an artifact that is pinned, a family whose latest version is meant, or the
// uid of what was destroyed.
const UP: &str = r#"
CREATE TABLE collection_families (
    id {id},
    stem {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    "key" {text} NOT NULL,
    next_number INTEGER NOT NULL,
    next_suffix {text},
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX collection_families_key ON collection_families ("key", space_id);
CREATE TABLE collections (
    id {id},
    uid {text} NOT NULL UNIQUE,
    family_id BIGINT NOT NULL REFERENCES collection_families (id),
    version_number INTEGER NOT NULL,
    version_label {text} NOT NULL,
    is_latest BOOLEAN NOT NULL,
    description {text},
    sha256 {bytes} NOT NULL,
    n_members BIGINT NOT NULL,
    run_id BIGINT REFERENCES runs (id),
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX collections_version_number ON collections (family_id, version_number);
CREATE UNIQUE INDEX collections_version_label ON collections (family_id, version_label);
CREATE UNIQUE INDEX collections_latest ON collections (family_id) WHERE is_latest;
CREATE INDEX collections_run ON collections (run_id) WHERE run_id IS NOT NULL;
CREATE TABLE collection_members (
    collection_id BIGINT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    artifact_id BIGINT REFERENCES artifacts (id),
    family_id BIGINT REFERENCES families (id),
    lost_uid {text},
    PRIMARY KEY (collection_id, place)
);
CREATE INDEX collection_members_artifact ON collection_members (artifact_id) WHERE artifact_id IS NOT NULL;
CREATE INDEX collection_members_family ON collection_members (family_id) WHERE family_id IS NOT NULL;
"#;
