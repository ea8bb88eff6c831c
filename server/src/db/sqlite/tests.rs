//! What goes in comes out, and errors keep their codes.

use sea_orm::{DbBackend, Value};

use super::*;
use crate::db::DbError;

const KINDS: &str = "CREATE TABLE kinds (id INTEGER PRIMARY KEY AUTOINCREMENT, flag BOOLEAN, small SMALLINT, \
    a_number INTEGER, big BIGINT, words TEXT, bytes BLOB)";

fn opened() -> (tempfile::TempDir, Sqlite) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&folder.path().join("x.sqlite3"), Access::Write).unwrap();
    sqlite.script(KINDS).unwrap();
    (folder, sqlite)
}

fn insert(values: [Value; 6]) -> Statement {
    let sql = "INSERT INTO kinds (flag, small, a_number, big, words, bytes) VALUES (?, ?, ?, ?, ?, ?)";
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

fn select(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

#[test]
fn a_column_gives_back_what_was_put_in_also_nothing() {
    let (_folder, sqlite) = opened();
    let full = [
        Value::from(true),
        Value::from(i16::MIN),
        Value::from(i32::MAX),
        Value::from(i64::MIN),
        Value::from("\u{1f9ec} text"),
        Value::from(vec![0u8, 255]),
    ];
    let empty = [
        Value::Bool(None),
        Value::SmallInt(None),
        Value::Int(None),
        Value::BigInt(None),
        Value::String(None),
        Value::Bytes(None),
    ];
    for values in [full, empty] {
        assert_eq!(sqlite.execute(&insert(values.clone())).unwrap().rows_affected, 1);
        let row = sqlite
            .query(&select("SELECT * FROM kinds ORDER BY id DESC"), 1)
            .unwrap();
        let row = &row[0].values;
        let names = ["flag", "small", "a_number", "big", "words", "bytes"];
        assert_eq!(names.map(|name| row[name].clone()), values);
        assert!(matches!(row["id"], Value::BigInt(Some(1..))));
    }
}

#[test]
fn a_value_that_its_column_cannot_hold_is_an_error_and_never_null() {
    let (_folder, sqlite) = opened();
    sqlite
        .script("INSERT INTO kinds (small) VALUES (70000); INSERT INTO kinds (big) VALUES (x'00')")
        .unwrap();
    for column in ["small", "big"] {
        let found = sqlite.query(
            &select(&format!("SELECT {column} FROM kinds WHERE {column} IS NOT NULL")),
            9,
        );
        assert!(found.is_err(), "{column}");
    }
    let unknown = Statement::from_sql_and_values(DbBackend::Sqlite, "SELECT ?", [Value::Char(Some('x'))]);
    assert!(sqlite.query(&unknown, 1).is_err());
}

#[test]
fn a_broken_rule_is_a_conflict_and_a_closed_door_is_unavailable() {
    let (folder, sqlite) = opened();
    sqlite.script("CREATE UNIQUE INDEX words ON kinds (words)").unwrap();
    let row = || {
        insert([
            true.into(),
            1i16.into(),
            1i32.into(),
            1i64.into(),
            "x".into(),
            vec![0u8].into(),
        ])
    };
    sqlite.execute(&row()).unwrap();
    let again = DbError::from(sqlite.execute(&row()).unwrap_err());
    assert!(matches!(again, DbError::Conflict(_)), "{again:?}");
    let wrong = DbError::from(sqlite.query(&select("SELECT nothing FROM nowhere"), 1).unwrap_err());
    assert!(matches!(wrong, DbError::Statement(_)), "{wrong:?}");

    let readers = Readers::open(&folder.path().join("x.sqlite3")).unwrap();
    let count = |sqlite: &Sqlite| sqlite.query(&select("SELECT * FROM kinds"), 9).map(|rows| rows.len());
    assert_eq!(readers.with(count).unwrap(), 1);
    let written = DbError::from(readers.with(|sqlite| sqlite.execute(&row())).unwrap_err());
    assert!(
        matches!(written, DbError::Full(_)),
        "a reader writes nothing: {written:?}"
    );
    readers.close();
    let closed = DbError::from(readers.with(count).unwrap_err());
    assert!(matches!(closed, DbError::Unavailable(_)), "{closed:?}");
    let missing = Sqlite::open(&folder.path().join("none/x.sqlite3"), Access::Write).unwrap_err();
    assert!(matches!(DbError::from(missing), DbError::Unavailable(_)));
}

#[test]
fn readers_see_what_is_committed_and_nothing_else() {
    let (folder, sqlite) = opened();
    let readers = Readers::open(&folder.path().join("x.sqlite3")).unwrap();
    let count = || readers.with(|sqlite| sqlite.query(&select("SELECT * FROM kinds"), 9).map(|rows| rows.len()));
    sqlite
        .script("BEGIN IMMEDIATE; INSERT INTO kinds (big) VALUES (1)")
        .unwrap();
    assert!(!sqlite.is_idle());
    assert_eq!(count().unwrap(), 0);
    sqlite.script("COMMIT").unwrap();
    assert_eq!(count().unwrap(), 1);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    use sea_orm::ConnectionTrait;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sqlite3");
    let migrate = async |connection: &sea_orm::DatabaseConnection| {
        connection.execute_unprepared("CREATE TABLE half (a INTEGER)").await?;
        Err(DbErr::Custom("the second half fails".to_owned()))
    };
    migrated(Sqlite::open(&path, Access::Write).unwrap(), migrate)
        .await
        .unwrap_err();
    let sqlite = Sqlite::open(&path, Access::Read).unwrap();
    assert!(sqlite.query(&select("SELECT * FROM half"), 1).is_err());
}

#[test]
fn numbered_places_take_their_values_in_any_order_and_more_than_once() {
    let (_folder, sqlite) = opened();
    let sql = "SELECT $2 || $1 || $3 || $2 AS words";
    let values = ["a", "b", "c"].map(Value::from);
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
    let row = sqlite.query(&statement, 1).unwrap();
    assert_eq!(row[0].values["words"], Value::from("bacb"));
    let too_few = Statement::from_sql_and_values(DbBackend::Sqlite, sql, ["a", "b"].map(Value::from));
    assert!(sqlite.query(&too_few, 1).is_err());
}

#[test]
fn a_text_that_looks_like_a_place_is_none() {
    let (_folder, sqlite) = opened();
    for (sql, values, words) in [
        ("SELECT $1 || '$2' AS words", &["a"][..], "a$2"),
        ("SELECT '$2' || $1 AS words", &["a"], "$2a"),
        ("SELECT '$' || $1 || '$x' || $2 || $1 AS words", &["a", "b"], "$a$xba"),
        ("SELECT $1 || $2 || '$1' || $2 AS words", &["a", "b"], "ab$1b"),
        ("SELECT '$1' || $2 || $1 AS words", &["a", "b"], "$1ba"),
        ("SELECT ? || ? AS words", &["a", "b"], "ab"),
    ] {
        let values = values.iter().map(|value| Value::from(*value));
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
        let row = sqlite.query(&statement, 1).unwrap();
        assert_eq!(row[0].values["words"], Value::from(words), "{sql}");
    }
}
