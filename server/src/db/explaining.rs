//! Databases of tests: scripts, connections that see every query before it is run, and
//! plans of queries on SQLite.

use std::sync::Mutex;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::{Connection, Db, DbError, Reader, cells::FromCells};

pub(super) type Answer<T> = std::result::Result<T, DbErr>;

/// What is done before a query is run.
#[async_trait::async_trait]
pub(super) trait Before: Send + Sync {
    /// Does it, on the connection that will be asked or elsewhere.
    async fn before(&self, reader: &Reader, query: &Statement) -> Answer<()>;
}

/// A connection that does something before each of its queries.
pub(super) struct Watched<W> {
    reader: Reader,
    watch: W,
}

impl<W: Before> Watched<W> {
    /// One that reads a database.
    pub(super) fn new(db: &Db, watch: W) -> Self {
        let reader = db.reader().clone();
        Self { reader, watch }
    }

    async fn before(&self, query: &Statement) -> Answer<()> {
        self.watch.before(&self.reader, query).await
    }
}

/// Explains every query before it is run, and keeps the steps.
pub(super) type Explaining = Watched<Steps>;

/// The steps of the queries so far.
#[derive(Default)]
pub(super) struct Steps(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Before for Steps {
    async fn before(&self, reader: &Reader, query: &Statement) -> Answer<()> {
        let mut explained = query.clone();
        explained.sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
        for row in reader.query_all_raw(explained).await? {
            self.0.lock().unwrap().push(row.try_get("", "detail")?);
        }
        Ok(())
    }
}

impl Explaining {
    /// One that reads a database.
    pub(super) fn of(db: &Db) -> Self {
        Self::new(db, Steps::default())
    }

    /// The steps of all queries since the last call.
    pub(super) fn steps(&self) -> Vec<String> {
        std::mem::take(&mut *self.watch.0.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl<W: Before> ConnectionTrait for Watched<W> {
    fn get_database_backend(&self) -> DbBackend {
        self.reader.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Answer<ExecResult> {
        self.reader.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Answer<ExecResult> {
        self.reader.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Answer<Option<QueryResult>> {
        self.before(&statement).await?;
        self.reader.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Answer<Vec<QueryResult>> {
        self.before(&statement).await?;
        self.reader.query_all_raw(statement).await
    }
}

#[async_trait::async_trait]
impl<W: Before> Connection for Watched<W> {
    async fn read<T: FromCells>(&self, statement: Statement) -> Answer<Vec<T>> {
        self.before(&statement).await?;
        self.reader.read(statement).await
    }

    async fn read_first<T: FromCells>(&self, statement: Statement) -> Answer<Option<T>> {
        self.before(&statement).await?;
        self.reader.read_first(statement).await
    }
}

/// Runs statements that have no values and answer nothing.
pub(super) async fn run(db: &Db, script: &str) {
    let script = script.to_owned();
    let write = db.write::<_, DbError, _>(move |txn| {
        let script = script.clone();
        Box::pin(async move { Ok(txn.execute_unprepared(&script).await.map(drop)?) })
    });
    write.await.unwrap();
}
