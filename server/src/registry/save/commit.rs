//! The transaction of a save: which family, which content, which record.
//!
//! It may run more than once, and decides anew each time.

mod content;
mod create;
mod existing;
mod group;

use std::sync::Arc;

use artifactd_domain::{ContentDigest, IfContentExists, Sha256, Stem, Suffix, Uid};
use serde::{Deserialize, Serialize};

use super::{NewArtifact, Revises};
use crate::{
    db::{
        Batch, DbError, Txn, WriteError,
        artifacts::{self, ArtifactRow},
        entities::families::Model as Family,
        families,
    },
    registry::{
        Caller, RegistryError, Result,
        content::{Declared, Stored},
        error::Rule,
        folders::FolderContent,
        idempotency::{Finished, Repeatable},
        lineage::open_run,
        looking::Facts,
        removals, schemas,
    },
};

/// How many artifacts with the same content an answer names.
const SAME_CONTENT_NAMED_MAX: u64 = 10;

/// Media type of a folder whose suffix says nothing.
const FOLDER_MEDIA_TYPE: &str = "inode/directory";

/// What a save is answered, also when it is repeated.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::registry) struct Answer {
    pub(super) row: ArtifactRow,
    /// Name of the outcome.
    pub(super) outcome: String,
    pub(super) not_applied: Vec<String>,
    /// Some other live artifacts with the same content.
    pub(super) same_content_uids: Vec<String>,
}

/// A save that is ready to be committed; the transaction may run more than once.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Commit {
    pub(in crate::registry) caller: Caller,
    pub(in crate::registry) new: Arc<NewArtifact>,
    /// That of the family, if it begins one.
    pub(in crate::registry) stem: Stem,
    pub(in crate::registry) suffix: Suffix,
    pub(in crate::registry) storage_id: i64,
    pub(in crate::registry) space_id: i64,
    pub(in crate::registry) content: Arc<NewContent>,
    /// What was found in it.
    pub(in crate::registry) found: Facts,
    pub(in crate::registry) repeatable: Option<Repeatable>,
}

/// The content of a commit.
#[derive(Debug)]
pub(in crate::registry) enum NewContent {
    /// In an object of its own.
    Stored(Stored),
    /// In a pack whose object has its row already.
    Packed {
        digest: ContentDigest,
        pack: crate::storage::ObjectName,
        offset_bytes: i64,
    },
    /// A folder, whose contents are durable.
    Folder(FolderContent),
    /// Held by the storage.
    Claimed { sha256: Sha256, size_bytes: Option<u64> },
}

impl NewContent {
    /// What a storage is said to hold.
    pub(in crate::registry) fn claimed(declared: Declared) -> Result<Self> {
        let Declared { sha256, size_bytes } = declared;
        let sha256 = sha256.ok_or(RegistryError::field("header.sha256", Rule::Required))?;
        Ok(Self::Claimed { sha256, size_bytes })
    }
}

pub(in crate::registry) use group::run_all;

/// How a transaction of a save can end well.
pub(in crate::registry) enum Run {
    Done {
        answer: Box<Answer>,
        /// Whether the stored object became the place of the content.
        object_used: bool,
    },
    Before(Box<Answer>),
}

/// The versions of a family, or where they lie, changed after their contents were sent.
pub(in crate::registry) fn moved_away() -> RegistryError {
    DbError::conflict("the artifact changed, or moved to another storage").into()
}

impl Answer {
    /// The uid of the artifact.
    pub(in crate::registry) fn uid(&self) -> &str {
        &self.row.uid
    }

    /// The same, parsed.
    pub(in crate::registry) fn made(&self) -> Result<Uid> {
        self.row.uid()
    }
}

impl Commit {
    pub(in crate::registry) async fn run(&self, txn: &Txn) -> Result<Run> {
        let Some(repeatable) = &self.repeatable else {
            return self.decide(txn).await;
        };
        if let Some(finished) = repeatable.finished_meanwhile(txn, &self.caller).await? {
            return self.run_before(repeatable, finished);
        }
        match self.decide(txn).await {
            // What stands in the way may be what this very request has made.
            Err(error) if error.as_db().is_none() => match repeatable.finished(txn, &self.caller).await? {
                Some(finished) => self.run_before(repeatable, finished),
                None => Err(error),
            },
            done => done,
        }
    }

    fn run_before(&self, repeatable: &Repeatable, finished: Finished<Answer>) -> Result<Run> {
        match finished.content {
            Some(content) if content != self.asked() => Err(repeatable.reused()),
            _ => Ok(Run::Before(Box::new(finished.answer))),
        }
    }

    async fn decide(&self, txn: &Txn) -> Result<Run> {
        let run = open_run(txn, &self.caller).await?;
        let (family, head) = self.family(txn).await?;
        self.require_staying(txn).await?;
        let blob = self.blob(txn).await?;
        let size_bytes = self.size_bytes(blob.as_ref())?;
        let schema = match &self.new.schema {
            Some(schema) => Some(schemas::require(txn, self.caller.scope(), schema, &self.found).await?),
            None => None,
        };
        let same = self
            .same_content(txn, family.is_some(), head.as_ref(), size_bytes)
            .await?;
        match (same, self.new.if_content_exists) {
            (Some(same), IfContentExists::ReturnExisting) => self.return_existing(txn, same, blob, run.as_ref()).await,
            (Some(same), IfContentExists::Fail) => Err(RegistryError::ContentExists(same.uid()?)),
            _ => {
                self.create(txn, (family, head), (blob, size_bytes), (run, schema))
                    .await
            }
        }
    }

    /// Fails for what lies in place and is about to be removed.
    async fn require_staying(&self, txn: &Txn) -> Result<()> {
        let NewArtifact {
            key: Some(key),
            in_place: true,
            ..
        } = &*self.new
        else {
            return Ok(());
        };
        removals::require_staying(txn, self.storage_id, key.as_str(), self.folder().is_some()).await
    }

    /// The family that gets a version, locked, and its latest version.
    async fn family(&self, txn: &Txn) -> Result<(Option<Family>, Option<ArtifactRow>)> {
        let family = match (&self.new.revises, &self.new.key) {
            (Some(revises), _) => {
                let family = families::lock_by_stem(txn, revises.stem()).await?;
                let family = family.filter(|family| self.caller.may_read(family.space_id));
                Some(family.ok_or_else(|| RegistryError::NotFound(revises.to_string()))?)
            }
            (None, Some(key)) => families::lock_by_key(txn, self.storage_id, key.as_str()).await?,
            (None, None) => None,
        };
        let Some(family) = family else { return Ok((None, None)) };
        if family.storage_id != self.storage_id {
            return Err(moved_away());
        }
        if let Some(Revises::Uid(uid)) = &self.new.revises {
            let named = artifacts::by_uid(txn, uid).await?;
            if named
                .ok_or_else(|| RegistryError::NotFound(uid.to_string()))?
                .in_trash()
            {
                return Err(RegistryError::InTrash(uid.to_string()));
            }
        }
        let head = artifacts::latest_of_stem(txn, &family.stem).await?;
        let head = head.ok_or_else(|| RegistryError::InTrash(family.stem.clone()))?;
        Ok((Some(family), Some(head)))
    }

    fn remember(&self, batch: &mut Batch, answer: &Answer) {
        if let Some(repeatable) = &self.repeatable {
            repeatable.remember(batch, &self.caller, answer, Some(self.asked()));
        }
    }
}
