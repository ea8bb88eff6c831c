//! Work that somebody has for a while.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0011_work"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// Work is known by a digest over its transform, inputs and params. The run that had it last
// says whether it was done.
const UP: &str = r#"
CREATE TABLE reservations (
    space_id BIGINT NOT NULL REFERENCES spaces (id),
    work {bytes} NOT NULL,
    run_id BIGINT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    expires_at_us BIGINT NOT NULL,
    PRIMARY KEY (space_id, work)
);
CREATE INDEX reservations_run ON reservations (run_id);
"#;
