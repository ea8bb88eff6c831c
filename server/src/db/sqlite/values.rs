//! Values on their way into and out of SQLite.
//!
//! SQLite knows five kinds of values, the schema more: what a column was declared
//! as says which of ours a value is.

use std::collections::BTreeMap;

use rusqlite::{
    Row, Statement,
    types::{ToSqlOutput, ValueRef},
};
use sea_orm::{DbErr, ProxyRow, Value};

use super::Result;

/// A column of an answer.
pub(super) struct Column {
    name: String,
    kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    SmallInt,
    Int,
    BigInt,
    Double,
    Text,
    Bytes,
    /// An expression: what SQLite says that the value is.
    Unknown,
}

/// The columns of a statement's answer.
pub(super) fn columns(statement: &Statement<'_>) -> Vec<Column> {
    let columns = statement.columns().into_iter().map(|column| Column {
        name: column.name().to_owned(),
        kind: kind(column.name(), column.decl_type()),
    });
    columns.collect()
}

fn kind(name: &str, declared: Option<&str>) -> Kind {
    const WORDS: [(&str, Kind); 8] = [
        ("BOOLEAN", Kind::Bool),
        ("SMALLINT", Kind::SmallInt),
        ("INTEGER", Kind::BigInt),
        ("BIGINT", Kind::BigInt),
        ("DOUBLE PRECISION", Kind::Double),
        ("TEXT", Kind::Text),
        ("VARCHAR", Kind::Text),
        ("BLOB", Kind::Bytes),
    ];
    let found = WORDS
        .iter()
        .find(|(word, _)| declared.is_some_and(|declared| declared.eq_ignore_ascii_case(word)));
    match found {
        // To SQLite, and the migrator, this word means 64 bits; to the numbers of versions 32.
        Some(("INTEGER", _)) if name.ends_with("_number") => Kind::Int,
        Some((_, kind)) => *kind,
        None => Kind::Unknown,
    }
}

/// A row of an answer.
pub(super) fn row(columns: &[Column], row: &Row<'_>) -> Result<ProxyRow> {
    let mut values = BTreeMap::new();
    for (index, column) in columns.iter().enumerate() {
        let value = row.get_ref(index).map_err(|error| DbErr::Type(error.to_string()))?;
        let value = value_of(column.kind, value)
            .ok_or_else(|| DbErr::Type(format!("column {} holds a {}", column.name, value.data_type())))?;
        values.insert(column.name.clone(), value);
    }
    Ok(values.into())
}

/// `None` when the value is none that the column can hold.
fn value_of(kind: Kind, value: ValueRef<'_>) -> Option<Value> {
    Some(match (kind, value) {
        (Kind::Bool, ValueRef::Null) => Value::Bool(None),
        (Kind::Bool, ValueRef::Integer(value)) => Value::Bool(Some(value != 0)),
        (Kind::SmallInt, ValueRef::Null) => Value::SmallInt(None),
        (Kind::SmallInt, ValueRef::Integer(value)) => Value::SmallInt(Some(value.try_into().ok()?)),
        (Kind::Int, ValueRef::Null) => Value::Int(None),
        (Kind::Int, ValueRef::Integer(value)) => Value::Int(Some(value.try_into().ok()?)),
        (Kind::BigInt | Kind::Unknown, ValueRef::Null) => Value::BigInt(None),
        (Kind::BigInt | Kind::Unknown, ValueRef::Integer(value)) => Value::BigInt(Some(value)),
        (Kind::Double, ValueRef::Null) => Value::Double(None),
        (Kind::Double | Kind::Unknown, ValueRef::Real(value)) => Value::Double(Some(value)),
        (Kind::Text, ValueRef::Null) => Value::String(None),
        (Kind::Text | Kind::Unknown, ValueRef::Text(text)) => {
            Value::String(Some(str::from_utf8(text).ok()?.to_owned()))
        }
        (Kind::Bytes, ValueRef::Null) => Value::Bytes(None),
        (Kind::Bytes | Kind::Unknown, ValueRef::Blob(bytes)) => Value::Bytes(Some(bytes.to_owned())),
        _ => return None,
    })
}

/// A value of a statement.
pub(super) fn to_sql(value: &Value) -> Result<ToSqlOutput<'_>> {
    let integer = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
    let value = match value {
        Value::Bool(value) => integer(value.map(i64::from)),
        Value::TinyInt(value) => integer(value.map(i64::from)),
        Value::SmallInt(value) => integer(value.map(i64::from)),
        Value::Int(value) => integer(value.map(i64::from)),
        Value::BigInt(value) => integer(*value),
        Value::TinyUnsigned(value) => integer(value.map(i64::from)),
        Value::SmallUnsigned(value) => integer(value.map(i64::from)),
        Value::Unsigned(value) => integer(value.map(i64::from)),
        // sea-query writes limits so; one that is larger than any table is none.
        Value::BigUnsigned(value) => integer(value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))),
        Value::Double(value) => value.map_or(ValueRef::Null, ValueRef::Real),
        Value::String(value) => value
            .as_ref()
            .map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes())),
        Value::Bytes(value) => value.as_ref().map_or(ValueRef::Null, |bytes| ValueRef::Blob(bytes)),
        other => return Err(DbErr::Type(format!("{other:?} is no value of SQLite"))),
    };
    Ok(ToSqlOutput::Borrowed(value))
}
