//! Deleting and restoring.
//!
//! Deleting moves to trash; destroying is a step of its own that says so. Bytes
//! that nothing references become garbage, which is collected after a grace.

use std::collections::BTreeSet;

use artifactd_domain::{ArtifactRef, Key, RequestId, Uid, VersionName, Visibility};
use sea_orm::sea_query::Expr;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Artifact, Caller, Registry, RegistryError, Result, draw_uid, error::Rule, events, idempotency::Repeatable, now_us,
    replace::require_etag, versions,
};
use crate::{
    db::{
        Batch, DbError, Txn,
        artifacts::{self, ArtifactRow},
        blobs,
        entities::{artifacts::Column, families::Model as Family},
        families,
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
    pub request_id: Option<RequestId>,
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
    },
}

/// What becomes of bytes that nothing references any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepBytes {
    /// They go, after a grace.
    No,
    /// They stay, and can be claimed by digest.
    Yes,
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
    pub request_id: Option<RequestId>,
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
    pub async fn delete(&self, caller: &Caller, deletion: Deletion) -> Result<Deleted> {
        let repeatable = Repeatable::new(
            deletion.request_id.clone(),
            "DeleteArtifact",
            &(caller.space_id, &deletion),
        );
        let run = self.change(caller, deletion.reference.clone(), repeatable, move |target| {
            let deletion = deletion.clone();
            Box::pin(async move { target.delete(&deletion).await })
        });
        let Run { rows, destroyed_uids } = run.await?;
        Ok(Deleted {
            trashed: self.to_artifacts(rows)?,
            destroyed_uids,
        })
    }

    /// Takes artifacts out of trash.
    pub async fn restore(&self, caller: &Caller, restoration: Restoration) -> Result<Vec<Artifact>> {
        if matches!(restoration.reference, ArtifactRef::Key { .. }) {
            return Err(RegistryError::other("artifact", "must be a uid or a stem"));
        }
        let asks = (caller.space_id, &restoration);
        let repeatable = Repeatable::new(restoration.request_id.clone(), "RestoreArtifact", &asks);
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
        F: for<'c> Fn(Target<'c>) -> crate::db::Writing<'c, Run, RegistryError> + Clone + Send + Sync + 'static,
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
                    if let Some(repeatable) = &repeatable
                        && let Some(finished) = repeatable.finished::<Run>(txn, &caller).await?
                    {
                        return Ok(finished.answer);
                    }
                    let mut batch = Batch::new(txn);
                    let family = lock(txn, &caller, &reference, storage_id).await?;
                    let versions = artifacts::versions(txn, family.id).await?;
                    let target = Target {
                        txn,
                        caller: &caller,
                        batch: &mut batch,
                        family,
                        versions,
                    };
                    let run = change(target).await?;
                    batch.run(txn).await?;
                    fault::point("delete.in_transaction");
                    let uids: Vec<Uid> = run.rows.iter().map(ArtifactRow::uid).collect::<Result<_>>()?;
                    let run = Run {
                        rows: in_order(artifacts::by_uids(txn, &uids).await?),
                        ..run
                    };
                    if let Some(repeatable) = &repeatable {
                        let mut answer = Batch::new(txn);
                        repeatable.remember(&mut answer, &caller, &run, None);
                        answer.run(txn).await?;
                    }
                    Ok(run)
                })
            })
            .await
    }
}

fn in_order(mut rows: Vec<ArtifactRow>) -> Vec<ArtifactRow> {
    rows.sort_by_key(|row| std::cmp::Reverse(row.version_number));
    rows
}

/// The family that a reference means, locked. A stem finds it even when all of it is in trash.
async fn lock(txn: &Txn, caller: &Caller, reference: &ArtifactRef, storage_id: i64) -> Result<Family> {
    let family = match reference {
        ArtifactRef::Uid(uid) => families::lock_by_stem(txn, uid.stem()).await?,
        ArtifactRef::Stem(stem) => families::lock_by_stem(txn, *stem).await?,
        ArtifactRef::Key { key, .. } => families::lock_by_key(txn, storage_id, key.as_str()).await?,
    };
    let family = family.filter(|family| caller.may_read(family.space_id));
    family.ok_or_else(|| RegistryError::NotFound(reference.to_string()))
}

/// A locked family with all its versions, highest number first.
struct Target<'c> {
    txn: &'c Txn,
    caller: &'c Caller,
    batch: &'c mut Batch,
    family: Family,
    versions: Vec<ArtifactRow>,
}

impl Target<'_> {
    /// The versions that a reference names.
    fn named(&self, reference: &ArtifactRef) -> Result<Vec<ArtifactRow>> {
        let named: Vec<_> = match reference {
            ArtifactRef::Uid(uid) => self
                .versions
                .iter()
                .filter(|row| row.uid == uid.as_str())
                .cloned()
                .collect(),
            ArtifactRef::Key {
                version: VersionName::Label(label),
                ..
            } => {
                let live = self.versions.iter().filter(|row| !row.in_trash());
                live.filter(|row| row.version_label == label.as_str())
                    .cloned()
                    .collect()
            }
            ArtifactRef::Stem(_) | ArtifactRef::Key { .. } => self.versions.clone(),
        };
        if named.is_empty() {
            Err(RegistryError::NotFound(reference.to_string()))
        } else {
            Ok(named)
        }
    }

    async fn delete(mut self, deletion: &Deletion) -> Result<Run> {
        let named = self.named(&deletion.reference)?;
        require_one_etag(&deletion.reference, &named, deletion.etag.as_deref())?;
        match deletion.mode {
            DeleteMode::Trash => {
                let live: Vec<_> = named.iter().filter(|row| !row.in_trash()).cloned().collect();
                if live.is_empty() {
                    return Ok(Run {
                        rows: last_trashed(&named),
                        destroyed_uids: Vec::new(),
                    });
                }
                self.trash(&live).await?;
                Ok(Run {
                    rows: live,
                    destroyed_uids: Vec::new(),
                })
            }
            DeleteMode::Destroy { force, bytes } => {
                // By key only what the key shows goes: an older trashed version is out of reach.
                let by_key = matches!(deletion.reference, ArtifactRef::Key { .. });
                let doomed: Vec<_> = named.into_iter().filter(|row| !by_key || !row.in_trash()).collect();
                if let Some(live) = doomed.iter().find(|row| !row.in_trash() && !force) {
                    return Err(RegistryError::NotInTrash(live.uid()?));
                }
                let destroyed_uids = doomed.iter().map(|row| row.uid.clone()).collect();
                self.destroy(&doomed, bytes).await?;
                Ok(Run {
                    rows: Vec::new(),
                    destroyed_uids,
                })
            }
        }
    }

    async fn trash(&mut self, live: &[ArtifactRow]) -> Result<()> {
        let (batch_name, now) = (draw_uid(), now_us());
        for row in live {
            let mut update = artifacts::update(row.id);
            update
                .value(Column::VisibilityBeforeTrash, row.visibility)
                .value(Column::Visibility, Visibility::Trash.code())
                .value(Column::TrashBatch, batch_name.as_str())
                .value(Column::TrashedAtUs, now)
                .value(Column::IsLatest, false);
            self.batch.push(artifacts::touch(&mut update, now));
            events::record(self.batch, self.caller, "trashed", &row.uid, events::nothing());
        }
        let gone: BTreeSet<i64> = live.iter().map(|row| row.id).collect();
        for row in self.versions.iter_mut().filter(|row| gone.contains(&row.id)) {
            row.visibility = Visibility::Trash.code();
        }
        versions::settle_latest(self.txn, self.batch, &self.family, &self.versions).await
    }

    async fn destroy(&mut self, doomed: &[ArtifactRow], bytes: KeepBytes) -> Result<()> {
        let now = now_us();
        let gone: BTreeSet<i64> = doomed.iter().map(|row| row.id).collect();
        self.versions.retain(|row| !gone.contains(&row.id));
        for row in doomed {
            self.batch.push(&artifacts::delete(row.id));
            let detail =
                json!({ "hash": row.digest()?.to_string(), "size": row.size_bytes, "kept": bytes == KeepBytes::Yes });
            events::record(self.batch, self.caller, "destroyed", &row.uid, detail);
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
        versions::settle_latest(self.txn, self.batch, &self.family, &self.versions).await
    }

    async fn restore(mut self, restoration: &Restoration) -> Result<Run> {
        let named = self.named(&restoration.reference)?;
        require_one_etag(&restoration.reference, &named, restoration.etag.as_deref())?;
        let trashed = match restoration.reference {
            ArtifactRef::Uid(_) => named.iter().filter(|row| row.in_trash()).cloned().collect(),
            _ => last_trashed(&named),
        };
        if trashed.is_empty() {
            let latest = named.into_iter().filter(|row| !row.in_trash()).take(1).collect();
            return Ok(Run {
                rows: latest,
                destroyed_uids: Vec::new(),
            });
        }
        let now = now_us();
        for row in &trashed {
            let mut update = artifacts::update(row.id);
            update
                .value(
                    Column::Visibility,
                    row.visibility_before_trash.unwrap_or(Visibility::Default.code()),
                )
                .value(Column::VisibilityBeforeTrash, Expr::val(None::<i16>))
                .value(Column::TrashBatch, Expr::val(None::<String>))
                .value(Column::TrashedAtUs, Expr::val(None::<i64>));
            if let Some(key) = &restoration.key {
                require_same_suffix(row, key)?;
                update.value(Column::Key, key.as_str());
            }
            self.batch.push(artifacts::touch(&mut update, now));
            events::record(self.batch, self.caller, "restored", &row.uid, events::nothing());
        }
        self.apply_restored(&trashed, restoration.key.as_ref());
        self.require_head_key().await?;
        versions::settle_latest(self.txn, self.batch, &self.family, &self.versions).await?;
        Ok(Run {
            rows: trashed,
            destroyed_uids: Vec::new(),
        })
    }

    fn apply_restored(&mut self, trashed: &[ArtifactRow], key: Option<&Key>) {
        let back: BTreeSet<i64> = trashed.iter().map(|row| row.id).collect();
        for row in self.versions.iter_mut().filter(|row| back.contains(&row.id)) {
            row.visibility = row.visibility_before_trash.unwrap_or(Visibility::Default.code());
            if let Some(key) = key {
                row.key = Some(key.to_string());
            }
        }
    }

    /// The key under which the family will be found must not be another's by now.
    async fn require_head_key(&self) -> Result<()> {
        let head = self.versions.iter().find(|row| !row.in_trash());
        let Some(key) = head.and_then(|head| head.key.as_deref()) else {
            return Ok(());
        };
        let key: Key = key.parse().map_err(|_| DbError::Row {
            table: "artifacts",
            column: "key",
        })?;
        versions::require_key(self.txn, self.family.storage_id, &key, Some(self.family.id)).await
    }
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
