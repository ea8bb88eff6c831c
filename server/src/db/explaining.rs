//! Plans of queries on SQLite, for tests.

use std::sync::Mutex;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::{Connection, Db, Reader, cells::FromCells};

type Answer<T> = std::result::Result<T, DbErr>;

/// Explains every query before it is run, and keeps the steps.
pub(super) struct Explaining {
    reader: Reader,
    steps: Mutex<Vec<String>>,
}

impl Explaining {
    /// One that reads a database.
    pub(super) fn of(db: &Db) -> Self {
        Self {
            reader: db.reader().clone(),
            steps: Mutex::default(),
        }
    }

    /// The steps of all queries since the last call.
    pub(super) fn steps(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }

    async fn explain(&self, statement: &Statement) -> Answer<()> {
        let mut explained = statement.clone();
        explained.sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
        for row in self.reader.query_all_raw(explained).await? {
            self.steps.lock().unwrap().push(row.try_get("", "detail")?);
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Explaining {
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
        self.explain(&statement).await?;
        self.reader.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Answer<Vec<QueryResult>> {
        self.explain(&statement).await?;
        self.reader.query_all_raw(statement).await
    }
}

#[async_trait::async_trait]
impl Connection for Explaining {
    async fn read<T: FromCells>(&self, statement: Statement) -> Answer<Vec<T>> {
        self.explain(&statement).await?;
        self.reader.read(statement).await
    }

    async fn read_first<T: FromCells>(&self, statement: Statement) -> Answer<Option<T>> {
        self.explain(&statement).await?;
        self.reader.read_first(statement).await
    }
}
