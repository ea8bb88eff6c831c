//! What was answered, as domain types. A server that answers nonsense is told from one that refuses.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use artifactd_domain::{
    Accessor, Kind, SaveOutcome, Sha256, VersionNumber, Visibility,
    manifest::{Difference, Member},
};
use artifactd_proto::v1 as pb;

use crate::{Alias, AliasChange, Artifact, Error, Result, Saved, ServerInfo, Upload, UploadState};

pub(crate) fn artifacts(messages: Vec<pb::Artifact>) -> Result<Vec<Artifact>> {
    messages.into_iter().map(artifact).collect()
}

pub(crate) fn artifact(message: pb::Artifact) -> Result<Artifact> {
    let pb::Artifact {
        uid,
        stem: _,
        key,
        description,
        kind,
        suffix,
        file_name,
        media_type,
        size,
        hash,
        hash_type: _,
        version,
        version_number,
        is_latest,
        visibility,
        space,
        storage,
        key_is_virtual,
        path,
        created_by,
        created_at,
        updated_at,
        deleted_at,
        etag,
        content_etag,
        id,
        n_objects,
        run_uid,
        transform_uid,
        previous_run_uids,
        accessor,
        n_observations,
    } = message;
    let answer = |what: &str| Error::Answer(format!("artifact {uid} has an impossible {what}"));
    Ok(Artifact {
        kind: match pb::ArtifactKind::try_from(kind) {
            Ok(pb::ArtifactKind::Dataset) => Kind::Dataset,
            Ok(pb::ArtifactKind::Model) => Kind::Model,
            Ok(pb::ArtifactKind::Code) => Kind::Code,
            Ok(pb::ArtifactKind::Unspecified) | Err(_) => return Err(answer("kind")),
        },
        size_bytes: u64::try_from(size).map_err(|_| answer("size"))?,
        sha256: hash.parse().map_err(|_| answer("hash"))?,
        n_objects: n_objects
            .map(u64::try_from)
            .transpose()
            .map_err(|_| answer("n_objects"))?,
        accessor: match pb::Accessor::try_from(accessor) {
            Ok(pb::Accessor::DataFrame) => Some(Accessor::DataFrame),
            // What a newer server finds is nothing that this client knows.
            Ok(pb::Accessor::Unspecified) | Err(_) => None,
        },
        n_observations: n_observations
            .map(u64::try_from)
            .transpose()
            .map_err(|_| answer("n_observations"))?,
        version: version.try_into().map_err(|_| answer("version"))?,
        version_number: VersionNumber::from_integer(version_number.into()).ok_or_else(|| answer("version_number"))?,
        visibility: shown_to(visibility).ok_or_else(|| answer("visibility"))?,
        created_at: created_at.and_then(time).ok_or_else(|| answer("created_at"))?,
        updated_at: updated_at.and_then(time).ok_or_else(|| answer("updated_at"))?,
        deleted_at: deleted_at
            .map(|at| time(at).ok_or_else(|| answer("deleted_at")))
            .transpose()?,
        uid: parsed(&uid, "uid")?,
        key,
        description,
        suffix,
        file_name,
        media_type,
        is_latest,
        space,
        storage,
        key_is_virtual,
        path,
        created_by,
        etag,
        content_etag,
        id,
        run_uid,
        transform_uid,
        previous_run_uids,
    })
}

/// An artifact that an answer must hold.
pub(crate) fn some(message: Option<pb::Artifact>) -> Result<Artifact> {
    artifact(message.ok_or_else(|| Error::Answer("an answer without its artifact".to_owned()))?)
}

pub(crate) fn saved(response: pb::SaveArtifactResponse) -> Result<Saved> {
    let pb::SaveArtifactResponse {
        artifact: saved,
        outcome,
        not_applied,
        same_content_uids,
    } = response;
    let outcome = match pb::SaveOutcome::try_from(outcome) {
        Ok(pb::SaveOutcome::Created) => SaveOutcome::Created,
        Ok(pb::SaveOutcome::NewVersion) => SaveOutcome::NewVersion,
        Ok(pb::SaveOutcome::Existing) => SaveOutcome::Existing,
        Ok(pb::SaveOutcome::Unspecified) | Err(_) => return Err(Error::Answer(format!("outcome {outcome}"))),
    };
    let same_content_uids = same_content_uids
        .iter()
        .map(|uid| parsed(uid, "uid"))
        .collect::<Result<_>>()?;
    Ok(Saved {
        artifact: some(saved)?,
        outcome,
        not_applied,
        same_content_uids,
    })
}

/// An alias.
pub(crate) fn alias(message: pb::Alias) -> Result<Alias> {
    let answer = |what: &str| Error::Answer(format!("alias {} has an impossible {what}", message.name));
    let visibility = shown_to(message.visibility).ok_or_else(|| answer("visibility"))?;
    let number = VersionNumber::from_integer(message.version_number.into());
    Ok(Alias {
        name: parsed(&message.name, "alias")?,
        uid: parsed(&message.uid, "uid")?,
        version: parsed(&message.version, "version")?,
        version_number: number.ok_or_else(|| answer("version_number"))?,
        visibility,
        created_at: message.created_at.and_then(time).ok_or_else(|| answer("created_at"))?,
        updated_at: message.updated_at.and_then(time).ok_or_else(|| answer("updated_at"))?,
        set_by: message.set_by,
        etag: message.etag,
    })
}

/// A move of an alias.
pub(crate) fn alias_change(message: pb::AliasChange) -> Result<AliasChange> {
    let pb::AliasChange {
        name,
        from_uid,
        to_uid,
        changed_by,
        changed_at,
    } = message;
    let uid = |uid: Option<String>| uid.map(|uid| parsed(&uid, "uid")).transpose();
    Ok(AliasChange {
        from: uid(from_uid)?,
        to: uid(to_uid)?,
        changed_by,
        changed_at: changed_at
            .and_then(time)
            .ok_or_else(|| Error::Answer("a change without its time".to_owned()))?,
        name,
    })
}

/// A file of a folder.
pub(crate) fn member(message: pb::Member) -> Result<Member> {
    let pb::Member { path, size, sha256 } = message;
    Ok(Member {
        path: parsed(&path, "path")?,
        size_bytes: u64::try_from(size).map_err(|_| Error::Answer(format!("size {size}")))?,
        sha256: parsed(&sha256, "sha256")?,
    })
}

/// A difference between two folders.
pub(crate) fn difference(message: pb::FolderDifference) -> Result<Difference> {
    use pb::folder_difference::Difference as Kind;
    let some = |message: Option<pb::Member>| {
        member(message.ok_or_else(|| Error::Answer("a difference without its file".to_owned()))?)
    };
    Ok(match message.difference {
        Some(Kind::Added(added)) => Difference::Added(member(added)?),
        Some(Kind::Removed(removed)) => Difference::Removed(member(removed)?),
        Some(Kind::Changed(pb::ChangedMember { before, after })) => Difference::Changed {
            before: some(before)?,
            after: some(after)?,
        },
        Some(Kind::Moved(pb::MovedMember { from_path, to })) => Difference::Moved {
            from: parsed(&from_path, "path")?,
            to: some(to)?,
        },
        None => return Err(Error::Answer("a difference without content".to_owned())),
    })
}

/// An upload.
pub(crate) fn upload(message: pb::Upload) -> Result<Upload> {
    let durable_bytes = crate::resumable::durable_bytes(&message);
    let state = match message.state() {
        pb::UploadState::Open => UploadState::Open,
        pb::UploadState::Finalizing => UploadState::Finalizing,
        pb::UploadState::Complete => UploadState::Complete,
        pb::UploadState::Saved => UploadState::Saved,
        pb::UploadState::Unspecified => return Err(Error::Answer(format!("upload state {}", message.state))),
    };
    let pb::Upload {
        uid,
        state: _,
        save,
        storage,
        parallel,
        part_bytes,
        durable_bytes: _,
        parts: _,
        hashed_bytes,
        expires_at,
        created_at,
        saved: became,
        part_crc32c: _,
    } = message;
    let save = save.unwrap_or_default();
    Ok(Upload {
        uid,
        state,
        key: save.key,
        description: save.description,
        file_name: save.file_name,
        storage,
        in_order: !parallel,
        part_bytes: part_bytes.unsigned_abs(),
        size_bytes: save.size.map(i64::unsigned_abs),
        durable_bytes,
        hashed_bytes: hashed_bytes.unsigned_abs(),
        expires_at: expires_at.and_then(time),
        created_at: created_at.and_then(time),
        saved: became.map(saved).transpose()?,
    })
}

pub(crate) fn server_info(message: pb::ServerInfo) -> ServerInfo {
    let pb::ServerInfo {
        version,
        chunk_bytes_max,
        small_content_bytes_max,
        page_size_max,
        default_space,
        default_storage,
    } = message;
    ServerInfo {
        version,
        chunk_bytes_max: chunk_bytes_max.unsigned_abs(),
        small_content_bytes_max: small_content_bytes_max.unsigned_abs(),
        page_size_max: page_size_max.unsigned_abs(),
        default_space,
        default_storage,
    }
}

/// A status that came inside an answer, as if it had come as one.
pub(crate) fn status_in_message(status: tonic_types::pb::Status) -> tonic::Status {
    use prost::Message;
    let details = status.encode_to_vec().into();
    tonic::Status::with_details(status.code.into(), status.message, details)
}

/// A digest in a message.
pub(crate) fn sha256(text: &str) -> Result<Sha256> {
    parsed(text, "sha256")
}

fn shown_to(number: i32) -> Option<Visibility> {
    match pb::Visibility::try_from(number) {
        Ok(pb::Visibility::Default) => Some(Visibility::Default),
        Ok(pb::Visibility::Hidden) => Some(Visibility::Hidden),
        Ok(pb::Visibility::Trash) => Some(Visibility::Trash),
        Ok(pb::Visibility::Unspecified) | Err(_) => None,
    }
}

fn time(timestamp: prost_types::Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(timestamp.seconds).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(timestamp.nanos).ok()?))
}

fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse()
        .map_err(|_| Error::Answer(format!("`{text}` is no {what}")))
}
