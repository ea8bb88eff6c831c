//! The transaction of a save: which family, which content, which record.
//!
//! It may run more than once, and decides anew each time.

mod group;

use std::sync::Arc;

use artifactd_domain::{
    ContentDigest, Description, FileName, HashType, IfContentExists, Key, Label, MediaType, RunUid, SaveOutcome,
    Sha256, Suffix, Uid,
};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{NewArtifact, Revises};
use crate::{
    db::{
        self, Batch, DbError, Txn, WriteError,
        artifacts::{self, ArtifactRow, NewRow, ObjectName},
        blobs,
        entities::{blobs::Model as Blob, families::Model as Family},
        families,
        runs::OpenRun,
    },
    fault,
    registry::{
        Caller, RegistryError, Result,
        content::{Declared, Stored},
        error::Rule,
        events, feature_sets,
        folders::FolderContent,
        idempotency::{Finished, Repeatable},
        lineage::{note_update, open_run},
        looking::Facts,
        now_us,
        placing::{integer, place_blob, place_object},
        schemas,
        versions::{self, NextVersion},
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
    DbError::Conflict(DbErr::Custom(
        "the artifact changed, or moved to another storage".to_owned(),
    ))
    .into()
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

    fn sha256(&self) -> Sha256 {
        match &*self.content {
            NewContent::Stored(Stored { digest, .. }) | NewContent::Packed { digest, .. } => digest.sha256,
            NewContent::Folder(folder) => folder.digest.sha256,
            NewContent::Claimed { sha256, .. } => *sha256,
        }
    }

    fn folder(&self) -> Option<&FolderContent> {
        match &*self.content {
            NewContent::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    fn hash_type(&self) -> HashType {
        self.folder().map_or(HashType::Sha256, |_| HashType::Sha256Manifest)
    }

    /// What tells the content that came with this request from another.
    fn asked(&self) -> Sha256 {
        self.folder().map_or_else(|| self.sha256(), |folder| folder.asked)
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

    async fn blob(&self, txn: &Txn) -> Result<Option<Blob>> {
        match &*self.content {
            NewContent::Stored(Stored { digest, .. }) | NewContent::Packed { digest, .. } => {
                let size_bytes = integer(digest.size_bytes)?;
                Ok(blobs::find(txn, self.storage_id, &digest.sha256, size_bytes).await?)
            }
            NewContent::Folder(_) => Ok(None),
            NewContent::Claimed { sha256, size_bytes } => {
                let blob = match size_bytes {
                    Some(size) => blobs::find(txn, self.storage_id, sha256, integer(*size)?).await?,
                    None => blobs::find_by_digest(txn, self.storage_id, sha256).await?,
                };
                let sound = blob.filter(|blob| blob.damaged_since_us.is_none() && self.caller.may_read(self.space_id));
                sound.map(Some).ok_or(RegistryError::ContentNotHeld(*sha256))
            }
        }
    }

    fn size_bytes(&self, blob: Option<&Blob>) -> Result<i64> {
        match (&*self.content, blob) {
            (NewContent::Stored(Stored { digest, .. }) | NewContent::Packed { digest, .. }, _) => {
                integer(digest.size_bytes)
            }
            (NewContent::Folder(folder), _) => integer(folder.digest.size_bytes),
            (NewContent::Claimed { .. }, Some(blob)) => Ok(blob.size_bytes),
            (NewContent::Claimed { sha256, .. }, None) => Err(RegistryError::ContentNotHeld(*sha256)),
        }
    }

    /// The record that already says what this save would say.
    async fn same_content(
        &self,
        txn: &Txn,
        has_family: bool,
        head: Option<&ArtifactRow>,
        size_bytes: i64,
    ) -> Result<Option<ArtifactRow>> {
        let sha256 = self.sha256();
        let content = (self.hash_type(), &sha256, size_bytes);
        // A folder of empty files says something all the same.
        if size_bytes == 0 && self.folder().is_none() {
            return Ok(None);
        }
        if has_family {
            return Ok(head.filter(|head| head.has_content(content)).cloned());
        }
        if self.new.key.is_some() {
            return Ok(None);
        }
        Ok(artifacts::newest_with_content(txn, self.caller.space_id, content).await?)
    }

    async fn return_existing(
        &self,
        txn: &Txn,
        mut row: ArtifactRow,
        blob: Option<Blob>,
        run: Option<&OpenRun>,
    ) -> Result<Run> {
        let not_applied = self.not_applied(&row);
        note_update(txn, run, &mut row).await?;
        let mut batch = Batch::new(txn);
        // New bytes for a damaged blob are welcome even when the record stays.
        let object_used = match blob {
            Some(blob) if blob.damaged_since_us.is_some() => {
                self.place_content(&mut batch, Some(&blob), row.size_bytes)
            }
            _ => false,
        };
        if let Some(folder) = self.folder() {
            folder.mend(txn).await?;
        }
        let answer = Answer {
            same_content_uids: self.same_content_uids(txn, &row).await?,
            outcome: SaveOutcome::Existing.as_str().to_owned(),
            not_applied,
            row,
        };
        self.remember(&mut batch, &answer);
        batch.run(txn).await?;
        let answer = Box::new(answer);
        Ok(Run::Done { answer, object_used })
    }

    /// What the caller passed that the existing record does not say.
    fn not_applied(&self, row: &ArtifactRow) -> Vec<String> {
        let new = &*self.new;
        let differs = |passed: Option<&str>, has: Option<&str>| passed.is_some() && passed != has;
        let differing = [
            ("key", differs(new.key.as_ref().map(Key::as_str), row.key.as_deref())),
            (
                "description",
                differs(
                    new.description.as_ref().map(Description::as_str),
                    row.description.as_deref(),
                ),
            ),
            ("kind", new.kind.is_some_and(|kind| kind.code() != row.kind)),
            (
                "version",
                differs(new.version.as_ref().map(Label::as_str), Some(&row.version_label)),
            ),
            (
                "file_name",
                differs(new.file_name.as_ref().map(FileName::as_str), row.file_name.as_deref()),
            ),
            (
                "media_type",
                differs(new.media_type.as_ref().map(MediaType::as_str), Some(&row.media_type)),
            ),
            (
                "visibility",
                new.visibility
                    .is_some_and(|visibility| visibility.code() != row.visibility),
            ),
            ("annotations", !new.annotations.said.is_empty()),
            ("schema", new.schema.is_some()),
        ];
        differing
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(field, _)| field.to_owned())
            .collect()
    }

    async fn create(
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
                let (version, row) = versions::begin_family(place, key.clone(), new.version.clone(), now)?;
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
    fn row(
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
    fn detail(&self, outcome: SaveOutcome, row: &ArtifactRow) -> serde_json::Value {
        json!({
            "outcome": outcome.as_str(), "hash": self.sha256().to_string(), "size": row.size_bytes, "key": row.key,
            "version_number": row.version_number, "n_objects": row.n_objects,
            "run": self.caller.run.as_ref().map(RunUid::as_str),
        })
    }

    /// The object in which the content lies: the new one, unless a sound blob was there.
    async fn object(&self, txn: &Txn, blob: Option<&Blob>) -> Result<Option<ObjectName>> {
        match (&*self.content, blob) {
            (NewContent::Folder(_), _) => Ok(None),
            (_, Some(blob)) if blob.damaged_since_us.is_none() => {
                let object = blobs::object(txn, blob.object_id).await?;
                let object = object.ok_or_else(|| DbError::Row {
                    table: "blobs",
                    column: "object_id",
                })?;
                let (name, is_pack) = (object.name, object.is_pack);
                Ok(Some(ObjectName { name, is_pack }))
            }
            (NewContent::Stored(stored), _) => Ok(Some(ObjectName {
                name: stored.object.name.to_string(),
                is_pack: false,
            })),
            (NewContent::Packed { pack, .. }, _) => Ok(Some(ObjectName {
                name: pack.to_string(),
                is_pack: true,
            })),
            (NewContent::Claimed { sha256, .. }, _) => Err(RegistryError::ContentNotHeld(*sha256)),
        }
    }

    /// Other artifacts with the content of this one, where there may be some.
    async fn same_content_uids(&self, txn: &Txn, row: &ArtifactRow) -> Result<Vec<String>> {
        if row.size_bytes == 0 && self.folder().is_none() {
            return Ok(Vec::new());
        }
        let (sha256, most) = (row.digest()?, SAME_CONTENT_NAMED_MAX + 1);
        let content = (self.hash_type(), &sha256, row.size_bytes);
        let mut uids = artifacts::uids_with_content(txn, self.caller.space_id, content, most).await?;
        uids.retain(|uid| *uid != row.uid);
        uids.truncate(SAME_CONTENT_NAMED_MAX as usize);
        Ok(uids)
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

    /// Makes sure that a blob with this content exists; whether it is the stored object.
    fn place_content(&self, batch: &mut Batch, blob: Option<&Blob>, size_bytes: i64) -> bool {
        let damaged = blob.filter(|blob| blob.damaged_since_us.is_some());
        match (&*self.content, blob) {
            (NewContent::Claimed { .. }, None) | (NewContent::Folder(_), _) => return false,
            (_, Some(blob)) if damaged.is_none() => {
                if blob.kept {
                    batch.push(&blobs::adopt(blob.id));
                }
                return false;
            }
            (NewContent::Claimed { .. }, Some(_)) => return false,
            (NewContent::Stored(stored), _) => place_object(batch, self.storage_id, stored, damaged, size_bytes),
            (
                NewContent::Packed {
                    digest,
                    pack,
                    offset_bytes,
                },
                _,
            ) => {
                let place = (pack.as_str(), *offset_bytes);
                place_blob(batch, self.storage_id, digest, place, damaged, size_bytes);
            }
        }
        true
    }

    fn remember(&self, batch: &mut Batch, answer: &Answer) {
        if let Some(repeatable) = &self.repeatable {
            repeatable.remember(batch, &self.caller, answer, Some(self.asked()));
        }
    }
}
