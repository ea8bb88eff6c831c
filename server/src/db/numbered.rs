//! Statements with numbered places, and rows as what they are read into.

use std::fmt::Write;

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::{Connection, Result, Txn, cells::FromCells, statement};

/// Rows in one statement; both databases take 30,000 values in one.
pub(super) const ROWS_AT_ONCE: usize = 256;

/// Cuts rows into pieces of at most `most`, the last of which have a power of two each.
///
/// Statements for each number of rows are compiled and kept on their own: of 256 rows
/// with 8 values each one has 200 KiB, and a connection keeps 200 of them.
pub(super) fn pieces<T>(rows: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(piece_len(rest.len(), most)?);
        rest = after;
        Some(piece)
    })
}

/// The length of the next piece of so many rows; `None` when there are none.
pub(super) fn piece_len(rows: usize, most: usize) -> Option<usize> {
    match rows {
        0 => None,
        rows if rows >= most => Some(most),
        rows => Some(1 << rows.ilog2()),
    }
}

/// `($1, $2), ($3, $4)`: numbered places for values, for some rows.
pub(super) fn places_for(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 7);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}${}", row * columns + column + 1);
        }
        text.push(')');
    }
    text
}

/// `$n, $n+1`: numbered places for a list of values.
pub(super) fn list_of(values: usize, first: usize) -> String {
    let mut text = String::with_capacity(values * 6);
    for number in 0..values {
        let comma = if number == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}${}", first + number);
    }
    text
}

/// A statement that grows with what is asked of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Begins with a text that has no places.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds a text that has no places.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let _ = write!(self.text, "${}", self.values.len());
        self
    }

    /// Adds values with commas between them, in brackets; no rows match an empty list.
    pub(crate) fn bind_list<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        self.push("(");
        let mut some = false;
        for value in values {
            if some {
                self.push(", ");
            }
            self.bind(value);
            some = true;
        }
        self.push(if some { ")" } else { "NULL)" })
    }

    /// The rows that it answers.
    pub(crate) async fn all<T: FromQueryResult>(self, conn: &impl ConnectionTrait) -> Result<Vec<T>> {
        rows(conn, &self.text, self.values).await
    }

    /// The same by the numbers of their columns.
    pub(crate) async fn read<T: FromCells>(self, conn: &impl Connection) -> Result<Vec<T>> {
        Ok(conn.read(statement(conn, self.text, self.values)).await?)
    }

    /// The first row that it answers.
    pub(crate) async fn one<T: FromQueryResult>(self, conn: &impl ConnectionTrait) -> Result<Option<T>> {
        row(conn, &self.text, self.values).await
    }

    /// Runs it; answers how many rows it touched.
    pub(crate) async fn run(self, txn: &Txn) -> Result<u64> {
        run(txn, &self.text, self.values).await
    }
}

/// The rows of a query.
pub(super) async fn rows<T: FromQueryResult>(
    conn: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>> {
    let rows = conn.query_all_raw(statement(conn, sql, values)).await?;
    rows.iter().map(|row| Ok(T::from_query_result(row, "")?)).collect()
}

/// The first row of a query.
pub(super) async fn row<T: FromQueryResult>(
    conn: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<T>> {
    let row = conn.query_one_raw(statement(conn, sql, values)).await?;
    Ok(row.map(|row| T::from_query_result(&row, "")).transpose()?)
}

/// Runs a statement; answers how many rows it touched.
pub(super) async fn run(txn: &Txn, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<u64> {
    Ok(txn.execute_raw(statement(txn, sql, values)).await?.rows_affected())
}

/// Whether a query answers a row.
pub(super) async fn any(
    conn: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<bool> {
    Ok(conn.query_one_raw(statement(conn, sql, values)).await?.is_some())
}

/// The id that an insert answers.
pub(super) async fn inserted(txn: &Txn, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<i64> {
    let row = txn.query_one_raw(statement(txn, sql, values)).await?;
    let row = row.ok_or(sea_orm::DbErr::RecordNotInserted)?;
    Ok(row.try_get("", "id")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_rows_in_order_in_few_lengths() {
        for len in 0..1_000 {
            let rows: Vec<_> = (0..len).collect();
            let pieces: Vec<_> = pieces(&rows, 256).collect();
            assert_eq!(pieces.concat(), rows);
            assert!(pieces.iter().all(|piece| piece.len().is_power_of_two()), "{len}");
            assert!(pieces.len() <= len / 256 + 8, "{len}");
        }
        assert_eq!(pieces(&[0; 12], 5).map(<[_]>::len).collect::<Vec<_>>(), [5, 5, 2]);
    }
}
