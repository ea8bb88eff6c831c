//! Between messages and domain types.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use artifactd_domain::{
    Accessor, ArtifactRef, IfContentExists, Kind, SaveOutcome, Sha256, VersionName, VersionNumber, Visibility,
    manifest::{Difference, Member},
    search::Rank,
};
use artifactd_proto::v1 as pb;

use crate::{
    Alias, AliasChange, Artifact, Count, Error, Hit, Result, Revises, SaveOptions, Saved, ServerInfo, Upload,
    UploadState,
};

fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse()
        .map_err(|_| Error::Answer(format!("`{text}` is no {what}")))
}

pub(crate) fn reference(reference: ArtifactRef) -> pb::ArtifactRef {
    use pb::artifact_ref::Ref;
    let named = match reference {
        ArtifactRef::Uid(uid) => Ref::Uid(uid.to_string()),
        ArtifactRef::Stem(stem) => Ref::Stem(stem.to_string()),
        ArtifactRef::StemVersion { stem, version } => Ref::StemVersion(pb::StemRef {
            stem: stem.to_string(),
            version: Some(version.to_string()),
        }),
        ArtifactRef::Key { storage, key, version } => Ref::Key(pb::KeyRef {
            key: key.to_string(),
            version: match version {
                VersionName::Latest => None,
                VersionName::Label(label) => Some(label.to_string()),
            },
            storage: storage.map(|storage| storage.to_string()),
        }),
    };
    pb::ArtifactRef { r#ref: Some(named) }
}

pub(crate) fn kind(kind: Kind) -> pb::ArtifactKind {
    match kind {
        Kind::Dataset => pb::ArtifactKind::Dataset,
        Kind::Model => pb::ArtifactKind::Model,
        Kind::Code => pb::ArtifactKind::Code,
    }
}

pub(crate) fn visibility(visibility: Visibility) -> pb::Visibility {
    match visibility {
        Visibility::Default => pb::Visibility::Default,
        Visibility::Hidden => pb::Visibility::Hidden,
        Visibility::Trash => pb::Visibility::Trash,
    }
}

/// The header of a save. Size and claim are the caller's to set.
pub(crate) fn save_header(options: SaveOptions) -> pb::SaveHeader {
    let SaveOptions {
        key,
        description,
        kind: wanted_kind,
        revises,
        version,
        storage,
        file_name,
        media_type,
        visibility: wanted_visibility,
        if_content_exists,
        sha256,
        annotations,
        register_missing,
        inherit_annotations,
        request_id,
        expect_accessor,
        schema,
        // Of folders, in a header of their own.
        allow_case_collisions: _,
    } = options;
    pb::SaveHeader {
        request_id: Some(request_id.unwrap_or_else(draw_request_id)),
        key,
        description,
        kind: wanted_kind.map_or(pb::ArtifactKind::Unspecified, kind).into(),
        revises: revises.map(|revises| match revises {
            Revises::Uid(uid) => uid.to_string(),
            Revises::Stem(stem) => stem.to_string(),
        }),
        version,
        storage,
        file_name,
        media_type,
        visibility: visibility(wanted_visibility).into(),
        if_content_exists: match if_content_exists {
            IfContentExists::ReturnExisting => pb::IfContentExists::ReturnExisting,
            IfContentExists::Create => pb::IfContentExists::Create,
            IfContentExists::Fail => pb::IfContentExists::Fail,
        }
        .into(),
        size: None,
        sha256: sha256.map(|sha256| sha256.to_string()),
        claim: false,
        expect_accessor: match expect_accessor {
            None => pb::Accessor::Unspecified,
            Some(Accessor::DataFrame) => pb::Accessor::DataFrame,
        }
        .into(),
        annotations: annotations.map(|annotations| annotations.to_message()),
        register_missing,
        inherit_annotations,
        schema,
    }
}

/// A status that came inside an answer, as if it had come as one.
pub(crate) fn status_in_message(status: tonic_types::pb::Status) -> tonic::Status {
    use prost::Message;
    let details = status.encode_to_vec().into();
    tonic::Status::with_details(status.code.into(), status.message, details)
}

/// A request id that nobody else draws, for a program that keeps one to repeat a call later.
pub fn draw_request_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// An artifact that an answer must hold.
pub(crate) fn some(message: Option<pb::Artifact>) -> Result<Artifact> {
    artifact(message.ok_or_else(|| Error::Answer("an answer without its artifact".to_owned()))?)
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

fn shown_to(number: i32) -> Option<Visibility> {
    match pb::Visibility::try_from(number) {
        Ok(pb::Visibility::Default) => Some(Visibility::Default),
        Ok(pb::Visibility::Hidden) => Some(Visibility::Hidden),
        Ok(pb::Visibility::Trash) => Some(Visibility::Trash),
        Ok(pb::Visibility::Unspecified) | Err(_) => None,
    }
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

/// A digest in a message.
pub(crate) fn sha256(text: &str) -> Result<Sha256> {
    parsed(text, "sha256")
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

/// The message that the answer to a save came as.
pub(crate) fn saved_message(became: &Saved) -> pb::SaveArtifactResponse {
    let Saved {
        artifact,
        outcome,
        not_applied,
        same_content_uids,
    } = became;
    pb::SaveArtifactResponse {
        artifact: Some(artifact_message(artifact)),
        outcome: match outcome {
            SaveOutcome::Created => pb::SaveOutcome::Created,
            SaveOutcome::NewVersion => pb::SaveOutcome::NewVersion,
            SaveOutcome::Existing => pb::SaveOutcome::Existing,
        }
        .into(),
        not_applied: not_applied.clone(),
        same_content_uids: same_content_uids.iter().map(ToString::to_string).collect(),
    }
}

/// The message that a file of a folder came as.
pub(crate) fn member_message(member: &Member) -> pb::Member {
    let Member {
        path,
        size_bytes,
        sha256,
    } = member;
    pb::Member {
        path: path.to_string(),
        size: size_bytes.cast_signed(),
        sha256: sha256.to_string(),
    }
}

/// The message that a difference came as.
pub(crate) fn difference_message(difference: &Difference) -> pb::FolderDifference {
    use pb::folder_difference::Difference as Kind;
    let kind = match difference {
        Difference::Added(added) => Kind::Added(member_message(added)),
        Difference::Removed(removed) => Kind::Removed(member_message(removed)),
        Difference::Changed { before, after } => Kind::Changed(pb::ChangedMember {
            before: Some(member_message(before)),
            after: Some(member_message(after)),
        }),
        Difference::Moved { from, to } => Kind::Moved(pb::MovedMember {
            from_path: from.to_string(),
            to: Some(member_message(to)),
        }),
    };
    pb::FolderDifference { difference: Some(kind) }
}

/// The message that an alias came as.
pub(crate) fn alias_message(alias: &Alias) -> pb::Alias {
    let Alias {
        name,
        uid,
        version,
        version_number,
        visibility: seen_by,
        set_by,
        created_at,
        updated_at,
        etag,
    } = alias;
    pb::Alias {
        name: name.to_string(),
        stem: uid.stem().to_string(),
        uid: uid.to_string(),
        version: version.to_string(),
        version_number: i32::try_from(version_number.get()).unwrap_or(i32::MAX),
        visibility: visibility(*seen_by).into(),
        set_by: set_by.clone(),
        created_at: Some(timestamp(*created_at)),
        updated_at: Some(timestamp(*updated_at)),
        etag: etag.clone(),
    }
}

/// The message that a change of an alias came as.
pub(crate) fn alias_change_message(change: &AliasChange) -> pb::AliasChange {
    let AliasChange {
        name,
        from,
        to,
        changed_by,
        changed_at,
    } = change;
    pb::AliasChange {
        name: name.clone(),
        from_uid: from.map(|uid| uid.to_string()),
        to_uid: to.map(|uid| uid.to_string()),
        changed_by: changed_by.clone(),
        changed_at: Some(timestamp(*changed_at)),
    }
}

/// The message that a count came as.
pub(crate) fn count_message(counted: &Count) -> pb::CountArtifactsResponse {
    let Count { count, more } = *counted;
    pb::CountArtifactsResponse {
        count: count.cast_signed(),
        more,
    }
}

/// The message that a hit of a search came as.
pub(crate) fn hit_message(hit: &Hit) -> pb::SearchHit {
    let Hit { artifact, rank } = hit;
    let rank = match rank {
        Rank::Exact => pb::SearchRank::Exact,
        Rank::Prefix => pb::SearchRank::Prefix,
        Rank::Words => pb::SearchRank::Words,
        Rank::Parts => pb::SearchRank::Parts,
    };
    pb::SearchHit {
        artifact: Some(artifact_message(artifact)),
        rank: rank.into(),
    }
}

/// The message of an upload, without the single parts.
pub(crate) fn upload_message(upload: &Upload) -> pb::Upload {
    let Upload {
        uid,
        state,
        key,
        description,
        file_name,
        storage,
        in_order,
        part_bytes,
        size_bytes,
        durable_bytes,
        hashed_bytes,
        expires_at,
        created_at,
        saved: became,
    } = upload.clone();
    pb::Upload {
        uid,
        state: match state {
            UploadState::Open => pb::UploadState::Open,
            UploadState::Finalizing => pb::UploadState::Finalizing,
            UploadState::Complete => pb::UploadState::Complete,
            UploadState::Saved => pb::UploadState::Saved,
        }
        .into(),
        save: Some(pb::SaveHeader {
            key,
            description,
            file_name,
            size: size_bytes.map(u64::cast_signed),
            ..pb::SaveHeader::default()
        }),
        storage,
        parallel: !in_order,
        part_bytes: part_bytes.cast_signed(),
        durable_bytes: durable_bytes.cast_signed(),
        parts: Vec::new(),
        hashed_bytes: hashed_bytes.cast_signed(),
        part_crc32c: Vec::new(),
        expires_at: expires_at.map(timestamp),
        created_at: created_at.map(timestamp),
        saved: became.as_ref().map(saved_message),
    }
}

/// The message that an artifact came as.
pub(crate) fn artifact_message(artifact: &Artifact) -> pb::Artifact {
    let Artifact {
        uid,
        key,
        description,
        kind: of_kind,
        suffix,
        file_name,
        media_type,
        size_bytes,
        sha256,
        n_objects,
        accessor,
        n_observations,
        version,
        version_number,
        is_latest,
        visibility: seen_by,
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
        run_uid,
        transform_uid,
        previous_run_uids,
    } = artifact.clone();
    pb::Artifact {
        uid: uid.to_string(),
        stem: uid.stem().to_string(),
        key,
        description,
        kind: kind(of_kind).into(),
        suffix,
        file_name,
        media_type,
        size: size_bytes.cast_signed(),
        hash: sha256.to_string(),
        hash_type: match n_objects {
            Some(_) => pb::HashType::Sha256Manifest,
            None => pb::HashType::Sha256,
        }
        .into(),
        version: version.to_string(),
        version_number: version_number.get().cast_signed(),
        is_latest,
        visibility: visibility(seen_by).into(),
        space,
        storage,
        key_is_virtual,
        path,
        created_by,
        created_at: Some(timestamp(created_at)),
        updated_at: Some(timestamp(updated_at)),
        deleted_at: deleted_at.map(timestamp),
        etag,
        content_etag,
        id,
        n_objects: n_objects.map(u64::cast_signed),
        run_uid,
        transform_uid,
        previous_run_uids,
        accessor: match accessor {
            None => pb::Accessor::Unspecified,
            Some(Accessor::DataFrame) => pb::Accessor::DataFrame,
        }
        .into(),
        n_observations: n_observations.map(u64::cast_signed),
    }
}

/// Times that came in a message are never before 1970.
fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: since.as_secs().cast_signed(),
        nanos: since.subsec_nanos().cast_signed(),
    }
}

fn time(timestamp: prost_types::Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(timestamp.seconds).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(timestamp.nanos).ok()?))
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

/// The message that facts about the server came as.
pub(crate) fn server_info_message(info: &ServerInfo) -> pb::ServerInfo {
    let ServerInfo {
        version,
        chunk_bytes_max,
        small_content_bytes_max,
        page_size_max,
        default_space,
        default_storage,
    } = info.clone();
    pb::ServerInfo {
        version,
        chunk_bytes_max: chunk_bytes_max.cast_signed(),
        small_content_bytes_max: small_content_bytes_max.cast_signed(),
        page_size_max: page_size_max.cast_signed(),
        default_space,
        default_storage,
    }
}
