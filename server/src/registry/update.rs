//! Changing fields of one record.

use artifactd_domain::{ArtifactRef, Description, Key, Kind, MediaType, Suffix, Visibility};
use serde_json::json;

use super::{
    Artifact, Caller, Registry, RegistryError, Result,
    error::Rule,
    events,
    idempotency::{Repeatable, RequestKey, once},
    lineage::{note_update, open_run},
    now_us,
    replace::{require_etag, require_virtual},
    versions,
};
use crate::{
    db::{
        Batch, Txn,
        artifacts::{self, ArtifactRow},
        entities::artifacts::Column,
        families,
    },
    fault,
};

/// What to change in one record.
#[derive(Debug, Clone)]
pub struct Update {
    /// The artifact.
    pub reference: ArtifactRef,
    /// New values of some fields.
    pub fields: Vec<Field>,
    /// Etag that the record must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// The new value of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Another name in the storage.
    Key(Key),
    /// Another text, or none.
    Description(Option<Description>),
    /// Another kind.
    Kind(Kind),
    /// Another media type; that of the suffix when unset.
    MediaType(Option<MediaType>),
    /// Shown or hidden.
    Visibility(Visibility),
}

impl Registry {
    /// Changes fields of one artifact outside trash.
    pub async fn update(&self, caller: &Caller, update: Update) -> Result<Artifact> {
        let repeatable = Repeatable::new(update.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(finished) = repeatable.finished::<ArtifactRow>(self.db.reader(), caller).await?
        {
            return self.to_artifact(finished.answer);
        }
        let uid = self
            .find(self.db.reader(), caller, &update.reference, true)
            .await?
            .uid()?;
        let commit = Commit {
            caller: caller.clone(),
            uid,
            update,
            repeatable,
        };
        let done = self.db.write(move |txn| {
            let commit = commit.clone();
            Box::pin(async move { commit.run(txn).await })
        });
        self.to_artifact(done.await?)
    }
}

/// Why the key of a file in place does not change.
const KEY_OF_PLACE: &str = "its key says where it lies; MoveArtifact takes it to a storage where a key is only a name";

#[derive(Debug, Clone)]
struct Commit {
    caller: Caller,
    uid: artifactd_domain::Uid,
    update: Update,
    repeatable: Option<Repeatable>,
}

impl Commit {
    /// Answers the record as it is then.
    async fn run(&self, txn: &Txn) -> Result<ArtifactRow> {
        once(self.repeatable.as_ref(), txn, &self.caller, self.change(txn)).await
    }

    async fn change(&self, txn: &Txn) -> Result<ArtifactRow> {
        let family = families::lock_by_stem(txn, self.uid.stem()).await?;
        let row = artifacts::by_uid(txn, &self.uid).await?;
        let (Some(family), Some(row)) = (family, row) else {
            return Err(RegistryError::NotFound(self.uid.to_string()));
        };
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        require_etag(&row, self.update.etag.as_deref())?;
        let run = open_run(txn, &self.caller).await?;
        let mut batch = Batch::new(txn);
        let mut update = artifacts::update(row.id);
        let mut changed = Vec::new();
        for field in &self.update.fields {
            match field {
                Field::Key(key) if row.key.as_deref() != Some(key.as_str()) => {
                    require_virtual(&row, KEY_OF_PLACE)?;
                    require_suffix(&row, key)?;
                    if row.is_latest {
                        versions::require_key(txn, row.storage_id, key, Some(family.id)).await?;
                        let is_folder = row.manifest_id.is_some();
                        versions::require_no_overlap(txn, row.storage_id, key.as_str(), is_folder).await?;
                        batch.push(&families::set_live_key(family.id, Some(key.to_string())));
                    }
                    update.value(Column::Key, key.as_str());
                    changed.push("key");
                }
                Field::Description(text) if row.description.as_deref() != text.as_ref().map(Description::as_str) => {
                    require_name(&row, text.as_ref(), &self.update.fields)?;
                    update.value(Column::Description, text.as_ref().map(|text| text.as_str().to_owned()));
                    changed.push("description");
                }
                Field::Kind(kind) if row.kind != kind.code() => {
                    update.value(Column::Kind, kind.code());
                    changed.push("kind");
                }
                Field::MediaType(media_type) => {
                    let guessed = Suffix::of_name(&format!("x{}", row.suffix)).media_type();
                    let media_type = media_type.as_ref().map_or(guessed, MediaType::as_str);
                    if row.media_type != media_type {
                        update.value(Column::MediaType, media_type);
                        changed.push("media_type");
                    }
                }
                Field::Visibility(visibility) if row.visibility != visibility.code() => {
                    update.value(Column::Visibility, visibility.code());
                    changed.push("visibility");
                }
                _ => {}
            }
        }
        if !changed.is_empty() {
            batch.push(artifacts::touch(&mut update, now_us()));
            events::record(
                &mut batch,
                &self.caller,
                "updated",
                &row.uid,
                json!({ "fields": changed }),
            );
        }
        let mut row = artifacts::run_then_read(batch, txn, &self.uid).await?;
        if !changed.is_empty() {
            note_update(txn, run.as_ref(), &mut row).await?;
        }
        if let Some(repeatable) = &self.repeatable {
            let mut batch = Batch::new(txn);
            repeatable.remember(&mut batch, &self.caller, &row, None);
            batch.run(txn).await?;
        }
        fault::point("update.in_transaction");
        Ok(row)
    }
}

/// A key that is only a name may change, but not what it says of the format.
fn require_suffix(row: &ArtifactRow, key: &Key) -> Result<()> {
    let suffix = key.suffix();
    if suffix.as_str() == row.suffix {
        return Ok(());
    }
    Err(RegistryError::field(
        "update.key",
        Rule::Suffix(suffix.to_string(), row.suffix.clone()),
    ))
}

/// An artifact without a key is found by its description.
fn require_name(row: &ArtifactRow, description: Option<&Description>, fields: &[Field]) -> Result<()> {
    let keyed = row.key.is_some() || fields.iter().any(|field| matches!(field, Field::Key(_)));
    if description.is_some() || keyed {
        return Ok(());
    }
    Err(RegistryError::field("update.description", Rule::NameRequired))
}
