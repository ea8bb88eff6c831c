//! The record of an artifact, as the rest of the server knows it.

use std::fmt::Write;

use artifactd_domain::{Accessor, HashType, Kind, Label, Sha256, Uid, VersionNumber, Visibility, content_etag};

use super::{Registry, RegistryError, Result};
use crate::db::{
    DbError,
    artifacts::{ArtifactRow, Content},
};

/// One version of one dataset, model or code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Integer of the row.
    pub id: i64,
    /// Identifier.
    pub uid: Uid,
    /// Name in the storage.
    pub key: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Canonical suffix; empty for none.
    pub suffix: String,
    /// Name of the file as its owner had it.
    pub file_name: Option<String>,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Digest of the content.
    pub sha256: Sha256,
    /// How the digest was made.
    pub hash_type: HashType,
    /// Files of a folder; unset for a file.
    pub n_objects: Option<u64>,
    /// Label of the version.
    pub version: Label,
    /// Number of the version.
    pub version_number: VersionNumber,
    /// Whether it is the highest version outside trash.
    pub is_latest: bool,
    /// Who sees it.
    pub visibility: Visibility,
    /// Name of its space.
    pub space: String,
    /// Name of its storage.
    pub storage: String,
    /// Whether the key is only a name.
    pub key_is_virtual: bool,
    /// Physical location, when the content is one object.
    pub path: Option<String>,
    /// Who saved it.
    pub created_by: String,
    /// When it was saved, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// When the record last changed, in microseconds since 1970 UTC.
    pub updated_at_us: i64,
    /// When it was moved to trash, in microseconds since 1970 UTC.
    pub trashed_at_us: Option<i64>,
    /// What was found in its content.
    pub accessor: Option<Accessor>,
    /// Rows of its table, where they were counted.
    pub n_observations: Option<u64>,
    /// How often the record changed.
    pub revision: i64,
    /// Uid of the run that made it.
    pub run_uid: Option<String>,
    /// Uid of the transform of that run.
    pub transform_uid: Option<String>,
    /// Uids of other runs that made it again or changed it.
    pub previous_run_uids: Vec<String>,
}

impl Artifact {
    /// Strong entity tag of the record.
    pub fn etag(&self) -> String {
        etag(self.revision, &self.sha256)
    }

    /// Entity tag of the content.
    pub fn content_etag(&self) -> String {
        content_etag(&self.sha256)
    }
}

/// Two quotes, a dash and two numbers of 64 bits in hexadecimal.
const TAG_BYTES_MAX: usize = 3 + 2 * 16;

/// Strong entity tag of a record: its revision, and what it holds.
pub(super) fn etag(revision: i64, sha256: &Sha256) -> String {
    let mut tag = String::with_capacity(TAG_BYTES_MAX);
    let written = write!(tag, "\"{revision:x}-{}\"", &sha256.hex().as_str()[..16]);
    written.expect("a text takes what is written to it");
    tag
}

impl Registry {
    /// Turns a row into a record.
    pub(super) fn to_artifact(&self, row: ArtifactRow) -> Result<Artifact> {
        let impossible = |column| DbError::Row {
            table: "artifacts",
            column,
        };
        let storage = self.places.storage_by_id(row.storage_id)?;
        let path = match (&row.object_name, row.object_is_pack) {
            // The bytes may be those of the same content at another place.
            _ if !row.key_is_virtual => row.key.as_deref().map(|key| storage.store.uri_of_place(key)),
            (Some(name), Some(false)) => Some(storage.store.uri_of(name)),
            _ => None,
        };
        Ok(Artifact {
            uid: row.uid.parse().map_err(|_| impossible("uid"))?,
            kind: Kind::from_code(row.kind).ok_or(impossible("kind"))?,
            size_bytes: row.size_bytes.try_into().map_err(|_| impossible("size_bytes"))?,
            sha256: row.digest()?,
            version_number: row.number()?,
            visibility: row.visibility()?,
            hash_type: HashType::from_code(row.hash_type).ok_or(impossible("hash_type"))?,
            n_objects: match row.n_objects.map(u64::try_from).transpose() {
                Ok(n_objects) => n_objects,
                Err(_) => return Err(impossible("n_objects").into()),
            },
            version: row.version_label.try_into().map_err(|_| impossible("version_label"))?,
            space: self.places.space(row.space_id)?.name.clone(),
            storage: storage.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            id: row.id,
            key: row.key,
            description: row.description,
            suffix: row.suffix,
            file_name: row.file_name,
            media_type: row.media_type,
            is_latest: row.is_latest,
            key_is_virtual: row.key_is_virtual,
            path,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
            trashed_at_us: row.trashed_at_us,
            // What a newer server found is nothing that this one knows.
            accessor: row.accessor.and_then(Accessor::from_code),
            n_observations: match row.n_observations.map(u64::try_from).transpose() {
                Ok(n_observations) => n_observations,
                Err(_) => return Err(impossible("n_observations").into()),
            },
            revision: row.revision,
            run_uid: row.run_uid,
            transform_uid: row.transform_uid,
            previous_run_uids: row.previous_runs,
        })
    }

    /// Turns rows into records.
    pub(super) fn to_artifacts(&self, rows: Vec<ArtifactRow>) -> Result<Vec<Artifact>> {
        rows.into_iter().map(|row| self.to_artifact(row)).collect()
    }
}

/// The parts of a row that decisions need.
impl ArtifactRow {
    pub(super) fn uid(&self) -> Result<Uid> {
        Ok(self.uid.parse().map_err(|_| DbError::Row {
            table: "artifacts",
            column: "uid",
        })?)
    }

    pub(super) fn digest(&self) -> Result<Sha256> {
        let bytes = <[u8; 32]>::try_from(self.sha256.as_slice());
        Ok(Sha256::from_bytes(bytes.map_err(|_| DbError::Row {
            table: "artifacts",
            column: "sha256",
        })?))
    }

    pub(super) fn number(&self) -> Result<VersionNumber> {
        let number = VersionNumber::from_integer(self.version_number.into());
        Ok(number.ok_or(DbError::Row {
            table: "artifacts",
            column: "version_number",
        })?)
    }

    pub(super) fn visibility(&self) -> Result<Visibility> {
        let visibility = Visibility::from_code(self.visibility);
        Ok(visibility.ok_or(DbError::Row {
            table: "artifacts",
            column: "visibility",
        })?)
    }

    pub(super) fn in_trash(&self) -> bool {
        self.visibility == Visibility::Trash.code()
    }

    pub(super) fn has_content(&self, (hash_type, sha256, size_bytes): Content<'_>) -> bool {
        self.hash_type == hash_type.code() && self.sha256 == sha256.as_bytes() && self.size_bytes == size_bytes
    }

    /// The manifest of a folder.
    pub(super) fn folder(&self) -> Result<i64> {
        match self.manifest_id {
            Some(manifest_id) => Ok(manifest_id),
            None => Err(RegistryError::IsFile(self.uid()?)),
        }
    }

    /// Fails for a folder.
    pub(super) fn require_file(&self) -> Result<()> {
        match self.manifest_id {
            Some(_) => Err(RegistryError::IsFolder(self.uid()?)),
            None => Ok(()),
        }
    }

    pub(super) fn etag(&self) -> Result<String> {
        Ok(etag(self.revision, &self.digest()?))
    }
}
