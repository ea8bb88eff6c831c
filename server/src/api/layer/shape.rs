//! One shape for all errors: a reason, and the id of the call.
//!
//! What our handlers answer has a reason already; what others made gets one here.

use artifactd_proto::v1::ErrorReason;
use http::{HeaderMap, HeaderName};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

use super::{super::status, CallId};

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const REQUEST_INFO: &str = "type.googleapis.com/google.rpc.RequestInfo";

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: Code,
    /// Why it was refused; nothing where no status came from us.
    pub(super) reason: Option<String>,
}

impl From<Code> for End {
    fn from(code: Code) -> Self {
        Self { code, reason: None }
    }
}

impl From<&Status> for End {
    fn from(status: &Status) -> Self {
        Self {
            code: status.code(),
            reason: status.get_details_error_info().map(|info| info.reason),
        }
    }
}

/// Shapes the status in a head or in trailers; answers how the call ended when there is one.
pub(super) fn shape(headers: &mut HeaderMap, id: &CallId) -> Option<End> {
    let code = headers.get(Status::GRPC_STATUS)?;
    if code == "0" {
        return Some(End::from(Code::Ok));
    }
    let made = Status::from_header_map(headers)?;
    let shaped = match made.details() {
        [] => Some(status::from_tonic(&made, id)),
        details => match pb::Status::decode(details) {
            Ok(status) => with_request(&made, status, id),
            Err(_) => Some(status::from_tonic(&made, id)),
        },
    };
    let Some(shaped) = shaped else {
        return Some(End::from(&made));
    };
    headers.remove(MESSAGE);
    headers.remove(DETAILS);
    match shaped.add_header(headers) {
        Ok(()) => Some(End::from(&shaped)),
        Err(_) => Some(End::from(&made)),
    }
}

/// The answer to a call whose handler panicked. The panic itself is in the log.
pub(super) fn panicked(id: &CallId) -> Status {
    tracing::error!(request_id = id.as_str(), "A call panicked");
    status::status(id, Code::Internal, ErrorReason::Internal, "internal error; see the log")
}

/// Adds the id of the call where a handler did not.
fn with_request(made: &Status, mut status: pb::Status, id: &CallId) -> Option<Status> {
    if status.details.iter().any(|detail| detail.type_url == REQUEST_INFO) {
        return None;
    }
    status.details.push(request_info(id));
    Some(Status::with_details(
        made.code(),
        made.message(),
        status.encode_to_vec().into(),
    ))
}

fn request_info(id: &CallId) -> Any {
    let info = pb::RequestInfo {
        request_id: id.as_str().to_owned(),
        serving_data: String::new(),
    };
    any(REQUEST_INFO, &info)
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(status: &Status) -> Status {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let end = shape(&mut headers, &CallId::new("call-1"));
        let shaped = Status::from_header_map(&headers).unwrap();
        let expected = End {
            code: shaped.code(),
            reason: Some(reason(&shaped)),
        };
        assert_eq!(end, Some(expected));
        shaped
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().unwrap().reason
    }

    #[test]
    fn what_tonic_makes_gets_the_code_and_the_reason_that_it_means() {
        let expected = [
            (
                Status::internal("failed to decode Protobuf message"),
                Code::InvalidArgument,
                "MESSAGE_MALFORMED",
            ),
            (Status::unknown("bad body"), Code::InvalidArgument, "MESSAGE_MALFORMED"),
            (Status::internal("Error encoding: x"), Code::Internal, "INTERNAL"),
            (
                Status::out_of_range("decoded message length too large"),
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
            ),
            (Status::unimplemented(""), Code::Unimplemented, "METHOD_UNKNOWN"),
            (
                Status::cancelled("Timeout expired"),
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
            ),
            (
                Status::cancelled("operation was canceled"),
                Code::Cancelled,
                "CANCELLED",
            ),
            (
                Status::not_found("service not registered"),
                Code::NotFound,
                "METHOD_UNKNOWN",
            ),
        ];
        for (made, code, name) in expected {
            let shaped = shaped(&made);
            assert_eq!((shaped.code(), reason(&shaped).as_str()), (code, name), "{made:?}");
            let request = shaped.get_details_request_info().unwrap();
            assert_eq!(request.request_id, "call-1");
        }
    }

    #[test]
    fn what_a_handler_made_keeps_its_code_reason_and_details() {
        let mut details = tonic_types::ErrorDetails::with_error_info("KEY_TAKEN", "artifactd", []);
        details.add_bad_request_violation("key", "is taken");
        let made = Status::with_error_details(Code::AlreadyExists, "taken", details);
        let shaped = shaped(&made);
        assert_eq!((shaped.code(), shaped.message()), (Code::AlreadyExists, "taken"));
        assert_eq!(reason(&shaped), "KEY_TAKEN");
        assert_eq!(
            shaped.get_details_bad_request().unwrap().field_violations[0].field,
            "key"
        );
        assert_eq!(shaped.get_details_request_info().unwrap().request_id, "call-1");
    }

    #[test]
    fn a_success_is_left_alone_and_no_status_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(shape(&mut headers, &CallId::new("call-1")), None);
        headers.insert(Status::GRPC_STATUS, "0".parse().unwrap());
        assert_eq!(shape(&mut headers, &CallId::new("call-1")), Some(End::from(Code::Ok)));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn trailers_stay_small_whatever_a_caller_made_tonic_quote() {
        let shaped = shaped(&Status::unimplemented("é".repeat(20_000)));
        let mut headers = HeaderMap::new();
        shaped.add_header(&mut headers).unwrap();
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(bytes < 8 * 1024, "{bytes}");
    }
}
