//! Aliases of families, and what happened to them.
//!
//! An alias names its version by a foreign key, so it never outlives it; the history
//! names versions by uid, because it does.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0006_aliases"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

const UP: &str = r#"
CREATE TABLE aliases (
    family_id BIGINT NOT NULL REFERENCES families (id),
    name {text} NOT NULL,
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    set_by BIGINT NOT NULL REFERENCES principals (id),
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (family_id, name)
);
CREATE INDEX aliases_artifact ON aliases (artifact_id);
CREATE TABLE alias_changes (
    id {id},
    family_id BIGINT NOT NULL REFERENCES families (id),
    name {text} NOT NULL,
    from_uid {text},
    to_uid {text},
    changed_by BIGINT NOT NULL REFERENCES principals (id),
    changed_at_us BIGINT NOT NULL
);
CREATE INDEX alias_changes_family ON alias_changes (family_id, id);
"#;
