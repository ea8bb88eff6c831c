//! What is to be saved.

use artifactd_domain::{IfContentExists, manifest::Member};
use artifactd_proto::v1::{self as pb, ErrorReason};
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::{
    Result, accessor, digest, identifier, kind, member_path, optional, parsed, reference::reference, refused,
    request_key, size, unknown, visibility,
};
use crate::api::{annotations::annotations, chunks::check_sum, layer::CallId, status};
use crate::registry::{
    Content, Declared, FirstAnnotations, FolderEdit, FolderSource, NewArtifact, NewFolder, NewUpload, Replacement,
    RequestKey, Revises, Rule,
};

/// What a trailer says of the content before it.
pub(in crate::api) fn declared_in_trailer(trailer: pb::ContentTrailer, call_id: &CallId) -> Result<Declared> {
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
pub(in crate::api) fn record(
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
        schema,
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
        schema: optional(schema.as_ref(), "header.schema", call_id)?,
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
pub(in crate::api) fn new_folder(mut header: pb::SaveFolderHeader, call_id: &CallId) -> Result<NewFolder> {
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
pub(in crate::api) fn new_upload(mut message: pb::CreateUploadRequest, call_id: &CallId) -> Result<NewUpload> {
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
pub(in crate::api) fn header_message(stored: &[u8], call_id: &CallId) -> Result<pb::SaveHeader> {
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
pub(in crate::api) fn stored_header(stored: &[u8], call_id: &CallId) -> Result<NewArtifact> {
    let (artifact, _claim) = record(header_message(stored, call_id)?, None, call_id)?;
    Ok(artifact)
}

/// What a caller says of a content at its end.
pub(in crate::api) fn declared(sha256: Option<&String>, bytes: Option<i64>, call_id: &CallId) -> Result<Declared> {
    Ok(Declared {
        sha256: digest(sha256, "sha256", call_id)?,
        size_bytes: size(bytes, "size", call_id)?,
    })
}

/// A file of a folder, or a change of its base.
pub(in crate::api) fn folder_edit(entry: pb::FolderEntry, call_id: &CallId) -> Result<FolderEdit> {
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

/// A file that came in one message with its header.
pub(in crate::api) fn small_file(
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
