//! Moving an artifact, with all its versions, to another storage that the server writes.
//!
//! Contents that are not held there are copied first: every byte is checked on its way out
//! and hashed on its way in. Then one transaction lets the versions name the copies. Old
//! bytes that nothing names any more become garbage, which stays for its grace; files in
//! place stay for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use artifactd_domain::{ArtifactRef, Key, Sha256, Stem, StorageName, Suffix};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    db::{
        Batch, DbError, Txn,
        artifacts::{self, ArtifactRow},
        blobs, families,
    },
    registry::{
        Artifact, Caller, Content, Registry, RegistryError, Result, StoragePlace,
        content::{Data, Declared, Piece, Stored},
        events,
        idempotency::{Repeatable, RequestKey},
        now_us,
        placing::{integer, place_object},
        save::{commit::moved_away, read_only},
        versions,
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

/// Copies that no row names yet.
type Copies = BTreeMap<Identity, Stored>;

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
        let mut copies = Copies::new();
        let done = self.move_family(caller, stem, &target, &mut copies, repeatable).await;
        let used = match &done {
            Ok(run) => run.used.clone(),
            // Whether it was committed is not known then, so the copies stay.
            Err(RegistryError::Db(_)) => copies.keys().copied().collect(),
            Err(_) => BTreeSet::new(),
        };
        for (identity, stored) in copies {
            if !used.contains(&identity) {
                self.discard(target.id, stored.object.name);
            }
        }
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
            let commit = Arc::new(Commit {
                caller: caller.clone(),
                stem,
                target: (target.id, target.name.clone()),
                copies: copies.clone(),
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
        for row in artifacts::versions(conn, family.id).await? {
            row.require_file()?;
            let identity = (row.digest()?, row.size_bytes);
            let held = blobs::find(conn, target.id, &identity.0, identity.1).await?;
            if copies.contains_key(&identity) || held.is_some_and(|blob| blob.damaged_since_us.is_none()) {
                continue;
            }
            copies.insert(identity, self.copy(caller, &row, target).await?);
        }
        Ok(())
    }

    async fn copy(self: &Arc<Self>, caller: &Caller, row: &ArtifactRow, target: &StoragePlace) -> Result<Stored> {
        let reader = self.reader(caller, row)?;
        if !row.key_is_virtual {
            reader.require_undrifted().await?;
        }
        let size_bytes = row.size_bytes.unsigned_abs();
        let declared = Declared {
            sha256: Some(row.digest()?),
            size_bytes: Some(size_bytes),
        };
        let chunks = reader.stream(0..size_bytes, CHUNK_BYTES);
        let pieces = chunks.map_ok(|chunk| Piece::Data(Data::new(vec![chunk.data])));
        let end = stream::once(std::future::ready(Ok(Piece::End(declared))));
        let content = Content::Stream(pieces.chain(end).boxed());
        let suffix = Suffix::of_name(&format!("x{}", row.suffix));
        self.store(target, &suffix, content, declared).await
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

/// What a transaction did.
struct Run {
    answer: Answer,
    /// The copies that became places of contents.
    used: BTreeSet<Identity>,
}

struct Commit {
    caller: Caller,
    stem: Stem,
    /// Its id and its name.
    target: (i64, String),
    copies: Copies,
    repeatable: Option<Repeatable>,
}

impl Commit {
    async fn run(&self, txn: &Txn) -> Result<Run> {
        if let Some(repeatable) = &self.repeatable
            && let Some(finished) = repeatable.finished::<Answer>(txn, &self.caller).await?
        {
            let (answer, used) = (finished.answer, BTreeSet::new());
            return Ok(Run { answer, used });
        }
        let family = families::lock_by_stem(txn, self.stem).await?;
        let family = family.filter(|family| self.caller.may_read(family.space_id));
        let family = family.ok_or_else(|| RegistryError::NotFound(self.stem.to_string()))?;
        let mut used = BTreeSet::new();
        let before = artifacts::versions(txn, family.id).await?;
        if family.storage_id != self.target.0 {
            if let Some(key) = &family.live_key {
                let key: Key = key.parse().map_err(|_| impossible("families", "live_key"))?;
                versions::require_key(txn, self.target.0, &key, Some(family.id)).await?;
                versions::require_no_overlap(txn, self.target.0, key.as_str(), false).await?;
            }
            self.place(txn, &before, &mut used).await?;
            artifacts::move_family(txn, family.id, self.target.0, now_us()).await?;
            self.tell(txn, &before).await?;
        }
        let after = artifacts::versions(txn, family.id).await?;
        let versions = after.len() as u64;
        let newest = after.into_iter().next();
        let copied = self.copies.iter().filter(|(identity, _)| used.contains(identity));
        let answer = Answer {
            copied_bytes: copied.map(|(_, stored)| stored.digest.size_bytes).sum(),
            row: newest.ok_or_else(|| RegistryError::NotFound(self.stem.to_string()))?,
            versions,
        };
        if let Some(repeatable) = &self.repeatable {
            let mut batch = Batch::new(txn);
            repeatable.remember(&mut batch, &self.caller, &answer, None);
            batch.run(txn).await?;
        }
        Ok(Run { answer, used })
    }

    /// Makes sure that the storage holds what all versions hold.
    async fn place(&self, txn: &Txn, versions: &[ArtifactRow], used: &mut BTreeSet<Identity>) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut batch = Batch::new(txn);
        for row in versions {
            row.require_file()?;
            let identity = (row.digest()?, row.size_bytes);
            if !seen.insert(identity) {
                continue;
            }
            let held = blobs::find(txn, self.target.0, &identity.0, identity.1).await?;
            match (held, self.copies.get(&identity)) {
                (Some(blob), _) if blob.damaged_since_us.is_none() => {
                    if blob.kept {
                        batch.push(&blobs::adopt(blob.id));
                    }
                }
                (held, Some(stored)) => {
                    let size_bytes = integer(stored.digest.size_bytes)?;
                    place_object(&mut batch, self.target.0, stored, held.as_ref(), size_bytes);
                    used.insert(identity);
                }
                (_, None) => return Err(RegistryError::ContentNotHeld(identity.0)),
            }
        }
        Ok(batch.run(txn).await?)
    }

    /// Lets go of the old bytes, and writes down what was done.
    async fn tell(&self, txn: &Txn, before: &[ArtifactRow]) -> Result<()> {
        let mut batch = Batch::new(txn);
        for row in before {
            if let (Some(blob_id), Some(object_id)) = (row.blob_id, row.object_id) {
                batch.push(&blobs::delete_if_unused(blob_id));
                batch.push(&blobs::discard_object_if_unused(object_id, now_us()));
            }
            let detail = json!({ "from": row.storage_id, "to": self.target.0, "storage": self.target.1 });
            events::record(&mut batch, &self.caller, "moved", &row.uid, detail);
        }
        Ok(batch.run(txn).await?)
    }
}

fn impossible(table: &'static str, column: &'static str) -> DbError {
    DbError::Row { table, column }
}
