//! A server's database, past the server.

use std::path::Path;

use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement};

/// A connection of our own.
#[derive(Debug)]
pub enum RawDatabase {
    /// To a file.
    Sqlite(rusqlite::Connection),
    /// To a server.
    Postgres(DatabaseConnection),
}

impl RawDatabase {
    /// Opens a file.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn sqlite(path: &Path) -> Self {
        let connection = rusqlite::Connection::open(path).expect("open the database");
        let wait = std::time::Duration::from_secs(5);
        connection.busy_timeout(wait).expect("set how long to wait");
        Self::Sqlite(connection)
    }

    /// Connects to a server.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn postgres(url: &str) -> Self {
        Self::Postgres(sea_orm::Database::connect(url).await.expect("connect to the database"))
    }

    /// Runs a query that answers one integer.
    ///
    /// # Panics
    /// When it answers something else.
    #[expect(
        clippy::disallowed_methods,
        reason = "rows of PostgreSQL keep their order, and the column has any name"
    )]
    pub async fn integer(&self, sql: &str) -> i64 {
        match self {
            Self::Sqlite(connection) => connection.query_row(sql, [], |row| row.get(0)).expect("an integer"),
            Self::Postgres(pool) => {
                let statement = Statement::from_string(pool.get_database_backend(), sql);
                let row = pool.query_one_raw(statement).await.expect("query the database");
                row.expect("a row").try_get_by_index(0).expect("an integer")
            }
        }
    }

    /// The rows of a query that answers an id and two texts.
    ///
    /// # Panics
    /// When it answers something else.
    #[expect(
        clippy::disallowed_methods,
        reason = "rows of PostgreSQL keep their order, and the columns have any names"
    )]
    pub async fn texts(&self, sql: &str) -> Vec<(i64, String, String)> {
        match self {
            Self::Sqlite(connection) => {
                let mut select = connection.prepare(sql).expect("a query");
                let rows = select.query_map([], |row| row.try_into()).expect("query the database");
                rows.map(|row| row.expect("a row")).collect()
            }
            Self::Postgres(pool) => {
                let statement = Statement::from_string(pool.get_database_backend(), sql);
                let rows = pool.query_all_raw(statement).await.expect("query the database");
                let text = |row: &QueryResult, column| row.try_get_by_index(column).expect("a text");
                rows.iter()
                    .map(|row| (row.try_get_by_index(0).expect("an id"), text(row, 1), text(row, 2)))
                    .collect()
            }
        }
    }

    /// Runs a statement that answers nothing.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql).expect("run a statement"),
            Self::Postgres(pool) => drop(pool.execute_unprepared(sql).await.expect("run a statement")),
        }
    }
}
