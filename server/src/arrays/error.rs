//! What can go wrong with a table, as cases that a caller can act on.

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

use crate::storage::StorageError;

/// Result of a call on a table.
pub(crate) type Result<T> = std::result::Result<T, ArrayError>;

/// A failed call on a table.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The content is not what its format says.
    #[error("the content is not readable {format}: {what}")]
    Malformed {
        /// The format.
        format: &'static str,
        /// What was found, and where.
        what: String,
    },
    /// No format of tables has this suffix.
    #[error("the suffix `{0}` is that of no table")]
    NoTable(String),
    /// A folder is no table for a file in it.
    #[error("the folder is no table of parquet files: `{0}` is none")]
    NoTableFolder(String),
    /// Files of a folder have different columns.
    #[error("the files of the folder have different columns: in `{member}` {what}, as `{first}` has it")]
    SchemasDiffer {
        /// The file that differs.
        member: String,
        /// The one from which it does.
        first: String,
        /// What differs.
        what: String,
    },
    /// The content is sound and uses something that is not read here.
    #[error("the {format} content uses {what}, which is not supported")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What it uses.
        what: String,
    },
    /// Something that can only be read as a whole is too large for that.
    #[error("{unit} has {bytes} bytes, at most {bytes_max} are read as one unit")]
    UnitTooLarge {
        /// A page, a line, a row, a dictionary.
        unit: String,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        bytes_max: u64,
    },
    /// The content unpacks into far more than it is.
    #[error("the content unpacks into more than {0} times its size")]
    Bomb(u64),
    /// Looking into the content took more than it may.
    #[error("the content needs more than {0} to look into")]
    OverBudget(&'static str),
    /// What was asked of the table does not fit it.
    #[error("{field} {rule}")]
    Selection {
        /// The field of the request.
        field: String,
        /// What it breaks.
        rule: String,
    },
    /// Rows were asked for that there are not.
    #[error("row {row} lies outside the {rows} rows of the table")]
    RowsInvalid {
        /// The row.
        row: u64,
        /// How many there are.
        rows: u64,
    },
    /// Nobody waits for the answer any more.
    #[error("the read was cancelled")]
    Cancelled,
    /// The bytes could not be read.
    #[error("storage")]
    Storage(#[source] StorageError),
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

impl ArrayError {
    /// Content that is not what its format says.
    pub(crate) fn malformed(format: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self::Malformed { format, what }
    }

    /// Content that uses something which is not read here.
    pub(crate) fn unsupported(format: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self::Unsupported { format, what }
    }

    /// Something that is too large to be read as a whole.
    pub(crate) fn too_large(unit: impl Into<String>, bytes: u64, bytes_max: u64) -> Self {
        let unit = unit.into();
        Self::UnitTooLarge { unit, bytes, bytes_max }
    }

    /// A selection that does not fit the table.
    pub(crate) fn selection(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let (field, rule) = (field.into(), rule.into());
        Self::Selection { field, rule }
    }

    /// Whether it says something of the content itself, rather than of the call or the storage.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Malformed { .. }
            | Self::NoTable(_)
            | Self::NoTableFolder(_)
            | Self::SchemasDiffer { .. }
            | Self::Unsupported { .. }
            | Self::UnitTooLarge { .. }
            | Self::Bomb(_)
            | Self::OverBudget(_) => true,
            Self::Selection { .. }
            | Self::RowsInvalid { .. }
            | Self::Cancelled
            | Self::Storage(_)
            | Self::Internal(_) => false,
        }
    }

    /// The same of a file in a folder, which it names.
    pub(crate) fn in_member(self, path: &str) -> Self {
        match self {
            Self::Malformed { format, what } => Self::malformed(format, format!("`{path}`: {what}")),
            Self::Unsupported { format, what } => Self::unsupported(format, format!("{what} in `{path}`")),
            Self::UnitTooLarge { unit, bytes, bytes_max } => {
                Self::too_large(format!("{unit} of `{path}`"), bytes, bytes_max)
            }
            other => other,
        }
    }

    /// What a decoder of some format answered. An error of ours that it carries comes out again.
    pub(super) fn from_arrow(format: &'static str, error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(source) => Self::from_source(format, source),
            ArrowError::IoError(_, error) => Self::from_io(format, error),
            ArrowError::NotYetImplemented(what) => Self::unsupported(format, what),
            other => Self::malformed(format, other.to_string()),
        }
    }

    /// The same for the decoder of parquet.
    pub(super) fn from_parquet(error: ParquetError) -> Self {
        const FORMAT: &str = "parquet";
        match error {
            ParquetError::External(source) => Self::from_source(FORMAT, source),
            ParquetError::NYI(what) => Self::unsupported(FORMAT, what),
            other => Self::malformed(FORMAT, other.to_string()),
        }
    }

    pub(super) fn from_io(format: &'static str, error: std::io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            let inner = error.into_inner().expect("it was just seen");
            return *inner.downcast().expect("it was just seen");
        }
        Self::malformed(format, error.to_string())
    }

    fn from_source(format: &'static str, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match source.downcast::<Self>() {
            Ok(ours) => *ours,
            Err(source) => match source.downcast::<std::io::Error>() {
                Ok(error) => Self::from_io(format, *error),
                Err(other) => Self::malformed(format, other.to_string()),
            },
        }
    }
}

impl From<ArrayError> for std::io::Error {
    fn from(error: ArrayError) -> Self {
        Self::other(error)
    }
}

impl From<object_store::Error> for ArrayError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::Generic { source, .. } => match source.downcast::<StorageError>() {
                Ok(ours) => Self::Storage(*ours),
                Err(other) => Self::Storage(StorageError::Unavailable(other)),
            },
            other => Self::Storage(StorageError::Unavailable(Box::new(other))),
        }
    }
}
