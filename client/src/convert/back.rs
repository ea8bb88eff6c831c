//! Domain types as the messages that they came as, for those who pass them on.

use std::time::{SystemTime, UNIX_EPOCH};

use artifactd_domain::{
    Accessor, SaveOutcome,
    manifest::{Difference, Member},
    search::Rank,
};
use artifactd_proto::v1 as pb;

use super::{kind, visibility};
use crate::{Alias, AliasChange, Artifact, Count, Hit, Saved, ServerInfo, Upload, UploadState};

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

/// Times that came in a message are never before 1970.
fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: since.as_secs().cast_signed(),
        nanos: since.subsec_nanos().cast_signed(),
    }
}
