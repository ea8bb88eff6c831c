//! A refused call.
//!
//! Every refusal that a test meets is made here, and is checked here: it must
//! carry a published reason, the code that `errors.proto` gives to that reason,
//! the request id of the log, and details that fit into trailers. So a server
//! that answers anything else fails whichever test met it.

use std::{collections::BTreeMap, error::Error, fmt, sync::OnceLock};

use artifactd_proto::v1::ErrorReason;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const DETAILS_BYTES_MAX: usize = 4096;
const ERRORS_PROTO: &str = include_str!("../../proto/artifactd/v1/errors.proto");

/// What a call gave.
pub type Outcome<T> = Result<T, Failure>;

/// A call that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The published reason; nothing when the connection was cut and no answer came.
    pub reason: Option<ErrorReason>,
    /// Paths of the fields that the answer names.
    pub fields: Vec<String>,
    /// Whether the answer says when to try again.
    pub says_when_to_retry: bool,
    /// The answer as it came.
    pub status: Status,
}

impl Failure {
    /// The fields that the answer names, with what is wrong with each.
    pub fn violations(&self) -> Vec<(String, String)> {
        let details = self.status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone());
        let violations = violations.unwrap_or_default().into_iter();
        violations
            .map(|violation| (violation.field, violation.description))
            .collect()
    }

    /// Whether no answer came at all.
    pub fn is_cut(&self) -> bool {
        self.reason.is_none()
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // What the client library made itself has the transport's error as its source.
        if status.source().is_some() {
            return Self {
                reason: None,
                fields: Vec::new(),
                says_when_to_retry: false,
                status,
            };
        }
        let reason = checked_reason(&status).unwrap_or_else(|fault| panic!("{fault} in {status:?}"));
        let details = status.get_error_details();
        let violations = details
            .bad_request()
            .map(|bad| bad.field_violations.as_slice())
            .unwrap_or_default();
        Self {
            reason: Some(reason),
            fields: violations.iter().map(|violation| violation.field.clone()).collect(),
            says_when_to_retry: details.retry_info().is_some(),
            status,
        }
    }
}

/// Checks what every refusal must carry, and answers its reason.
pub fn checked_reason(status: &Status) -> Result<ErrorReason, String> {
    if status.details().len() > DETAILS_BYTES_MAX {
        return Err(format!("{} bytes of details", status.details().len()));
    }
    let packed = tonic_types::pb::Status::decode(status.details()).map_err(|error| format!("bad details ({error})"))?;
    if packed.code != i32::from(status.code()) {
        return Err(format!("details of code {}", packed.code));
    }
    let details = status
        .check_error_details()
        .map_err(|error| format!("bad details ({error})"))?;
    let info = details.error_info().ok_or("no ErrorInfo")?;
    if info.domain != "artifactd" {
        return Err(format!("domain {:?}", info.domain));
    }
    if details
        .request_info()
        .is_none_or(|request| request.request_id.is_empty())
    {
        return Err("no RequestInfo".to_owned());
    }
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
        .ok_or_else(|| format!("reason {:?}, which is not published,", info.reason))?;
    match published_codes().get(&info.reason) {
        Some(code) if *code == status.code() => Ok(reason),
        code => Err(format!("published code {code:?}")),
    }
}

/// The code of every reason, as its comment in `errors.proto` gives it.
fn published_codes() -> &'static BTreeMap<String, Code> {
    static CODES: OnceLock<BTreeMap<String, Code>> = OnceLock::new();
    CODES.get_or_init(|| {
        let mut codes = BTreeMap::new();
        let mut code = None;
        for line in ERRORS_PROTO.lines().map(str::trim) {
            if let Some((name, _)) = line.strip_prefix("// ").and_then(|comment| comment.split_once(": ")) {
                code = code_named(name).or(code);
            } else if let Some((name, _)) = line
                .strip_prefix("ERROR_REASON_")
                .and_then(|rest| rest.split_once(" = "))
            {
                codes.extend(code.take().map(|code| (name.to_owned(), code)));
            }
        }
        codes
    })
}

fn code_named(name: &str) -> Option<Code> {
    (1..=16).map(Code::from).find(|code| {
        let plain = format!("{code:?}").to_uppercase();
        plain == name.replace('_', "")
    })
}

/// The reason for which a call was refused.
///
/// # Panics
/// When it succeeded, or when no answer came.
#[track_caller]
pub fn refusal<T: fmt::Debug>(outcome: Outcome<T>) -> ErrorReason {
    refusal_of("it", outcome)
}

/// The reason for which `what` was refused.
///
/// # Panics
/// When it succeeded, or when no answer came.
#[track_caller]
pub fn refusal_of<T: fmt::Debug>(what: impl fmt::Debug, outcome: Outcome<T>) -> ErrorReason {
    match outcome {
        Ok(answer) => panic!("expected a refusal of {what:?}, got {answer:?}"),
        Err(failure) => failure
            .reason
            .unwrap_or_else(|| panic!("expected a refusal, the call was cut: {:?}", failure.status)),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.reason, self.status)
    }
}

impl Error for Failure {}
