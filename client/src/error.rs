//! What can go wrong, as cases that a program can act on.

use std::time::Duration;

use artifactd_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The published reason of a refusal.
pub type Reason = ErrorReason;

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused the call.
    #[error("{message} ({reason:?}{})", request_said(request_id))]
    Refused {
        /// The gRPC code.
        code: Code,
        /// Why, for programs. `Unspecified` for a reason of a newer server.
        reason: Reason,
        /// Why, for people.
        message: String,
        /// The field at fault.
        field: Option<String>,
        /// Where the server's log tells more.
        request_id: String,
        /// When another try may succeed.
        retry_after: Option<Duration>,
    },
    /// The server could not be reached, or the connection broke.
    #[error("the server cannot be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call was not answered in its time; what it asked for may have been done.
    #[error("the call was not answered within {after:?}")]
    TimedOut {
        /// The time that it had.
        after: Duration,
    },
    /// What came in is not what was sent.
    #[error("the content of {uid} was damaged on its way: {what}")]
    Damaged {
        /// The artifact.
        uid: String,
        /// What was found.
        what: String,
    },
    /// The server answered what this client does not understand.
    #[error("the server's answer makes no sense: {0}")]
    Answer(String),
    /// A file or folder here failed.
    #[error("{path}")]
    File {
        /// The path.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it was when its upload began.
    #[error("{path} is not the file with which the upload began: {what}")]
    FileChanged {
        /// The path.
        path: String,
        /// What was found.
        what: String,
    },
    /// There is no good copy on this machine, and no server was to be asked.
    #[error("{0} is not in the cache")]
    NotCached(String),
    /// The call cannot be made as it is.
    #[error("{0}")]
    Input(String),
}

impl Error {
    /// The reason of a refusal by the server.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Refused {
                code: Code::Unavailable,
                ..
            } => true,
            Self::Refused {
                reason: Reason::Conflict | Reason::UploadFenced,
                ..
            } => true,
            Self::Refused {
                code: Code::ResourceExhausted,
                retry_after,
                ..
            } => retry_after.is_some(),
            _ => false,
        }
    }

    /// A status that does not explain itself came from this library, or from what lies
    /// between here and the server.
    fn from_elsewhere(status: Status) -> Self {
        match status.code() {
            // What broke on the way may hold the next time.
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted => {
                Self::Transport(Box::new(status))
            }
            code => Self::Refused {
                code,
                reason: Reason::Unspecified,
                message: status.message().to_owned(),
                field: None,
                request_id: String::new(),
                retry_after: None,
            },
        }
    }

    /// Whether what has come of a content is of no use any more.
    pub(crate) fn ends_content(&self) -> bool {
        let of_content = |code| {
            matches!(
                code,
                Code::InvalidArgument
                    | Code::NotFound
                    | Code::FailedPrecondition
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::DataLoss
            )
        };
        match self {
            Self::Damaged { .. } | Self::Answer(_) => true,
            Self::Refused { code, .. } => of_content(*code) && !self.is_retryable(),
            _ => false,
        }
    }

    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }
}

fn request_said(request_id: &str) -> String {
    match request_id {
        "" => String::new(),
        id => format!(", request {id}"),
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let Some(info) = details.error_info() else {
            return Self::from_elsewhere(status);
        };
        let field = details.bad_request().and_then(|bad| bad.field_violations.first());
        Self::Refused {
            code: status.code(),
            reason: Reason::from_str_name(&format!("ERROR_REASON_{}", info.reason)).unwrap_or(Reason::Unspecified),
            message: status.message().to_owned(),
            field: field.map(|violation| violation.field.clone()),
            request_id: details
                .request_info()
                .map(|request| request.request_id.clone())
                .unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Transport(Box::new(error))
    }
}
