//! What can go wrong with stored bytes, as cases that a caller can act on.

use std::io;

use rustix::io::Errno;

/// Result of a storage call.
pub(crate) type Result<T> = std::result::Result<T, StorageError>;

/// A failed storage call.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// An object that should exist does not.
    #[error("object {object} is missing")]
    NotFound {
        /// Name of the object.
        object: String,
    },
    /// Stored bytes differ from their checksum, are too few, or cannot be read.
    #[error("object {object} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// Name of the object.
        object: String,
        /// First byte of the damaged block inside the object.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// No space is left.
    #[error("the storage has no space left")]
    Full(#[source] io::Error),
    /// The storage refuses writes.
    #[error("the storage refuses writes")]
    ReadOnly(#[source] io::Error),
    /// The storage cannot be reached, or failed for now.
    #[error("the storage does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The root cannot be used as a storage.
    #[error("storage root {root} cannot be used: {why}")]
    Refused {
        /// The root as configured.
        root: String,
        /// Why not.
        why: String,
    },
    /// Trying a storage has shown that it does not do what a storage needs.
    #[error("{what}")]
    Useless {
        /// What it does not do.
        what: String,
        /// What it said, if it said something.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A bucket is in another region than it was looked for.
    #[error("the bucket is in another region")]
    OtherRegion(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An object of this name exists already.
    #[error("object {object} exists already")]
    Exists {
        /// Name of the object.
        object: String,
    },
    /// The object takes no more parts.
    #[error("object {object} is being completed")]
    Closed {
        /// Name of the object.
        object: String,
    },
    /// The operating system failed a call.
    #[error("{context}")]
    Io {
        /// What was attempted.
        context: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts what the operating system answered to a write.
    pub(crate) fn from_write(context: &'static str, error: impl Into<io::Error>) -> Self {
        let source = error.into();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full(source),
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Self::ReadOnly(source),
            _ => Self::Io { context, source },
        }
    }

    /// Sorts what an object store answered to a read of `object` at `offset`.
    pub(crate) fn from_read(object: &str, offset: u64, error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound {
                object: object.to_owned(),
            },
            other => match io_cause(&other).and_then(Errno::from_io_error) {
                Some(Errno::IO) => Self::Corrupt {
                    object: object.to_owned(),
                    offset,
                    what: "read error".to_owned(),
                },
                _ => Self::Unavailable(Box::new(other)),
            },
        }
    }
}

/// The error of the operating system below `error`, if there is one.
fn io_cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e io::Error> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = this.source();
    }
    None
}
