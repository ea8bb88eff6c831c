//! Roots that are only read are told from those in which files lie in place and may go.

use sea_orm_migration::prelude::*;

use super::run_script;

/// See the module.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0020_read_only"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_script(manager, UP).await
    }
}

// Until now the column said that a root is not managed. The release before does not ask it,
// and what it registers meanwhile is only read, which loses nothing.
const UP: &str = r#"
UPDATE storages SET read_only = (root >= 'http:' AND root < 'http;' OR root >= 'https:' AND root < 'https;');
"#;
