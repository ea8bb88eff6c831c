//! What can go wrong in the database, as cases that a caller can act on.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Result of a database call.
pub(crate) type Result<T> = std::result::Result<T, DbError>;

/// A failed database call.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached, or did not answer in time.
    #[error("the database does not answer")]
    Unavailable(#[source] DbErr),
    /// Another transaction came first; the same one can be tried again.
    #[error("another change came first")]
    Conflict(#[source] DbErr),
    /// Too many changes wait already.
    #[error("too many changes wait for the database")]
    Busy,
    /// The disk of the database is full, or refuses writes.
    #[error("the database cannot store more")]
    Full(#[source] DbErr),
    /// The schema is newer than this program, or cannot be brought up to date.
    #[error("the database schema cannot be used: {0}")]
    Schema(String),
    /// A row holds a value that this program never writes.
    #[error("row of {table} holds an impossible {column}")]
    Row {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A statement failed for another reason: a defect.
    #[error("a statement failed")]
    Statement(#[source] DbErr),
}

impl From<DbErr> for DbError {
    fn from(error: DbErr) -> Self {
        match sqlx_cause(&error) {
            Some(sqlx::Error::Database(cause)) => match case_of(cause.code().as_deref().unwrap_or_default()) {
                Case::Conflict => Self::Conflict(error),
                Case::Unavailable => Self::Unavailable(error),
                Case::Full => Self::Full(error),
                Case::Other => Self::Statement(error),
            },
            Some(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            ) => Self::Unavailable(error),
            _ if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => Self::Unavailable(error),
            _ => Self::Statement(error),
        }
    }
}

impl DbError {
    /// Another change came first, though the database does not know that it was in the way.
    pub(crate) fn conflict(what: &str) -> Self {
        Self::Conflict(DbErr::Custom(what.to_owned()))
    }

    /// A change failed for a reason that only its text tells.
    pub(crate) fn failed(what: &str) -> Self {
        Self::Statement(DbErr::Custom(what.to_owned()))
    }

    /// The same failure for others whom it met.
    pub(crate) fn told_again(&self, what: &str) -> Self {
        let cause = DbErr::Custom(what.to_owned());
        match self {
            Self::Busy => Self::Busy,
            Self::Full(_) => Self::Full(cause),
            Self::Unavailable(_) => Self::Unavailable(cause),
            Self::Conflict(_) => Self::Conflict(cause),
            Self::Schema(what) => Self::Schema(what.clone()),
            Self::Row { table, column } => Self::Row { table, column },
            Self::Statement(_) => Self::Statement(cause),
        }
    }

    /// Whether the disk refused to make written pages durable.
    pub(super) fn is_failed_fsync(&self) -> bool {
        // SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC
        const CODES: [&str; 2] = ["1034", "1290"];
        let Self::Unavailable(error) = self else { return false };
        match sqlx_cause(error) {
            Some(sqlx::Error::Database(cause)) => cause.code().is_some_and(|code| CODES.contains(&code.as_ref())),
            _ => false,
        }
    }
}

fn sqlx_cause(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => Some(cause),
        _ => None,
    }
}

enum Case {
    Conflict,
    Unavailable,
    Full,
    Other,
}

/// Sorts SQLSTATE codes (five characters) and SQLite's result codes (decimal;
/// the extended ones carry the primary one in their low byte).
fn case_of(code: &str) -> Case {
    match code {
        // serialization_failure, deadlock_detected, unique_violation, foreign_key_violation, lock_not_available
        "40001" | "40P01" | "23505" | "23503" | "55P03" => Case::Conflict,
        // disk_full, out_of_memory, too_many_connections are resources of the server
        "53100" => Case::Full,
        // admin_shutdown, crash_shutdown, cannot_connect_now, query_canceled
        "57P01" | "57P02" | "57P03" | "57014" | "53300" | "25006" => Case::Unavailable,
        _ if code.len() == 5 && code.starts_with("08") => Case::Unavailable,
        _ => match code.parse::<u32>() {
            // SQLITE_CONSTRAINT_UNIQUE, _PRIMARYKEY, _FOREIGNKEY
            Ok(2067 | 1555 | 787) => Case::Conflict,
            Ok(code) => match code & 0xff {
                // SQLITE_BUSY, SQLITE_LOCKED
                5 | 6 => Case::Unavailable,
                // SQLITE_READONLY, SQLITE_FULL
                8 | 13 => Case::Full,
                // SQLITE_IOERR, SQLITE_CANTOPEN, and SQLITE_CORRUPT, which is also how SQLite
                // calls a page that the disk does not give back
                10 | 11 | 14 => Case::Unavailable,
                _ => Case::Other,
            },
            Err(_) => Case::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    #[test]
    fn a_failure_is_told_again_as_what_it_is() {
        let cause = || DbErr::Custom("cause".to_owned());
        let failures = [
            DbError::Unavailable(cause()),
            DbError::Conflict(cause()),
            DbError::Busy,
            DbError::Full(cause()),
            DbError::Schema("newer".to_owned()),
            DbError::Row {
                table: "blobs",
                column: "sha256",
            },
            DbError::Statement(cause()),
        ];
        for failure in failures {
            assert_eq!(
                discriminant(&failure.told_again("again")),
                discriminant(&failure),
                "{failure:?}"
            );
        }
    }
}
