//! What is asked, as messages.

use artifactd_domain::{Accessor, ArtifactRef, IfContentExists, Kind, VersionName, Visibility};
use artifactd_proto::v1 as pb;

use crate::{Revises, SaveOptions};

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

/// A request id that nobody else draws, for a program that keeps one to repeat a call later.
pub fn draw_request_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
