//! Connections to either database, for the queries of this folder.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, ProxyExecResult, ProxyRow,
    QueryResult, RuntimeErr, Statement,
};

use super::{
    DbError, WriteError,
    cells::{Cells, FromCells},
    sqlite::{Readers, Sqlite},
};
use crate::blocking;

/// A connection for queries that change nothing.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    /// Connections to a file.
    Sqlite(Arc<Readers>),
    /// A pool.
    Postgres(DatabaseConnection),
}

/// A transaction that may change something.
#[derive(Debug)]
pub(crate) enum Txn {
    /// The one connection that writes, between its BEGIN and COMMIT.
    Sqlite(Sqlite),
    /// A transaction of a pool.
    Postgres(DatabaseTransaction),
}

/// A connection that reads rows by the numbers of their columns, see [`Cells`].
#[async_trait::async_trait]
pub(crate) trait Connection: ConnectionTrait {
    /// The rows that a query answers.
    async fn read<T: FromCells>(&self, statement: Statement) -> Result<Vec<T>, DbErr>;

    /// The first of them.
    async fn read_first<T: FromCells>(&self, statement: Statement) -> Result<Option<T>, DbErr>;
}

impl Txn {
    /// What a query ends with that locks its rows; SQLite has one writer anyway.
    pub(super) fn for_update(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR UPDATE",
        }
    }

    /// The same for rows of one table of several.
    pub(super) fn for_share_of(&self, table: &str) -> String {
        match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres(_) => format!(" FOR SHARE OF {table}"),
        }
    }

    /// The same for rows that may be read by others, but not changed.
    pub(super) fn for_share(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR SHARE",
        }
    }

    /// Runs a part of a change that may be refused when it has written already; then it
    /// leaves nothing, and the change goes on.
    pub(crate) async fn part<T, E: WriteError>(
        &self,
        part: impl Future<Output = std::result::Result<T, E>>,
    ) -> std::result::Result<T, E> {
        self.run_of_part("SAVEPOINT part").await?;
        let done = part.await;
        match &done {
            Ok(_) => self.run_of_part("RELEASE SAVEPOINT part").await?,
            Err(error) if error.as_db().is_none() => {
                self.run_of_part("ROLLBACK TO SAVEPOINT part").await?;
                self.run_of_part("RELEASE SAVEPOINT part").await?;
            }
            // The whole transaction ends with it.
            Err(_) => {}
        }
        done
    }

    async fn run_of_part(&self, sql: &str) -> std::result::Result<(), DbError> {
        self.execute_unprepared(sql).await?;
        Ok(())
    }
}

impl Reader {
    /// Closes all connections; calls fail from then on.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(readers) => readers.close(),
            Self::Postgres(pool) => {
                // A pool that does not close in good order is dropped with the process.
                let _ = pool.clone().close().await;
            }
        }
    }
}

/// How long a server may take to answer; longer than it may work on one statement.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Gives up on a server that does not answer: packets may vanish without a word.
pub(super) async fn answered<T>(call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let late = |_| DbErr::Conn(RuntimeErr::Internal("the database did not answer in time".to_owned()));
    tokio::time::timeout(ANSWER_WAIT, call).await.map_err(late)?
}

fn from_results<T: FromCells>(rows: impl IntoIterator<Item = QueryResult>) -> Result<Vec<T>, DbErr> {
    let rows = rows.into_iter();
    rows.map(|row| T::from_cells(&mut Cells::of_postgres(&row))).collect()
}

fn executed(done: ProxyExecResult) -> ExecResult {
    done.into()
}

fn results(rows: Vec<ProxyRow>) -> Vec<QueryResult> {
    rows.into_iter().map(QueryResult::from).collect()
}

#[async_trait::async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Sqlite(readers) => readers.with(|sqlite| sqlite.execute(&statement)).map(executed),
            Self::Postgres(pool) => answered(pool.execute_raw(statement)).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Sqlite(readers) => readers
                .with(|sqlite| sqlite.script(sql))
                .map(|()| executed(Default::default())),
            Self::Postgres(pool) => answered(pool.execute_unprepared(sql)).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Sqlite(readers) => readers
                .with(|sqlite| sqlite.query(&statement, 1))
                .map(|rows| rows.into_iter().next().map(QueryResult::from)),
            Self::Postgres(pool) => answered(pool.query_one_raw(statement)).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            // Many rows may have to come from the disk.
            Self::Sqlite(readers) => {
                blocking::in_place(|| readers.with(|sqlite| sqlite.query(&statement, usize::MAX))).map(results)
            }
            Self::Postgres(pool) => answered(pool.query_all_raw(statement)).await,
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Txn {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(&statement).map(executed),
            Self::Postgres(txn) => answered(txn.execute_raw(statement)).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Sqlite(sqlite) => sqlite.script(sql).map(|()| executed(Default::default())),
            Self::Postgres(txn) => answered(txn.execute_unprepared(sql)).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Sqlite(sqlite) => Ok(sqlite.query(&statement, 1)?.into_iter().next().map(QueryResult::from)),
            Self::Postgres(txn) => answered(txn.query_one_raw(statement)).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(&statement, usize::MAX).map(results),
            Self::Postgres(txn) => answered(txn.query_all_raw(statement)).await,
        }
    }
}

#[async_trait::async_trait]
impl Connection for Reader {
    async fn read<T: FromCells>(&self, statement: Statement) -> Result<Vec<T>, DbErr> {
        match self {
            Self::Sqlite(readers) => blocking::in_place(|| readers.with(|sqlite| sqlite.read(&statement, usize::MAX))),
            Self::Postgres(pool) => from_results(answered(pool.query_all_raw(statement)).await?),
        }
    }

    async fn read_first<T: FromCells>(&self, statement: Statement) -> Result<Option<T>, DbErr> {
        let mut rows = match self {
            Self::Sqlite(readers) => readers.with(|sqlite| sqlite.read(&statement, 1))?,
            Self::Postgres(pool) => from_results(answered(pool.query_one_raw(statement)).await?)?,
        };
        Ok(rows.pop())
    }
}

#[async_trait::async_trait]
impl Connection for Txn {
    async fn read<T: FromCells>(&self, statement: Statement) -> Result<Vec<T>, DbErr> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(&statement, usize::MAX),
            Self::Postgres(txn) => from_results(answered(txn.query_all_raw(statement)).await?),
        }
    }

    async fn read_first<T: FromCells>(&self, statement: Statement) -> Result<Option<T>, DbErr> {
        let mut rows = match self {
            Self::Sqlite(sqlite) => sqlite.read(&statement, 1)?,
            Self::Postgres(txn) => from_results(answered(txn.query_one_raw(statement)).await?)?,
        };
        Ok(rows.pop())
    }
}
