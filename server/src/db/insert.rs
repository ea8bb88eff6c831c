//! Inserts of one row, whose text is written straight.
//!
//! A builder of statements makes a tree, with an allocation for nearly every column
//! and value, in order to write a text that is always the same. Inserts are most of
//! what a save asks of the database.

use sea_orm::{DbBackend, EntityName, IdenStatic, Statement, StatementBuilder, Value, Values};

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
        let mut text = Text {
            sql: String::with_capacity(512),
            values: Vec::with_capacity(self.values.len() + 2),
            backend,
        };
        text.sql.push_str("INSERT INTO \"");
        text.sql.push_str(self.table);
        text.sql.push_str("\" ");
        text.names("(", &self.columns);
        let mut before = ") VALUES (";
        for value in self.values {
            text.sql.push_str(before);
            text.value(value);
            before = ", ";
        }
        text.sql.push(')');
        text.names(" RETURNING ", &self.returning);
        Statement {
            sql: text.sql,
            values: Some(Values(text.values)),
            db_backend: backend,
        }
    }
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
}
