//! Saving: content first, record second, acknowledgement last.

pub(super) mod commit;

use std::sync::Arc;

use artifactd_domain::{
    Accessor, ArtifactRef, Description, FileName, IfContentExists, Key, Kind, Label, MediaType, Name, SaveOutcome,
    Sha256, Stem, StorageName, Suffix, Uid, Visibility,
};

use self::commit::{Answer, Commit, NewContent, Run};
use super::{
    Artifact, Caller, Content, FirstAnnotations, Registry, RegistryError, Result, StoragePlace,
    content::{Declared, Stored},
    draw_stem,
    error::Rule,
    idempotency::{Repeatable, RequestKey},
};
use crate::{
    db::{DbError, families},
    fault,
    storage::StorageError,
};

/// What to save. Every field is valid by itself; [`Registry::save`] checks how they fit.
#[derive(Debug, Clone, Default)]
pub struct NewArtifact {
    /// Makes the save repeatable.
    pub request: Option<RequestKey>,
    /// Name in the storage.
    pub key: Option<Key>,
    /// Free text.
    pub description: Option<Description>,
    /// What it is; a dataset when unset.
    pub kind: Option<Kind>,
    /// The family of which this is the next version.
    pub revises: Option<Revises>,
    /// Label of the version.
    pub version: Option<Label>,
    /// Storage; the default one of the space when unset.
    pub storage: Option<StorageName>,
    /// Name of the file as its owner has it.
    pub file_name: Option<FileName>,
    /// Media type; guessed from the suffix when unset.
    pub media_type: Option<MediaType>,
    /// Who sees it; everybody when unset.
    pub visibility: Option<Visibility>,
    /// What to do when the same content is an artifact already.
    pub if_content_exists: IfContentExists,
    /// What is said of it.
    pub annotations: FirstAnnotations,
    /// What the sender says of the content.
    pub declared: Declared,
    /// Whether the content stays where it lies, so that its key says where that is.
    pub in_place: bool,
    /// What the content must be.
    pub expect_accessor: Option<Accessor>,
    /// Name of the schema that it must keep to.
    pub schema: Option<Name>,
}

/// How the family of a new version is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revises {
    /// By any of its versions.
    Uid(Uid),
    /// By itself.
    Stem(Stem),
}

impl Revises {
    fn stem(self) -> Stem {
        match self {
            Self::Uid(uid) => uid.stem(),
            Self::Stem(stem) => stem,
        }
    }
}

impl std::fmt::Display for Revises {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Stem(stem) => stem.fmt(f),
        }
    }
}

/// What became of a save.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The artifact, new or existing.
    pub artifact: Artifact,
    /// What happened.
    pub outcome: SaveOutcome,
    /// What was passed and not applied.
    pub not_applied: Vec<String>,
    /// Other live artifacts with the same content.
    pub same_content_uids: Vec<String>,
}

impl Registry {
    /// Saves one file: makes its content durable, then its record.
    pub async fn save(self: &Arc<Self>, caller: &Caller, new: NewArtifact, content: Content) -> Result<Saved> {
        let suffix = self.suffix_of(caller, &new).await?;
        self.check_declared_size(new.declared)?;
        let repeatable = Repeatable::new(new.request.as_ref(), caller);
        // What came in one message is soon stored again, and the transaction looks anyway.
        if matches!(content, Content::Stream(_))
            && let Some(saved) = self.saved_before(caller, repeatable.as_ref(), &new).await?
        {
            return saved.finish(self, content).await;
        }
        let storage = self.storage_of(caller, &new).await?.clone();
        let _key_turn = match (&content, &new.key) {
            (Content::Stream(_), Some(key)) => Some(self.key_turns.take(caller.space_id, key.as_str())?),
            _ => None,
        };
        let (content, found) = match content {
            Content::Claim => {
                let claimed = NewContent::claimed(new.declared)?;
                let found = self.look_at_claim(&storage, &suffix, new.declared).await?;
                found.require(new.expect_accessor)?;
                (claimed, found)
            }
            content => {
                let whole = content.whole();
                match (self.store(&storage, &suffix, content, new.declared).await, whole) {
                    (Ok(stored), whole) => {
                        let found = self.look(&storage, &suffix, &stored, whole.as_ref()).await;
                        if let Err(error) = found.require(new.expect_accessor) {
                            self.discard(storage.id, stored.object.name);
                            return Err(error);
                        }
                        (NewContent::Stored(stored), found)
                    }
                    (Err(error), None) => return Err(error),
                    // A full disk does not matter to a request that has finished before.
                    (Err(error), Some(whole)) => {
                        let saved = self.saved_before(caller, repeatable.as_ref(), &new).await?;
                        return saved.ok_or(error)?.finish(self, Content::Whole(whole)).await;
                    }
                }
            }
        };
        fault::point("save.content_durable");
        let commit = Commit {
            caller: caller.clone(),
            space_id: storage.space_id,
            new: Arc::new(new),
            stem: draw_stem(),
            suffix,
            storage_id: storage.id,
            content: Arc::new(content),
            found,
            repeatable,
        };
        self.commit_save(&storage, commit).await
    }

    /// Saves what lies in a storage already.
    pub(super) async fn save_stored(
        self: &Arc<Self>,
        caller: &Caller,
        storage: &StoragePlace,
        new: NewArtifact,
        stored: Stored,
    ) -> Result<Saved> {
        let suffix = self.suffix_of(caller, &new).await?;
        let found = self.look(storage, &suffix, &stored, None).await;
        found.require(new.expect_accessor)?;
        let commit = Commit {
            caller: caller.clone(),
            space_id: storage.space_id,
            suffix,
            repeatable: Repeatable::new(new.request.as_ref(), caller),
            new: Arc::new(new),
            stem: draw_stem(),
            storage_id: storage.id,
            content: Arc::new(NewContent::Stored(stored)),
            found,
        };
        self.commit_save(storage, commit).await
    }

    async fn commit_save(self: &Arc<Self>, storage: &StoragePlace, commit: Commit) -> Result<Saved> {
        let done = {
            let commit = commit.clone();
            self.db.write(move |txn| {
                let commit = commit.clone();
                Box::pin(async move { commit.run(txn).await })
            })
        };
        let done = done.await;
        self.discard_unused(storage, &commit, &done);
        fault::point("save.before_answer");
        match done? {
            Run::Done { answer, .. } | Run::Before(answer) => self.saved(*answer),
        }
    }

    /// A first answer to this request, and whether its content still has to be compared.
    async fn saved_before(
        &self,
        caller: &Caller,
        repeatable: Option<&Repeatable>,
        new: &NewArtifact,
    ) -> Result<Option<Before>> {
        let Some(repeatable) = repeatable else { return Ok(None) };
        let Some(finished) = repeatable.finished::<Answer>(self.db.reader(), caller).await? else {
            return Ok(None);
        };
        // A declared digest is part of the request's hash.
        let compare = new.declared.sha256.is_none();
        Ok(Some(Before {
            repeatable: repeatable.clone(),
            declared: new.declared,
            answer: finished.answer,
            content: finished.content.filter(|_| compare),
        }))
    }

    /// The suffix of the content of a save: where nothing names it, that of the version which
    /// comes before, whose key the new one gets. Whether there is one is asked later.
    pub(super) async fn suffix_of(&self, caller: &Caller, new: &NewArtifact) -> Result<Suffix> {
        let named = new.suffix(caller)?;
        let Some(revises) = new.revises.filter(|_| new.key.is_none() && new.file_name.is_none()) else {
            return Ok(named);
        };
        let head = ArtifactRef::Stem(revises.stem());
        match self.find(self.db.reader(), caller, &head, true).await {
            Ok(head) => Ok(Suffix::of_name(&format!("x{}", head.suffix))),
            Err(error @ RegistryError::Db(_)) => Err(error),
            Err(_) => Ok(named),
        }
    }

    /// The storage of a save: that of the family, which may be named by a version.
    pub(super) async fn storage_of(&self, caller: &Caller, new: &NewArtifact) -> Result<&StoragePlace> {
        let named = self.places.storage(caller, new.storage.as_ref())?;
        if !named.is_managed && !new.in_place {
            return Err(RegistryError::Storage(read_only(&named.name)));
        }
        let Some(revises) = new.revises else { return Ok(named) };
        let family = families::by_stem(self.db.reader(), revises.stem()).await?;
        let family = family.filter(|family| caller.may_read(family.space_id));
        let family = family.ok_or_else(|| RegistryError::NotFound(revises.to_string()))?;
        if new.storage.is_some() && named.id != family.storage_id {
            return Err(RegistryError::other(
                "header.storage",
                "is not the storage of the family that is revised",
            ));
        }
        let storage = self.places.storage_by_id(family.storage_id)?;
        match storage.is_managed || new.in_place {
            true => Ok(storage),
            false => Err(RegistryError::Storage(read_only(&storage.name))),
        }
    }

    /// Removes an object that no committed row names. When the outcome of the
    /// commit is unknown the object stays: it may be the content.
    fn discard_unused(self: &Arc<Self>, storage: &StoragePlace, commit: &Commit, done: &Result<Run>) {
        let NewContent::Stored(stored) = &*commit.content else {
            return;
        };
        let unused = match done {
            Ok(Run::Done { object_used, .. }) => !object_used,
            Ok(Run::Before(_)) => true,
            Err(RegistryError::Db(_)) => false,
            Err(_) => true,
        };
        if unused {
            self.discard(storage.id, stored.object.name.clone());
        }
    }

    pub(super) fn saved(&self, answer: Answer) -> Result<Saved> {
        let outcome = SaveOutcome::from_name(&answer.outcome).ok_or(DbError::Row {
            table: "requests",
            column: "answer",
        })?;
        Ok(Saved {
            artifact: self.to_artifact(answer.row)?,
            outcome,
            not_applied: answer.not_applied,
            same_content_uids: answer.same_content_uids,
        })
    }
}

/// Why nothing is saved to a storage in which files lie in place.
pub(super) fn read_only(name: &str) -> StorageError {
    let why = format!("in storage {name} files lie in place, and nothing is written");
    StorageError::ReadOnly(std::io::Error::new(std::io::ErrorKind::ReadOnlyFilesystem, why))
}

/// A save that was finished before.
struct Before {
    repeatable: Repeatable,
    declared: Declared,
    answer: Answer,
    /// What the content must be, where the request itself does not say.
    content: Option<Sha256>,
}

impl Before {
    async fn finish(self, registry: &Registry, content: Content) -> Result<Saved> {
        if let Some(expected) = self.content
            && registry.drain(content, self.declared).await?.sha256 != expected
        {
            return Err(self.repeatable.reused());
        }
        registry.saved(self.answer)
    }
}

impl NewArtifact {
    /// The suffix of the content, and that all which name it agree.
    pub(super) fn suffix(&self, caller: &Caller) -> Result<Suffix> {
        let is_named = self.key.is_some() || self.description.is_some() || self.revises.is_some();
        if !is_named && caller.run.is_none() {
            return Err(RegistryError::field("header.key", Rule::NameRequired));
        }
        if self.visibility == Some(Visibility::Trash) {
            return Err(RegistryError::other("header.visibility", "must be DEFAULT or HIDDEN"));
        }
        let of_file = self.file_name.as_ref().map(FileName::suffix);
        match (self.key.as_ref().map(Key::suffix), of_file) {
            (Some(of_key), Some(of_file)) if of_key != of_file => Err(RegistryError::field(
                "header.file_name",
                Rule::Suffix(of_file.to_string(), of_key.to_string()),
            )),
            (Some(suffix), _) | (None, Some(suffix)) => Ok(suffix),
            (None, None) => Ok(Suffix::default()),
        }
    }
}
