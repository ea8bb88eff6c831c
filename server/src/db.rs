//! The database: one behaviour on SQLite and PostgreSQL.
//!
//! Reading and writing are apart. On SQLite one connection writes, fed by a
//! queue whose waiting jobs share a transaction and therefore an fsync; several
//! others read. On PostgreSQL both are one pool, rows are locked where a decision
//! depends on them, and unique indexes catch what slips through.
//!
//! One file of queries per table. Nothing here decides anything about artifacts,
//! and no sea-orm type leaves this folder but connections.

pub(crate) mod aliases;
pub(crate) mod annotations;
pub(crate) mod artifacts;
mod batch;
pub(crate) mod blobs;
mod cells;
pub(crate) mod collections;
mod connect;
mod connection;
pub(crate) mod entities;
pub(crate) mod epochs;
mod error;
pub(crate) mod events;
#[cfg(test)]
mod explaining;
pub(crate) mod families;
pub(crate) mod feature_sets;
pub(crate) mod features;
pub(crate) mod filter;
pub(crate) mod folder_saves;
pub(crate) mod garbage;
mod insert;
pub(crate) mod labels;
pub(crate) mod lineage;
pub(crate) mod listing;
pub(crate) mod manifests;
mod migrations;
mod named;
mod numbered;
pub(crate) mod places;
pub(crate) mod removals;
pub(crate) mod requests;
pub(crate) mod reservations;
pub(crate) mod runs;
pub(crate) mod schemas;
pub(crate) mod scope;
pub(crate) mod search;
mod sqlite;
pub(crate) mod storages;
pub(crate) mod tables;
pub(crate) mod transforms;
pub(crate) mod uploads;
mod write;

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryTrait, Statement, Value};
use tokio::sync::watch;

pub(crate) use batch::Batch;
pub use connect::DatabaseConfig;
pub(crate) use connection::{Connection, Reader, Txn};
pub use error::DbError;
pub(crate) use error::Result;
pub(crate) use insert::Insert;
pub(crate) use insert::insert_all;
use insert::{Inserted, insert_all_returning};
use write::Writer;
pub(crate) use write::{WriteError, Writing};

/// An open database.
#[derive(Debug, Clone)]
pub struct Db {
    reader: Reader,
    writer: Writer,
    /// Told of each change of this server.
    changes: Arc<watch::Sender<()>>,
}

impl Db {
    /// Which database it is.
    pub(crate) fn backend(&self) -> DbBackend {
        self.reader.get_database_backend()
    }

    /// A connection for queries that change nothing.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Hears of each change that this server makes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Closes all connections; calls fail from then on.
    pub(crate) async fn close(&self) {
        // Readers first, so that the writer is the last to close.
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Fails when the database does not answer.
    pub async fn check(&self) -> Result<()> {
        self.reader
            .query_one_raw(Statement::from_string(self.backend(), "SELECT 1"))
            .await?;
        Ok(())
    }
}

/// Selects all columns of a table: the beginning of queries that are asked all the time,
/// a text that need not be built each time.
fn all_of<E: EntityTrait>() -> String {
    // Names are quoted alike for both databases.
    E::find().build(DbBackend::Postgres).sql
}

/// A statement whose text is the same for all values, so that databases compile it once.
fn statement(
    conn: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement::from_sql_and_values(conn.get_database_backend(), sql, values)
}
