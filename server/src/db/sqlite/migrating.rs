//! The connection on which migrations run, as sea-orm's migrator wants it.

use std::sync::Arc;

use sea_orm::{
    Database, DatabaseConnection, DbBackend, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow, Statement,
};

use super::{Result, Sqlite};

/// Hands statements to a connection that somebody else keeps.
#[derive(Debug)]
struct Lent(Arc<Sqlite>);

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Lent {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>> {
        self.0.query(&statement, usize::MAX)
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult> {
        self.0.execute(&statement)
    }
}

/// Runs migrations in one transaction: a start that is killed leaves the schema as it was.
pub(in crate::db) async fn migrated<E: From<DbErr>>(
    sqlite: Sqlite,
    migrate: impl AsyncFnOnce(&DatabaseConnection) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let sqlite = Arc::new(sqlite);
    let lent: Box<dyn ProxyDatabaseTrait> = Box::new(Lent(Arc::clone(&sqlite)));
    let connection = Database::connect_proxy(DbBackend::Sqlite, Arc::new(lent)).await?;
    sqlite.script("BEGIN IMMEDIATE")?;
    migrate(&connection).await?;
    Ok(sqlite.script("COMMIT")?)
}
