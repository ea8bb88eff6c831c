//! Moving an artifact, with all its versions, to another storage that the server writes.
//!
//! Contents that are not held there are copied first: every byte is checked on its way out
//! and hashed on its way in. Then one transaction lets the versions name the copies. Old
//! bytes that nothing names any more become garbage, which stays for its grace; files in
//! place stay for good.

mod commit;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use artifactd_domain::{ArtifactRef, Sha256, Stem, StorageName, Suffix};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use self::commit::{Commit, Run};
use crate::{
    db::{
        DbError,
        artifacts::{self, ArtifactRow},
        blobs,
        entities::families::Model as Family,
        families,
    },
    fault,
    registry::{
        Artifact, Caller, Content, Registry, RegistryError, Result, StoragePlace,
        content::{Data, Declared, Piece, Stored},
        folders::FolderCopies,
        idempotency::{Repeatable, RequestKey},
        open::Reader,
        save::{commit::moved_away, read_only},
    },
};

/// Bytes of a chunk on its way from one storage to the other.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// How often versions are looked at that came or changed meanwhile.
const TRIES: usize = 5;

/// What to move, and where to.
#[derive(Debug, Clone)]
pub struct Move {
    /// Any version of it.
    pub reference: ArtifactRef,
    /// The storage.
    pub storage: StorageName,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What was moved.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Its newest version.
    pub artifact: Artifact,
    /// How many versions it has.
    pub versions: u64,
    /// How many bytes had to be copied.
    pub copied_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    row: ArtifactRow,
    versions: u64,
    copied_bytes: u64,
}

/// What tells contents apart.
type Identity = (Sha256, i64);

/// What was copied and belongs to no version yet.
struct Copies {
    /// Files, each in an object that no row names.
    files: BTreeMap<Identity, Stored>,
    folders: FolderCopies,
}

impl Registry {
    /// Moves an artifact with all its versions.
    pub async fn move_artifact(self: &Arc<Self>, caller: &Caller, what: Move) -> Result<Moved> {
        let repeatable = Repeatable::new(what.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(finished) = repeatable.finished::<Answer>(self.db.reader(), caller).await?
        {
            return self.moved_artifact(finished.answer);
        }
        let target = self.places.storage(caller, Some(&what.storage))?.clone();
        if !target.is_managed {
            return Err(RegistryError::Storage(read_only(&target.name)));
        }
        let stem = self.family(self.db.reader(), caller, &what.reference).await?.stem;
        let stem: Stem = stem.parse().map_err(|_| impossible("families", "stem"))?;
        let mut copies = Copies {
            files: BTreeMap::new(),
            folders: FolderCopies::to(&target),
        };
        let done = self.move_family(caller, stem, &target, &mut copies, repeatable).await;
        fault::point("move.before_answer");
        let used = match &done {
            Ok(run) => run.used.clone(),
            // Whether it was committed is not known then, so the copies stay.
            Err(RegistryError::Db(_)) => copies.files.keys().copied().collect(),
            Err(_) => BTreeSet::new(),
        };
        for (identity, stored) in copies.files {
            if !used.contains(&identity) {
                self.discard(target.id, stored.object.name);
            }
        }
        if !matches!(done, Err(RegistryError::Db(_))) {
            copies.folders.discard_unused(self).await;
        }
        self.sweep_soon();
        self.moved_artifact(done?.answer)
    }

    async fn move_family(
        self: &Arc<Self>,
        caller: &Caller,
        stem: Stem,
        target: &StoragePlace,
        copies: &mut Copies,
        repeatable: Option<Repeatable>,
    ) -> Result<Run> {
        let mut tries = 0;
        loop {
            self.copy_missing(caller, stem, target, copies).await?;
            fault::point("move.contents_durable");
            let commit = Arc::new(Commit {
                caller: caller.clone(),
                stem,
                target: (target.id, target.name.clone()),
                files: copies.files.clone(),
                folders: copies.folders.held(),
                copied_in_folders: copies.folders.copied_bytes(),
                repeatable: repeatable.clone(),
            });
            let done = self.db.write(move |txn| {
                let commit = Arc::clone(&commit);
                Box::pin(async move { commit.run(txn).await })
            });
            tries += 1;
            match done.await {
                // A version came, or got other content, after the contents were copied.
                Err(RegistryError::ContentNotHeld(_)) if tries < TRIES => {}
                Err(RegistryError::ContentNotHeld(_)) => return Err(moved_away()),
                done => return done,
            }
        }
    }

    /// Copies what the versions hold and the storage does not.
    async fn copy_missing(
        self: &Arc<Self>,
        caller: &Caller,
        stem: Stem,
        target: &StoragePlace,
        copies: &mut Copies,
    ) -> Result<()> {
        let conn = self.db.reader();
        let family = families::by_stem(conn, stem).await?;
        let family = family.ok_or_else(|| RegistryError::NotFound(stem.to_string()))?;
        if family.storage_id == target.id {
            return Ok(());
        }
        self.require_free(&family, target).await?;
        for row in artifacts::versions(conn, family.id).await? {
            if row.manifest_id.is_some() {
                copies.folders.copy(self, caller, &row).await?;
                continue;
            }
            let identity = (row.digest()?, row.size_bytes);
            let held = blobs::find(conn, target.id, &identity.0, identity.1).await?;
            if copies.files.contains_key(&identity) || held.is_some_and(|blob| blob.damaged_since_us.is_none()) {
                continue;
            }
            let copying = self.copy_file(caller, &row, target);
            let stored = copies.folders.beside(self, copying).await?;
            copies.files.insert(identity, stored);
        }
        copies.folders.write(self, caller).await
    }

    /// Fails early where the key is another artifact's, which the transaction looks at again.
    async fn require_free(&self, family: &Family, target: &StoragePlace) -> Result<()> {
        let Some(key) = &family.live_key else { return Ok(()) };
        match artifacts::latest_of_key(self.db.reader(), target.id, key).await? {
            None => Ok(()),
            Some(holder) => Err(RegistryError::KeyTaken {
                key: key.clone(),
                holder: holder.uid()?.stem().to_string(),
            }),
        }
    }

    async fn copy_file(self: &Arc<Self>, caller: &Caller, row: &ArtifactRow, target: &StoragePlace) -> Result<Stored> {
        let reader = self.reader(caller, row)?;
        if !row.key_is_virtual {
            reader.require_undrifted().await?;
        }
        let content = (row.digest()?, row.size_bytes.unsigned_abs());
        let suffix = Suffix::of_name(&format!("x{}", row.suffix));
        self.copy_content(reader, content, &suffix, target).await
    }

    /// Copies a content into an object of its own: every byte is checked on its way out, and
    /// the whole is hashed on its way in.
    pub(in crate::registry) async fn copy_content(
        &self,
        reader: Reader,
        (sha256, size_bytes): (Sha256, u64),
        suffix: &Suffix,
        target: &StoragePlace,
    ) -> Result<Stored> {
        let declared = Declared {
            sha256: Some(sha256),
            size_bytes: Some(size_bytes),
        };
        let chunks = reader.clone().stream(0..size_bytes, CHUNK_BYTES);
        let pieces = chunks.map_ok(|chunk| Piece::Data(Data::new(vec![chunk.data])));
        let end = stream::once(std::future::ready(Ok(Piece::End(declared))));
        let content = Content::Stream(pieces.chain(end).boxed());
        match self.store(target, suffix, content, declared).await {
            Err(RegistryError::DigestMismatch { actual, .. }) => Err(reader.holds_other(&actual).await),
            stored => stored,
        }
    }

    fn moved_artifact(&self, answer: Answer) -> Result<Moved> {
        let Answer {
            row,
            versions,
            copied_bytes,
        } = answer;
        let artifact = self.to_artifact(row)?;
        Ok(Moved {
            artifact,
            versions,
            copied_bytes,
        })
    }
}

fn impossible(table: &'static str, column: &'static str) -> DbError {
    DbError::Row { table, column }
}
