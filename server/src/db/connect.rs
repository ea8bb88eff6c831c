//! Opens a database and brings its schema up to date.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement,
    sqlx::{self, Connection, PgConnection},
};
use sea_orm_migration::MigratorTrait;

use super::{
    Db, DbError, Reader, Result,
    migrations::Migrator,
    sqlite::{self, Access, Readers, Sqlite},
    write::Writer,
};
use crate::{blocking, storage::Secret};

/// How long a connection that comes back may take to show that it can be used again.
const RETURN_WAIT: Duration = Duration::from_secs(2);

/// Two servers that start at once migrate one after the other.
const MIGRATION_LOCK: i64 = 0x6172_7469_6661_6374;

/// Which database to open.
#[derive(Debug, Clone)]
pub enum DatabaseConfig {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres {
        /// `postgres://…`, with the password.
        url: Secret,
        /// Most connections at once.
        connections_max: u32,
        /// How long a call waits for a connection.
        acquire_timeout: Duration,
    },
}

impl Db {
    /// Opens the database, making it and bringing its schema up to date.
    pub async fn open(config: &DatabaseConfig) -> Result<Self> {
        match config {
            DatabaseConfig::Sqlite(path) => open_sqlite(path).await,
            DatabaseConfig::Postgres {
                url,
                connections_max,
                acquire_timeout,
            } => open_postgres(url, *connections_max, *acquire_timeout).await,
        }
    }
}

async fn open_sqlite(path: &Path) -> Result<Db> {
    sqlite::migrated(Sqlite::open(path, Access::Write)?, migrate).await?;
    // Closed again, its log is gone.
    blocking::in_place(|| sqlite::make_room(path));
    Ok(Db {
        reader: Reader::Sqlite(Arc::new(Readers::open(path)?)),
        writer: Writer::queue(path)?,
        changes: Arc::default(),
    })
}

async fn open_postgres(url: &Secret, connections_max: u32, acquire_timeout: Duration) -> Result<Db> {
    let mut options = ConnectOptions::new(url.expose());
    options
        .max_connections(connections_max)
        .acquire_timeout(acquire_timeout)
        .connect_timeout(acquire_timeout)
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .sqlx_logging(false)
        .map_sqlx_postgres_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(still_answers(connection))))
        .map_sqlx_postgres_opts(|postgres| {
            postgres.options([
                ("lock_timeout", "5s"),
                ("statement_timeout", "15s"),
                ("idle_in_transaction_session_timeout", "60s"),
                ("default_transaction_isolation", "read committed"),
                ("synchronous_commit", "on"),
                // Where an index leads, a table is never read from end to end, whatever
                // statistics say of it; and no statement is worth compiling.
                ("enable_seqscan", "off"),
                ("jit", "off"),
            ])
        });
    let pool = Database::connect(options).await?;
    refuse_unsafe_postgres(&pool).await?;
    let mut single = ConnectOptions::new(url.expose());
    single
        .max_connections(1)
        .connect_timeout(acquire_timeout)
        .sqlx_logging(false);
    let single = Database::connect(single).await?;
    let lock = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
    single.execute_unprepared(&lock).await?;
    let migrated = migrate(&single).await;
    // Closing the only connection gives the lock back.
    single.close().await?;
    migrated?;
    Ok(Db {
        reader: Reader::Postgres(pool.clone()),
        writer: Writer::pool(pool, connections_max),
        changes: Arc::default(),
    })
}

/// Whether a connection that comes back can be used again. The pool asks too, but
/// would wait for ever, and with it the place of the connection.
async fn still_answers(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(RETURN_WAIT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// A server that does not fsync loses what it acknowledged, and so would we.
async fn refuse_unsafe_postgres(pool: &DatabaseConnection) -> Result<()> {
    let row = pool
        .query_one_raw(Statement::from_string(pool.get_database_backend(), "SHOW fsync"))
        .await?;
    let fsync: Option<String> = row.map(|row| row.try_get("", "fsync")).transpose()?;
    if fsync.as_deref() == Some("off") {
        return Err(DbError::Schema(
            "the server runs with fsync = off, so it can lose acknowledged data".to_owned(),
        ));
    }
    Ok(())
}

async fn migrate(connection: &DatabaseConnection) -> Result<()> {
    Migrator::up(connection, None)
        .await
        .map_err(|error| match DbError::from(error) {
            DbError::Statement(error) => DbError::Schema(error.to_string()),
            other => other,
        })
}
