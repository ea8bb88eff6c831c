//! Artifacts as they are answered, for filters that are tried without a database.

use artifactd_domain::{
    Accessor, ArtifactField, HashType, Kind, Visibility,
    filter::{Entry, Value},
};
use artifactd_proto::v1 as pb;

/// An answered artifact.
#[derive(Debug)]
pub struct Answered<'a>(pub &'a pb::Artifact);

fn text(text: &str) -> Vec<Value> {
    vec![Value::Text(text.to_owned())]
}

fn int(number: impl Into<i128>) -> Vec<Value> {
    vec![Value::Int(number.into())]
}

fn time(time: &prost_types::Timestamp) -> Vec<Value> {
    int(i128::from(time.seconds) * 1_000_000 + i128::from(time.nanos) / 1_000)
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16));
    pairs.collect::<Result<_, _>>().expect("hexadecimal digits")
}

impl Entry<ArtifactField> for Answered<'_> {
    fn values(&self, field: &ArtifactField) -> Vec<Value> {
        let artifact = self.0;
        match field {
            ArtifactField::Uid => text(&artifact.uid),
            ArtifactField::Stem => text(&artifact.stem),
            ArtifactField::Key => artifact.key.as_deref().map_or(vec![], text),
            ArtifactField::Description => artifact.description.as_deref().map_or(vec![], text),
            ArtifactField::Kind => int(match artifact.kind() {
                pb::ArtifactKind::Model => Kind::Model.code(),
                pb::ArtifactKind::Code => Kind::Code.code(),
                _ => Kind::Dataset.code(),
            }),
            ArtifactField::Suffix => text(&artifact.suffix),
            ArtifactField::FileName => artifact.file_name.as_deref().map_or(vec![], text),
            ArtifactField::MediaType => text(&artifact.media_type),
            ArtifactField::Size => int(artifact.size),
            ArtifactField::Hash => vec![Value::Bytes(bytes(&artifact.hash))],
            ArtifactField::HashType => int(match artifact.hash_type() {
                pb::HashType::Sha256Manifest => HashType::Sha256Manifest.code(),
                _ => HashType::Sha256.code(),
            }),
            ArtifactField::Version => text(&artifact.version),
            ArtifactField::VersionNumber => int(artifact.version_number),
            ArtifactField::IsLatest => vec![Value::Bool(artifact.is_latest)],
            ArtifactField::Visibility => int(match artifact.visibility() {
                pb::Visibility::Hidden => Visibility::Hidden.code(),
                pb::Visibility::Trash => Visibility::Trash.code(),
                _ => Visibility::Default.code(),
            }),
            ArtifactField::Space => text(&artifact.space),
            ArtifactField::Storage => text(&artifact.storage),
            ArtifactField::KeyIsVirtual => vec![Value::Bool(artifact.key_is_virtual)],
            ArtifactField::CreatedBy => text(&artifact.created_by),
            ArtifactField::CreatedAt => artifact.created_at.as_ref().map_or(vec![], time),
            ArtifactField::UpdatedAt => artifact.updated_at.as_ref().map_or(vec![], time),
            ArtifactField::DeletedAt => artifact.deleted_at.as_ref().map_or(vec![], time),
            ArtifactField::Id => int(artifact.id),
            ArtifactField::NObjects => artifact.n_objects.map_or(vec![], int),
            ArtifactField::Accessor => match artifact.accessor() {
                pb::Accessor::Unspecified => vec![],
                pb::Accessor::DataFrame => int(Accessor::DataFrame.code()),
            },
            ArtifactField::NObservations => artifact.n_observations.map_or(vec![], int),
            ArtifactField::Record(_) => panic!("an answer does not say what is around it"),
        }
    }
}
