//! What is answered.

use artifactd_domain::{Accessor, HashType, Kind, SaveOutcome, Visibility, manifest::Member, search::Rank};
use artifactd_proto::v1 as pb;

use crate::api::mask::ReadMask;
use crate::registry::{Alias, AliasChange, Artifact, Hit};

/// What a search found, as a message.
pub(in crate::api) fn hit(hit: Hit, mask: &ReadMask) -> pb::SearchHit {
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

/// A file of a folder, as a message.
pub(in crate::api) fn member(member: &Member) -> pb::Member {
    pb::Member {
        path: member.path.to_string(),
        size: i64::try_from(member.size_bytes).expect("folders are limited to the database's integers"),
        sha256: member.sha256.to_string(),
    }
}

/// An alias as a message.
pub(in crate::api) fn alias(alias: Alias) -> pb::Alias {
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
pub(in crate::api) fn alias_change(change: AliasChange) -> pb::AliasChange {
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
        uid: uid.as_str().to_owned(),
        stem: uid.stem().as_str().to_owned(),
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
        hash: sha256.hex().as_str().to_owned(),
        hash_type: match hash_type {
            HashType::Sha256 => pb::HashType::Sha256,
            HashType::Sha256Manifest => pb::HashType::Sha256Manifest,
        }
        .into(),
        version: version.into(),
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
pub(in crate::api) fn artifacts(records: Vec<Artifact>) -> Vec<pb::Artifact> {
    records.into_iter().map(artifact).collect()
}

/// What a save did, as a message.
pub(in crate::api) fn outcome(outcome: SaveOutcome) -> pb::SaveOutcome {
    match outcome {
        SaveOutcome::Created => pb::SaveOutcome::Created,
        SaveOutcome::NewVersion => pb::SaveOutcome::NewVersion,
        SaveOutcome::Existing => pb::SaveOutcome::Existing,
    }
}

pub(in crate::api) fn timestamp(us: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).expect("a second has fewer");
    prost_types::Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos,
    }
}
