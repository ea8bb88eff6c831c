//! What the server answers, as domain types.

use std::{fmt::Display, time::SystemTime};

use artifactd_domain::{
    Accessor, FileName, Key, Kind, Label, SaveOutcome, Sha256, Stem, Uid, VersionNumber, Visibility,
};

use crate::{Error, Result};

/// Bytes that the name of a file can have.
const NAME_BYTES_MAX: usize = 255;

/// One version of one dataset, model or code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Identifier of this version.
    pub uid: Uid,
    /// Name in the storage.
    pub key: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Canonical suffix such as `.tar.gz`; empty for none.
    pub suffix: String,
    /// Name of the file as its owner had it.
    pub file_name: Option<String>,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// sha256 of the content, or of the list of files of a folder.
    pub sha256: Sha256,
    /// Files of a folder; unset for a file.
    pub n_objects: Option<u64>,
    /// What a look into the content found.
    pub accessor: Option<Accessor>,
    /// Rows of a table, where they were counted.
    pub n_observations: Option<u64>,
    /// Label of the version.
    pub version: Label,
    /// Number of the version.
    pub version_number: VersionNumber,
    /// Whether it is the highest version outside trash.
    pub is_latest: bool,
    /// Who sees it.
    pub visibility: Visibility,
    /// Space that it belongs to.
    pub space: String,
    /// Storage that holds its bytes.
    pub storage: String,
    /// Whether the key is only a name.
    pub key_is_virtual: bool,
    /// Physical location, when the content is one object.
    pub path: Option<String>,
    /// Who saved it.
    pub created_by: String,
    /// When it was saved.
    pub created_at: SystemTime,
    /// When the record last changed.
    pub updated_at: SystemTime,
    /// When it was moved to trash.
    pub deleted_at: Option<SystemTime>,
    /// Changes with every change of the record.
    pub etag: String,
    /// Changes only with the content.
    pub content_etag: String,
    /// Integer inside the server.
    pub id: i64,
    /// Uid of the run that made it.
    pub run_uid: Option<String>,
    /// Uid of the transform of that run.
    pub transform_uid: Option<String>,
    /// Uids of other runs that made it again or changed its record.
    pub previous_run_uids: Vec<String>,
}

impl Artifact {
    /// The part of the uid that all versions share.
    pub fn stem(&self) -> Stem {
        self.uid.stem()
    }

    /// Its name as a file: that of its key, else that which its owner gave it, else its uid.
    /// It leads nowhere else, whatever the server says.
    pub fn local_name(&self) -> Result<String> {
        let refused =
            |what: &str, why: &dyn Display| Error::Answer(format!("{} has an impossible {what}: {why}", self.uid));
        let name = match (&self.key, &self.file_name) {
            (Some(key), _) => {
                let key: Key = key.parse().map_err(|error| refused("key", &error))?;
                key.file_name().to_owned()
            }
            (None, Some(name)) => {
                let name: FileName = name.parse().map_err(|error| refused("file name", &error))?;
                name.as_str().to_owned()
            }
            (None, None) => {
                let name: FileName = format!("{}{}", self.uid, self.suffix)
                    .parse()
                    .map_err(|error| refused("suffix", &error))?;
                name.as_str().to_owned()
            }
        };
        if name.len() > NAME_BYTES_MAX {
            let (uid, bytes) = (self.uid, name.len());
            return Err(Error::Input(format!(
                "the name of {uid} has {bytes} bytes, and files have at most {NAME_BYTES_MAX}: give it another one"
            )));
        }
        Ok(name)
    }
}

/// What became of a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The artifact, new or existing.
    pub artifact: Artifact,
    /// What happened.
    pub outcome: SaveOutcome,
    /// What was passed and not applied, because the artifact existed.
    pub not_applied: Vec<String>,
    /// Up to ten other artifacts with the same content.
    pub same_content_uids: Vec<Uid>,
}

/// Facts about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Largest chunk that it takes, in bytes.
    pub chunk_bytes_max: u32,
    /// Largest content that it takes in one unary save, in bytes.
    pub small_content_bytes_max: u32,
    /// Largest page that it answers.
    pub page_size_max: u32,
    /// Space in which a call works that names none.
    pub default_space: String,
    /// Storage into which a save goes that names none.
    pub default_storage: String,
}
