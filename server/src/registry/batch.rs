//! Saving many small files at once.
//!
//! The contents of a batch go into one pack and its records into one transaction,
//! so a thousand files cost two fsyncs. Each file is decided on as a single save is;
//! when the batch as a whole cannot be stored, they are saved one by one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use artifactd_domain::{ContentDigest, Sha256, Stem, Suffix};
use bytes::Bytes;

use super::{
    Caller, Content, NewArtifact, Registry, RegistryError, Result, Saved, StoragePlace,
    content::{Declared, digest_of},
    draw_stem,
    idempotency::Repeatable,
    looking::{self, Facts},
    now_us,
    placing::integer,
    random,
    save::commit::{Commit, NewContent, Run, run_all},
};
use crate::{
    db::{Batch, DbError, blobs},
    fault,
    storage::{FinishedObject, ObjectName, PackWriter},
};

/// One file of a batch: what to save, and its content, below 1 MiB in one piece or claimed.
pub type BatchItem = (NewArtifact, Content);

/// A file of a batch that is well-formed, with its place in the batch.
pub(super) struct Ready {
    pub(super) number: usize,
    new: Arc<NewArtifact>,
    stem: Stem,
    suffix: Suffix,
    pub(super) storage: StoragePlace,
    content: Small,
    /// What was found in the content.
    found: Facts,
}

/// What the files of a batch share.
#[derive(Default)]
pub(super) struct Shared {
    /// What was found in contents that some of them claim: each is looked into once.
    looked: HashMap<(i64, Suffix, Sha256, Option<u64>), Facts>,
    /// The first stem that was drawn.
    first_stem: Option<Stem>,
}

impl Shared {
    /// A stem in the neighbourhood of the others.
    fn draw_stem(&mut self) -> Stem {
        let stem = draw_stem();
        stem.beside(*self.first_stem.get_or_insert(stem))
    }
}

/// The content of one file.
#[derive(Clone)]
enum Small {
    Bytes(Bytes, ContentDigest),
    Claimed,
}

/// What tells contents apart.
type Identity = (Sha256, u64);

impl Small {
    fn identity(&self) -> Option<Identity> {
        match self {
            Self::Bytes(_, digest) => Some((digest.sha256, digest.size_bytes)),
            Self::Claimed => None,
        }
    }

    fn again(&self) -> Content {
        match self {
            Self::Bytes(bytes, _) => Content::Whole(bytes.clone()),
            Self::Claimed => Content::Claim,
        }
    }
}

impl Ready {
    /// The content that came along, if one did.
    pub(super) fn brings(&self) -> Option<Sha256> {
        Some(self.content.identity()?.0)
    }
}

/// A durable pack, and where the contents lie in it.
pub(super) struct Packed {
    pub(super) object: FinishedObject,
    offsets: HashMap<Identity, i64>,
}

impl Packed {
    /// Its row.
    pub(super) fn row(&self, storage_id: i64) -> blobs::NewObject {
        blobs::NewObject {
            storage_id,
            name: self.object.name.to_string(),
            is_pack: true,
            size_bytes: self.object.size_bytes as i64,
            store_etag: self.object.store_etag.clone(),
        }
    }
}

impl Registry {
    /// Saves some files, each for itself; a result for each, in their order.
    pub async fn save_batch(self: &Arc<Self>, caller: &Caller, items: Vec<BatchItem>) -> Vec<Result<Saved>> {
        let turn = self.content_turns.take().await;
        let mut results: Vec<Option<Result<Saved>>> = items.iter().map(|_| None).collect();
        let mut groups: HashMap<i64, Vec<Ready>> = HashMap::new();
        let mut shared = Shared::default();
        for (number, (new, content)) in items.into_iter().enumerate() {
            let ready = match &turn {
                Ok(_) => self.ready(caller, number, (new, content), &mut shared).await,
                Err(_) => Err(RegistryError::Busy),
            };
            match ready {
                Ok(ready) => groups.entry(ready.storage.id).or_default().push(ready),
                Err(error) => results[number] = Some(Err(error)),
            }
        }
        for group in groups.into_values() {
            let numbers: Vec<usize> = group.iter().map(|ready| ready.number).collect();
            let saved = self.save_group(caller, group).await;
            for (number, result) in numbers.into_iter().zip(saved) {
                results[number] = Some(result);
            }
        }
        results
            .into_iter()
            .map(|result| result.expect("each has one"))
            .collect()
    }

    pub(super) async fn ready(
        &self,
        caller: &Caller,
        number: usize,
        (new, content): BatchItem,
        shared: &mut Shared,
    ) -> Result<Ready> {
        let content = match content {
            Content::Whole(bytes) => {
                let digest = digest_of(&bytes);
                new.declared.check(&digest)?;
                Small::Bytes(bytes, digest)
            }
            Content::Claim => {
                NewContent::claimed(new.declared)?;
                Small::Claimed
            }
            Content::Stream(_) => unreachable!("a batch holds no streams"),
        };
        let (suffix, storage) = (
            self.suffix_of(caller, &new).await?,
            self.storage_of(caller, &new).await?.clone(),
        );
        let found = match &content {
            Small::Bytes(bytes, _) => looking::look_here(&suffix, bytes),
            Small::Claimed => self.look_at_claim_once(&storage, &suffix, new.declared, shared).await?,
        };
        found.require(new.expect_accessor)?;
        Ok(Ready {
            number,
            suffix,
            storage,
            new: Arc::new(new),
            stem: shared.draw_stem(),
            content,
            found,
        })
    }

    async fn look_at_claim_once(
        &self,
        storage: &StoragePlace,
        suffix: &Suffix,
        declared: Declared,
        shared: &mut Shared,
    ) -> Result<Facts> {
        let Some(sha256) = declared.sha256 else {
            return Ok(Facts::default());
        };
        let content = (storage.id, suffix.clone(), sha256, declared.size_bytes);
        if let Some(found) = shared.looked.get(&content) {
            return Ok(found.clone());
        }
        let found = self.look_at_claim(storage, suffix, declared).await?;
        shared.looked.insert(content, found.clone());
        Ok(found)
    }

    /// Saves the files of one storage.
    async fn save_group(self: &Arc<Self>, caller: &Caller, group: Vec<Ready>) -> Vec<Result<Saved>> {
        let packed = match self.pack(&group).await {
            Ok(packed) => packed,
            Err(_) => return self.save_one_by_one(caller, &group).await,
        };
        fault::point("batch.content_durable");
        match self.commit_group(caller, &group, packed.as_ref()).await {
            Ok(runs) => self.answers(caller, &group, runs).await,
            Err(RegistryError::Db(DbError::Conflict(_))) => {
                self.discard_pack(&group, packed);
                self.save_one_by_one(caller, &group).await
            }
            // Whether it was committed is not known, so the pack stays.
            Err(error) => {
                // Its files are told what kind of failure it was, and no more.
                tracing::warn!(error = &error as &dyn std::error::Error, "Could not commit a batch");
                group.iter().map(|_| Err(like(&error))).collect()
            }
        }
    }

    /// Makes the contents durable that the storage does not hold; `None` when it holds all.
    pub(super) async fn pack(&self, group: &[Ready]) -> Result<Option<Packed>> {
        let storage = &group.first().expect("a group has somebody").storage;
        let digests: Vec<Sha256> = group
            .iter()
            .filter_map(|ready| Some(ready.content.identity()?.0))
            .collect();
        // Claims bring nothing.
        if digests.is_empty() {
            return Ok(None);
        }
        let held = blobs::held(self.db.reader(), storage.id, &digests).await?;
        let held: HashSet<_> = held
            .iter()
            .map(|(sha256, size)| (&sha256[..], size.unsigned_abs()))
            .collect();
        let is_held = |(sha256, size): &Identity| held.contains(&(&sha256.as_bytes()[..], *size));
        let mut pack = PackWriter::new(storage.store.writer.begin(ObjectName::of_pack(random())));
        let mut offsets = HashMap::new();
        for ready in group {
            let Small::Bytes(bytes, digest) = &ready.content else {
                continue;
            };
            let identity = (digest.sha256, digest.size_bytes);
            if offsets.contains_key(&identity) || is_held(&identity) {
                continue;
            }
            match pack.put(bytes.clone(), digest).await {
                Ok(offset) => offsets.insert(identity, integer(offset)?),
                Err(error) => {
                    pack.abort().await;
                    return Err(error.into());
                }
            };
        }
        if pack.is_empty() {
            pack.abort().await;
            return Ok(None);
        }
        let object = pack.finish().await?.object;
        Ok(Some(Packed { object, offsets }))
    }

    /// Commits the records of a group together; a refused one stops no other.
    async fn commit_group(
        &self,
        caller: &Caller,
        group: &[Ready],
        packed: Option<&Packed>,
    ) -> Result<Vec<Result<Run>>> {
        let commits: Vec<Commit> = group.iter().map(|ready| commit(caller, ready, packed)).collect();
        let object = packed.map(|packed| packed.row(group[0].storage.id));
        let plan = Arc::new((commits, object));
        let runs = self.db.write::<_, RegistryError, _>(move |txn| {
            let plan = Arc::clone(&plan);
            Box::pin(async move {
                let (commits, object) = &*plan;
                if let Some(object) = object {
                    let mut batch = Batch::new(txn);
                    batch.insert(blobs::insert_object(object, now_us()));
                    batch.run(txn).await?;
                }
                let mut runs = run_all(txn, &in_lock_order(commits)).await?;
                runs.sort_by_key(|(number, _)| *number);
                let runs: Vec<_> = runs.into_iter().map(|(_, run)| run).collect();
                let uses = |run: &Result<Run>| matches!(run, Ok(Run::Done { object_used: true, .. }));
                if let Some(object) = object
                    && !runs.iter().any(uses)
                {
                    let mut batch = Batch::new(txn);
                    batch.push(&blobs::discard_object_by_name(&object.name, now_us()));
                    batch.run(txn).await?;
                }
                fault::point("batch.in_transaction");
                Ok(runs)
            })
        });
        runs.await
    }

    /// Answers of a group that was committed.
    async fn answers(self: &Arc<Self>, caller: &Caller, group: &[Ready], runs: Vec<Result<Run>>) -> Vec<Result<Saved>> {
        let mut answers = Vec::with_capacity(group.len());
        for (ready, run) in group.iter().zip(runs) {
            answers.push(match (run, &ready.content) {
                (Ok(Run::Done { answer, .. } | Run::Before(answer)), _) => self.saved(*answer),
                // The storage held it a moment ago, so it was not sent along.
                (Err(RegistryError::ContentNotHeld(_)), Small::Bytes(..)) => self.save_one(caller, ready).await,
                (Err(error), _) => Err(error),
            });
        }
        answers
    }

    async fn save_one(self: &Arc<Self>, caller: &Caller, ready: &Ready) -> Result<Saved> {
        self.save(caller, (*ready.new).clone(), ready.content.again()).await
    }

    /// The slow way, on which each file meets its own fate. An outage ends it.
    async fn save_one_by_one(self: &Arc<Self>, caller: &Caller, group: &[Ready]) -> Vec<Result<Saved>> {
        let mut results: Vec<Result<Saved>> = Vec::with_capacity(group.len());
        for ready in group {
            let result = match results.last() {
                Some(Err(outage @ RegistryError::Db(DbError::Unavailable(_)))) => Err(like(outage)),
                _ => self.save_one(caller, ready).await,
            };
            results.push(result);
        }
        results
    }

    fn discard_pack(self: &Arc<Self>, group: &[Ready], packed: Option<Packed>) {
        if let (Some(packed), Some(first)) = (packed, group.first()) {
            self.discard(first.storage.id, packed.object.name);
        }
    }
}

/// The order in which families are locked, the same in every batch, so that two
/// batches do not wait for each other. Files of one family stay in theirs.
pub(super) fn in_lock_order(commits: &[Commit]) -> Vec<(usize, &Commit)> {
    let mut ordered: Vec<_> = commits.iter().enumerate().collect();
    ordered.sort_by_cached_key(|(_, commit)| {
        let revises = commit.new.revises.map(|revises| revises.to_string());
        revises.or_else(|| Some(commit.new.key.as_ref()?.to_string()))
    });
    ordered
}

/// The save of one file.
pub(super) fn commit(caller: &Caller, ready: &Ready, packed: Option<&Packed>) -> Commit {
    let place = packed.and_then(|packed| {
        let offset_bytes = packed.offsets.get(&ready.content.identity()?)?;
        Some((packed.object.name.clone(), *offset_bytes))
    });
    let content = match (&ready.content, place) {
        (Small::Bytes(_, digest), Some((pack, offset_bytes))) => NewContent::Packed {
            digest: digest.clone(),
            pack,
            offset_bytes,
        },
        (Small::Bytes(_, digest), None) => NewContent::Claimed {
            sha256: digest.sha256,
            size_bytes: Some(digest.size_bytes),
        },
        (Small::Claimed, _) => NewContent::claimed(ready.new.declared).expect("it was checked"),
    };
    Commit {
        caller: caller.clone(),
        space_id: ready.storage.space_id,
        new: Arc::clone(&ready.new),
        stem: ready.stem,
        suffix: ready.suffix.clone(),
        storage_id: ready.storage.id,
        content: Arc::new(content),
        found: ready.found.clone(),
        repeatable: Repeatable::new(ready.new.request.as_ref(), caller),
    }
}

/// What one file of a batch is told of a failure that met all of them.
fn like(error: &RegistryError) -> RegistryError {
    let what = error.to_string();
    RegistryError::Db(match error {
        RegistryError::Db(error) => error.told_again(&what),
        _ => DbError::failed(&what),
    })
}
