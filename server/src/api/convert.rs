//! Between messages and domain types: form is checked here, once.

mod answer;
mod change;
mod reference;
mod save;

use std::str::FromStr;

use artifactd_domain::{
    Accessor, Kind, Order, Sha256, Synonyms, Visibility,
    manifest::{Glob, GlobRefused, MemberPath},
    search::Query,
};
use artifactd_proto::v1::{self as pb, ErrorReason};
use prost::Message;
use tonic::Status;

pub(crate) use self::answer::artifact;
pub(super) use self::answer::{alias, alias_change, artifacts, hit, member, outcome, timestamp};
pub(super) use self::change::{alias_is, alias_name, alias_to_delete, alias_to_set, deletion, restoration, update};
pub(crate) use self::reference::reference;
pub(super) use self::reference::{ARTIFACTS, FROM, MEMBERS, NEW, OLD, reference_in, references};
pub(super) use self::save::{
    declared, declared_in_trailer, folder_edit, header_message, new_folder, new_upload, record, small_file,
    stored_header,
};
pub(crate) use self::save::{new_artifact, replacement};
use super::{layer::CallId, status};
use crate::registry::{Caller, IsRunInput, MembersQuery, RegistryError, RequestKey, Rule, Selection};

/// No path of a member is longer.
const PREFIX_BYTES_MAX: usize = 1024;

type Result<T> = std::result::Result<T, Status>;

pub(super) fn refused(call_id: &CallId, field: &'static str, rule: impl Into<Rule>) -> Status {
    status::from_registry(RegistryError::field(field, rule), call_id)
}

pub(super) fn parsed<T>(text: &str, field: &'static str, call_id: &CallId) -> Result<T>
where
    T: FromStr,
    T::Err: Into<Rule>,
{
    text.parse().map_err(|error: T::Err| refused(call_id, field, error))
}

pub(super) fn optional<T>(text: Option<&String>, field: &'static str, call_id: &CallId) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Into<Rule>,
{
    text.map(|text| parsed(text, field, call_id)).transpose()
}

/// What makes a call repeatable: the id that it takes out of the message, and the rest.
pub(super) fn request_key(
    method: &str,
    id: Option<String>,
    field: &'static str,
    rest: &impl Message,
    call_id: &CallId,
) -> Result<Option<RequestKey>> {
    let id = optional(id.as_ref(), field, call_id)?;
    Ok(id.map(|id| RequestKey::new(id, method, &rest.encode_to_vec())))
}

pub(super) fn unknown(call_id: &CallId, field: &'static str, number: i32) -> Status {
    status::field(call_id, field, format!("has the unknown value {number}"))
}

/// The fields that an update names; at least one.
pub(super) fn mask(mask: Option<prost_types::FieldMask>, call_id: &CallId) -> Result<Vec<String>> {
    match mask {
        Some(mask) if !mask.paths.is_empty() => Ok(mask.paths),
        _ => Err(refused(call_id, "update_mask", Rule::Required)),
    }
}

/// The refusal of a field that clients cannot change.
pub(super) fn not_updatable(path: &str, call_id: &CallId) -> Status {
    refused(
        call_id,
        "update_mask",
        Rule::NotUpdatable(path.chars().take(64).collect()),
    )
}

/// Other names of a thing.
pub(super) fn synonyms(texts: &[String], field: &'static str, call_id: &CallId) -> Result<Synonyms> {
    Synonyms::read(texts).map_err(|error| refused(call_id, field, error))
}

/// What a list asks for, but for the place of its page: what its tokens belong to.
pub(super) fn asks<M: Message + Clone>(
    method: &str,
    caller: &Caller,
    message: &M,
    clear_page: impl FnOnce(&mut M),
) -> String {
    let mut message = message.clone();
    clear_page(&mut message);
    let digest = Sha256::of(&message.encode_to_vec());
    format!("{method} {} {} {digest}", caller.principal.id, caller.space_id)
}

pub(super) fn identifier<T>(text: &str, field: &'static str, call_id: &CallId) -> Result<T>
where
    T: FromStr<Err = artifactd_domain::UidRefused>,
{
    text.parse().map_err(|error: artifactd_domain::UidRefused| {
        status::field_with(call_id, ErrorReason::ReferenceInvalid, field, error.to_string())
    })
}

fn kind(number: i32, field: &'static str, call_id: &CallId) -> Result<Option<Kind>> {
    match pb::ArtifactKind::try_from(number).map_err(|_| unknown(call_id, field, number))? {
        pb::ArtifactKind::Unspecified => Ok(None),
        pb::ArtifactKind::Dataset => Ok(Some(Kind::Dataset)),
        pb::ArtifactKind::Model => Ok(Some(Kind::Model)),
        pb::ArtifactKind::Code => Ok(Some(Kind::Code)),
    }
}

fn accessor(number: i32, field: &'static str, call_id: &CallId) -> Result<Option<Accessor>> {
    match pb::Accessor::try_from(number).map_err(|_| unknown(call_id, field, number))? {
        pb::Accessor::Unspecified => Ok(None),
        pb::Accessor::DataFrame => Ok(Some(Accessor::DataFrame)),
    }
}

fn visibility(number: i32, field: &'static str, call_id: &CallId) -> Result<Option<Visibility>> {
    match pb::Visibility::try_from(number).map_err(|_| unknown(call_id, field, number))? {
        pb::Visibility::Unspecified => Ok(None),
        pb::Visibility::Default => Ok(Some(Visibility::Default)),
        pb::Visibility::Hidden => Ok(Some(Visibility::Hidden)),
        pb::Visibility::Trash => Ok(Some(Visibility::Trash)),
    }
}

/// The visibilities that a list names.
pub(super) fn visibilities(numbers: &[i32], call_id: &CallId) -> Result<Vec<Visibility>> {
    const FIELD: &str = "visibilities";
    let mut named = Vec::new();
    for number in numbers {
        let visibility = visibility(*number, FIELD, call_id)?.ok_or_else(|| unknown(call_id, FIELD, *number))?;
        if !named.contains(&visibility) {
            named.push(visibility);
        }
    }
    named.sort_by_key(|visibility| visibility.code());
    Ok(named)
}

/// Which artifacts a filter and visibilities mean.
pub(crate) fn selection(filter: &str, numbers: &[i32], call_id: &CallId) -> Result<Selection> {
    Ok(Selection {
        filter: parsed(filter, "filter", call_id)?,
        visibilities: visibilities(numbers, call_id)?,
    })
}

/// An order.
pub(super) fn order(text: &str, call_id: &CallId) -> Result<Order> {
    parsed(text, "order_by", call_id)
}

/// The words of a search.
pub(super) fn query(text: &str, call_id: &CallId) -> Result<Query> {
    parsed(text, "query", call_id)
}

fn size(size: Option<i64>, field: &'static str, call_id: &CallId) -> Result<Option<u64>> {
    let size = size.map(u64::try_from).transpose();
    size.map_err(|_| status::field(call_id, field, "must not be negative"))
}

fn digest(text: Option<&String>, field: &'static str, call_id: &CallId) -> Result<Option<Sha256>> {
    optional(text, field, call_id)
}

/// The path of a member.
pub(super) fn member_path(text: &str, field: &'static str, call_id: &CallId) -> Result<MemberPath> {
    parsed(text, field, call_id)
}

/// Fails for a prefix that no path can have.
pub(super) fn check_prefix(prefix: &str, call_id: &CallId) -> Result<()> {
    if prefix.len() <= PREFIX_BYTES_MAX {
        return Ok(());
    }
    let rule = format!("must have at most {PREFIX_BYTES_MAX} bytes");
    Err(status::field(call_id, "prefix", rule))
}

/// Which members to list, but for the place where the page starts.
pub(super) fn members_query(message: &pb::ListMembersRequest, rows: u64, call_id: &CallId) -> Result<MembersQuery> {
    let pb::ListMembersRequest {
        artifact,
        prefix,
        glob,
        page_size: _,
        page_token: _,
        include_hidden: _,
    } = message;
    let glob = glob.as_ref().map(|text| {
        let refused = |error: GlobRefused| status::field(call_id, "glob", error.to_string());
        text.parse::<Glob>().map_err(refused)
    });
    check_prefix(prefix, call_id)?;
    Ok(MembersQuery {
        reference: reference(artifact.clone(), call_id)?,
        prefix: prefix.clone(),
        glob: glob.transpose()?,
        after: None,
        rows: usize::try_from(rows).expect("pages are small"),
    })
}

/// Whether what is read is an input of the caller's run.
pub(super) fn is_run_input(wish: Option<bool>) -> IsRunInput {
    match wish {
        None => IsRunInput::IfRun,
        Some(true) => IsRunInput::Yes,
        Some(false) => IsRunInput::No,
    }
}

#[cfg(test)]
mod tests {
    use artifactd_domain::RequestId;

    use super::*;

    #[test]
    fn the_hash_of_a_request_is_the_same_in_every_version() {
        let header = pb::SaveHeader {
            request_id: Some("one".to_owned()),
            key: Some("a/b.csv".to_owned()),
            size: Some(3),
            kind: pb::ArtifactKind::Model.into(),
            ..Default::default()
        };
        let (new, _) = new_artifact(header.clone(), &CallId::new("call-1")).unwrap();
        let id: RequestId = "one".parse().unwrap();
        // Tags and values of the message: key = 2, kind = 4, size = 12.
        let message = b"\x12\x07a/b.csv\x20\x02\x60\x03";
        assert_eq!(new.request, Some(RequestKey::new(id, "SaveArtifact", message)));
        let other = pb::SaveHeader {
            size: Some(4),
            ..header
        };
        let (other, _) = new_artifact(other, &CallId::new("call-1")).unwrap();
        assert_ne!(other.request, new.request);
    }
}
