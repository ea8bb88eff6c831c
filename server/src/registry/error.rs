//! What can go wrong in a use case, as cases that a caller can act on.

use artifactd_domain::{
    Accessor, DtypeRefused, KeyRefused, Label, LabelRefused, NameRefused, RefRefused, Role, Sha256, SynonymsRefused,
    TextRefused, Uid,
};

use super::{AnnotationFault, SchemaFault};
use crate::{
    arrays::ArrayError,
    db::{DbError, WriteError},
    storage::StorageError,
};

/// What is not an artifact, but has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A feature.
    Feature,
    /// A param.
    Param,
    /// A label.
    Label,
    /// A registry of labels.
    LabelRegistry,
    /// A transform.
    Transform,
    /// A run.
    Run,
    /// An artifact.
    Artifact,
    /// A collection.
    Collection,
    /// A storage.
    Storage,
    /// A set of features.
    FeatureSet,
    /// A schema.
    Schema,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Feature => "feature",
            Self::Param => "param",
            Self::Label => "label",
            Self::LabelRegistry => "label registry",
            Self::Transform => "transform",
            Self::Run => "run",
            Self::Artifact => "artifact",
            Self::Collection => "collection",
            Self::Storage => "storage",
            Self::FeatureSet => "feature set",
            Self::Schema => "schema",
        })
    }
}

impl From<Role> for Thing {
    fn from(role: Role) -> Self {
        match role {
            Role::Feature => Self::Feature,
            Role::Param => Self::Param,
        }
    }
}

/// The first of some faults, and how many others there are.
fn told(faults: &[AnnotationFault]) -> String {
    match faults {
        [] => "nothing is wrong".to_owned(),
        [one] => one.to_string(),
        [first, others @ ..] => format!("{first} (and {} more)", others.len()),
    }
}

/// A failed use case.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A field breaks a rule.
    #[error("{field} {rule}")]
    Field {
        /// Path of the field in the request.
        field: &'static str,
        /// The rule that it breaks.
        rule: Rule,
    },
    /// No artifact that the caller may see has this reference.
    #[error("no artifact {0}")]
    NotFound(String),
    /// No storage that the caller may use has this name.
    #[error("no storage {0}")]
    StorageNotFound(String),
    /// No storage may lie there.
    #[error("the operator of this server does not allow storages at {0}")]
    StorageForbidden(String),
    /// A root cannot be used.
    #[error("{root} cannot be used as a storage: {why}")]
    StorageUnusable {
        /// The root.
        root: String,
        /// Which field of the request would have to be another one.
        field: &'static str,
        /// Why not.
        why: String,
    },
    /// A file lies below no registered root.
    #[error("{uri} lies in no registered storage; register {root}, or a folder in it, first")]
    StorageNotRegistered {
        /// The file.
        uri: String,
        /// The root to register.
        root: String,
    },
    /// This cannot be done to a file in place, or not under this name.
    #[error("{key} cannot be what lies in place: {why}")]
    RealKeyUnsupported {
        /// Its path from the root.
        key: String,
        /// Why not.
        why: String,
    },
    /// A file that was to go with its record is not what was registered.
    #[error("{path} is not what was registered as artifact {uid}, and nothing was removed: {what}")]
    Drifted {
        /// The artifact.
        uid: Uid,
        /// The path of the file from the root.
        path: String,
        /// What was found.
        what: String,
    },
    /// Nothing is removed there.
    #[error("storage {0} is only read: no file below its root can go, but a record alone can")]
    StorageOnlyRead(String),
    /// A file changed while it was read.
    #[error("{0} changed while it was read")]
    ChangedInPlace(String),
    /// No space that the caller may use has this name.
    #[error("no space {0}")]
    SpaceNotFound(String),
    /// The version label is taken.
    #[error("version {0} of this family exists already")]
    VersionTaken(Label),
    /// A version of the family has this label, so it cannot be an alias.
    #[error("{0} is the label of a version of this family")]
    AliasIsLabel(String),
    /// The family has this alias, so it cannot be a label.
    #[error("{0} is an alias of this family")]
    LabelIsAlias(Label),
    /// The family has no such alias.
    #[error("the family has no alias {0}")]
    AliasNotFound(String),
    /// An alias is not what the caller took it for.
    #[error("alias {name} {}", now.as_ref().map_or("does not exist".to_owned(), |uid| format!("points to {uid}")))]
    AliasMoved {
        /// The alias.
        name: String,
        /// Uid of the version that it points to.
        now: Option<String>,
    },
    /// The family has as many aliases as it may have.
    #[error("the family has {0} aliases, and may have no more")]
    AliasesExhausted(u64),
    /// Another live artifact has the key.
    #[error("key {key} belongs to artifact {holder}")]
    KeyTaken {
        /// The key.
        key: String,
        /// Stem of the family that has it.
        holder: String,
    },
    /// One of the keys would lie inside the folder that has the other.
    #[error("key {key} overlaps {other}: one is a folder, and the other would lie in it")]
    KeyOverlaps {
        /// The key.
        key: String,
        /// The key that is there.
        other: String,
    },
    /// The same content exists, and the caller asked to fail then.
    #[error("artifact {0} has the same content")]
    ContentExists(Uid),
    /// The content is something else than its sender expects.
    #[error("the content is no {}: {why}", .expected.as_str())]
    AccessorMismatch {
        /// What it should be.
        expected: Accessor,
        /// Why it is not.
        why: String,
    },
    /// The content breaks the schema under which it was to be saved.
    #[error("the content breaks the schema {schema} in {} ways", .faults.len())]
    SchemaBroken {
        /// Name of the schema.
        schema: String,
        /// All of them.
        faults: Vec<SchemaFault>,
    },
    /// A table could not be read or written.
    #[error(transparent)]
    Array(ArrayError),
    /// Batches that came do not hold together.
    #[error("the batches do not hold together: {0}")]
    Batch(ArrayError),
    /// An artifact has no such element.
    #[error("artifact {reference} has no element {element}")]
    ElementNotFound {
        /// The artifact.
        reference: String,
        /// The element.
        element: String,
    },
    /// Content was claimed that is not held.
    #[error("the storage holds no content with sha256 {0}")]
    ContentNotHeld(Sha256),
    /// The artifact is in trash.
    #[error("artifact {0} is in trash")]
    InTrash(String),
    /// The artifact is not in trash, and destroying it needs `force`.
    #[error("artifact {0} is not in trash")]
    NotInTrash(Uid),
    /// The artifact is a folder, and this works on files.
    #[error("artifact {0} is a folder")]
    IsFolder(Uid),
    /// The artifact is a file, and this works on folders.
    #[error("artifact {0} is a file")]
    IsFile(Uid),
    /// A folder has no such member.
    #[error("folder {uid} has no member {path}")]
    MemberNotFound {
        /// The folder.
        uid: Uid,
        /// The path.
        path: String,
    },
    /// What was listed makes no folder.
    #[error("{0}")]
    FolderRefused(String),
    /// A folder was to be committed while files of it had not come.
    #[error("{missing} files have not come, the first of them is {first}")]
    FolderIncomplete {
        /// How many.
        missing: usize,
        /// The path of the first.
        first: String,
    },
    /// More files were listed than may wait for their content.
    #[error("at most {0} entries may be listed after the first one whose content has not come")]
    FolderWindowFull(usize),
    /// No upload of the caller has this uid.
    #[error("no upload {0}")]
    UploadNotFound(String),
    /// Another stream writes to the upload, or its completion has begun.
    #[error("upload {0} is written by another stream, or is being completed")]
    UploadFenced(String),
    /// The upload takes no more parts.
    #[error("upload {0} is not open")]
    UploadNotOpen(String),
    /// Parts of an upload have not come.
    #[error("the upload has its first {0} bytes, and others are missing")]
    UploadIncomplete(u64),
    /// A part that is durable came again with other bytes.
    #[error("part {0} came before with other bytes")]
    PartConflict(u64),
    /// Bytes come at another position than that of the next one.
    #[error("the next byte is at {0}")]
    OffsetMismatch(u64),
    /// The family has issued its last version.
    #[error("family {0} has no version suffix left")]
    VersionsExhausted(String),
    /// The record has another etag.
    #[error("artifact {uid} has etag {actual}")]
    EtagMismatch {
        /// The artifact.
        uid: Uid,
        /// Its etag.
        actual: String,
    },
    /// The content has another etag, or changed under a reader.
    #[error("the content of artifact {0} changed")]
    ContentChanged(Uid),
    /// A range begins after the end.
    #[error("offset {offset} lies outside the {size_bytes} bytes of the content")]
    RangeInvalid {
        /// First byte that was asked for.
        offset: i64,
        /// Bytes that there are.
        size_bytes: u64,
    },
    /// The content has another size than declared.
    #[error("the content has {actual} bytes, declared were {declared}")]
    SizeMismatch {
        /// The declared size.
        declared: u64,
        /// The size so far.
        actual: u64,
    },
    /// The content has another digest than declared.
    #[error("the content has sha256 {actual}, declared was {declared}")]
    DigestMismatch {
        /// The declared digest.
        declared: Sha256,
        /// The digest of the content.
        actual: Sha256,
    },
    /// The content is larger than the server takes.
    #[error("the content has more than {0} bytes")]
    ContentTooLarge(u64),
    /// The stream ended before its trailer.
    #[error("the stream ended before its trailer")]
    StreamIncomplete,
    /// The stream failed at its source; the adapter knows why.
    #[error("the stream failed")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stream was silent for too long.
    #[error("the stream was silent for {0:?}")]
    StreamIdle(std::time::Duration),
    /// Too many streams at once.
    #[error("too many content streams at once")]
    Busy,
    /// As many contents are on their way to a key as may be.
    #[error("too many contents are on their way to {0} at once")]
    KeyBusy(String),
    /// The request id was used for another request.
    #[error("request id {0} was used for another request")]
    RequestIdReused(String),
    /// A storage may hold what the database does not know of.
    #[error(
        "storage {0} was used by a newer state of the database, or by another one: nothing is collected there \
         until `artifactd gc --accept-restored-database` says that what this one does not know may go"
    )]
    DatabaseBehind(String),
    /// Stored bytes are missing or wrong.
    #[error("the content of artifact {uid} is damaged")]
    Corrupt {
        /// The artifact.
        uid: Uid,
        /// What was found.
        #[source]
        source: StorageError,
    },
    /// Nothing of this name that the caller may see.
    #[error("no {what} {name}")]
    Missing {
        /// What was looked for.
        what: Thing,
        /// Its name or uid.
        name: String,
    },
    /// Another one has the name.
    #[error("{what} {name} exists already")]
    NameTaken {
        /// What it is.
        what: Thing,
        /// The name.
        name: String,
    },
    /// Something uses what was to be deleted.
    #[error("{what} {name} is used by {by}")]
    InUse {
        /// What it is.
        what: Thing,
        /// Its name.
        name: String,
        /// What uses it.
        by: &'static str,
    },
    /// It has another etag.
    #[error("{what} {name} has etag {actual}")]
    Changed {
        /// What it is.
        what: Thing,
        /// Its name.
        name: String,
        /// Its etag.
        actual: String,
    },
    /// What a call says of artifacts cannot be said.
    #[error("{}", told(.0))]
    Annotation(Vec<AnnotationFault>),
    /// The artifact is of a kind that has none of these.
    #[error("artifact {uid} has no {}s: its kind is another", role.as_str())]
    WrongKind {
        /// The artifact.
        uid: Uid,
        /// What was to be set.
        role: Role,
    },
    /// What is read was to be an input, and the call carries no run.
    #[error("a run is needed: name one in the metadata `artifactd-run`")]
    RunRequired,
    /// The run takes no more.
    #[error("run {0} is finished")]
    RunFinished(String),
    /// The server is about to end.
    #[error("the server is shutting down")]
    Draining,
    /// Too much happened that the index of words does not have.
    #[error("the index of words is being made and does not have enough of the log yet")]
    IndexBehind,
    /// A label would stand below itself.
    #[error("label {0} would stand below itself")]
    LabelCycle(String),
    /// A storage failed.
    #[error("storage")]
    Storage(#[source] StorageError),
    /// The database failed.
    #[error("database")]
    Db(#[from] DbError),
}

impl RegistryError {
    /// The failure of the database, if whether a change was made is not known after it.
    pub(super) fn as_outage(&self) -> Option<&DbError> {
        match self {
            Self::Db(error @ (DbError::Unavailable(_) | DbError::Statement(_))) => Some(error),
            _ => None,
        }
    }
}

impl WriteError for RegistryError {
    fn as_db(&self) -> Option<&DbError> {
        match self {
            Self::Db(error) => Some(error),
            _ => None,
        }
    }
}

/// A rule that a field can break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// A key, file name or storage name.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// A reference.
    #[error(transparent)]
    Reference(#[from] RefRefused),
    /// A version label.
    #[error(transparent)]
    Version(#[from] LabelRefused),
    /// An alias.
    #[error(transparent)]
    Alias(#[from] artifactd_domain::AliasRefused),
    /// A text.
    #[error(transparent)]
    Text(#[from] TextRefused),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameRefused),
    /// A list of synonyms.
    #[error(transparent)]
    Synonyms(#[from] SynonymsRefused),
    /// A dtype.
    #[error(transparent)]
    Dtype(#[from] DtypeRefused),
    /// A digest.
    #[error(transparent)]
    Digest(#[from] artifactd_domain::DigestRefused),
    /// A filter.
    #[error(transparent)]
    Filter(#[from] artifactd_domain::filter::FilterFault),
    /// The query of a search.
    #[error(transparent)]
    Query(#[from] artifactd_domain::search::QueryRefused),
    /// An order.
    #[error(transparent)]
    Order(#[from] artifactd_domain::OrderRefused),
    /// A required field.
    #[error("is required")]
    Required,
    /// None of the fields that name an artifact.
    #[error("is needed: an artifact has a key or a description")]
    NameRequired,
    /// A suffix that disagrees with another.
    #[error("has the suffix `{0}`, expected is `{1}`")]
    Suffix(String, String),
    /// A field that clients cannot change.
    #[error("names `{0}`, which cannot be changed")]
    NotUpdatable(String),
    /// A page token that is not ours.
    #[error("is not a token of this server")]
    PageToken,
    /// A page token of another request.
    #[error("belongs to a request with other parameters")]
    PageTokenOther,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl RegistryError {
    /// A field that breaks a rule.
    pub fn field(field: &'static str, rule: impl Into<Rule>) -> Self {
        Self::Field {
            field,
            rule: rule.into(),
        }
    }

    /// A field that breaks a rule which only a sentence can tell.
    pub fn other(field: &'static str, rule: impl Into<String>) -> Self {
        Self::Field {
            field,
            rule: Rule::Other(rule.into()),
        }
    }
}
