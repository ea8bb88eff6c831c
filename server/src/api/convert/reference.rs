//! References to artifacts, and the fields that they come in.

use artifactd_domain::{ArtifactRef, VersionName};
use artifactd_proto::v1 as pb;

use super::{Result, identifier, optional, parsed, refused};
use crate::api::{layer::CallId, status};
use crate::registry::Rule;

/// The artifact that a message names.
pub(crate) fn reference(message: Option<pb::ArtifactRef>, call_id: &CallId) -> Result<ArtifactRef> {
    reference_in(message, &ARTIFACT, call_id)
}

/// Names of a field that names an artifact, and of what is in it.
pub(in crate::api) struct ReferenceField {
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
pub(in crate::api) const ARTIFACTS: ReferenceField = reference_field!("artifacts");

/// A member of a collection.
pub(in crate::api) const MEMBERS: ReferenceField = reference_field!("members.artifact");

/// The one from which something comes.
pub(in crate::api) const FROM: ReferenceField = reference_field!("from");

/// The old one of two.
pub(in crate::api) const OLD: ReferenceField = reference_field!("old");

/// The new one of two.
pub(in crate::api) const NEW: ReferenceField = reference_field!("new");

/// An artifact that is named in some field.
pub(in crate::api) fn reference_in(
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

/// The artifacts that a message names.
pub(in crate::api) fn references(messages: Vec<pb::ArtifactRef>, call_id: &CallId) -> Result<Vec<ArtifactRef>> {
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
