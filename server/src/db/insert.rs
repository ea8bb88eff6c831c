//! Inserts, whose text is written straight.
//!
//! A builder of statements makes a tree, with an allocation for nearly every column
//! and value, in order to write a text that is always the same. Inserts are most of
//! what a save asks of the database.

use sea_orm::{ConnectionTrait, DbBackend, EntityName, IdenStatic, Statement, StatementBuilder, Value, Values};

use super::{Connection, Result, Txn, cells::FromCells, numbered::piece_len};

/// Rows in one statement. Each length is compiled and kept on its own.
const ROWS_AT_ONCE: usize = 128;

/// An insert of one row.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    table: &'static str,
    columns: Vec<&'static str>,
    values: Vec<Inserted>,
    returning: Vec<&'static str>,
}

/// What is inserted into a column.
#[derive(Debug, Clone)]
pub(crate) enum Inserted {
    /// A value.
    Value(Value),
    /// What a query finds; its text has `?` in the place of each of its values.
    Found(&'static str, Vec<Value>),
}

impl<V: Into<Value>> From<V> for Inserted {
    fn from(value: V) -> Self {
        Self::Value(value.into())
    }
}

impl Insert {
    /// An insert into a table.
    pub(crate) fn into(table: impl EntityName) -> Self {
        Self {
            table: table.table_name(),
            columns: Vec::new(),
            values: Vec::new(),
            returning: Vec::new(),
        }
    }

    /// The columns that get a value.
    #[must_use]
    pub(crate) fn columns<C: IdenStatic>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.columns = columns.into_iter().map(|column| column.as_str()).collect();
        self
    }

    /// As many values.
    #[must_use]
    pub(crate) fn values(mut self, values: impl IntoIterator<Item = Inserted>) -> Self {
        self.values = values.into_iter().collect();
        assert_eq!(self.values.len(), self.columns.len(), "one value for each column");
        self
    }

    /// The columns that it answers.
    #[must_use]
    pub(crate) fn returning<C: IdenStatic>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.returning = columns.into_iter().map(|column| column.as_str()).collect();
        self
    }

    /// The statement for a database.
    pub(crate) fn statement(self, backend: DbBackend) -> Statement {
        statement_of(vec![self], backend)
    }
}

/// The statement of some inserts of one table, one after the other in its text.
fn statement_of(rows: Vec<Insert>, backend: DbBackend) -> Statement {
    let first = rows.first().expect("there is a row");
    let mut text = Text {
        sql: String::with_capacity(512 + (rows.len() - 1) * first.columns.len() * 4),
        values: Vec::with_capacity(rows.len() * (first.columns.len() + 2)),
        backend,
    };
    text.sql.push_str("INSERT INTO \"");
    text.sql.push_str(first.table);
    text.sql.push_str("\" ");
    text.names("(", &first.columns);
    let returning = first.returning.clone();
    let mut before = ") VALUES (";
    for row in rows {
        for value in row.values {
            text.sql.push_str(before);
            text.value(value);
            before = ", ";
        }
        before = "), (";
    }
    text.sql.push(')');
    text.names(" RETURNING ", &returning);
    Statement {
        sql: text.sql,
        values: Some(Values(text.values)),
        db_backend: backend,
    }
}

/// Runs inserts of one table, many in a statement.
pub(crate) async fn insert_all(txn: &Txn, rows: Vec<Insert>) -> Result<()> {
    for statement in statements(rows, txn.get_database_backend()) {
        txn.execute_raw(statement).await?;
    }
    Ok(())
}

/// The same; answers what they return, in no order.
pub(super) async fn insert_all_returning<T: FromCells>(txn: &Txn, rows: Vec<Insert>) -> Result<Vec<T>> {
    let mut answered = Vec::with_capacity(rows.len());
    for statement in statements(rows, txn.get_database_backend()) {
        answered.extend(txn.read(statement).await?);
    }
    Ok(answered)
}

fn statements(mut rows: Vec<Insert>, backend: DbBackend) -> impl Iterator<Item = Statement> {
    std::iter::from_fn(move || {
        let len = piece_len(rows.len(), ROWS_AT_ONCE)?;
        let rest = rows.split_off(len);
        Some(statement_of(std::mem::replace(&mut rows, rest), backend))
    })
}

impl StatementBuilder for Insert {
    fn build(&self, backend: &DbBackend) -> Statement {
        self.clone().statement(*backend)
    }
}

struct Text {
    sql: String,
    values: Vec<Value>,
    backend: DbBackend,
}

impl Text {
    /// Names after a word; nothing when there are none.
    fn names(&mut self, mut before: &str, names: &[&str]) {
        for name in names {
            self.sql.push_str(before);
            self.sql.push('"');
            self.sql.push_str(name);
            self.sql.push('"');
            before = ", ";
        }
    }

    fn value(&mut self, value: Inserted) {
        match value {
            Inserted::Value(value) => self.place(value),
            Inserted::Found(query, values) => {
                let mut parts = query.split('?');
                self.sql.push('(');
                self.sql.push_str(parts.next().unwrap_or_default());
                for (value, part) in values.into_iter().zip(parts) {
                    self.place(value);
                    self.sql.push_str(part);
                }
                self.sql.push(')');
            }
        }
    }

    /// The place of a value.
    fn place(&mut self, value: Value) {
        use std::fmt::Write;
        self.values.push(value);
        match self.backend {
            DbBackend::Postgres => {
                write!(self.sql, "${}", self.values.len()).expect("a text grows");
            }
            _ => self.sql.push('?'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::entities::objects::{Column, Entity};

    #[test]
    fn the_text_is_that_of_each_database_and_values_keep_their_order() {
        let found = Inserted::Found(
            "SELECT id FROM storages WHERE uid = ? AND name = ?",
            vec!["u".into(), "n".into()],
        );
        let insert = Insert::into(Entity)
            .columns([Column::Name, Column::StorageId, Column::SizeBytes])
            .values(["x".into(), found, None::<i64>.into()]);
        let postgres = insert
            .clone()
            .returning([Column::Id, Column::Name])
            .build(&DbBackend::Postgres);
        assert_eq!(
            postgres.sql,
            "INSERT INTO \"objects\" (\"name\", \"storage_id\", \"size_bytes\") VALUES \
             ($1, (SELECT id FROM storages WHERE uid = $2 AND name = $3), $4) RETURNING \"id\", \"name\""
        );
        let sqlite = insert.build(&DbBackend::Sqlite);
        assert_eq!(
            sqlite.sql,
            "INSERT INTO \"objects\" (\"name\", \"storage_id\", \"size_bytes\") VALUES \
             (?, (SELECT id FROM storages WHERE uid = ? AND name = ?), ?)"
        );
        let values: Vec<Value> = vec!["x".into(), "u".into(), "n".into(), None::<i64>.into()];
        assert_eq!(postgres.values, Some(Values(values.clone())));
        assert_eq!(sqlite.values, Some(Values(values)));
    }

    #[test]
    fn rows_of_a_table_share_statements_and_keep_their_order() {
        let row = |size: i64| {
            Insert::into(Entity)
                .columns([Column::Name, Column::SizeBytes])
                .values(["x".into(), size.into()])
                .returning([Column::Id])
        };
        let made: Vec<_> = statements((0..2).map(row).collect(), DbBackend::Postgres).collect();
        assert_eq!(made.len(), 1);
        assert_eq!(
            made[0].sql,
            "INSERT INTO \"objects\" (\"name\", \"size_bytes\") VALUES ($1, $2), ($3, $4) RETURNING \"id\""
        );
        for rows in [0, 1, 3, 127, 128, 129, 500] {
            let made = statements((0..rows).map(row).collect(), DbBackend::Sqlite);
            let values = made.flat_map(|made| made.values.expect("it has some").0);
            let sizes: Vec<Value> = values.skip(1).step_by(2).collect();
            assert_eq!(sizes, (0..rows).map(Value::from).collect::<Vec<_>>());
        }
    }
}
