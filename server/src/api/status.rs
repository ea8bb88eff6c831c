//! The one table from errors to gRPC codes and reasons, and the one place where a
//! failure is logged.

use std::{collections::HashMap, error::Error, time::Duration};

use artifactd_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::layer::CallId;
use crate::{
    arrays::ArrayError,
    db::DbError,
    registry::{RegistryError, Rule, SchemaFault, Thing},
    storage::StorageError,
};

const DOMAIN: &str = "artifactd";
const BUSY_RETRY: Duration = Duration::from_secs(1);
const OUTAGE_RETRY: Duration = Duration::from_millis(500);

/// Longest text of a message: details and trailers must stay below 4 KiB, and tonic
/// quotes what the caller sent.
const MESSAGE_CHARS_MAX: usize = 512;

/// Longest list of fields at fault.
const VIOLATIONS_BYTES_MAX: usize = 2_500;

/// The name of a reason as it travels: without the prefix of the enum.
pub(crate) fn name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

/// A status with its reason.
pub(crate) fn status(call_id: &CallId, code: Code, reason: ErrorReason, message: impl Into<String>) -> Status {
    with_details(call_id, code, reason, message.into(), ErrorDetails::new())
}

/// A field of the request that is at fault.
pub(crate) fn field(call_id: &CallId, field: &str, rule: impl Into<String>) -> Status {
    field_with(call_id, ErrorReason::FieldInvalid, field, rule)
}

/// The same with a reason of its own.
pub(crate) fn field_with(call_id: &CallId, reason: ErrorReason, field: &str, rule: impl Into<String>) -> Status {
    let rule = short(rule.into());
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation(field, &rule);
    with_details(
        call_id,
        Code::InvalidArgument,
        reason,
        format!("{field} {rule}"),
        details,
    )
}

/// Several fields that are at fault: as many as fit into the details.
pub(crate) fn faults(call_id: &CallId, reason: ErrorReason, faults: &[(String, String)]) -> Status {
    let mut details = ErrorDetails::new();
    let (mut bytes, mut told) = (0, 0);
    for (path, why) in faults {
        let (path, why) = (short(path.clone()), short(why.clone()));
        bytes += path.len() + why.len() + 16;
        if bytes > VIOLATIONS_BYTES_MAX {
            break;
        }
        details.add_bad_request_violation(path, why);
        told += 1;
    }
    let message = match faults {
        [(path, why)] => format!("{path}: {why}"),
        [(path, why), ..] => format!("{path}: {why} ({} faults, {told} of them told)", faults.len()),
        [] => String::new(),
    };
    with_details(call_id, Code::InvalidArgument, reason, message, details)
}

fn with_details(
    call_id: &CallId,
    code: Code,
    reason: ErrorReason,
    message: String,
    mut details: ErrorDetails,
) -> Status {
    details.set_error_info(name(reason), DOMAIN, HashMap::new());
    details.set_request_info(call_id.as_str(), "");
    if code == Code::Unavailable {
        details.set_retry_info(Some(OUTAGE_RETRY));
    } else if matches!(reason, ErrorReason::ServerBusy | ErrorReason::KeyBusy) {
        details.set_retry_info(Some(BUSY_RETRY));
    }
    Status::with_error_details(code, short(message), details)
}

fn short(text: String) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Turns an error of the registry into a status, and logs what is ours.
pub(crate) fn from_registry(error: RegistryError, call_id: &CallId) -> Status {
    let error = match error {
        RegistryError::Source(source) => return from_source(source, call_id),
        RegistryError::Field { field, rule } => {
            return field_with(call_id, reason_of_rule(field, &rule), field, rule.to_string());
        }
        RegistryError::StorageUnusable { field, ref why, .. } => {
            let (code, reason) = code_of(&error);
            let mut details = ErrorDetails::new();
            details.add_bad_request_violation(field, short(why.clone()));
            return with_details(call_id, code, reason, error.to_string(), details);
        }
        RegistryError::Annotation(faults) => {
            let faults: Vec<_> = faults
                .into_iter()
                .map(|fault| (fault.path, fault.why.to_string()))
                .collect();
            return self::faults(call_id, ErrorReason::AnnotationInvalid, &faults);
        }
        RegistryError::SchemaBroken { faults, .. } => {
            let faults: Vec<_> = faults
                .into_iter()
                .map(|SchemaFault { slot, name, why }| match name.as_str() {
                    "" => (slot, why),
                    name => (format!("{slot}.{name}"), why),
                })
                .collect();
            return self::faults(call_id, ErrorReason::SchemaBroken, &faults);
        }
        RegistryError::Array(ArrayError::Selection { field, rule }) => {
            return self::field(call_id, &field, rule);
        }
        error => error,
    };
    let (code, reason) = code_of(&error);
    log(&error, code, call_id);
    let message = match &error {
        _ if code == Code::Internal => "internal error; see the log".to_owned(),
        // What failed there, and not just that it did.
        RegistryError::Storage(error) => error.to_string(),
        error => error.to_string(),
    };
    status(call_id, code, reason, message)
}

/// A fault that an adapter found in a stream passes through unchanged.
fn from_source(source: Box<dyn Error + Send + Sync>, call_id: &CallId) -> Status {
    match source.downcast::<Status>() {
        Ok(status) => *status,
        Err(other) => status(call_id, Code::Cancelled, ErrorReason::Cancelled, other.to_string()),
    }
}

fn reason_of_rule(field: &str, rule: &Rule) -> ErrorReason {
    match rule {
        Rule::Key(_) if field.ends_with("key") => ErrorReason::KeyInvalid,
        Rule::Reference(_) => ErrorReason::ReferenceInvalid,
        Rule::Version(_) => ErrorReason::VersionInvalid,
        Rule::Digest(_) => ErrorReason::DigestInvalid,
        Rule::Alias(_) => ErrorReason::AliasInvalid,
        Rule::Filter(_) => ErrorReason::FilterInvalid,
        Rule::Query(_) => ErrorReason::QueryInvalid,
        Rule::Required => ErrorReason::FieldRequired,
        Rule::NameRequired => ErrorReason::NameRequired,
        Rule::Suffix(..) => ErrorReason::SuffixMismatch,
        Rule::NotUpdatable(_) => ErrorReason::FieldNotUpdatable,
        Rule::PageToken => ErrorReason::PageTokenInvalid,
        Rule::PageTokenOther => ErrorReason::PageTokenMismatch,
        Rule::Key(_)
        | Rule::Text(_)
        | Rule::Name(_)
        | Rule::Synonyms(_)
        | Rule::Dtype(_)
        | Rule::Order(_)
        | Rule::Other(_) => ErrorReason::FieldInvalid,
    }
}

fn code_of(error: &RegistryError) -> (Code, ErrorReason) {
    use RegistryError as E;
    match error {
        E::Field { .. } => (Code::InvalidArgument, ErrorReason::FieldInvalid),
        E::NotFound(_) => (Code::NotFound, ErrorReason::ArtifactNotFound),
        E::StorageNotFound(_) => (Code::NotFound, ErrorReason::StorageNotFound),
        E::SpaceNotFound(_) => (Code::NotFound, ErrorReason::SpaceNotFound),
        E::VersionTaken(_) => (Code::AlreadyExists, ErrorReason::VersionTaken),
        E::AliasIsLabel(_) | E::LabelIsAlias(_) => (Code::AlreadyExists, ErrorReason::AliasTaken),
        E::AliasNotFound(_) => (Code::NotFound, ErrorReason::AliasNotFound),
        E::AliasMoved { .. } => (Code::Aborted, ErrorReason::AliasMoved),
        E::AliasesExhausted(_) => (Code::FailedPrecondition, ErrorReason::AliasesExhausted),
        E::KeyTaken { .. } => (Code::AlreadyExists, ErrorReason::KeyTaken),
        E::KeyOverlaps { .. } => (Code::AlreadyExists, ErrorReason::KeyOverlaps),
        E::IsFolder(_) => (Code::FailedPrecondition, ErrorReason::ArtifactIsFolder),
        E::IsFile(_) => (Code::FailedPrecondition, ErrorReason::ArtifactIsFile),
        E::MemberNotFound { .. } => (Code::NotFound, ErrorReason::MemberNotFound),
        E::FolderRefused(_) => (Code::InvalidArgument, ErrorReason::FolderInvalid),
        E::FolderIncomplete { .. } => (Code::FailedPrecondition, ErrorReason::FolderIncomplete),
        E::FolderWindowFull(_) => (Code::ResourceExhausted, ErrorReason::FolderWindowFull),
        E::UploadNotFound(_) => (Code::NotFound, ErrorReason::UploadNotFound),
        E::UploadFenced(_) => (Code::Aborted, ErrorReason::UploadFenced),
        E::UploadNotOpen(_) => (Code::FailedPrecondition, ErrorReason::UploadNotOpen),
        E::UploadIncomplete(_) => (Code::FailedPrecondition, ErrorReason::UploadIncomplete),
        E::PartConflict(_) => (Code::AlreadyExists, ErrorReason::PartConflict),
        E::OffsetMismatch(_) => (Code::InvalidArgument, ErrorReason::OffsetMismatch),
        E::AccessorMismatch { .. } => (Code::FailedPrecondition, ErrorReason::AccessorMismatch),
        E::ElementNotFound { .. } => (Code::NotFound, ErrorReason::ElementNotFound),
        E::Array(error) | E::Batch(error @ (ArrayError::UnitTooLarge { .. } | ArrayError::Bomb(_))) => {
            code_of_array(error)
        }
        E::Batch(_) => (Code::InvalidArgument, ErrorReason::BatchInvalid),
        E::ContentExists(_) => (Code::AlreadyExists, ErrorReason::ContentExists),
        E::ContentNotHeld(_) => (Code::FailedPrecondition, ErrorReason::ContentNotHeld),
        E::InTrash(_) => (Code::FailedPrecondition, ErrorReason::ArtifactInTrash),
        E::NotInTrash(_) => (Code::FailedPrecondition, ErrorReason::ArtifactNotInTrash),
        E::VersionsExhausted(_) => (Code::FailedPrecondition, ErrorReason::VersionsExhausted),
        E::EtagMismatch { .. } => (Code::Aborted, ErrorReason::EtagMismatch),
        E::ContentChanged(_) | E::ChangedInPlace(_) => (Code::Aborted, ErrorReason::ContentChanged),
        E::StorageForbidden(_) => (Code::PermissionDenied, ErrorReason::StorageForbidden),
        E::StorageUnusable { .. } => (Code::FailedPrecondition, ErrorReason::StorageUnusable),
        E::StorageNotRegistered { .. } => (Code::FailedPrecondition, ErrorReason::StorageNotRegistered),
        E::RealKeyUnsupported { .. } => (Code::FailedPrecondition, ErrorReason::RealKeyUnsupported),
        E::RangeInvalid { .. } => (Code::OutOfRange, ErrorReason::RangeInvalid),
        E::SizeMismatch { .. } => (Code::InvalidArgument, ErrorReason::SizeMismatch),
        E::DigestMismatch { .. } => (Code::InvalidArgument, ErrorReason::DigestMismatch),
        E::ContentTooLarge(_) => (Code::ResourceExhausted, ErrorReason::ContentTooLarge),
        E::StreamIncomplete => (Code::InvalidArgument, ErrorReason::StreamIncomplete),
        E::Source(_) => (Code::Cancelled, ErrorReason::Cancelled),
        E::StreamIdle(_) => (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded),
        E::Busy => (Code::ResourceExhausted, ErrorReason::ServerBusy),
        E::KeyBusy(_) => (Code::ResourceExhausted, ErrorReason::KeyBusy),
        E::DatabaseBehind(_) => (Code::FailedPrecondition, ErrorReason::DatabaseBehind),
        E::RequestIdReused(_) => (Code::InvalidArgument, ErrorReason::RequestIdReused),
        E::Corrupt { .. } | E::Drifted { .. } => (Code::DataLoss, ErrorReason::ContentCorrupt),
        E::StorageOnlyRead(_) => (Code::FailedPrecondition, ErrorReason::StorageReadOnly),
        E::Missing { what, .. } => (Code::NotFound, missing(*what)),
        E::NameTaken { .. } => (Code::AlreadyExists, ErrorReason::NameTaken),
        E::InUse { .. } => (Code::FailedPrecondition, ErrorReason::InUse),
        E::Changed { .. } => (Code::Aborted, ErrorReason::EtagMismatch),
        E::Annotation(_) => (Code::InvalidArgument, ErrorReason::AnnotationInvalid),
        E::SchemaBroken { .. } => (Code::InvalidArgument, ErrorReason::SchemaBroken),
        E::WrongKind { .. } => (Code::FailedPrecondition, ErrorReason::WrongKind),
        E::RunRequired => (Code::FailedPrecondition, ErrorReason::RunRequired),
        E::RunFinished(_) => (Code::FailedPrecondition, ErrorReason::RunFinished),
        E::Draining => (Code::Unavailable, ErrorReason::ServerDraining),
        E::IndexBehind => (Code::Unavailable, ErrorReason::SearchIndexBehind),
        E::LabelCycle(_) => (Code::FailedPrecondition, ErrorReason::LabelCycle),
        E::Storage(error) => code_of_storage(error),
        E::Db(error) => code_of_db(error),
    }
}

fn missing(what: Thing) -> ErrorReason {
    match what {
        Thing::Feature | Thing::Param => ErrorReason::FeatureNotFound,
        Thing::Label => ErrorReason::LabelNotFound,
        Thing::LabelRegistry => ErrorReason::LabelRegistryNotFound,
        Thing::Transform => ErrorReason::TransformNotFound,
        Thing::Run => ErrorReason::RunNotFound,
        Thing::Artifact => ErrorReason::ArtifactNotFound,
        Thing::Collection => ErrorReason::CollectionNotFound,
        Thing::Storage => ErrorReason::StorageNotFound,
        Thing::FeatureSet => ErrorReason::FeatureSetNotFound,
        Thing::Schema => ErrorReason::SchemaNotFound,
    }
}

fn code_of_array(error: &ArrayError) -> (Code, ErrorReason) {
    use ArrayError as E;
    match error {
        E::Malformed { .. } => (Code::FailedPrecondition, ErrorReason::TableMalformed),
        E::NoTable(_) | E::NoTableFolder(_) => (Code::FailedPrecondition, ErrorReason::NotATable),
        E::SchemasDiffer { .. } => (Code::FailedPrecondition, ErrorReason::MemberSchemasDiffer),
        E::Unsupported { .. } => (Code::FailedPrecondition, ErrorReason::TableUnsupported),
        E::UnitTooLarge { .. } => (Code::ResourceExhausted, ErrorReason::UnitTooLarge),
        E::Bomb(_) | E::OverBudget(_) => (Code::ResourceExhausted, ErrorReason::DecodeBudget),
        E::Selection { .. } => (Code::InvalidArgument, ErrorReason::FieldInvalid),
        E::RowsInvalid { .. } => (Code::OutOfRange, ErrorReason::RangeInvalid),
        E::Cancelled => (Code::Cancelled, ErrorReason::Cancelled),
        E::Storage(error) => code_of_storage(error),
        E::Internal(_) => (Code::Internal, ErrorReason::Internal),
    }
}

fn code_of_storage(error: &StorageError) -> (Code, ErrorReason) {
    use StorageError as E;
    match error {
        E::Full(_) => (Code::ResourceExhausted, ErrorReason::StorageFull),
        E::ReadOnly(_) => (Code::FailedPrecondition, ErrorReason::StorageReadOnly),
        E::NotFound { .. } | E::Corrupt { .. } => (Code::DataLoss, ErrorReason::ContentCorrupt),
        E::Unavailable(_) | E::Io { .. } => (Code::Unavailable, ErrorReason::StorageUnavailable),
        E::Closed { .. } => (Code::Aborted, ErrorReason::UploadFenced),
        E::Useless { .. } | E::OtherRegion(_) => (Code::FailedPrecondition, ErrorReason::StorageUnusable),
        E::Refused { .. } | E::Exists { .. } => (Code::Internal, ErrorReason::Internal),
    }
}

fn code_of_db(error: &DbError) -> (Code, ErrorReason) {
    match error {
        DbError::Unavailable(_) => (Code::Unavailable, ErrorReason::DatabaseUnavailable),
        DbError::Conflict(_) => (Code::Aborted, ErrorReason::Conflict),
        DbError::Busy => (Code::ResourceExhausted, ErrorReason::ServerBusy),
        DbError::Full(_) => (Code::ResourceExhausted, ErrorReason::StorageFull),
        DbError::Schema(_) | DbError::Row { .. } | DbError::Statement(_) => (Code::Internal, ErrorReason::Internal),
    }
}

/// What the server or its surroundings did wrong is logged with its whole chain;
/// what a caller did wrong is the caller's to read.
fn log(error: &RegistryError, code: Code, call_id: &CallId) {
    let cause = error as &dyn Error;
    match code {
        Code::Internal | Code::DataLoss => tracing::error!(request_id = call_id.as_str(), error = cause, "Call failed"),
        Code::Unavailable | Code::ResourceExhausted => {
            tracing::warn!(request_id = call_id.as_str(), error = cause, "Call failed");
        }
        _ => {}
    }
}

/// Gives a status its reason that was made without one: by tonic, or by the health
/// and reflection services, before a handler saw the request or while it read the
/// caller's messages. tonic answers INTERNAL where a message cannot be read; here a
/// caller's fault is the caller's.
pub(crate) fn from_tonic(made: &Status, call_id: &CallId) -> Status {
    let (code, reason) = meaning(made);
    let message = match (made.message(), reason) {
        ("", ErrorReason::MethodUnknown) => "no such service or method",
        (message, _) => message,
    };
    status(call_id, code, reason, message)
}

fn meaning(made: &Status) -> (Code, ErrorReason) {
    use ErrorReason as R;
    match made.code() {
        // tonic fails to write an answer, or to read a request.
        Code::Internal if made.message().starts_with("Error encoding") => (Code::Internal, R::Internal),
        Code::Internal | Code::Unknown | Code::InvalidArgument => (Code::InvalidArgument, R::MessageMalformed),
        // Its limits: decoded length, and length before decoding.
        Code::OutOfRange | Code::ResourceExhausted => (Code::ResourceExhausted, R::MessageTooLarge),
        Code::Unimplemented => (Code::Unimplemented, R::MethodUnknown),
        // The health service on a service that there is not.
        Code::NotFound => (Code::NotFound, R::MethodUnknown),
        Code::DeadlineExceeded => (Code::DeadlineExceeded, R::DeadlineExceeded),
        Code::Cancelled if made.message().starts_with("Timeout expired") => {
            (Code::DeadlineExceeded, R::DeadlineExceeded)
        }
        Code::Cancelled => (Code::Cancelled, R::Cancelled),
        Code::Unavailable => (Code::Unavailable, R::ServerDraining),
        other => (other, R::Internal),
    }
}
