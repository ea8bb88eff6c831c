//! The record that a save makes.

use artifactd_domain::{FileName, Key, MediaType, RunUid, SaveOutcome, Suffix};
use serde_json::json;

use super::{Answer, Commit, FOLDER_MEDIA_TYPE, Run};
use crate::{
    db::{
        self, Batch, Txn,
        artifacts::{self, ArtifactRow, NewRow},
        entities::{blobs::Model as Blob, families::Model as Family},
        runs::OpenRun,
    },
    fault,
    registry::{
        RegistryError, Result,
        error::Rule,
        events, feature_sets, now_us,
        placing::integer,
        versions::{self, NextVersion},
    },
};

impl Commit {
    pub(super) async fn create(
        &self,
        txn: &Txn,
        (family, head): (Option<Family>, Option<ArtifactRow>),
        (blob, size_bytes): (Option<Blob>, i64),
        (run, schema): (Option<OpenRun>, Option<i64>),
    ) -> Result<Run> {
        let now = now_us();
        let new = &*self.new;
        let mut batch = Batch::new(txn);
        let object_used = self.place_content(&mut batch, blob.as_ref(), size_bytes);
        let inherited_key = head.as_ref().and_then(|head| head.key.clone());
        let key = new.key.as_ref().map(Key::to_string).or(inherited_key);
        let is_known = |key: &String| family.as_ref().and_then(|family| family.live_key.as_ref()) == Some(key);
        if let Some(key) = &key
            && (self.folder().is_some() || !is_known(key))
        {
            versions::require_no_overlap(txn, self.storage_id, key, self.folder().is_some()).await?;
        }
        let (version, outcome) = match &family {
            None => {
                let place = (self.caller.space_id, self.storage_id);
                let (version, row) = versions::begin_family(self.stem, place, key.clone(), new.version.clone(), now)?;
                batch.insert(row);
                (version, SaveOutcome::Created)
            }
            Some(family) => {
                if let Some(key) = &new.key {
                    versions::require_key(txn, self.storage_id, key, Some(family.id)).await?;
                }
                let wish = new.version.clone();
                let live_key = key.clone();
                let version = versions::issue_version(txn, &mut batch, family, live_key, wish).await?;
                (version, SaveOutcome::NewVersion)
            }
        };
        let suffix = self.suffix_with(head.as_ref(), key.as_deref())?;
        let manifest = match self.folder() {
            None => None,
            Some(folder) => Some((folder.write(txn).await?, integer(folder.digest.n_objects)?)),
        };
        let row = NewRow {
            key,
            manifest,
            ..self.row((version, &suffix), head.as_ref(), size_bytes, run, now)
        };
        let object = self.object(txn, blob.as_ref()).await?;
        batch.run(txn).await?;
        let row = artifacts::insert(txn, row, object).await?;
        if !new.annotations.are_none() {
            new.annotations.write(txn, &self.caller, &row, head.as_ref()).await?;
        }
        feature_sets::derive(txn, &self.caller, &self.found, row.id).await?;
        if let Some(schema) = schema {
            db::schemas::link(txn, row.id, schema).await?;
        }
        let mut batch = Batch::new(txn);
        self.found.write(&mut batch, row.id);
        events::record(&mut batch, &self.caller, "saved", &row.uid, self.detail(outcome, &row));
        let answer = Answer {
            same_content_uids: match (&blob, self.folder()) {
                (Some(_), _) | (_, Some(_)) => self.same_content_uids(txn, &row).await?,
                (None, None) => Vec::new(),
            },
            outcome: outcome.as_str().to_owned(),
            not_applied: Vec::new(),
            row,
        };
        self.remember(&mut batch, &answer);
        batch.run(txn).await?;
        fault::point("save.in_transaction");
        let answer = Box::new(answer);
        Ok(Run::Done { answer, object_used })
    }

    /// The row of a version with this suffix, with the key of the save and without a manifest.
    pub(super) fn row(
        &self,
        (version, suffix): (NextVersion, &Suffix),
        head: Option<&ArtifactRow>,
        size_bytes: i64,
        run: Option<OpenRun>,
        now_us: i64,
    ) -> NewRow {
        let new = &*self.new;
        let description = new.description.as_ref().map(|text| text.as_str().to_owned());
        NewRow {
            uid: version.uid,
            space_id: self.caller.space_id,
            storage_id: self.storage_id,
            version_number: version.number,
            version_label: version.label,
            key: new.key.as_ref().map(Key::to_string),
            key_is_virtual: !new.in_place,
            description: description.or_else(|| head?.description.clone()),
            kind: new.kind.unwrap_or_default().code(),
            media_type: new
                .media_type
                .as_ref()
                .map_or(self.media_type(suffix), MediaType::as_str)
                .to_owned(),
            suffix: suffix.to_string(),
            file_name: new.file_name.as_ref().map(FileName::to_string),
            size_bytes,
            sha256: self.sha256(),
            hash_type: self.hash_type().code(),
            manifest: None,
            accessor: self.found.accessor_code(),
            n_observations: self.found.n_observations(),
            visibility: new.visibility.unwrap_or_default().code(),
            created_by: self.caller.principal.id,
            run: run.map(|run| (run.id, run.uid, run.transform_uid)),
            now_us,
        }
    }

    /// What the log says of the save.
    pub(super) fn detail(&self, outcome: SaveOutcome, row: &ArtifactRow) -> serde_json::Value {
        json!({
            "outcome": outcome.as_str(), "hash": self.sha256().to_string(), "size": row.size_bytes, "key": row.key,
            "version_number": row.version_number, "n_objects": row.n_objects,
            "run": self.caller.run.as_ref().map(RunUid::as_str),
        })
    }

    fn media_type(&self, suffix: &Suffix) -> &'static str {
        match self.folder() {
            Some(_) if suffix.as_str().is_empty() => FOLDER_MEDIA_TYPE,
            _ => suffix.media_type(),
        }
    }

    /// The suffix of the new record. A key that is inherited must fit the file.
    fn suffix_with(&self, head: Option<&ArtifactRow>, key: Option<&str>) -> Result<Suffix> {
        if self.new.key.is_some() || head.is_none() {
            return Ok(self.suffix.clone());
        }
        let Some(key) = key else {
            let inherited = head
                .map(|head| Suffix::of_name(&format!("x{}", head.suffix)))
                .unwrap_or_default();
            return Ok(if self.new.file_name.is_some() {
                self.suffix.clone()
            } else {
                inherited
            });
        };
        let of_key = Suffix::of_name(key.rsplit('/').next().unwrap_or(key));
        if self.new.file_name.is_some() && of_key != self.suffix {
            let rule = Rule::Suffix(self.suffix.to_string(), of_key.to_string());
            return Err(RegistryError::field("header.file_name", rule));
        }
        Ok(of_key)
    }
}
