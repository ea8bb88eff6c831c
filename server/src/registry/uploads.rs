//! Uploads: content that survives whatever happens on its way.
//!
//! An upload is *open* while parts come in, each durable before it is acknowledged;
//! *finalizing* while its bytes are made an object and hashed; *complete* when they are
//! an object that no record names yet; *saved* when one does. It belongs to its caller,
//! works from any process of the database and storage, and expires some time after the
//! last part.
//!
//! In order, one stream writes at a time: who opens a new one takes over, and what the
//! one before still sends is refused. In parallel, parts come in any order over any
//! number of streams, and the same part twice is fine.

mod checking;
mod complete;
mod hashing;
mod locks;
mod recording;
mod removal;
mod write;

use std::time::Duration;

use artifactd_domain::{BLOCK_BYTES, Sha256};

pub(super) use self::locks::UploadLocks;
pub use self::{
    complete::Completion,
    hashing::HashSeal,
    write::{Acks, UploadWriter},
};
use super::{
    Caller, NewArtifact, Registry, RegistryError, Result, Saved, StoragePlace, content::Declared, draw_uid,
    idempotency::Repeatable, now_us, placing::integer, random, save::commit::Answer,
};
use crate::{
    db::{
        DbError,
        uploads::{self, PartRow, UploadRow},
    },
    fault,
    storage::{ObjectName, PartedObject},
};

/// Bytes of a part unless the caller wishes others.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Largest part that a caller may wish.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Parts of one upload: what S3 services take.
const PARTS_MAX: u64 = 10_000;

/// How long an upload stays after its last part.
const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// A new upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// What the record shall say.
    pub artifact: NewArtifact,
    /// The same as its door encoded it, for whoever completes it.
    pub header: Vec<u8>,
    /// Whether parts come in any order.
    pub is_parallel: bool,
    /// Bytes of a part; decided here when 0.
    pub part_bytes: u64,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadState {
    /// It takes parts.
    Open,
    /// Its bytes are made an object and hashed.
    Finalizing,
    /// Its bytes are an object; what stood against its record can be mended.
    Complete,
    /// It is an artifact.
    Saved,
}

impl UploadState {
    fn code(self) -> i16 {
        match self {
            Self::Open => 0,
            Self::Finalizing => 1,
            Self::Complete => 2,
            Self::Saved => 3,
        }
    }

    fn of(row: &UploadRow) -> Result<Self> {
        match row.state {
            0 => Ok(Self::Open),
            1 => Ok(Self::Finalizing),
            2 => Ok(Self::Complete),
            3 => Ok(Self::Saved),
            _ => Err(impossible("state")),
        }
    }
}

/// An upload as its caller sees it.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its id.
    pub uid: String,
    /// How far it is.
    pub state: UploadState,
    /// Name of the storage.
    pub storage: String,
    /// What the record shall say, as the door encoded it that took it.
    pub header: Vec<u8>,
    /// Whether parts come in any order.
    pub is_parallel: bool,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// What was said of the content.
    pub declared: Declared,
    /// Bytes from the first on that are durable.
    pub durable_bytes: u64,
    /// Numbers and sizes of the durable parts, in order.
    pub parts: Vec<(u64, u64)>,
    /// Bytes that were hashed while it is finalizing.
    pub hashed_bytes: u64,
    /// When it expires.
    pub expires_at_us: i64,
    /// When it was made.
    pub created_at_us: i64,
    /// What became of it.
    pub saved: Option<Saved>,
}

fn impossible(column: &'static str) -> RegistryError {
    let table = "uploads";
    DbError::Row { table, column }.into()
}

fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}

fn expires_at(now_us: i64) -> i64 {
    now_us + EXPIRY.as_micros() as i64
}

/// Bytes from the first on that are there without a gap.
fn contiguous(parts: &[PartRow], part_bytes: i64) -> u64 {
    let mut bytes = 0;
    for (number, part) in parts.iter().enumerate() {
        if part.number != number as i64 {
            break;
        }
        bytes += unsigned(part.size_bytes);
        if part.size_bytes < part_bytes {
            break;
        }
    }
    bytes
}

fn declared(row: &UploadRow) -> Result<Declared> {
    let sha256 = row.declared_sha256.clone().map(<[u8; 32]>::try_from).transpose();
    Ok(Declared {
        sha256: sha256
            .map_err(|_| impossible("declared_sha256"))?
            .map(Sha256::from_bytes),
        size_bytes: row.declared_size_bytes.map(unsigned),
    })
}

fn object_of(row: &UploadRow) -> Result<PartedObject> {
    Ok(PartedObject {
        name: row.object_name.parse().map_err(|_| impossible("object_name"))?,
        store_upload_id: row.store_upload_id.clone(),
    })
}

/// The size of parts: whole blocks, as many as a store takes, and not too many parts.
fn part_bytes(wish: u64, declared: Declared, storage: &StoragePlace) -> Result<u64> {
    if wish > PART_BYTES_MAX {
        let rule = format!("must be at most {PART_BYTES_MAX}");
        return Err(RegistryError::other("part_bytes", rule));
    }
    let wish = if wish == 0 { PART_BYTES } else { wish };
    let for_size = declared.size_bytes.unwrap_or_default().div_ceil(PARTS_MAX);
    let bytes = wish.max(for_size).max(storage.store.parts.part_bytes_min());
    Ok(bytes.next_multiple_of(BLOCK_BYTES as u64))
}

impl Registry {
    /// Begins an upload. The same request again answers the same upload.
    pub async fn create_upload(&self, caller: &Caller, new: NewUpload) -> Result<Upload> {
        let NewUpload {
            artifact,
            header,
            is_parallel,
            part_bytes: wish,
        } = new;
        let suffix = artifact.suffix(caller)?;
        self.check_declared_size(artifact.declared)?;
        if is_parallel && artifact.declared.size_bytes.is_none() {
            let rule = "is needed for parts in any order";
            return Err(RegistryError::other("header.size", rule));
        }
        let repeatable = Repeatable::new(artifact.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(row) = self.upload_of(caller, repeatable).await?
        {
            return self.to_upload(row).await;
        }
        let storage = self.storage_of(caller, &artifact).await?.clone();
        let part_bytes = part_bytes(wish, artifact.declared, &storage)?;
        let object = storage.store.parts.create(ObjectName::new(random(), &suffix)).await?;
        fault::point("uploads.object_created");
        let now = now_us();
        let row = uploads::NewUpload {
            uid: draw_uid(),
            space_id: caller.space_id,
            storage_id: storage.id,
            principal_id: caller.principal.id,
            object_name: object.name.to_string(),
            store_upload_id: object.store_upload_id.clone(),
            header,
            request: repeatable.as_ref().map(Repeatable::stored),
            is_parallel,
            part_bytes: integer(part_bytes)?,
            declared_size_bytes: artifact.declared.size_bytes.map(integer).transpose()?,
            declared_sha256: artifact.declared.sha256.map(|sha256| sha256.as_bytes().to_vec()),
            expires_at_us: expires_at(now),
            now_us: now,
        };
        let inserted = self.db.write::<_, RegistryError, _>(move |txn| {
            let row = row.clone();
            Box::pin(async move {
                let row = uploads::insert(txn, &row).await?;
                fault::point("uploads.created_in_transaction");
                Ok(row)
            })
        });
        match (inserted.await, &repeatable) {
            (Ok(row), _) => self.to_upload(row).await,
            (Err(error), repeatable) => {
                if error.as_outage().is_none() {
                    storage.store.parts.abort(&object).await?;
                }
                // The same request may have been faster.
                match repeatable {
                    Some(repeatable) => match self.upload_of(caller, repeatable).await? {
                        Some(row) => self.to_upload(row).await,
                        None => Err(error),
                    },
                    None => Err(error),
                }
            }
        }
    }

    async fn upload_of(&self, caller: &Caller, repeatable: &Repeatable) -> Result<Option<UploadRow>> {
        let (request_id, hash) = repeatable.stored();
        let found = uploads::by_request(self.db.reader(), caller.principal.id, &request_id).await?;
        match found {
            Some(row) if row.request_hash.as_ref() != Some(&hash) => Err(repeatable.reused()),
            found => Ok(found),
        }
    }

    /// An upload of the caller.
    pub async fn upload(&self, caller: &Caller, uid: &str) -> Result<Upload> {
        let row = self.find_upload(caller, uid).await?;
        self.to_upload(row).await
    }

    /// The caller's uploads, the oldest first, behind a place; and the place behind them.
    pub async fn uploads(
        &self,
        caller: &Caller,
        after: Option<i64>,
        rows: usize,
    ) -> Result<(Vec<Upload>, Option<i64>)> {
        let owner = (caller.principal.id, caller.space_id);
        let most = i64::try_from(rows).unwrap_or(i64::MAX - 1) + 1;
        let mut found = uploads::of_owner(self.db.reader(), owner, after.unwrap_or_default(), most).await?;
        let more = found.len() > rows;
        found.truncate(rows);
        let next = found.last().map(|row| row.id).filter(|_| more);
        let mut listed = Vec::with_capacity(found.len());
        for row in found {
            listed.push(self.to_upload(row).await?);
        }
        Ok((listed, next))
    }

    /// Somebody else's upload does not exist for the caller.
    async fn find_upload(&self, caller: &Caller, uid: &str) -> Result<UploadRow> {
        let row = uploads::by_uid(self.db.reader(), uid).await?;
        let own = row.filter(|row| row.principal_id == caller.principal.id && caller.may_read(row.space_id));
        own.ok_or_else(|| RegistryError::UploadNotFound(uid.to_owned()))
    }

    async fn to_upload(&self, row: UploadRow) -> Result<Upload> {
        let parts = uploads::parts(self.db.reader(), row.id).await?;
        let saved = match &row.answer {
            Some(answer) => Some(self.saved(answer_of(answer)?)?),
            None => None,
        };
        Ok(Upload {
            state: UploadState::of(&row)?,
            storage: self.places.storage_by_id(row.storage_id)?.name.clone(),
            declared: declared(&row)?,
            durable_bytes: contiguous(&parts, row.part_bytes),
            parts: parts
                .iter()
                .map(|part| (unsigned(part.number), unsigned(part.size_bytes)))
                .collect(),
            uid: row.uid,
            header: row.header,
            is_parallel: row.is_parallel,
            part_bytes: unsigned(row.part_bytes),
            hashed_bytes: unsigned(row.hashed_bytes),
            expires_at_us: row.expires_at_us,
            created_at_us: row.created_at_us,
            saved,
        })
    }
}

fn answer_of(text: &str) -> Result<Answer> {
    serde_json::from_str(text).map_err(|_| impossible("answer"))
}
