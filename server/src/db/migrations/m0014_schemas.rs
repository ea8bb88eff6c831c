//! Feature sets of artifacts, and schemas.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0014_schemas"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// A set is known by the hash over its features, so that artifacts with the same columns
// share one. A table none of whose columns is registered has no row here.
const UP: &str = r#"
CREATE TABLE feature_sets (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    hash {bytes} NOT NULL,
    n_features BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX feature_sets_hash ON feature_sets (space_id, hash);
CREATE TABLE feature_set_members (
    feature_set_id BIGINT NOT NULL REFERENCES feature_sets (id) ON DELETE CASCADE,
    feature_id BIGINT NOT NULL REFERENCES features (id),
    PRIMARY KEY (feature_set_id, feature_id)
);
CREATE INDEX feature_set_members_feature ON feature_set_members (feature_id, feature_set_id);
CREATE TABLE artifact_feature_sets (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    slot {text} NOT NULL,
    feature_set_id BIGINT NOT NULL REFERENCES feature_sets (id),
    PRIMARY KEY (artifact_id, slot)
);
CREATE INDEX artifact_feature_sets_set ON artifact_feature_sets (feature_set_id, artifact_id);
CREATE TABLE schemas (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    name {text} NOT NULL,
    description {text},
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX schemas_name ON schemas (name, space_id);
CREATE TABLE schema_slots (
    schema_id BIGINT NOT NULL REFERENCES schemas (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    slot {text} NOT NULL,
    is_closed BOOLEAN NOT NULL,
    PRIMARY KEY (schema_id, place)
);
CREATE TABLE schema_features (
    schema_id BIGINT NOT NULL REFERENCES schemas (id) ON DELETE CASCADE,
    slot_place BIGINT NOT NULL,
    place BIGINT NOT NULL,
    feature_id BIGINT NOT NULL REFERENCES features (id),
    name {text} NOT NULL,
    dtype {text} NOT NULL,
    is_required BOOLEAN NOT NULL,
    PRIMARY KEY (schema_id, slot_place, place)
);
CREATE INDEX schema_features_feature ON schema_features (feature_id, schema_id);
CREATE TABLE artifact_schemas (
    artifact_id BIGINT PRIMARY KEY REFERENCES artifacts (id) ON DELETE CASCADE,
    schema_id BIGINT NOT NULL REFERENCES schemas (id)
);
CREATE INDEX artifact_schemas_schema ON artifact_schemas (schema_id, artifact_id);
"#;
