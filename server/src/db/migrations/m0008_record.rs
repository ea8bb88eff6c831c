//! The record around an artifact: features, labels, values, transforms, runs.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0008_record"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// A value or label of an artifact carries the time of the artifact, which never changes:
// the indexes hold what matches in the order of lists, so that the first page of what
// matches costs the same however much does. Each row of values is in one of the indexes
// by value: whole numbers, days, times and booleans in the first. A list and a dict have
// a row with their document and its digest; the items of a list have rows of their own,
// by which it is found.
const UP: &str = r#"
CREATE TABLE label_registries (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    name {text} NOT NULL,
    description {text},
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX label_registries_name ON label_registries (name, space_id);
CREATE TABLE labels (
    id {id},
    uid {text} NOT NULL UNIQUE,
    registry_id BIGINT NOT NULL REFERENCES label_registries (id),
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    name {text} NOT NULL,
    ontology_id {text},
    abbreviation {text},
    description {text},
    reference {text},
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX labels_name ON labels (registry_id, name, space_id);
CREATE UNIQUE INDEX labels_ontology_id ON labels (registry_id, ontology_id, space_id) WHERE ontology_id IS NOT NULL;
CREATE TABLE label_synonyms (
    label_id BIGINT NOT NULL REFERENCES labels (id) ON DELETE CASCADE,
    synonym {text} NOT NULL,
    PRIMARY KEY (label_id, synonym)
);
CREATE INDEX label_synonyms_synonym ON label_synonyms (synonym, label_id);
CREATE TABLE label_parents (
    child_id BIGINT NOT NULL REFERENCES labels (id) ON DELETE CASCADE,
    parent_id BIGINT NOT NULL REFERENCES labels (id),
    PRIMARY KEY (child_id, parent_id)
);
CREATE INDEX label_parents_parent ON label_parents (parent_id, child_id);
CREATE TABLE features (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    role SMALLINT NOT NULL,
    name {text} NOT NULL,
    dtype {text} NOT NULL,
    unit {text},
    description {text},
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX features_name ON features (role, name, space_id);
CREATE TABLE feature_synonyms (
    feature_id BIGINT NOT NULL REFERENCES features (id) ON DELETE CASCADE,
    synonym {text} NOT NULL,
    PRIMARY KEY (feature_id, synonym)
);
CREATE INDEX feature_synonyms_synonym ON feature_synonyms (synonym, feature_id);
CREATE TABLE feature_registries (
    feature_id BIGINT NOT NULL REFERENCES features (id) ON DELETE CASCADE,
    registry_id BIGINT NOT NULL REFERENCES label_registries (id),
    PRIMARY KEY (feature_id, registry_id)
);
CREATE INDEX feature_registries_registry ON feature_registries (registry_id);
CREATE TABLE feature_values (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    feature_id BIGINT NOT NULL REFERENCES features (id),
    int_value BIGINT,
    float_value DOUBLE PRECISION,
    text_value {text},
    document {text},
    is_item BOOLEAN NOT NULL,
    artifact_at_us BIGINT NOT NULL
);
CREATE INDEX feature_values_artifact ON feature_values (artifact_id, feature_id);
CREATE UNIQUE INDEX feature_values_int ON feature_values (feature_id, int_value, artifact_at_us, artifact_id)
    WHERE int_value IS NOT NULL;
CREATE UNIQUE INDEX feature_values_float ON feature_values (feature_id, float_value, artifact_at_us, artifact_id)
    WHERE float_value IS NOT NULL;
CREATE UNIQUE INDEX feature_values_text ON feature_values (feature_id, text_value, artifact_at_us, artifact_id)
    WHERE text_value IS NOT NULL;
CREATE TABLE artifact_labels (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    label_id BIGINT NOT NULL REFERENCES labels (id),
    feature_id BIGINT REFERENCES features (id),
    artifact_at_us BIGINT NOT NULL
);
CREATE INDEX artifact_labels_artifact ON artifact_labels (artifact_id, feature_id);
CREATE UNIQUE INDEX artifact_labels_label
    ON artifact_labels (label_id, artifact_at_us, artifact_id, COALESCE(feature_id, 0));
CREATE INDEX artifact_labels_feature ON artifact_labels (feature_id, label_id, artifact_at_us, artifact_id)
    WHERE feature_id IS NOT NULL;
CREATE TABLE transform_families (
    id {id},
    stem {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    "key" {text} NOT NULL,
    next_number INTEGER NOT NULL,
    next_suffix {text},
    created_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX transform_families_key ON transform_families ("key", space_id);
CREATE TABLE transforms (
    id {id},
    uid {text} NOT NULL UNIQUE,
    family_id BIGINT NOT NULL REFERENCES transform_families (id),
    version_number INTEGER NOT NULL,
    version_label {text} NOT NULL,
    is_latest BOOLEAN NOT NULL,
    kind SMALLINT NOT NULL,
    description {text},
    source {text},
    source_sha256 {bytes},
    reference {text},
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX transforms_version_number ON transforms (family_id, version_number);
CREATE UNIQUE INDEX transforms_version_label ON transforms (family_id, version_label);
CREATE UNIQUE INDEX transforms_latest ON transforms (family_id) WHERE is_latest;
CREATE TABLE runs (
    id {id},
    uid {text} NOT NULL UNIQUE,
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    transform_id BIGINT REFERENCES transforms (id),
    initiated_by_id BIGINT REFERENCES runs (id),
    name {text},
    status SMALLINT NOT NULL,
    exit_code BIGINT,
    error {text},
    params {text} NOT NULL,
    reference {text},
    report_id BIGINT REFERENCES artifacts (id),
    environment_id BIGINT REFERENCES artifacts (id),
    revision BIGINT NOT NULL,
    created_by BIGINT NOT NULL REFERENCES principals (id),
    started_at_us BIGINT,
    finished_at_us BIGINT,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);
CREATE INDEX runs_created ON runs (space_id, created_at_us, id);
CREATE INDEX runs_transform ON runs (transform_id, created_at_us, id) WHERE transform_id IS NOT NULL;
CREATE INDEX runs_report ON runs (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX runs_environment ON runs (environment_id) WHERE environment_id IS NOT NULL;
CREATE INDEX runs_initiated_by ON runs (initiated_by_id) WHERE initiated_by_id IS NOT NULL;
ALTER TABLE artifacts ADD COLUMN run_id BIGINT REFERENCES runs (id);
ALTER TABLE artifacts ADD COLUMN has_previous_runs BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX artifacts_run ON artifacts (run_id, created_at_us, id) WHERE run_id IS NOT NULL;
CREATE TABLE run_inputs (
    run_id BIGINT NOT NULL REFERENCES runs (id),
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id),
    artifact_at_us BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (run_id, artifact_id)
);
CREATE INDEX run_inputs_artifact ON run_inputs (artifact_id, run_id);
CREATE TABLE artifact_runs (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    run_id BIGINT NOT NULL REFERENCES runs (id),
    artifact_at_us BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, run_id)
);
CREATE INDEX artifact_runs_run ON artifact_runs (run_id, artifact_id);
ALTER TABLE events ADD COLUMN subject {text};
"#;
