//! The transaction of a move: all versions name what the other storage has, or none does.

use std::collections::{BTreeMap, BTreeSet};

use artifactd_domain::{Key, Stem};
use serde_json::json;

use super::{Answer, Identity, impossible};
use crate::{
    db::{
        Batch, Txn,
        artifacts::{self, ArtifactRow},
        blobs, families, manifests,
    },
    fault,
    registry::{
        Caller, RegistryError, Result,
        content::Stored,
        events,
        folders::HeldPages,
        idempotency::Repeatable,
        now_us,
        placing::{integer, place_object},
        save::commit::moved_away,
        versions,
    },
};

/// What a transaction did.
pub(super) struct Run {
    pub(super) answer: Answer,
    /// The files that became places of contents.
    pub(super) used: BTreeSet<Identity>,
}

/// A move whose contents are durable; the transaction may run more than once.
pub(super) struct Commit {
    pub(super) caller: Caller,
    pub(super) stem: Stem,
    /// Its id and its name.
    pub(super) target: (i64, String),
    pub(super) files: BTreeMap<Identity, Stored>,
    pub(super) folders: HeldPages,
    /// Bytes that the pages of folders cost.
    pub(super) copied_in_folders: u64,
    pub(super) repeatable: Option<Repeatable>,
}

impl Commit {
    pub(super) async fn run(&self, txn: &Txn) -> Result<Run> {
        if let Some(repeatable) = &self.repeatable
            && let Some(finished) = repeatable.finished::<Answer>(txn, &self.caller).await?
        {
            let (answer, used) = (finished.answer, BTreeSet::new());
            return Ok(Run { answer, used });
        }
        let family = families::lock_by_stem(txn, self.stem).await?;
        let family = family.filter(|family| self.caller.may_read(family.space_id));
        let family = family.ok_or_else(|| RegistryError::NotFound(self.stem.to_string()))?;
        let (mut used, mut copied_bytes) = (BTreeSet::new(), 0);
        let before = artifacts::versions(txn, family.id).await?;
        if family.storage_id != self.target.0 {
            if let Some(key) = &family.live_key {
                let key: Key = key.parse().map_err(|_| impossible("families", "live_key"))?;
                let is_folder = before.iter().any(|row| row.is_latest && row.manifest_id.is_some());
                versions::require_key(txn, self.target.0, &key, Some(family.id)).await?;
                versions::require_no_overlap(txn, self.target.0, key.as_str(), is_folder).await?;
            }
            let folders = self.place(txn, &before, &mut used).await?;
            artifacts::move_family(txn, family.id, self.target.0, &folders, now_us()).await?;
            self.tell(txn, &before).await?;
            let files = self.files.iter().filter(|(identity, _)| used.contains(identity));
            let files: u64 = files.map(|(_, stored)| stored.digest.size_bytes).sum();
            copied_bytes = files + self.copied_in_folders;
        }
        let after = artifacts::versions(txn, family.id).await?;
        let versions = after.len() as u64;
        let newest = after.into_iter().next();
        let answer = Answer {
            row: newest.ok_or_else(|| RegistryError::NotFound(self.stem.to_string()))?,
            versions,
            copied_bytes,
        };
        if let Some(repeatable) = &self.repeatable {
            let mut batch = Batch::new(txn);
            repeatable.remember(&mut batch, &self.caller, &answer, None);
            batch.run(txn).await?;
        }
        fault::point("move.in_transaction");
        Ok(Run { answer, used })
    }

    /// Makes sure that the storage holds what all versions hold; answers the manifests that
    /// folders have there, by the ids of their versions.
    async fn place(
        &self,
        txn: &Txn,
        versions: &[ArtifactRow],
        used: &mut BTreeSet<Identity>,
    ) -> Result<Vec<(i64, i64)>> {
        let (mut seen, mut folders) = (BTreeSet::new(), Vec::new());
        let mut batch = Batch::new(txn);
        for row in versions {
            let identity = (row.digest()?, row.size_bytes);
            if row.manifest_id.is_some() {
                let manifest = self.folders.manifest(txn, self.target.0, row).await?;
                let manifest_id = manifest.ok_or(RegistryError::ContentNotHeld(identity.0))?;
                folders.push((row.id, manifest_id));
                continue;
            }
            if !seen.insert(identity) {
                continue;
            }
            let held = blobs::find(txn, self.target.0, &identity.0, identity.1).await?;
            match (held, self.files.get(&identity)) {
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
        // Pages that were let go before may be gone by now.
        if !self.folders.let_go(txn).await? {
            return Err(moved_away());
        }
        batch.run(txn).await?;
        Ok(folders)
    }

    /// Lets go of the old bytes, and writes down what was done.
    async fn tell(&self, txn: &Txn, before: &[ArtifactRow]) -> Result<()> {
        let mut batch = Batch::new(txn);
        for row in before {
            if let Some(manifest_id) = row.manifest_id {
                // It may be large, so it is taken apart afterwards.
                manifests::discard(txn, manifest_id, false, now_us()).await?;
            }
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
