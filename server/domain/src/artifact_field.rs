//! The fields of an artifact that filters can test.
//!
//! They are called as in the messages, and mean the same. [`ArtifactFields`] is the
//! schema to check a filter against; [`RecordFields`](crate::RecordFields) knows also what
//! was registered in a server.

use crate::{
    Accessor, HashType, Kind, RecordField, Visibility,
    filter::{Field, Resolved, Schema, TimeUnit, Type, Unresolved},
};

/// A field of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArtifactField {
    /// `uid`
    Uid,
    /// `stem`
    Stem,
    /// `key`
    Key,
    /// `description`
    Description,
    /// `kind`
    Kind,
    /// `suffix`
    Suffix,
    /// `file_name`
    FileName,
    /// `media_type`
    MediaType,
    /// `size`
    Size,
    /// `hash`
    Hash,
    /// `hash_type`
    HashType,
    /// `version`
    Version,
    /// `version_number`
    VersionNumber,
    /// `is_latest`
    IsLatest,
    /// `visibility`
    Visibility,
    /// `space`
    Space,
    /// `storage`
    Storage,
    /// `key_is_virtual`
    KeyIsVirtual,
    /// `created_by`
    CreatedBy,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
    /// `deleted_at`
    DeletedAt,
    /// `id`
    Id,
    /// `n_objects`
    NObjects,
    /// `accessor`
    Accessor,
    /// `n_observations`
    NObservations,
    /// What is in the record around it.
    Record(RecordField),
}

/// Fields of the message that follow from others or from where bytes lie.
const NOT_TESTED: [&str; 3] = ["path", "etag", "content_etag"];

impl ArtifactField {
    /// Every field of the artifact itself.
    pub const ALL: [Self; 26] = [
        Self::Uid,
        Self::Stem,
        Self::Key,
        Self::Description,
        Self::Kind,
        Self::Suffix,
        Self::FileName,
        Self::MediaType,
        Self::Size,
        Self::Hash,
        Self::HashType,
        Self::Version,
        Self::VersionNumber,
        Self::IsLatest,
        Self::Visibility,
        Self::Space,
        Self::Storage,
        Self::KeyIsVirtual,
        Self::CreatedBy,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::DeletedAt,
        Self::Id,
        Self::NObjects,
        Self::Accessor,
        Self::NObservations,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Stem => "stem",
            Self::Key => "key",
            Self::Description => "description",
            Self::Kind => "kind",
            Self::Suffix => "suffix",
            Self::FileName => "file_name",
            Self::MediaType => "media_type",
            Self::Size => "size",
            Self::Hash => "hash",
            Self::HashType => "hash_type",
            Self::Version => "version",
            Self::VersionNumber => "version_number",
            Self::IsLatest => "is_latest",
            Self::Visibility => "visibility",
            Self::Space => "space",
            Self::Storage => "storage",
            Self::KeyIsVirtual => "key_is_virtual",
            Self::CreatedBy => "created_by",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::DeletedAt => "deleted_at",
            Self::Id => "id",
            Self::NObjects => "n_objects",
            Self::Accessor => "accessor",
            Self::NObservations => "n_observations",
            Self::Record(record) => record.name(),
        }
    }

    /// What a filter can ask of it.
    pub fn field(self) -> Field<Self> {
        if let Self::Record(record) = self {
            return record.field();
        }
        let field = Field::new(self, self.r#type());
        match self {
            Self::Key
            | Self::Description
            | Self::FileName
            | Self::DeletedAt
            | Self::NObjects
            | Self::Accessor
            | Self::NObservations => field.nullable(),
            _ => field,
        }
    }

    fn r#type(self) -> Type {
        match self {
            Self::Uid
            | Self::Stem
            | Self::Key
            | Self::Description
            | Self::Suffix
            | Self::FileName
            | Self::MediaType
            | Self::Version
            | Self::Space
            | Self::Storage
            | Self::CreatedBy => Type::Text,
            Self::Kind => names(
                "ARTIFACT_KIND_",
                &[
                    ("DATASET", Kind::Dataset.code()),
                    ("MODEL", Kind::Model.code()),
                    ("CODE", Kind::Code.code()),
                ],
            ),
            Self::HashType => names(
                "HASH_TYPE_",
                &[
                    ("SHA256", HashType::Sha256.code()),
                    ("SHA256_MANIFEST", HashType::Sha256Manifest.code()),
                ],
            ),
            Self::Accessor => names("ACCESSOR_", &[("DATA_FRAME", Accessor::DataFrame.code())]),
            Self::Visibility => names(
                "VISIBILITY_",
                &[
                    ("DEFAULT", Visibility::Default.code()),
                    ("HIDDEN", Visibility::Hidden.code()),
                    ("TRASH", Visibility::Trash.code()),
                ],
            ),
            Self::Record(record) => record.field().r#type,
            Self::Hash => Type::Bytes(Some(32)),
            Self::Size | Self::VersionNumber | Self::Id | Self::NObjects | Self::NObservations => Type::Int,
            Self::IsLatest | Self::KeyIsVirtual => Type::Bool,
            Self::CreatedAt | Self::UpdatedAt | Self::DeletedAt => Type::Time(TimeUnit::Microsecond),
        }
    }
}

/// Names without and with the prefix that they have in messages.
fn names(prefix: &str, names: &[(&str, i16)]) -> Type {
    let short = names.iter().map(|(name, code)| ((*name).to_owned(), i64::from(*code)));
    let long = names
        .iter()
        .map(|(name, code)| (format!("{prefix}{name}"), i64::from(*code)));
    Type::Enum(short.chain(long).collect())
}

/// The schema of artifacts.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactFields;

impl Schema for ArtifactFields {
    type Id = ArtifactField;

    fn field(&self, path: &[&str]) -> Result<Resolved<ArtifactField>, Unresolved> {
        let [name] = path else { return Err(Unresolved::Unknown) };
        if NOT_TESTED.contains(name) {
            return Err(Unresolved::Because("cannot be tested".to_owned()));
        }
        let found = ArtifactField::ALL.into_iter().find(|field| field.name() == *name);
        let found = found.ok_or(Unresolved::Unknown)?;
        Ok(Resolved::Field(found.field()))
    }

    fn names(&self) -> Vec<String> {
        ArtifactField::ALL.map(|field| field.name().to_owned()).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    #[test]
    fn every_field_can_be_tested_by_its_name() {
        for field in ArtifactField::ALL {
            let value = match field.r#type() {
                Type::Text => "x".to_owned(),
                Type::Int => "1".to_owned(),
                Type::Bool => "true".to_owned(),
                Type::Time(_) => "2026-01-31T12:00:00Z".to_owned(),
                Type::Enum(names) => names[0].0.to_lowercase(),
                Type::Bytes(_) => "ab".repeat(32),
                other => panic!("{other:?}"),
            };
            let text = format!("{} = {value} OR {}:*", field.name(), field.name());
            let filter: Filter = text.parse().unwrap();
            assert!(filter.check(&ArtifactFields).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for (text, message) in [
            ("path = 'x'", "at character 1: `path` cannot be tested"),
            ("etag = 'x'", "at character 1: `etag` cannot be tested"),
            ("password = 'x'", "at character 1: there is no field `password`"),
            ("size.x = 1", "at character 1: there is no field `size.x`"),
            (
                "sise = 1",
                "at character 1: there is no field `sise`; did you mean `size`?",
            ),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.check(&ArtifactFields).unwrap_err().to_string(), message);
        }
    }
}
