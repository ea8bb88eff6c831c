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

mod ahead;
mod checking;
mod complete;
mod creating;
mod hashing;
mod locks;
mod recording;
mod removal;
mod write;

use artifactd_domain::{BLOCK_BYTES, Sha256, combine_crc32c};

pub(super) use self::{ahead::HashesAhead, locks::UploadLocks};
pub use self::{
    complete::Completion,
    creating::NewUpload,
    hashing::HashSeal,
    write::{Acks, UploadWriter},
};
use super::{Caller, Registry, RegistryError, Result, Saved, content::Declared, save::commit::Answer};
use crate::{
    db::{
        DbError,
        uploads::{self, PartRow, UploadRow},
    },
    storage::PartedObject,
};

/// Parts of one upload: what S3 services take.
const PARTS_MAX: u64 = 10_000;

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
    /// A crc32c of each of them.
    pub part_crc32c: Vec<u32>,
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

/// The crc32c of a part, from those of its blocks.
fn sum_of_part(part: &PartRow) -> u32 {
    let (mut sum, mut left) = (0, part.size_bytes as usize);
    for block in checking::sums_of(&part.crc32c) {
        let bytes = left.min(BLOCK_BYTES);
        sum = combine_crc32c(sum, block, bytes);
        left -= bytes;
    }
    sum
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

/// Bytes that are there, wherever they are.
fn bytes_of(parts: &[PartRow]) -> u64 {
    parts.iter().map(|part| unsigned(part.size_bytes)).sum()
}

/// Whether the last part is there: one that is not full, or has no bytes.
fn has_end(parts: &[PartRow], part_bytes: i64) -> bool {
    parts.last().is_some_and(|part| part.size_bytes < part_bytes)
}

fn object_of(row: &UploadRow) -> Result<PartedObject> {
    Ok(PartedObject {
        name: row.object_name.parse().map_err(|_| impossible("object_name"))?,
        store_upload_id: row.store_upload_id.clone(),
    })
}

impl Registry {
    /// When an upload goes to which something came now.
    fn expires_at(&self, now_us: i64) -> i64 {
        let expiry = i64::try_from(self.limits.upload_expiry.as_micros());
        now_us.saturating_add(expiry.unwrap_or(i64::MAX))
    }

    /// An upload of the caller.
    pub async fn upload(&self, caller: &Caller, uid: &str) -> Result<Upload> {
        let row = self.find_upload(caller, uid).await?;
        self.to_upload(row).await
    }

    /// The same with what its durable parts are.
    pub async fn upload_with_sums(&self, caller: &Caller, uid: &str) -> Result<Upload> {
        let row = self.find_upload(caller, uid).await?;
        let mut parts = uploads::parts(self.db.reader(), row.id).await?;
        parts.retain(|part| part.size_bytes > 0);
        let part_crc32c = crate::blocking::in_place(|| parts.iter().map(sum_of_part).collect());
        let upload = self.to_upload_of(row, &parts)?;
        Ok(Upload { part_crc32c, ..upload })
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
        self.to_upload_of(row, &parts)
    }

    fn to_upload_of(&self, row: UploadRow, parts: &[PartRow]) -> Result<Upload> {
        let saved = match &row.answer {
            Some(answer) => Some(self.saved(answer_of(answer)?)?),
            None => None,
        };
        Ok(Upload {
            state: UploadState::of(&row)?,
            storage: self.places.storage_by_id(row.storage_id)?.name.clone(),
            declared: declared(&row)?,
            durable_bytes: contiguous(parts, row.part_bytes),
            part_crc32c: Vec::new(),
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
