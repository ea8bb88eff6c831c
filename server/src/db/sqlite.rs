//! SQLite, called on the thread that asks.
//!
//! A driver that keeps a thread for each connection pays two wake-ups a call,
//! which cost ten times what SQLite needs to answer from its page cache. So
//! queries run where they are. What may wait for the disk, a commit above all,
//! goes through [`crate::blocking::in_place`].
//!
//! Rows leave here as sea-orm's, so that one set of queries and entities serves
//! both databases. This folder knows no table.

mod fault;
mod log;
mod migrating;
mod values;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use rusqlite::{CachedStatement, Connection, OpenFlags, config::DbConfig};
use sea_orm::{DbErr, ProxyExecResult, ProxyRow, RuntimeErr, Statement};

use self::fault::failed;
pub(super) use self::{log::make_room, migrating::migrated};
use super::cells::{Cells, FromCells};

type Result<T> = std::result::Result<T, DbErr>;

/// Connections that are kept open for reading.
const READERS_IDLE_MAX: usize = 8;

/// Compiled statements that a connection keeps.
const STATEMENTS_KEPT_MAX: usize = 200;

/// Pages in the write-ahead log before they are written to their places: 16 MiB.
///
/// Most changes touch the same pages, so waiting for more of them saves writes.
const LOG_PAGES_MAX: i32 = 4_000;

/// Pages that the writer keeps. Readers forget theirs with every change anyway.
const WRITER_CACHE_KIB: i32 = 16 * 1024;

/// How long a call waits for another process: `verify` for a server, or a server for it. As
/// long as calls wait for PostgreSQL, since a busy server may be at one change for seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Sqlite(Mutex<Connection>);

impl Sqlite {
    /// Opens a database, making it in order to write.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self> {
        let mode = match access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT_MAX);
            if access == Access::Write {
                connection.pragma_update(None, "journal_mode", "WAL")?;
                connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
                connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
            }
            // Else statements on tables with partial indexes are compiled anew for each value.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "temp_store", "memory")?;
            Ok(connection)
        };
        let connection = open().map_err(|error| DbErr::Conn(failed(error)))?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Runs one of the few statements without values around a transaction.
    pub(super) fn control(&self, sql: &str) -> Result<()> {
        let connection = self.connection();
        let mut prepared = connection
            .prepare_cached(sql)
            .map_err(|error| DbErr::Query(failed(error)))?;
        prepared.raw_execute().map_err(|error| DbErr::Exec(failed(error)))?;
        Ok(())
    }

    /// Runs statements that have no values and answer nothing.
    pub(super) fn script(&self, sql: &str) -> Result<()> {
        self.connection()
            .execute_batch(sql)
            .map_err(|error| DbErr::Exec(failed(error)))
    }

    /// Runs a statement that answers no rows.
    pub(super) fn execute(&self, statement: &Statement) -> Result<ProxyExecResult> {
        let connection = self.connection();
        let mut prepared = prepared(&connection, statement)?;
        let rows = prepared.raw_execute().map_err(|error| DbErr::Exec(failed(error)))?;
        drop(prepared);
        // Row ids begin at 1; before the first insert there is none.
        let last = u64::try_from(connection.last_insert_rowid()).unwrap_or_default();
        Ok(ProxyExecResult::new(last, rows as u64))
    }

    /// Runs a query; answers its rows, or the first `most` of them.
    pub(super) fn query(&self, statement: &Statement, most: usize) -> Result<Vec<ProxyRow>> {
        let connection = self.connection();
        let mut prepared = prepared(&connection, statement)?;
        let (mut found, mut columns, mut rows) = (Vec::new(), None, prepared.raw_query());
        while found.len() < most {
            match rows.next().map_err(|error| DbErr::Query(failed(error)))? {
                Some(row) => found.push(values::row(
                    columns.get_or_insert_with(|| values::columns(row.as_ref())),
                    row,
                )?),
                None => break,
            }
        }
        Ok(found)
    }

    /// The same as what is read from cells, without sea-orm's rows in between.
    pub(super) fn read<T: FromCells>(&self, statement: &Statement, most: usize) -> Result<Vec<T>> {
        let connection = self.connection();
        let mut prepared = prepared(&connection, statement)?;
        let (mut found, mut rows) = (Vec::new(), prepared.raw_query());
        while found.len() < most {
            match rows.next().map_err(|error| DbErr::Query(failed(error)))? {
                Some(row) => found.push(T::from_cells(&mut Cells::of_sqlite(row))?),
                None => break,
            }
        }
        Ok(found)
    }

    /// Whether no transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        self.connection().is_autocommit()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().expect("no holder panics")
    }
}

fn prepared<'c>(connection: &'c Connection, statement: &Statement) -> Result<CachedStatement<'c>> {
    let failed = |error| DbErr::Query(failed(error));
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(failed)?;
    let values = statement.values.as_ref().map_or(&[][..], |values| &values.0);
    let numbers = numbers_of(&statement.sql, &prepared);
    for place in 1..=prepared.parameter_count() {
        let number = numbers.as_ref().map_or(place, |numbers| numbers[place - 1]);
        let value = values.get(number - 1);
        let value = value.ok_or_else(|| DbErr::Type(format!("place {place} of a statement has no value")))?;
        prepared
            .raw_bind_parameter(place, values::to_sql(value)?)
            .map_err(failed)?;
    }
    Ok(prepared)
}

/// The numbers of the values at the places of a statement; `None` when they are those
/// of the places.
///
/// `$2` is a name here, whose place is where it came first: a statement that needs the
/// second value before the first has that at place 1.
fn numbers_of(sql: &str, prepared: &CachedStatement<'_>) -> Option<Vec<usize>> {
    // Asking for a name costs time for each place before it, so that is not done without need.
    if !sql.contains('$') || is_in_order(sql, prepared.parameter_count()) {
        return None;
    }
    let number_of = |place| {
        let name = prepared.parameter_name(place);
        let number = name.and_then(|name| name.strip_prefix('$')?.parse().ok());
        number.filter(|number| *number > 0).unwrap_or(place)
    };
    Some((1..=prepared.parameter_count()).map(number_of).collect())
}

/// Whether a text names `$1` to so many first in this order, outside of literals.
fn is_in_order(sql: &str, places: usize) -> bool {
    let mut named = 0;
    let outside = sql.split('\'').step_by(2);
    for rest in outside.flat_map(|text| text.split('$').skip(1)) {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        match rest[..digits].parse::<usize>() {
            Ok(number) if number <= named => {}
            Ok(number) if number == named + 1 => named = number,
            _ => return false,
        }
    }
    // Where something else was taken for a name, the counts differ.
    named == places
}

/// Connections for reading, as many as calls need at once.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    /// `None` once closed.
    idle: Mutex<Option<Vec<Sqlite>>>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let first = Sqlite::open(path, Access::Read)?;
        Ok(Self {
            path: path.to_owned(),
            idle: Mutex::new(Some(vec![first])),
        })
    }

    /// Runs some work on a connection that nobody else uses.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Sqlite) -> Result<T>) -> Result<T> {
        let idle = self.idle().as_mut().ok_or_else(closed)?.pop();
        let connection = match idle {
            Some(connection) => connection,
            None => Sqlite::open(&self.path, Access::Read)?,
        };
        let done = work(&connection);
        if let Some(idle) = self.idle().as_mut()
            && idle.len() < READERS_IDLE_MAX
        {
            idle.push(connection);
        }
        done
    }

    /// Closes the connections; calls fail from then on.
    pub(super) fn close(&self) {
        *self.idle() = None;
    }

    fn idle(&self) -> MutexGuard<'_, Option<Vec<Sqlite>>> {
        self.idle.lock().expect("no holder panics")
    }
}

fn closed() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database is closed".to_owned()))
}

#[cfg(test)]
mod tests;
