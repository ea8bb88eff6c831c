//! The index of words, and how far it has got.
//!
//! It holds what `artifactd_domain::search` makes of artifacts, and nothing that is not
//! in them: it can be made anew from the log, which is how it is filled at first, too.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0006_search"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await?;
        let terms = match manager.get_database_backend() {
            DbBackend::Postgres => UP_POSTGRES,
            _ => UP_SQLITE,
        };
        run_script(manager, terms).await
    }
}

const UP: &str = r#"
CREATE TABLE search_progress (
    id BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO search_progress VALUES (1, 0);
"#;

// Neither texts nor places of words are kept: what matches is decided elsewhere.
const UP_SQLITE: &str = r#"
CREATE VIRTUAL TABLE artifact_terms USING fts5
    (terms, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
"#;

const UP_POSTGRES: &str = r#"
CREATE TABLE artifact_terms (
    artifact_id BIGINT PRIMARY KEY,
    terms TSVECTOR NOT NULL
);
CREATE INDEX artifact_terms_terms ON artifact_terms USING gin (terms) WITH (fastupdate = off);
"#;
