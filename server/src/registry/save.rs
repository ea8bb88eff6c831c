//! Saving: content first, record second, acknowledgement last.

use std::sync::{Arc, Mutex};

use artifactd_domain::{
    ContentDigest, Description, FileName, HashType, IfContentExists, Key, Kind, Label, MediaType, RequestId,
    SaveOutcome, Sha256, Stem, StorageName, Suffix, Uid, Visibility,
};
use sea_orm::{DatabaseTransaction, sea_query::Expr};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Artifact, Caller, Content, Registry, RegistryError, Result, StoragePlace,
    content::{Declared, Stored, digest_of},
    error::Rule,
    events,
    idempotency::{Finished, Repeatable},
    now_us, versions,
};
use crate::{
    db::{
        Batch, DbError, WriteError,
        artifacts::{self, ArtifactRow, NewRow},
        blobs,
        entities::{blobs::Model as Blob, families::Model as Family},
        families,
        known::{self, Known},
    },
    fault,
    storage::SUMS_PER_PAGE,
};

/// How many artifacts with the same content an answer names.
const SAME_CONTENT_NAMED_MAX: u64 = 10;

/// What to save. Every field is valid by itself; [`Registry::save`] checks how they fit.
#[derive(Debug, Clone, Default)]
pub struct NewArtifact {
    /// Makes the save repeatable.
    pub request_id: Option<RequestId>,
    /// Name in the storage.
    pub key: Option<Key>,
    /// Free text.
    pub description: Option<Description>,
    /// What it is; a dataset when unset.
    pub kind: Option<Kind>,
    /// The family of which this is the next version.
    pub revises: Option<Revises>,
    /// Label of the version.
    pub version: Option<Label>,
    /// Storage; the default one of the space when unset.
    pub storage: Option<StorageName>,
    /// Name of the file as its owner has it.
    pub file_name: Option<FileName>,
    /// Media type; guessed from the suffix when unset.
    pub media_type: Option<MediaType>,
    /// Who sees it; everybody when unset.
    pub visibility: Option<Visibility>,
    /// What to do when the same content is an artifact already.
    pub if_content_exists: IfContentExists,
    /// What the sender says of the content.
    pub declared: Declared,
}

/// How the family of a new version is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revises {
    /// By any of its versions.
    Uid(Uid),
    /// By itself.
    Stem(Stem),
}

impl Revises {
    fn stem(self) -> Stem {
        match self {
            Self::Uid(uid) => uid.stem(),
            Self::Stem(stem) => stem,
        }
    }
}

impl std::fmt::Display for Revises {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Stem(stem) => stem.fmt(f),
        }
    }
}

/// What became of a save.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The artifact, new or existing.
    pub artifact: Artifact,
    /// What happened.
    pub outcome: SaveOutcome,
    /// What was passed and not applied.
    pub not_applied: Vec<String>,
    /// Other live artifacts with the same content.
    pub same_content_uids: Vec<String>,
}

/// The part of an answer that a repeated request needs.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    uid: String,
    outcome: String,
    not_applied: Vec<String>,
}

/// A save that is ready to be committed; the transaction may run more than once.
#[derive(Debug, Clone)]
struct Commit {
    caller: Caller,
    new: Arc<NewArtifact>,
    suffix: Suffix,
    storage_id: i64,
    space_id: i64,
    content: Arc<NewContent>,
    repeatable: Option<Repeatable>,
    /// What was not there a moment ago, for the first run only.
    foresight: Arc<Mutex<Option<Known>>>,
}

/// The content of a commit.
#[derive(Debug)]
enum NewContent {
    Stored(Stored),
    Claimed { sha256: Sha256, size_bytes: Option<u64> },
}

/// What a transaction did.
#[derive(Debug)]
struct Committed {
    row: ArtifactRow,
    outcome: SaveOutcome,
    not_applied: Vec<String>,
    /// Whether the stored object became the place of the content.
    object_used: bool,
    /// Whether the content was there before.
    content_known: bool,
}

impl Registry {
    /// Saves one file: makes its content durable, then its record.
    pub async fn save(self: &Arc<Self>, caller: &Caller, new: NewArtifact, content: Content) -> Result<Saved> {
        let suffix = new.suffix()?;
        self.check_declared_size(new.declared)?;
        let claim = matches!(content, Content::Claim);
        let repeatable = Repeatable::new(new.request_id.clone(), "SaveArtifact", &(caller.space_id, claim, &new));
        let storage = self.storage_of(caller, &new).await?.clone();
        let (content, foresight) = match content {
            Content::Whole(bytes) => {
                // What is there already is looked up while the disk works.
                let digest = digest_of(&bytes);
                new.declared.check(&digest)?;
                let looking = self.foresee(caller, &new, storage.id, &digest);
                let storing = self.store_whole(&storage, &suffix, bytes.clone(), digest.clone());
                let (foresight, stored) = futures::join!(looking, storing);
                let (foresight, stored) = (foresight?, stored?);
                if foresight.request
                    && let Some(saved) = self.saved_before(caller, repeatable.as_ref(), &new, claim).await?
                {
                    self.discard(storage.id, stored.object.name);
                    return saved.finish(self, Content::Whole(bytes)).await;
                }
                (NewContent::Stored(stored), foresight)
            }
            content => {
                if let Some(saved) = self.saved_before(caller, repeatable.as_ref(), &new, claim).await? {
                    return saved.finish(self, content).await;
                }
                let content = match content {
                    Content::Claim => NewContent::Claimed {
                        sha256: new
                            .declared
                            .sha256
                            .ok_or(RegistryError::field("header.sha256", Rule::Required))?,
                        size_bytes: new.declared.size_bytes,
                    },
                    content => NewContent::Stored(self.store(&storage, &suffix, content, new.declared).await?),
                };
                (content, Known::default())
            }
        };
        fault::point("save.content_durable");
        let commit = Commit {
            caller: caller.clone(),
            space_id: storage.space_id,
            new: Arc::new(new),
            suffix,
            storage_id: storage.id,
            content: Arc::new(content),
            repeatable,
            foresight: Arc::new(Mutex::new(Some(foresight))),
        };
        let done = {
            let commit = commit.clone();
            self.db.write(move |txn| {
                let commit = commit.clone();
                Box::pin(async move { commit.run(txn).await })
            })
        };
        let done = done.await;
        self.discard_unused(&storage, &commit, &done);
        fault::point("save.before_answer");
        match done? {
            Run::Done(done) => self.answer(&commit, *done).await,
            Run::Before(answer) => self.answer_again(caller, &answer).await,
        }
    }

    /// Looks what a save of a whole content will meet. Only absence is relied on:
    /// what is made in between breaks a unique index, and the second run looks
    /// inside its transaction.
    async fn foresee(
        &self,
        caller: &Caller,
        new: &NewArtifact,
        storage_id: i64,
        digest: &ContentDigest,
    ) -> Result<Known> {
        let request = new.request_id.as_ref().map(|id| (caller.principal.id, id));
        let key = new.key.as_ref().map(Key::as_str);
        let content = (&digest.sha256, integer(digest.size_bytes)?);
        Ok(known::look(self.db.reader(), request, storage_id, key, content).await?)
    }

    /// A first answer to this request, and whether its content still has to be compared.
    async fn saved_before(
        &self,
        caller: &Caller,
        repeatable: Option<&Repeatable>,
        new: &NewArtifact,
        claim: bool,
    ) -> Result<Option<Before>> {
        let Some(repeatable) = repeatable else { return Ok(None) };
        let Some(finished) = repeatable.finished::<Answer>(self.db.reader(), caller).await? else {
            return Ok(None);
        };
        // A declared digest is part of the request's hash, and a claim has no other content.
        let compare = new.declared.sha256.is_none() && !claim;
        Ok(Some(Before {
            caller: caller.clone(),
            repeatable: repeatable.clone(),
            declared: new.declared,
            answer: finished.answer,
            content: finished.content.filter(|_| compare),
        }))
    }

    /// The storage of a save: that of the family, which may be named by a version.
    async fn storage_of(&self, caller: &Caller, new: &NewArtifact) -> Result<&StoragePlace> {
        let named = self.places.storage(caller, new.storage.as_ref())?;
        let Some(revises) = new.revises else { return Ok(named) };
        let family = families::by_stem(self.db.reader(), revises.stem()).await?;
        let family = family.filter(|family| caller.may_read(family.space_id));
        let family = family.ok_or_else(|| RegistryError::NotFound(revises.to_string()))?;
        if new.storage.is_some() && named.id != family.storage_id {
            return Err(RegistryError::other(
                "header.storage",
                "is not the storage of the family that is revised",
            ));
        }
        self.places.storage_by_id(family.storage_id)
    }

    /// Removes an object that no committed row names. When the outcome of the
    /// commit is unknown the object stays: it may be the content.
    fn discard_unused(self: &Arc<Self>, storage: &StoragePlace, commit: &Commit, done: &Result<Run>) {
        let NewContent::Stored(stored) = &*commit.content else {
            return;
        };
        let unused = match done {
            Ok(Run::Done(done)) => !done.object_used,
            Ok(Run::Before(_)) => true,
            Err(RegistryError::Db(_)) => false,
            Err(_) => true,
        };
        if unused {
            self.discard(storage.id, stored.object.name.clone());
        }
    }

    async fn answer(&self, commit: &Commit, done: Committed) -> Result<Saved> {
        let Committed {
            row,
            outcome,
            not_applied,
            content_known,
            ..
        } = done;
        let mut same_content_uids = Vec::new();
        if content_known && row.size_bytes > 0 {
            let (sha256, space_id) = (row.digest()?, commit.caller.space_id);
            let others = artifacts::with_content(
                self.db.reader(),
                space_id,
                &sha256,
                row.size_bytes,
                SAME_CONTENT_NAMED_MAX + 1,
            );
            same_content_uids = others
                .await?
                .into_iter()
                .map(|other| other.uid)
                .filter(|uid| *uid != row.uid)
                .collect();
            same_content_uids.truncate(SAME_CONTENT_NAMED_MAX as usize);
        }
        Ok(Saved {
            artifact: self.to_artifact(row)?,
            outcome,
            not_applied,
            same_content_uids,
        })
    }

    async fn answer_again(&self, caller: &Caller, answer: &Answer) -> Result<Saved> {
        let impossible = || DbError::Row {
            table: "requests",
            column: "answer",
        };
        let uid: Uid = answer.uid.parse().map_err(|_| impossible())?;
        let outcome = SaveOutcome::from_name(&answer.outcome).ok_or_else(impossible)?;
        let artifact = self.get(caller, &uid.into(), true).await?;
        Ok(Saved {
            artifact,
            outcome,
            not_applied: answer.not_applied.clone(),
            same_content_uids: Vec::new(),
        })
    }
}

/// A save that was finished before.
struct Before {
    caller: Caller,
    repeatable: Repeatable,
    declared: Declared,
    answer: Answer,
    /// What the content must be, where the request itself does not say.
    content: Option<Sha256>,
}

impl Before {
    async fn finish(self, registry: &Registry, content: Content) -> Result<Saved> {
        if let Some(expected) = self.content
            && registry.drain(content, self.declared).await?.sha256 != expected
        {
            return Err(self.repeatable.reused());
        }
        registry.answer_again(&self.caller, &self.answer).await
    }
}

impl NewArtifact {
    /// The suffix of the content, and that all which name it agree.
    fn suffix(&self) -> Result<Suffix> {
        if self.key.is_none() && self.description.is_none() && self.revises.is_none() {
            return Err(RegistryError::field("header.key", Rule::NameRequired));
        }
        if self.visibility == Some(Visibility::Trash) {
            return Err(RegistryError::other("header.visibility", "must be DEFAULT or HIDDEN"));
        }
        let of_file = self.file_name.as_ref().map(FileName::suffix);
        match (self.key.as_ref().map(Key::suffix), of_file) {
            (Some(of_key), Some(of_file)) if of_key != of_file => Err(RegistryError::field(
                "header.file_name",
                Rule::Suffix(of_file.to_string(), of_key.to_string()),
            )),
            (Some(suffix), _) | (None, Some(suffix)) => Ok(suffix),
            (None, None) => Ok(Suffix::default()),
        }
    }
}

/// How a transaction of a save can end well.
enum Run {
    Done(Box<Committed>),
    Before(Answer),
}

impl Commit {
    async fn run(&self, txn: &DatabaseTransaction) -> Result<Run> {
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
            Some(content) if content != self.sha256() => Err(repeatable.reused()),
            _ => Ok(Run::Before(finished.answer)),
        }
    }

    async fn decide(&self, txn: &DatabaseTransaction) -> Result<Run> {
        let foreseen = self
            .foresight
            .lock()
            .expect("no holder panics")
            .take()
            .unwrap_or_default();
        let new_key = self.new.revises.is_none() && foreseen.key == Some(false);
        let (family, head) = if new_key { (None, None) } else { self.family(txn).await? };
        let blob = if foreseen.content == Some(false) {
            None
        } else {
            self.blob(txn).await?
        };
        let size_bytes = self.size_bytes(blob.as_ref())?;
        let same = self
            .same_content(txn, family.is_some(), head.as_ref(), size_bytes)
            .await?;
        match (same, self.new.if_content_exists) {
            (Some(same), IfContentExists::ReturnExisting) => self.return_existing(txn, same, blob).await,
            (Some(same), IfContentExists::Fail) => Err(RegistryError::ContentExists(same.uid()?)),
            _ => self.create(txn, family, head, blob, size_bytes).await,
        }
    }

    fn sha256(&self) -> Sha256 {
        match &*self.content {
            NewContent::Stored(stored) => stored.digest.sha256,
            NewContent::Claimed { sha256, .. } => *sha256,
        }
    }

    /// The family that gets a version, locked, and its latest version.
    async fn family(&self, txn: &DatabaseTransaction) -> Result<(Option<Family>, Option<ArtifactRow>)> {
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

    async fn blob(&self, txn: &DatabaseTransaction) -> Result<Option<Blob>> {
        match &*self.content {
            NewContent::Stored(stored) => {
                let size_bytes = integer(stored.digest.size_bytes)?;
                Ok(blobs::find(txn, self.storage_id, &stored.digest.sha256, size_bytes).await?)
            }
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
            (NewContent::Stored(stored), _) => integer(stored.digest.size_bytes),
            (NewContent::Claimed { .. }, Some(blob)) => Ok(blob.size_bytes),
            (NewContent::Claimed { sha256, .. }, None) => Err(RegistryError::ContentNotHeld(*sha256)),
        }
    }

    /// The record that already says what this save would say.
    async fn same_content(
        &self,
        txn: &DatabaseTransaction,
        has_family: bool,
        head: Option<&ArtifactRow>,
        size_bytes: i64,
    ) -> Result<Option<ArtifactRow>> {
        let sha256 = self.sha256();
        if size_bytes == 0 {
            return Ok(None);
        }
        if has_family {
            return Ok(head.filter(|head| head.has_content(&sha256, size_bytes)).cloned());
        }
        if self.new.key.is_some() {
            return Ok(None);
        }
        Ok(
            artifacts::with_content(txn, self.caller.space_id, &sha256, size_bytes, 1)
                .await?
                .into_iter()
                .next(),
        )
    }

    async fn return_existing(&self, txn: &DatabaseTransaction, row: ArtifactRow, blob: Option<Blob>) -> Result<Run> {
        let not_applied = self.not_applied(&row);
        let mut batch = Batch::new(sea_orm::ConnectionTrait::get_database_backend(txn));
        // New bytes for a damaged blob are welcome even when the record stays.
        let object_used = match blob {
            Some(blob) if blob.damaged_since_us.is_some() => {
                self.place_content(&mut batch, Some(&blob), row.size_bytes)
            }
            _ => false,
        };
        self.remember(&mut batch, &row.uid, SaveOutcome::Existing, &not_applied);
        batch.run(txn).await?;
        let outcome = SaveOutcome::Existing;
        Ok(Run::Done(Box::new(Committed {
            row,
            outcome,
            not_applied,
            object_used,
            content_known: true,
        })))
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
        ];
        differing
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(field, _)| field.to_owned())
            .collect()
    }

    async fn create(
        &self,
        txn: &DatabaseTransaction,
        family: Option<Family>,
        head: Option<ArtifactRow>,
        blob: Option<Blob>,
        size_bytes: i64,
    ) -> Result<Run> {
        let now = now_us();
        let new = &*self.new;
        let mut batch = Batch::new(sea_orm::ConnectionTrait::get_database_backend(txn));
        let object_used = self.place_content(&mut batch, blob.as_ref(), size_bytes);
        let inherited_key = head.as_ref().and_then(|head| head.key.clone());
        let key = new.key.as_ref().map(Key::to_string).or(inherited_key);
        let (version, outcome) = match &family {
            None => {
                let place = (self.caller.space_id, self.storage_id);
                (
                    versions::begin_family(&mut batch, place, key.clone(), new.version.clone(), now)?,
                    SaveOutcome::Created,
                )
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
        let inherited = head.as_ref().and_then(|head| head.description.clone());
        batch.push(&artifacts::insert(&NewRow {
            uid: version.uid,
            space_id: self.caller.space_id,
            storage_id: self.storage_id,
            version_number: version.number,
            version_label: version.label,
            key: key.clone(),
            description: new
                .description
                .as_ref()
                .map(|text| text.as_str().to_owned())
                .or(inherited),
            kind: new.kind.unwrap_or_default().code(),
            media_type: new
                .media_type
                .as_ref()
                .map_or(suffix.media_type(), MediaType::as_str)
                .to_owned(),
            suffix: suffix.to_string(),
            file_name: new.file_name.as_ref().map(FileName::to_string),
            size_bytes,
            sha256: self.sha256(),
            hash_type: HashType::Sha256.code(),
            visibility: new.visibility.unwrap_or_default().code(),
            created_by: self.caller.principal.id,
            now_us: now,
        }));
        let detail = json!({
            "outcome": outcome.as_str(), "hash": self.sha256().to_string(), "size": size_bytes, "key": key,
            "version_number": version.number.get(),
        });
        events::record(&mut batch, &self.caller, "saved", version.uid.as_str(), detail);
        self.remember(&mut batch, version.uid.as_str(), outcome, &[]);
        let row = artifacts::run_then_read(batch, txn, &version.uid).await?;
        fault::point("save.in_transaction");
        let content_known = blob.is_some();
        Ok(Run::Done(Box::new(Committed {
            row,
            outcome,
            not_applied: Vec::new(),
            object_used,
            content_known,
        })))
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
        let stored = match (&*self.content, blob) {
            (NewContent::Stored(stored), None) => stored,
            (NewContent::Stored(stored), Some(blob)) if blob.damaged_since_us.is_some() => stored,
            (_, Some(blob)) => {
                if blob.kept {
                    batch.push(&blobs::adopt(blob.id));
                }
                return false;
            }
            (NewContent::Claimed { .. }, None) => return false,
        };
        place_object(batch, self.storage_id, stored, blob, size_bytes);
        true
    }

    fn remember(&self, batch: &mut Batch, uid: &str, outcome: SaveOutcome, not_applied: &[String]) {
        if let Some(repeatable) = &self.repeatable {
            let answer = Answer {
                uid: uid.to_owned(),
                outcome: outcome.as_str().to_owned(),
                not_applied: not_applied.to_vec(),
            };
            repeatable.remember(batch, &self.caller, &answer, Some(self.sha256()));
        }
    }
}

/// Adds a stored object and its blob, or mends a damaged blob with it.
pub(super) fn place_object(
    batch: &mut Batch,
    storage_id: i64,
    stored: &Stored,
    damaged: Option<&Blob>,
    size_bytes: i64,
) {
    let now = now_us();
    let name = stored.object.name.as_str();
    batch.push(&blobs::insert_object(
        storage_id,
        name,
        size_bytes,
        stored.object.store_etag.clone(),
        now,
    ));
    if let Some(blob) = damaged {
        batch.push(&blobs::heal(blob.id, name));
        batch.push(&blobs::discard_object_if_unused(blob.object_id, now));
        return;
    }
    let sums = &stored.digest.block_crc32c;
    let (inline, pages) = match sums.as_slice() {
        [] => (Some(0), &[][..]),
        [only] => (Some(*only), &[][..]),
        many => (None, many),
    };
    batch.push(&blobs::insert(
        storage_id,
        &stored.digest.sha256,
        size_bytes,
        name,
        inline,
        now,
    ));
    for (page, sums) in pages.chunks(SUMS_PER_PAGE as usize).enumerate() {
        let blob_id: Expr = blobs::blob_id_of(storage_id, &stored.digest.sha256, size_bytes);
        batch.push(&blobs::insert_checksums(blob_id, page as i64, sums));
    }
}

/// A size as the database holds it.
pub(super) fn integer(size_bytes: u64) -> Result<i64> {
    i64::try_from(size_bytes).map_err(|_| RegistryError::ContentTooLarge(i64::MAX as u64))
}
