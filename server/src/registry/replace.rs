//! Replacing the content of an artifact, which keeps its uid and version.

use std::sync::Arc;

use artifactd_domain::{ArtifactRef, FileName, HashType, Key, MediaType, Sha256, Suffix};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Artifact, Caller, Content, Registry, RegistryError, Result,
    content::{Declared, Stored},
    events, feature_sets,
    idempotency::{Repeatable, RequestKey},
    lineage::{note_update, open_run},
    looking::Facts,
    now_us,
    placing::{integer, place_object},
    save::commit::moved_away,
    schemas, versions,
};
use crate::{
    db::{
        Batch, DbError, Txn,
        artifacts::{self, ArtifactRow},
        blobs,
        entities::artifacts::Column,
        families, tables,
    },
    fault,
};

/// What to replace, and by what.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
    /// The artifact.
    pub reference: ArtifactRef,
    /// Etag that the record must have.
    pub etag: Option<String>,
    /// Name of the new file.
    pub file_name: Option<FileName>,
    /// Media type; guessed from the suffix when unset.
    pub media_type: Option<MediaType>,
    /// What the sender says of the content.
    pub declared: Declared,
}

/// What became of a replacement.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The artifact.
    pub artifact: Artifact,
    /// False when the bytes were the same.
    pub changed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    row: ArtifactRow,
    changed: bool,
}

impl Registry {
    /// Replaces the content of one artifact outside trash.
    pub async fn replace(self: &Arc<Self>, caller: &Caller, by: Replacement, content: Content) -> Result<Replaced> {
        self.check_declared_size(by.declared)?;
        let repeatable = Repeatable::new(by.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(finished) = repeatable.finished::<Answer>(self.db.reader(), caller).await?
        {
            if by.declared.sha256.is_none() && Some(self.drain(content, by.declared).await?.sha256) != finished.content
            {
                return Err(repeatable.reused());
            }
            return self.replaced(finished.answer);
        }
        let row = self.find(self.db.reader(), caller, &by.reference, true).await?;
        require_replaceable(&row, by.etag.as_deref())?;
        let storage = self.places.storage_by_id(row.storage_id)?.clone();
        let suffix = by.suffix(&row);
        let whole = content.whole();
        let stored = self.store(&storage, &suffix, content, by.declared).await?;
        let found = self.look(&storage, &suffix, &stored, whole.as_ref()).await;
        fault::point("replace.content_durable");
        let name = stored.object.name.clone();
        let commit = Commit {
            caller: caller.clone(),
            uid: row.uid()?,
            storage_id: storage.id,
            by,
            suffix,
            stored,
            found,
            repeatable,
        };
        let done = self.db.write(move |txn| {
            let commit = commit.clone();
            Box::pin(async move { commit.run(txn).await })
        });
        let done = done.await;
        if !matches!(&done, Ok(Run { object_used: true, .. }) | Err(RegistryError::Db(_))) {
            self.discard(storage.id, name);
        }
        fault::point("replace.before_answer");
        self.replaced(done?.answer)
    }

    fn replaced(&self, Answer { row, changed }: Answer) -> Result<Replaced> {
        let artifact = self.to_artifact(row)?;
        Ok(Replaced { artifact, changed })
    }
}

/// Fails for what lies in place, where the server changes nothing.
pub(super) fn require_virtual(row: &ArtifactRow, why: &str) -> Result<()> {
    match row.key_is_virtual {
        true => Ok(()),
        false => Err(RegistryError::RealKeyUnsupported {
            key: row.key.clone().unwrap_or_default(),
            why: why.to_owned(),
        }),
    }
}

fn require_replaceable(row: &ArtifactRow, etag: Option<&str>) -> Result<()> {
    require_virtual(row, "its file is changed where it lies, and registered again")?;
    if row.in_trash() {
        return Err(RegistryError::InTrash(row.uid.clone()));
    }
    row.require_file()?;
    require_etag(row, etag)
}

/// Fails when a record has another etag than the caller saw.
pub(super) fn require_etag(row: &ArtifactRow, etag: Option<&str>) -> Result<()> {
    let actual = row.etag()?;
    match etag {
        Some(etag) if etag != actual => Err(RegistryError::EtagMismatch {
            uid: row.uid()?,
            actual,
        }),
        _ => Ok(()),
    }
}

impl Replacement {
    pub(super) fn suffix(&self, row: &ArtifactRow) -> Suffix {
        self.file_name
            .as_ref()
            .map_or_else(|| Suffix::of_name(&format!("x{}", row.suffix)), FileName::suffix)
    }
}

#[derive(Debug, Clone)]
struct Commit {
    caller: Caller,
    uid: artifactd_domain::Uid,
    /// Where the new content lies.
    storage_id: i64,
    by: Replacement,
    suffix: Suffix,
    stored: Stored,
    found: Facts,
    repeatable: Option<Repeatable>,
}

/// What a transaction did.
struct Run {
    answer: Answer,
    /// Whether the stored object became the place of the content.
    object_used: bool,
}

impl Commit {
    async fn run(&self, txn: &Txn) -> Result<Run> {
        if let Some(repeatable) = &self.repeatable
            && let Some(finished) = repeatable.finished::<Answer>(txn, &self.caller).await?
        {
            let same = finished.content == Some(self.stored.digest.sha256);
            return if same {
                let object_used = false;
                Ok(Run {
                    answer: finished.answer,
                    object_used,
                })
            } else {
                Err(repeatable.reused())
            };
        }
        let family = families::lock_by_stem(txn, self.uid.stem()).await?;
        let row = artifacts::by_uid(txn, &self.uid).await?;
        let (Some(family), Some(row)) = (family, row) else {
            return Err(RegistryError::NotFound(self.uid.to_string()));
        };
        require_replaceable(&row, self.by.etag.as_deref())?;
        if row.storage_id != self.storage_id {
            return Err(moved_away());
        }
        let run = open_run(txn, &self.caller).await?;
        let mut batch = Batch::new(txn);
        let size_bytes = integer(self.stored.digest.size_bytes)?;
        let sha256 = self.stored.digest.sha256;
        let blob = blobs::find(txn, row.storage_id, &sha256, size_bytes).await?;
        let damaged = blob.as_ref().filter(|blob| blob.damaged_since_us.is_some());
        let object_used = blob.is_none() || damaged.is_some();
        if object_used {
            place_object(&mut batch, row.storage_id, &self.stored, damaged, size_bytes);
        }
        let same_suffix = self.suffix.as_str() == row.suffix;
        let changed = !row.has_content((HashType::Sha256, &sha256, size_bytes)) || !same_suffix;
        if changed {
            let key = self.new_key(txn, &row, same_suffix).await?;
            self.change(&mut batch, &row, key.as_deref(), size_bytes);
            if row.is_latest && !same_suffix {
                batch.push(&families::set_live_key(family.id, key));
            }
            if let (Some(blob_id), Some(object_id)) = (row.blob_id, row.object_id) {
                batch.push(&blobs::delete_if_unused(blob_id));
                batch.push(&blobs::discard_object_if_unused(object_id, now_us()));
            }
        }
        let mut row = artifacts::run_then_read(batch, txn, &self.uid).await?;
        if changed {
            schemas::require_of_artifact(txn, row.id, &self.found).await?;
            feature_sets::derive_anew(txn, &self.caller, &self.found, row.id).await?;
            note_update(txn, run.as_ref(), &mut row).await?;
        }
        let answer = Answer { row, changed };
        if let Some(repeatable) = &self.repeatable {
            let mut batch = Batch::new(txn);
            repeatable.remember(&mut batch, &self.caller, &answer, Some(sha256));
            batch.run(txn).await?;
        }
        fault::point("replace.in_transaction");
        Ok(Run { answer, object_used })
    }

    /// The key with the suffix of the new content; it must be free.
    async fn new_key(&self, txn: &Txn, row: &ArtifactRow, same: bool) -> Result<Option<String>> {
        let (Some(key), false) = (&row.key, same) else {
            return Ok(row.key.clone());
        };
        let impossible = |_| DbError::Row {
            table: "artifacts",
            column: "key",
        };
        let key: Key = key.parse().map_err(impossible)?;
        let key = key
            .with_suffix(&self.suffix)
            .map_err(|error| RegistryError::field("header.file_name", error))?;
        if row.is_latest {
            versions::require_key(txn, row.storage_id, &key, Some(row.family_id)).await?;
        }
        Ok(Some(key.to_string()))
    }

    fn change(&self, batch: &mut Batch, row: &ArtifactRow, key: Option<&str>, size_bytes: i64) {
        let sha256 = self.stored.digest.sha256;
        let media_type = self
            .by
            .media_type
            .as_ref()
            .map_or(self.suffix.media_type(), MediaType::as_str);
        let file_name = self
            .by
            .file_name
            .as_ref()
            .map(FileName::to_string)
            .or_else(|| row.file_name.clone());
        let mut update = artifacts::update(row.id);
        update
            .value(Column::Key, key)
            .value(Column::Suffix, self.suffix.as_str())
            .value(Column::FileName, file_name)
            .value(Column::MediaType, media_type)
            .value(Column::SizeBytes, size_bytes)
            .value(Column::Sha256, sha256.as_bytes().to_vec())
            .value(Column::Accessor, self.found.accessor_code())
            .value(Column::NObservations, self.found.n_observations())
            .value(Column::BlobId, blobs::blob_id_of(row.storage_id, &sha256, size_bytes));
        batch.push(artifacts::touch(&mut update, now_us()));
        batch.push(&tables::delete(row.id));
        self.found.write(batch, row.id);
        let old = row.digest().map(|old: Sha256| old.to_string()).unwrap_or_default();
        let detail =
            json!({ "old_hash": old, "old_size": row.size_bytes, "hash": sha256.to_string(), "size": size_bytes });
        events::record(batch, &self.caller, "content_replaced", &row.uid, detail);
    }
}
