//! Deleting and restoring.
//!
//! Deleting moves to trash; destroying is a step of its own that says so. Bytes
//! that nothing references become garbage, which is collected after a grace.

mod named;

use std::{collections::BTreeSet, sync::Arc};

use artifactd_domain::{ArtifactRef, Key, Visibility};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::named::{aliased, doomed, named};
use super::{
    Artifact, Caller, Registry, RegistryError, Result, Thing, draw_uid,
    error::Rule,
    events,
    idempotency::{Repeatable, RequestKey, once},
    now_us,
    removals::Plan,
    replace::require_etag,
    versions::{self, IfKeyTaken},
};
use crate::{
    db::{
        Batch, Txn, aliases,
        artifacts::{self, ArtifactRow},
        blobs, collections,
        entities::families::Model as Family,
        families, manifests, runs,
    },
    fault,
};

/// What to delete: a uid that version, a key or stem all versions outside trash.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// The artifact or family.
    pub reference: ArtifactRef,
    /// To trash, or for good.
    pub mode: DeleteMode,
    /// Etag that the record must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// How to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Move to trash.
    Trash,
    /// Destroy.
    Destroy {
        /// Also what is not in trash.
        force: bool,
        /// What becomes of bytes that nothing else references.
        bytes: KeepBytes,
        /// What to do when runs or collections use it.
        if_used: IfUsed,
    },
}

/// What becomes of bytes that nothing references any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepBytes {
    /// They go, after a grace. Files in place stay.
    No,
    /// Files in place go too, where nothing else needs them; at once.
    NotInPlace,
    /// They stay, and can be claimed by digest.
    Yes,
}

/// What to do when what is to be destroyed is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfUsed {
    /// Refuse.
    #[default]
    Refuse,
    /// Let those that use it forget it.
    Allow,
}

/// What was deleted.
#[derive(Debug, Clone, Default)]
pub struct Deleted {
    /// Records that are in trash now.
    pub trashed: Vec<Artifact>,
    /// Records that no longer exist.
    pub destroyed_uids: Vec<String>,
}

/// What to restore: a uid that version, a stem all that one deletion trashed.
#[derive(Debug, Clone)]
pub struct Restoration {
    /// The artifact or family.
    pub reference: ArtifactRef,
    /// Another key, where the old one was taken.
    pub key: Option<Key>,
    /// Etag that the record must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What a transaction did; kept whole, so that a repeated request is answered
/// with the records as they were then.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    rows: Vec<ArtifactRow>,
    destroyed_uids: Vec<String>,
}

impl Registry {
    /// Moves artifacts to trash, or destroys them.
    ///
    /// Files in place go after their records, before the answer. Where that fails the answer
    /// is the same, as they go another time.
    pub async fn delete(self: &Arc<Self>, caller: &Caller, deletion: Deletion) -> Result<Deleted> {
        let destroys = deletion.mode != DeleteMode::Trash;
        let repeatable = Repeatable::new(deletion.request.as_ref(), caller);
        let plan = match deletion.mode {
            DeleteMode::Destroy {
                force,
                bytes: KeepBytes::NotInPlace,
                ..
            } => {
                // Whoever asks again does not find what there was to plan for.
                if let Some(repeatable) = &repeatable
                    && let Some(finished) = repeatable.finished::<Run>(self.db.reader(), caller).await?
                {
                    return self.deleted(finished.answer);
                }
                self.plan_of(caller, &deletion.reference, force).await?.map(Arc::new)
            }
            _ => None,
        };
        let committed = plan.clone();
        let run = self.change(caller, deletion.reference.clone(), repeatable, move |target| {
            let (deletion, plan) = (deletion.clone(), committed.clone());
            Box::pin(async move { target.delete(&deletion, plan.as_deref()).await })
        });
        let run = run.await;
        if let Some(plan) = &plan {
            self.end_of(plan).await;
        }
        let run = run?;
        if destroys {
            self.sweep_soon();
        }
        self.deleted(run)
    }

    fn deleted(&self, run: Run) -> Result<Deleted> {
        let Run { rows, destroyed_uids } = run;
        Ok(Deleted {
            trashed: self.to_artifacts(rows)?,
            destroyed_uids,
        })
    }

    /// Plans to remove the files in place of what is about to be destroyed.
    async fn plan_of(self: &Arc<Self>, caller: &Caller, reference: &ArtifactRef, force: bool) -> Result<Option<Plan>> {
        let reader = self.db.reader();
        let family = self.family(reader, caller, reference).await?;
        let versions = artifacts::versions(reader, family.id).await?;
        let alias = aliased(reader, &family, reference).await?;
        let doomed = doomed(reference, named(reference, &versions, alias)?, force)?;
        self.plan_removal(family.storage_id, &doomed).await
    }

    /// Removes the files of a plan that was committed, and lets go of another one. The same
    /// request may have been answered meanwhile, with a plan of its own.
    async fn end_of(self: &Arc<Self>, plan: &Plan) {
        let ended = async {
            if !self.is_committed(plan).await? {
                return self.abandon_plan(plan).await;
            }
            fault::point("remove.committed");
            self.remove_files(plan.removal()).await
        };
        if let Err(error) = ended.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "Could not remove files in place, which go another time");
        }
    }

    /// Takes artifacts out of trash.
    pub async fn restore(&self, caller: &Caller, restoration: Restoration) -> Result<Vec<Artifact>> {
        if matches!(
            restoration.reference,
            ArtifactRef::Key { .. } | ArtifactRef::StemVersion { .. }
        ) {
            return Err(RegistryError::other("artifact", "must be a uid or a stem"));
        }
        let repeatable = Repeatable::new(restoration.request.as_ref(), caller);
        let run = self.change(caller, restoration.reference.clone(), repeatable, move |target| {
            let restoration = restoration.clone();
            Box::pin(async move { target.restore(&restoration).await })
        });
        self.to_artifacts(run.await?.rows)
    }

    /// Runs a change of one locked family, once per request id.
    async fn change<F>(
        &self,
        caller: &Caller,
        reference: ArtifactRef,
        repeatable: Option<Repeatable>,
        change: F,
    ) -> Result<Run>
    where
        F: for<'c> Fn(Target<'c>) -> crate::db::Writing<'c, (Run, Batch), RegistryError>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let storage_id = match &reference {
            ArtifactRef::Key { storage, .. } => self.places.storage(caller, storage.as_ref())?.id,
            _ => 0,
        };
        let caller = caller.clone();
        self.db
            .write(move |txn| {
                let (caller, reference, repeatable) = (caller.clone(), reference.clone(), repeatable.clone());
                let change = change.clone();
                Box::pin(async move {
                    once(repeatable.as_ref(), txn, &caller, async {
                        let family = lock(txn, &caller, &reference, storage_id).await?;
                        let versions = artifacts::versions(txn, family.id).await?;
                        let alias = aliased(txn, &family, &reference).await?;
                        let target = Target {
                            txn,
                            caller: &caller,
                            batch: Batch::new(txn),
                            family,
                            before: versions.clone(),
                            versions,
                            alias,
                        };
                        let (run, mut batch) = change(target).await?;
                        if let Some(repeatable) = &repeatable {
                            repeatable.remember(&mut batch, &caller, &run, None);
                        }
                        batch.run(txn).await?;
                        fault::point("delete.in_transaction");
                        Ok(run)
                    })
                    .await
                })
            })
            .await
    }
}

/// The family that a reference means, locked. A stem finds it even when all of it is in trash.
async fn lock(txn: &Txn, caller: &Caller, reference: &ArtifactRef, storage_id: i64) -> Result<Family> {
    let family = match reference {
        ArtifactRef::Uid(uid) => families::lock_by_stem(txn, uid.stem()).await?,
        ArtifactRef::Stem(stem) | ArtifactRef::StemVersion { stem, .. } => families::lock_by_stem(txn, *stem).await?,
        ArtifactRef::Key { key, .. } => families::lock_by_key(txn, storage_id, key.as_str()).await?,
    };
    let family = family.filter(|family| caller.may_read(family.space_id));
    family.ok_or_else(|| RegistryError::NotFound(reference.to_string()))
}

/// A locked family with all its versions, highest number first.
struct Target<'c> {
    txn: &'c Txn,
    caller: &'c Caller,
    batch: Batch,
    family: Family,
    /// As they were.
    before: Vec<ArtifactRow>,
    /// As they will be.
    versions: Vec<ArtifactRow>,
    /// Id of the version to which the alias in the reference points.
    alias: Option<i64>,
}

impl Target<'_> {
    async fn delete(mut self, deletion: &Deletion, plan: Option<&Plan>) -> Result<(Run, Batch)> {
        let named = named(&deletion.reference, &self.versions, self.alias)?;
        require_one_etag(&deletion.reference, &named, deletion.etag.as_deref())?;
        match deletion.mode {
            DeleteMode::Trash => {
                let live = ids(named.iter().filter(|row| !row.in_trash()));
                if live.is_empty() {
                    return Ok((Run::of(last_trashed(&named)), self.batch));
                }
                self.trash(&live).await?;
                Ok((Run::of(self.settled(&live)), self.batch))
            }
            DeleteMode::Destroy { force, bytes, if_used } => {
                let doomed = doomed(&deletion.reference, named, force)?;
                if bytes == KeepBytes::NotInPlace && doomed.iter().any(|row| !row.key_is_virtual) {
                    let plan = plan.ok_or_else(|| RegistryError::ChangedInPlace(deletion.reference.to_string()))?;
                    plan.commit(self.txn, &doomed).await?;
                }
                let destroyed_uids = doomed.iter().map(|row| row.uid.clone()).collect();
                for row in &doomed {
                    let_go(self.txn, row, if_used).await?;
                }
                self.destroy(&doomed, bytes).await?;
                let rows = Vec::new();
                Ok((Run { rows, destroyed_uids }, self.batch))
            }
        }
    }

    async fn trash(&mut self, live: &BTreeSet<i64>) -> Result<()> {
        let (batch_name, now) = (draw_uid(), now_us());
        for row in self.versions.iter_mut().filter(|row| live.contains(&row.id)) {
            row.visibility_before_trash = Some(row.visibility);
            row.visibility = Visibility::Trash.code();
            row.trash_batch = Some(batch_name.to_string());
            row.trashed_at_us = Some(now);
            row.touch(now);
            events::record(&mut self.batch, self.caller, "trashed", &row.uid, events::nothing());
        }
        self.settle(IfKeyTaken::GoWithout).await
    }

    /// Writes the versions as they will be, with the latest one among them.
    async fn settle(&mut self, if_taken: IfKeyTaken) -> Result<()> {
        versions::settle_latest(self.txn, &mut self.batch, &self.family, &mut self.versions, if_taken).await?;
        let after = self.versions.iter();
        let changes: Vec<_> = after
            .filter_map(|after| {
                let before = self.before.iter().find(|before| before.id == after.id)?;
                artifacts::change(before, after).map(|update| (after.is_latest, update))
            })
            .collect();
        // The mark of the latest is taken before it is given: only one may have it at any time.
        let (latest, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(is_latest, _)| *is_latest);
        for (_, update) in others.iter().chain(&latest) {
            self.batch.push(update);
        }
        Ok(())
    }

    /// Some of the versions as they are once settled.
    fn settled(&self, ids: &BTreeSet<i64>) -> Vec<ArtifactRow> {
        self.versions
            .iter()
            .filter(|row| ids.contains(&row.id))
            .cloned()
            .collect()
    }

    async fn destroy(&mut self, doomed: &[ArtifactRow], bytes: KeepBytes) -> Result<()> {
        let now = now_us();
        let gone = ids(doomed.iter());
        for alias in aliases::of_versions(self.txn, self.family.id, gone.iter().copied()).await? {
            self.batch.push(&aliases::delete(self.family.id, &alias.name));
            let moved = (Some(alias.uid.as_str()), None);
            super::aliases::record(&mut self.batch, self.caller, &self.family, &alias.name, moved, now);
        }
        self.versions.retain(|row| !gone.contains(&row.id));
        for row in doomed {
            self.batch.push(&artifacts::delete(row.id));
            let detail = json!({ "id": row.id, "hash": row.digest()?.to_string(), "size": row.size_bytes, "kept": bytes == KeepBytes::Yes, "files": bytes == KeepBytes::NotInPlace && !row.key_is_virtual });
            events::record(&mut self.batch, self.caller, "destroyed", &row.uid, detail);
            if let Some(manifest_id) = row.manifest_id {
                // It may be large, so it is taken apart afterwards.
                manifests::discard(self.txn, manifest_id, bytes == KeepBytes::Yes, now).await?;
            }
            let (Some(blob_id), Some(object_id)) = (row.blob_id, row.object_id) else {
                continue;
            };
            if bytes == KeepBytes::Yes {
                self.batch.push(&blobs::keep(blob_id));
            } else {
                self.batch.push(&blobs::delete_if_unused(blob_id));
                self.batch.push(&blobs::discard_object_if_unused(object_id, now));
            }
        }
        self.settle(IfKeyTaken::GoWithout).await
    }

    async fn restore(mut self, restoration: &Restoration) -> Result<(Run, Batch)> {
        let named = named(&restoration.reference, &self.versions, self.alias)?;
        require_one_etag(&restoration.reference, &named, restoration.etag.as_deref())?;
        let trashed = match restoration.reference {
            ArtifactRef::Uid(_) => ids(named.iter().filter(|row| row.in_trash())),
            _ => ids(last_trashed(&named).iter()),
        };
        if trashed.is_empty() {
            let latest = named.into_iter().filter(|row| !row.in_trash()).take(1).collect();
            return Ok((Run::of(latest), self.batch));
        }
        let now = now_us();
        for row in self.versions.iter_mut().filter(|row| trashed.contains(&row.id)) {
            row.visibility = row.visibility_before_trash.take().unwrap_or(Visibility::Default.code());
            (row.trash_batch, row.trashed_at_us) = (None, None);
            if let Some(key) = &restoration.key {
                require_same_suffix(row, key)?;
                row.key = Some(key.to_string());
            }
            row.touch(now);
            events::record(&mut self.batch, self.caller, "restored", &row.uid, events::nothing());
        }
        // The key under which the family will be found must not be another's by now.
        self.settle(IfKeyTaken::Refuse).await?;
        Ok((Run::of(self.settled(&trashed)), self.batch))
    }
}

impl Run {
    /// A transaction that left these records.
    fn of(rows: Vec<ArtifactRow>) -> Self {
        let destroyed_uids = Vec::new();
        Self { rows, destroyed_uids }
    }
}

/// Makes sure that nothing uses an artifact which is about to be destroyed.
async fn let_go(txn: &Txn, row: &ArtifactRow, if_used: IfUsed) -> Result<()> {
    let by = match runs::uses_artifact(txn, row.id).await? {
        true => Some("runs"),
        false => collections::pins(txn, row.id).await?.then_some("collections"),
    };
    let Some(by) = by else { return Ok(()) };
    if if_used == IfUsed::Refuse {
        let (what, name) = (Thing::Artifact, row.uid.clone());
        return Err(RegistryError::InUse { what, name, by });
    }
    runs::forget_artifact(txn, row.id).await?;
    Ok(collections::forget_artifact(txn, row.id, &row.uid).await?)
}

fn ids<'r>(rows: impl Iterator<Item = &'r ArtifactRow>) -> BTreeSet<i64> {
    rows.map(|row| row.id).collect()
}

/// What the most recent deletion trashed.
fn last_trashed(rows: &[ArtifactRow]) -> Vec<ArtifactRow> {
    let last = rows
        .iter()
        .filter(|row| row.in_trash())
        .max_by_key(|row| row.trashed_at_us);
    let Some(batch) = last.map(|row| &row.trash_batch) else {
        return Vec::new();
    };
    rows.iter()
        .filter(|row| row.in_trash() && row.trash_batch == *batch)
        .cloned()
        .collect()
}

/// An etag belongs to one record, so it goes with a uid only.
fn require_one_etag(reference: &ArtifactRef, named: &[ArtifactRow], etag: Option<&str>) -> Result<()> {
    match (reference, named, etag) {
        (_, _, None) => Ok(()),
        (ArtifactRef::Uid(_), [one], etag) => require_etag(one, etag),
        _ => Err(RegistryError::other("etag", "only goes with an artifact named by uid")),
    }
}

fn require_same_suffix(row: &ArtifactRow, key: &Key) -> Result<()> {
    let suffix = key.suffix();
    if suffix.as_str() == row.suffix {
        return Ok(());
    }
    Err(RegistryError::field(
        "key",
        Rule::Suffix(suffix.to_string(), row.suffix.clone()),
    ))
}
