//! Options of calls. Fields that are not set are left to the server.

use artifactd_domain::{Accessor, IfContentExists, Kind, Order, Sha256, Stem, Uid, Visibility};

use crate::Annotations;

/// How the family of a new version is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revises {
    /// By any of its versions.
    Uid(Uid),
    /// By itself.
    Stem(Stem),
}

impl From<Uid> for Revises {
    fn from(uid: Uid) -> Self {
        Self::Uid(uid)
    }
}

impl From<Stem> for Revises {
    fn from(stem: Stem) -> Self {
        Self::Stem(stem)
    }
}

/// What to save. At least one of key, description and `revises` is needed.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// Name in the storage.
    pub key: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// What it is; a dataset when unset.
    pub kind: Option<Kind>,
    /// The family of which this is the next version.
    pub revises: Option<Revises>,
    /// Label of the version.
    pub version: Option<String>,
    /// Storage; the default one of the space when unset.
    pub storage: Option<String>,
    /// Name of the file; that of the file for `save_file`.
    pub file_name: Option<String>,
    /// Media type; guessed from the suffix when unset.
    pub media_type: Option<String>,
    /// Who sees it.
    pub visibility: Visibility,
    /// What to do when the same content is an artifact already.
    pub if_content_exists: IfContentExists,
    /// sha256 that the content must have.
    pub sha256: Option<Sha256>,
    /// Values of features and params, and labels, which it gets in the same transaction.
    pub annotations: Option<Annotations>,
    /// Whether names and labels that nobody registered are.
    pub register_missing: bool,
    /// Whether a new version takes the annotations of the latest one.
    pub inherit_annotations: bool,
    /// Makes the save repeatable across programs; drawn when unset.
    pub request_id: Option<String>,
    /// What a look into the content must find; anything when unset.
    pub expect_accessor: Option<Accessor>,
    /// Name of the schema that the content must keep to.
    pub schema: Option<String>,
    /// Of a folder: takes names that differ only in case, which no file system that
    /// ignores case can hold. They are refused otherwise.
    pub allow_case_collisions: bool,
}

impl SaveOptions {
    /// Saves under a key.
    pub fn key(key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// Saves the next version of a family.
    pub fn revises(family: impl Into<Revises>) -> Self {
        Self {
            revises: Some(family.into()),
            ..Self::default()
        }
    }

    /// Saves without a key, to be found by what it is.
    pub fn described(description: impl Into<String>) -> Self {
        Self {
            description: Some(description.into()),
            ..Self::default()
        }
    }

    /// Adds a description.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a version label.
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

/// What to replace.
#[derive(Debug, Clone, Default)]
pub struct ReplaceOptions {
    /// Etag that the record must have.
    pub etag: Option<String>,
    /// Name of the new file; a changed suffix changes the suffix of the key.
    pub file_name: Option<String>,
    /// Media type; guessed from the suffix when unset.
    pub media_type: Option<String>,
    /// Makes the call repeatable across programs; drawn when unset.
    pub request_id: Option<String>,
}

/// What to change in a record. Only what is set changes.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Another key.
    pub key: Option<String>,
    /// Another description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// Another kind.
    pub kind: Option<Kind>,
    /// Another media type.
    pub media_type: Option<String>,
    /// Shown or hidden.
    pub visibility: Option<Visibility>,
    /// Etag that the record must have.
    pub etag: Option<String>,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Destroy instead of moving to trash.
    pub permanent: bool,
    /// Also destroy what is not in trash.
    pub force: bool,
    /// Destroy also what runs or collections use; they forget it.
    pub allow_used: bool,
    /// What becomes of the bytes.
    pub storage: DeleteStorage,
    /// Etag that the record must have.
    pub etag: Option<String>,
}

/// What becomes of the bytes of a destroyed artifact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeleteStorage {
    /// Managed bytes that nothing else references go.
    #[default]
    Managed,
    /// Files in place go too, unless another artifact needs them; one that changed since it
    /// was registered refuses the call.
    Delete,
    /// They stay, and can be claimed by digest.
    Keep,
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Another key, where the old one was taken.
    pub key: Option<String>,
    /// Etag that the record must have.
    pub etag: Option<String>,
}

/// How to look an artifact up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Whether a key or stem may name a hidden artifact.
    pub include_hidden: bool,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Artifacts fetched at once; the server's default when 0.
    pub page_size: u32,
    /// Which visibilities. When empty those that the filter asks for, and the visible
    /// ones alone when it asks for none.
    pub visibilities: Vec<Visibility>,
    /// Which ones, in the language of `artifactd_domain::filter`; all when empty.
    pub filter: String,
    /// In which order; newest first unless set.
    pub order: Order,
}

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// First byte; counted from the end when negative.
    pub offset: i64,
    /// Most bytes; to the end when unset.
    pub length: Option<u64>,
    /// `content_etag` that the content must have.
    pub if_match: Option<String>,
    /// Whether a key or stem may name a hidden artifact.
    pub include_hidden: bool,
    /// Path of the file to read, when the artifact is a folder.
    pub member: Option<String>,
    /// Whether this is an input of the client's run: when it has one if unset, `true` fails
    /// without one, `false` never.
    pub is_run_input: Option<bool>,
}

/// Which files of a folder to list.
#[derive(Debug, Clone, Default)]
pub struct MembersOptions {
    /// What the paths begin with; all when empty.
    pub prefix: String,
    /// Pattern for whole paths, such as `obs/**` or `*.csv`.
    pub glob: Option<String>,
    /// Whether a key or stem may name a hidden artifact.
    pub include_hidden: bool,
}

/// Which files of a folder to read: those of `ranges`, else all that match.
#[derive(Debug, Clone, Default)]
pub struct ReadMembersOptions {
    /// Files or parts of files, in this order, at most 10,000. The other choices must be unset then.
    pub ranges: Vec<MemberRange>,
    /// What the paths begin with; all when empty.
    pub prefix: String,
    /// Pattern for whole paths, such as `obs/**` or `*.csv`.
    pub glob: Option<String>,
    /// Path at which to begin, or behind it when no file is there, and the first byte of the file there.
    pub start: Option<(String, u64)>,
    /// `content_etag` that the folder must have.
    pub if_match: Option<String>,
    /// Whether a key or stem may name a hidden artifact.
    pub include_hidden: bool,
    /// Whether this is an input of the client's run, as in [`ReadOptions`].
    pub is_run_input: Option<bool>,
}

/// A file of a folder, or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberRange {
    /// Path of the file.
    pub path: String,
    /// First byte; counted from the end when negative.
    pub offset: i64,
    /// Most bytes; to the end when unset.
    pub length: Option<u64>,
}
