//! SQLite's errors in the words of the other driver, so that one place sorts the
//! errors of both databases.

use std::{borrow::Cow, error::Error, sync::Arc};

use sea_orm::{
    RuntimeErr,
    sqlx::{
        self,
        error::{DatabaseError, ErrorKind},
    },
};

/// A call that SQLite refused, with its extended result code.
#[derive(Debug, thiserror::Error)]
#[error("SQLite error {code}: {message}")]
struct Refused {
    code: i32,
    message: String,
    #[source]
    source: rusqlite::Error,
}

impl DatabaseError for Refused {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                ErrorKind::UniqueViolation
            }
            rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            _ => ErrorKind::Other,
        }
    }
}

/// What went wrong in a call.
pub(super) fn failed(error: rusqlite::Error) -> RuntimeErr {
    let rusqlite::Error::SqliteFailure(refused, message) = &error else {
        // A statement that does not fit its values is a defect of ours.
        return RuntimeErr::Internal(error.to_string());
    };
    let refused = Refused {
        code: refused.extended_code,
        message: message.clone().unwrap_or_else(|| refused.to_string()),
        source: error,
    };
    RuntimeErr::SqlxError(Arc::new(sqlx::Error::Database(Box::new(refused))))
}
