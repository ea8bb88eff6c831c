//! Rows that are read by the numbers of their columns.
//!
//! sea-orm finds columns by their names, and takes those of SQLite as maps of owned
//! names: for the 40 columns of an artifact that costs several times what the database
//! needs to find it. So what is read by the hundred is read in the order of its columns.

use rusqlite::types::FromSql;
use sea_orm::{DbErr, QueryResult, TryGetable};

/// The cells of a row, one after the other.
pub(crate) struct Cells<'r> {
    row: Row<'r>,
    next: usize,
}

enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r QueryResult),
}

/// What both databases can have in a cell.
pub(crate) trait Cell: FromSql + TryGetable {}

impl<T: FromSql + TryGetable> Cell for T {}

/// What is read from the cells of a row.
pub(crate) trait FromCells: Sized + Send {
    /// Takes the cells of its columns, and leaves those behind them.
    fn from_cells(cells: &mut Cells<'_>) -> Result<Self, DbErr>;
}

impl<'r> Cells<'r> {
    pub(super) fn of_sqlite(row: &'r rusqlite::Row<'r>) -> Self {
        let row = Row::Sqlite(row);
        Self { row, next: 0 }
    }

    pub(super) fn of_postgres(row: &'r QueryResult) -> Self {
        let row = Row::Postgres(row);
        Self { row, next: 0 }
    }

    /// The next cell.
    #[expect(
        clippy::disallowed_methods,
        reason = "rows of PostgreSQL keep their order; those of SQLite are no rows of sea-orm here"
    )]
    pub(super) fn next<T: Cell>(&mut self) -> Result<T, DbErr> {
        let number = self.next;
        self.next += 1;
        match self.row {
            Row::Sqlite(row) => row.get(number).map_err(|error| DbErr::Type(error.to_string())),
            Row::Postgres(row) => row.try_get_by_index(number),
        }
    }
}

/// A moment, and an id.
impl FromCells for (i64, i64) {
    fn from_cells(cells: &mut Cells<'_>) -> Result<Self, DbErr> {
        Ok((cells.next()?, cells.next()?))
    }
}

/// An id, and the name that it was given for.
impl FromCells for (i64, String) {
    fn from_cells(cells: &mut Cells<'_>) -> Result<Self, DbErr> {
        Ok((cells.next()?, cells.next()?))
    }
}
