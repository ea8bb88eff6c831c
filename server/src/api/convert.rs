//! Between messages and domain types: form is checked here, once.

use std::str::FromStr;

use artifactd_domain::{
    Accessor, AliasName, ArtifactRef, HashType, IfContentExists, Kind, Order, SaveOutcome, Sha256, Synonyms,
    VersionName, Visibility,
    manifest::{Glob, GlobRefused, Member, MemberPath},
    search::{Query, Rank},
};
use artifactd_proto::v1::{self as pb, ErrorReason};
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use super::{annotations::annotations, chunks::check_sum, layer::CallId, mask::ReadMask, status};
use crate::registry::{
    Alias, AliasChange, AliasIs, AliasMove, Artifact, Caller, Content, Declared, DeleteMode, Deletion, Field,
    FirstAnnotations, FolderEdit, FolderSource, Hit, IfUsed, IsRunInput, KeepBytes, MembersQuery, NewArtifact,
    NewFolder, NewUpload, RegistryError, Replacement, RequestKey, Restoration, Revises, Rule, Selection, Update,
};

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

/// The artifact that a message names.
pub(crate) fn reference(message: Option<pb::ArtifactRef>, call_id: &CallId) -> Result<ArtifactRef> {
    reference_in(message, &ARTIFACT, call_id)
}

/// Names of a field that names an artifact, and of what is in it.
pub(super) struct ReferenceField {
    whole: &'static str,
    uid: &'static str,
    stem: &'static str,
    text: &'static str,
    storage: &'static str,
    key: &'static str,
    version: &'static str,
    stem_of_version: &'static str,
    version_of_stem: &'static str,
}

macro_rules! reference_field {
    ($name:literal) => {
        ReferenceField {
            whole: $name,
            uid: concat!($name, ".uid"),
            stem: concat!($name, ".stem"),
            text: concat!($name, ".text"),
            storage: concat!($name, ".key.storage"),
            key: concat!($name, ".key.key"),
            version: concat!($name, ".key.version"),
            stem_of_version: concat!($name, ".stem_version.stem"),
            version_of_stem: concat!($name, ".stem_version.version"),
        }
    };
}

const ARTIFACT: ReferenceField = reference_field!("artifact");

/// One of several.
pub(super) const ARTIFACTS: ReferenceField = reference_field!("artifacts");

/// A member of a collection.
pub(super) const MEMBERS: ReferenceField = reference_field!("members.artifact");

/// The one from which something comes.
pub(super) const FROM: ReferenceField = reference_field!("from");

/// The old one of two.
pub(super) const OLD: ReferenceField = reference_field!("old");

/// The new one of two.
pub(super) const NEW: ReferenceField = reference_field!("new");

/// An artifact that is named in some field.
pub(super) fn reference_in(
    message: Option<pb::ArtifactRef>,
    field: &ReferenceField,
    call_id: &CallId,
) -> Result<ArtifactRef> {
    use pb::artifact_ref::Ref;
    let named = message.and_then(|message| message.r#ref);
    match named.ok_or_else(|| refused(call_id, field.whole, Rule::Required))? {
        Ref::Uid(uid) => identifier(&uid, field.uid, call_id).map(ArtifactRef::Uid),
        Ref::Stem(stem) => identifier(&stem, field.stem, call_id).map(ArtifactRef::Stem),
        Ref::Text(text) => parsed(&text, field.text, call_id),
        Ref::StemVersion(pb::StemRef { stem, version }) => {
            let stem = identifier(&stem, field.stem_of_version, call_id)?;
            let version = optional::<VersionName>(version.as_ref(), field.version_of_stem, call_id)?;
            Ok(match version.unwrap_or_default() {
                VersionName::Latest => ArtifactRef::Stem(stem),
                VersionName::Label(version) => ArtifactRef::StemVersion { stem, version },
            })
        }
        Ref::Key(pb::KeyRef { key, version, storage }) => Ok(ArtifactRef::Key {
            storage: optional(storage.as_ref(), field.storage, call_id)?,
            key: parsed(&key, field.key, call_id)?,
            version: optional::<VersionName>(version.as_ref(), field.version, call_id)?.unwrap_or_default(),
        }),
    }
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

/// What a search found, as a message.
pub(super) fn hit(hit: Hit, mask: &ReadMask) -> pb::SearchHit {
    let Hit { artifact: found, rank } = hit;
    pb::SearchHit {
        artifact: Some(mask.apply(artifact(found))),
        rank: match rank {
            Rank::Exact => pb::SearchRank::Exact,
            Rank::Prefix => pb::SearchRank::Prefix,
            Rank::Words => pb::SearchRank::Words,
            Rank::Parts => pb::SearchRank::Parts,
        }
        .into(),
    }
}

/// The artifacts that a message names.
pub(super) fn references(messages: Vec<pb::ArtifactRef>, call_id: &CallId) -> Result<Vec<ArtifactRef>> {
    const REFERENCES_MAX: usize = 1_000;
    const FIELD: ReferenceField = reference_field!("artifacts");
    if messages.len() > REFERENCES_MAX {
        let rule = format!("names {} artifacts, at most {REFERENCES_MAX} are taken", messages.len());
        return Err(status::field(call_id, "artifacts", rule));
    }
    let named = messages.into_iter();
    named
        .map(|message| reference_in(Some(message), &FIELD, call_id))
        .collect()
}

fn size(size: Option<i64>, field: &'static str, call_id: &CallId) -> Result<Option<u64>> {
    let size = size.map(u64::try_from).transpose();
    size.map_err(|_| status::field(call_id, field, "must not be negative"))
}

fn digest(text: Option<&String>, field: &'static str, call_id: &CallId) -> Result<Option<Sha256>> {
    optional(text, field, call_id)
}

/// What a trailer says of the content before it.
pub(super) fn declared_in_trailer(trailer: pb::ContentTrailer, call_id: &CallId) -> Result<Declared> {
    let pb::ContentTrailer { sha256, size: bytes } = trailer;
    Ok(Declared {
        sha256: digest(sha256.as_ref(), "trailer.sha256", call_id)?,
        size_bytes: size(bytes, "trailer.size", call_id)?,
    })
}

/// What to save, and whether the content is only claimed.
pub(crate) fn new_artifact(mut header: pb::SaveHeader, call_id: &CallId) -> Result<(NewArtifact, bool)> {
    let id = header.request_id.take();
    let request = request_key("SaveArtifact", id, "header.request_id", &header, call_id)?;
    record(header, request, call_id)
}

/// What the record of a new artifact shall say.
pub(super) fn record(
    header: pb::SaveHeader,
    request: Option<RequestKey>,
    call_id: &CallId,
) -> Result<(NewArtifact, bool)> {
    let pb::SaveHeader {
        request_id: _,
        key,
        description,
        kind: kind_number,
        revises: revised,
        version,
        storage,
        file_name,
        media_type,
        visibility: visibility_number,
        if_content_exists,
        size: bytes,
        sha256,
        claim,
        expect_accessor,
        annotations: said,
        register_missing,
        inherit_annotations,
    } = header;
    let said = said.map(|said| annotations(said, "header.annotations", call_id));
    let new = NewArtifact {
        request,
        key: optional(key.as_ref(), "header.key", call_id)?,
        description: optional(description.as_ref(), "header.description", call_id)?,
        kind: kind(kind_number, "header.kind", call_id)?,
        revises: revised.map(|text| revises(&text, call_id)).transpose()?,
        version: optional(version.as_ref(), "header.version", call_id)?,
        storage: optional(storage.as_ref(), "header.storage", call_id)?,
        file_name: optional(file_name.as_ref(), "header.file_name", call_id)?,
        media_type: optional(media_type.as_ref(), "header.media_type", call_id)?,
        visibility: visibility(visibility_number, "header.visibility", call_id)?,
        if_content_exists: content_policy(if_content_exists, call_id)?,
        annotations: FirstAnnotations {
            said: said.transpose()?.unwrap_or_default(),
            register_missing,
            inherit: inherit_annotations,
        },
        declared: Declared {
            sha256: digest(sha256.as_ref(), "header.sha256", call_id)?,
            size_bytes: size(bytes, "header.size", call_id)?,
        },
        in_place: false,
        expect_accessor: accessor(expect_accessor, "header.expect_accessor", call_id)?,
    };
    Ok((new, claim))
}

fn revises(text: &str, call_id: &CallId) -> Result<Revises> {
    const FIELD: &str = "header.revises";
    match text.len() {
        16 => identifier(text, FIELD, call_id).map(Revises::Stem),
        _ => identifier(text, FIELD, call_id).map(Revises::Uid),
    }
}

fn content_policy(number: i32, call_id: &CallId) -> Result<IfContentExists> {
    const FIELD: &str = "header.if_content_exists";
    match pb::IfContentExists::try_from(number).map_err(|_| unknown(call_id, FIELD, number))? {
        pb::IfContentExists::Unspecified | pb::IfContentExists::ReturnExisting => Ok(IfContentExists::ReturnExisting),
        pb::IfContentExists::Create => Ok(IfContentExists::Create),
        pb::IfContentExists::Fail => Ok(IfContentExists::Fail),
    }
}

/// What folder to save.
pub(super) fn new_folder(mut header: pb::SaveFolderHeader, call_id: &CallId) -> Result<NewFolder> {
    let id = header.save.as_mut().and_then(|save| save.request_id.take());
    let request = request_key("SaveFolder", id, "header.request_id", &header, call_id)?;
    let pb::SaveFolderHeader {
        save,
        base_uid,
        allow_case_collisions,
    } = header;
    let save = save.ok_or_else(|| refused(call_id, "header.save", Rule::Required))?;
    let (artifact, claim) = record(save, request, call_id)?;
    if claim {
        return Err(status::field(
            call_id,
            "header.claim",
            "is for files: contents of a folder are asked for one by one",
        ));
    }
    let base = base_uid
        .map(|uid| identifier(&uid, "header.base_uid", call_id))
        .transpose()?;
    Ok(NewFolder {
        artifact,
        base,
        allow_case_collisions,
    })
}

/// What to upload.
pub(super) fn new_upload(mut message: pb::CreateUploadRequest, call_id: &CallId) -> Result<NewUpload> {
    let id = message.save.as_mut().and_then(|save| save.request_id.take());
    let request = request_key("CreateUpload", id, "header.request_id", &message, call_id)?;
    let pb::CreateUploadRequest {
        save,
        parallel,
        part_bytes,
    } = message;
    let save = save.ok_or_else(|| refused(call_id, "save", Rule::Required))?;
    let header = save.encode_to_vec();
    let (artifact, claim) = record(save, request, call_id)?;
    if claim {
        return Err(status::field(
            call_id,
            "header.claim",
            "is for SaveArtifact, and has no content",
        ));
    }
    let part_bytes = u64::try_from(part_bytes);
    Ok(NewUpload {
        artifact,
        header,
        is_parallel: parallel,
        part_bytes: part_bytes.map_err(|_| status::field(call_id, "part_bytes", "must not be negative"))?,
    })
}

/// The header with which an upload was created.
pub(super) fn header_message(stored: &[u8], call_id: &CallId) -> Result<pb::SaveHeader> {
    pb::SaveHeader::decode(stored).map_err(|error| {
        tracing::error!(
            request_id = call_id.as_str(),
            error = &error as &dyn std::error::Error,
            "The header of an upload cannot be read"
        );
        status::status(
            call_id,
            tonic::Code::Internal,
            ErrorReason::Internal,
            "internal error; see the log",
        )
    })
}

/// What that header says of the record.
pub(super) fn stored_header(stored: &[u8], call_id: &CallId) -> Result<NewArtifact> {
    let (artifact, _claim) = record(header_message(stored, call_id)?, None, call_id)?;
    Ok(artifact)
}

/// What a caller says of a content at its end.
pub(super) fn declared(sha256: Option<&String>, bytes: Option<i64>, call_id: &CallId) -> Result<Declared> {
    Ok(Declared {
        sha256: digest(sha256, "sha256", call_id)?,
        size_bytes: size(bytes, "size", call_id)?,
    })
}

/// A file of a folder, or a change of its base.
pub(super) fn folder_edit(entry: pb::FolderEntry, call_id: &CallId) -> Result<FolderEdit> {
    use pb::folder_entry::Content;
    let pb::FolderEntry { path, content } = entry;
    let path = member_path(&path, "entries.path", call_id)?;
    match content.ok_or_else(|| refused(call_id, "entries.content", Rule::Required))? {
        Content::File(pb::FolderFileIdentity { size: bytes, sha256 }) => Ok(FolderEdit::Put(Member {
            path,
            size_bytes: size(Some(bytes), "entries.file.size", call_id)?.unwrap_or_default(),
            sha256: parsed(&sha256, "entries.file.sha256", call_id)?,
        })),
        Content::Copy(pb::FolderCopy { artifact, path: source }) => {
            let reference = reference(artifact, call_id)?;
            let source = source.map(|path| member_path(&path, "entries.copy.path", call_id));
            let from = FolderSource {
                reference,
                path: source.transpose()?,
            };
            Ok(FolderEdit::Copy { path, from })
        }
        Content::Remove(true) => Ok(FolderEdit::Remove(path)),
        Content::Remove(false) => Err(status::field(call_id, "entries.remove", "must be true when it is set")),
    }
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

/// A file of a folder, as a message.
pub(super) fn member(member: &Member) -> pb::Member {
    pb::Member {
        path: member.path.to_string(),
        size: i64::try_from(member.size_bytes).expect("folders are limited to the database's integers"),
        sha256: member.sha256.to_string(),
    }
}

/// A file that came in one message with its header.
pub(super) fn small_file(
    header: Option<pb::SaveHeader>,
    content: Bytes,
    crc32c: Option<u32>,
    bytes_max: usize,
    call_id: &CallId,
) -> Result<(NewArtifact, Content)> {
    let header = header.ok_or_else(|| refused(call_id, "header", Rule::Required))?;
    let (new, claim) = new_artifact(header, call_id)?;
    if content.len() > bytes_max {
        let message = format!(
            "the content has {} bytes, at most {bytes_max} are taken in one message",
            content.len()
        );
        let (code, reason) = (Code::ResourceExhausted, ErrorReason::MessageTooLarge);
        return Err(status::status(call_id, code, reason, message));
    }
    if claim && !content.is_empty() {
        return Err(status::field(call_id, "content", "must be empty with a claim"));
    }
    check_sum(artifactd_domain::crc32c(&content), crc32c, "crc32c", call_id)?;
    Ok((new, if claim { Content::Claim } else { Content::Whole(content) }))
}

/// What to replace.
pub(crate) fn replacement(mut header: pb::ReplaceHeader, call_id: &CallId) -> Result<Replacement> {
    let id = header.request_id.take();
    let request = request_key("ReplaceArtifact", id, "header.request_id", &header, call_id)?;
    let pb::ReplaceHeader {
        request_id: _,
        artifact,
        etag,
        file_name,
        media_type,
        size: bytes,
        sha256,
    } = header;
    Ok(Replacement {
        request,
        reference: reference(artifact, call_id)?,
        etag,
        file_name: optional(file_name.as_ref(), "header.file_name", call_id)?,
        media_type: optional(media_type.as_ref(), "header.media_type", call_id)?,
        declared: Declared {
            sha256: digest(sha256.as_ref(), "header.sha256", call_id)?,
            size_bytes: size(bytes, "header.size", call_id)?,
        },
    })
}

/// What to change in a record.
pub(super) fn update(mut message: pb::UpdateArtifactRequest, call_id: &CallId) -> Result<Update> {
    let id = message.request_id.take();
    let request = request_key("UpdateArtifact", id, "request_id", &message, call_id)?;
    let pb::UpdateArtifactRequest {
        artifact,
        update,
        update_mask,
        etag,
        request_id: _,
    } = message;
    let update = update.ok_or_else(|| refused(call_id, "update", Rule::Required))?;
    let fields = mask(update_mask, call_id)?
        .iter()
        .map(|path| updated_field(path, &update, call_id))
        .collect::<Result<_>>()?;
    Ok(Update {
        reference: reference(artifact, call_id)?,
        fields,
        etag,
        request,
    })
}

fn updated_field(path: &str, update: &pb::ArtifactUpdate, call_id: &CallId) -> Result<Field> {
    match path {
        "key" => {
            let key = update
                .key
                .as_ref()
                .ok_or_else(|| refused(call_id, "update.key", Rule::Required))?;
            parsed(key, "update.key", call_id).map(Field::Key)
        }
        "description" => optional(update.description.as_ref(), "update.description", call_id).map(Field::Description),
        "kind" => {
            let kind = kind(update.kind, "update.kind", call_id)?;
            kind.map(Field::Kind)
                .ok_or_else(|| refused(call_id, "update.kind", Rule::Required))
        }
        "media_type" => optional(update.media_type.as_ref(), "update.media_type", call_id).map(Field::MediaType),
        "visibility" => match visibility(update.visibility, "update.visibility", call_id)? {
            Some(shown @ (Visibility::Default | Visibility::Hidden)) => Ok(Field::Visibility(shown)),
            Some(Visibility::Trash) => Err(status::field(
                call_id,
                "update.visibility",
                "cannot be TRASH; delete and restore do that",
            )),
            None => Err(refused(call_id, "update.visibility", Rule::Required)),
        },
        other => Err(not_updatable(other, call_id)),
    }
}

/// What to delete.
pub(super) fn deletion(mut message: pb::DeleteArtifactRequest, call_id: &CallId) -> Result<Deletion> {
    let id = message.request_id.take();
    let request = request_key("DeleteArtifact", id, "request_id", &message, call_id)?;
    let pb::DeleteArtifactRequest {
        artifact,
        permanent,
        force,
        storage,
        etag,
        request_id: _,
        if_used,
    } = message;
    let if_used = match pb::IfUsed::try_from(if_used).map_err(|_| unknown(call_id, "if_used", if_used))? {
        pb::IfUsed::Unspecified => IfUsed::Refuse,
        pb::IfUsed::Allow => IfUsed::Allow,
    };
    let bytes = match pb::DeleteStorage::try_from(storage).map_err(|_| unknown(call_id, "storage", storage))? {
        // There are no bytes in place yet, so both mean the same.
        pb::DeleteStorage::Unspecified | pb::DeleteStorage::Delete => KeepBytes::No,
        pb::DeleteStorage::Keep => KeepBytes::Yes,
    };
    if !permanent && force {
        return Err(status::field(call_id, "force", "only goes with `permanent`"));
    }
    Ok(Deletion {
        reference: reference(artifact, call_id)?,
        mode: if permanent {
            DeleteMode::Destroy { force, bytes, if_used }
        } else {
            DeleteMode::Trash
        },
        etag,
        request,
    })
}

/// What to restore.
pub(super) fn restoration(mut message: pb::RestoreArtifactRequest, call_id: &CallId) -> Result<Restoration> {
    let id = message.request_id.take();
    let request = request_key("RestoreArtifact", id, "request_id", &message, call_id)?;
    let pb::RestoreArtifactRequest {
        artifact,
        key,
        etag,
        request_id: _,
    } = message;
    Ok(Restoration {
        reference: reference(artifact, call_id)?,
        key: optional(key.as_ref(), "key", call_id)?,
        etag,
        request,
    })
}

/// An alias to point somewhere.
pub(super) fn alias_to_set(mut message: pb::SetAliasRequest, call_id: &CallId) -> Result<AliasMove> {
    let id = message.request_id.take();
    let request = request_key("SetAlias", id, "request_id", &message, call_id)?;
    let pb::SetAliasRequest {
        artifact,
        name,
        r#if,
        request_id: _,
    } = message;
    alias_move(artifact, &name, r#if, request, call_id)
}

/// An alias to remove.
pub(super) fn alias_to_delete(mut message: pb::DeleteAliasRequest, call_id: &CallId) -> Result<AliasMove> {
    let id = message.request_id.take();
    let request = request_key("DeleteAlias", id, "request_id", &message, call_id)?;
    let pb::DeleteAliasRequest {
        artifact,
        name,
        r#if,
        request_id: _,
    } = message;
    alias_move(artifact, &name, r#if, request, call_id)
}

fn alias_move(
    artifact: Option<pb::ArtifactRef>,
    name: &str,
    precondition: Option<pb::AliasPrecondition>,
    request: Option<RequestKey>,
    call_id: &CallId,
) -> Result<AliasMove> {
    use pb::alias_precondition::Precondition;
    let expected = match precondition.and_then(|message| message.precondition) {
        None | Some(Precondition::Absent(false)) => None,
        Some(Precondition::Absent(true)) => Some(AliasIs::Absent),
        Some(Precondition::Etag(etag)) => Some(AliasIs::Etag(etag)),
        Some(Precondition::Uid(uid)) => Some(AliasIs::Uid(identifier(&uid, "if.uid", call_id)?)),
    };
    Ok(AliasMove {
        reference: reference(artifact, call_id)?,
        name: alias_name(name, call_id)?,
        expected,
        request,
    })
}

/// The name of an alias.
pub(super) fn alias_name(name: &str, call_id: &CallId) -> Result<AliasName> {
    parsed(name, "name", call_id)
}

/// An alias as a message.
pub(super) fn alias(alias: Alias) -> pb::Alias {
    let Alias {
        name,
        uid,
        version,
        version_number,
        visibility,
        set_by,
        created_at_us,
        updated_at_us,
        etag,
    } = alias;
    pb::Alias {
        name: name.to_string(),
        stem: uid.stem().to_string(),
        uid: uid.to_string(),
        version: version.to_string(),
        version_number: i32::try_from(version_number.get()).expect("version numbers fit"),
        visibility: shown_to(visibility).into(),
        set_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}

/// A change of an alias as a message.
pub(super) fn alias_change(change: AliasChange) -> pb::AliasChange {
    let AliasChange {
        id: _,
        name,
        from_uid,
        to_uid,
        changed_by,
        changed_at_us,
    } = change;
    pb::AliasChange {
        name,
        from_uid,
        to_uid,
        changed_by,
        changed_at: Some(timestamp(changed_at_us)),
    }
}

fn shown_to(visibility: Visibility) -> pb::Visibility {
    match visibility {
        Visibility::Default => pb::Visibility::Default,
        Visibility::Hidden => pb::Visibility::Hidden,
        Visibility::Trash => pb::Visibility::Trash,
    }
}

/// An artifact as a message.
pub(crate) fn artifact(artifact: Artifact) -> pb::Artifact {
    let (etag, content_etag) = (artifact.etag(), artifact.content_etag());
    let Artifact {
        id,
        uid,
        key,
        description,
        kind,
        suffix,
        file_name,
        media_type,
        size_bytes,
        sha256,
        hash_type,
        n_objects,
        version,
        version_number,
        is_latest,
        visibility,
        space,
        storage,
        key_is_virtual,
        path,
        created_by,
        created_at_us,
        updated_at_us,
        trashed_at_us,
        accessor,
        n_observations,
        revision: _,
        run_uid,
        transform_uid,
        previous_run_uids,
    } = artifact;
    pb::Artifact {
        uid: uid.to_string(),
        stem: uid.stem().to_string(),
        key,
        description,
        kind: match kind {
            Kind::Dataset => pb::ArtifactKind::Dataset,
            Kind::Model => pb::ArtifactKind::Model,
            Kind::Code => pb::ArtifactKind::Code,
        }
        .into(),
        suffix,
        file_name,
        media_type,
        size: i64::try_from(size_bytes).expect("sizes come from the database's integers"),
        hash: sha256.to_string(),
        hash_type: match hash_type {
            HashType::Sha256 => pb::HashType::Sha256,
            HashType::Sha256Manifest => pb::HashType::Sha256Manifest,
        }
        .into(),
        version: version.to_string(),
        version_number: i32::try_from(version_number.get()).expect("version numbers fit"),
        is_latest,
        visibility: shown_to(visibility).into(),
        space,
        storage,
        key_is_virtual,
        path,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        deleted_at: trashed_at_us.map(timestamp),
        etag,
        content_etag,
        id,
        n_objects: n_objects.map(|objects| i64::try_from(objects).expect("it comes from the database's integers")),
        run_uid,
        transform_uid,
        previous_run_uids,
        accessor: match accessor {
            None => pb::Accessor::Unspecified,
            Some(Accessor::DataFrame) => pb::Accessor::DataFrame,
        }
        .into(),
        n_observations: n_observations.map(|rows| i64::try_from(rows).expect("it comes from the database's integers")),
    }
}

/// Artifacts as messages.
pub(super) fn artifacts(records: Vec<Artifact>) -> Vec<pb::Artifact> {
    records.into_iter().map(artifact).collect()
}

/// What a save did, as a message.
pub(super) fn outcome(outcome: SaveOutcome) -> pb::SaveOutcome {
    match outcome {
        SaveOutcome::Created => pb::SaveOutcome::Created,
        SaveOutcome::NewVersion => pb::SaveOutcome::NewVersion,
        SaveOutcome::Existing => pb::SaveOutcome::Existing,
    }
}

pub(super) fn timestamp(us: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).expect("a second has fewer");
    prost_types::Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos,
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
