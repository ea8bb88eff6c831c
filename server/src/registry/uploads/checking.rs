//! What a completion checks: that all parts are there, and that they are what was
//! declared and recorded.

use std::sync::atomic::Ordering;

use artifactd_domain::{BLOCK_BYTES, ContentDigest, Sha256, Sha256Hasher, crc32c};
use sea_orm::DbBackend;

use super::{
    super::{RegistryError, Result, content::Declared},
    UploadState,
    ahead::Hashed,
    bytes_of,
    complete::Held,
    declared, has_end, unsigned,
};
use crate::{
    db::uploads,
    storage::{ClosedParts, StorageError},
};

/// Bytes that are read and hashed at once.
const PIECE_BYTES: u64 = 16 * BLOCK_BYTES as u64;

/// Why an upload cannot be completed as it is.
pub(super) enum Unsound {
    Refused(RegistryError),
    /// What lies behind a position is not what was recorded.
    Torn(u64),
}

type Checked<T> = std::result::Result<T, Unsound>;

impl From<RegistryError> for Unsound {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error)
    }
}

/// What is known of the digest of an upload.
enum Known {
    Whole(Sha256),
    /// The same, unless bytes are not what was recorded.
    WholeUnlessTorn(Sha256),
    First(Hashed),
}

impl Held {
    /// That all parts are there.
    pub(super) fn check_parts(&self, declared_now: Declared) -> Result<()> {
        let missing = || RegistryError::UploadIncomplete(self.size_bytes);
        // Without a word of what there shall be, somebody must have said that this is all.
        let is_said = [declared(&self.row)?, declared_now]
            .iter()
            .any(|declared| declared.size_bytes.is_some() || declared.sha256.is_some());
        if bytes_of(&self.parts) != self.size_bytes || !(is_said || has_end(&self.parts, self.row.part_bytes)) {
            return Err(missing());
        }
        for size_bytes in [declared(&self.row)?.size_bytes, declared_now.size_bytes]
            .into_iter()
            .flatten()
        {
            if size_bytes > self.size_bytes {
                return Err(missing());
            }
            Declared {
                size_bytes: Some(size_bytes),
                sha256: None,
            }
            .check_size(self.size_bytes)?;
        }
        Ok(())
    }

    /// The digest of all bytes, which must be what was declared.
    pub(super) async fn checked_digest(
        &self,
        closed: &dyn ClosedParts,
        declared_now: Declared,
    ) -> Checked<ContentDigest> {
        let block_crc32c: Vec<u32> = self.parts.iter().flat_map(|part| sums_of(&part.crc32c)).collect();
        let sha256 = match self.known().await {
            Known::Whole(sha256) => sha256,
            Known::WholeUnlessTorn(sha256) => {
                self.read_back(closed, &block_crc32c, None, 0).await?;
                sha256
            }
            Known::First(Hashed { hasher, bytes }) => {
                let hasher = self.read_back(closed, &block_crc32c, Some(hasher), bytes).await?;
                hasher.expect("it went in").finish()
            }
        };
        let digest = ContentDigest {
            sha256,
            size_bytes: self.size_bytes,
            block_crc32c,
        };
        declared(&self.row)?.check(&digest)?;
        declared_now.check(&digest)?;
        Ok(digest)
    }

    /// What need not be read again. A store that cannot read parts names each by what it holds.
    async fn known(&self) -> Known {
        let (row, registry) = (&self.row, &self.registry);
        if row.is_parallel {
            return Known::First(registry.hashes_ahead.take(row).await.unwrap_or_default());
        }
        let was_alone = registry.upload_locks.take_alone(row.id, self.epoch - 1);
        let sha256 = registry.hash_seal.digest(row, self.size_bytes);
        match sha256 {
            Some(sha256) if was_alone || !self.store.parts.reads_parts() => Known::Whole(sha256),
            // Who wrote before has ended.
            Some(sha256) if registry.db.backend() == DbBackend::Sqlite => Known::WholeUnlessTorn(sha256),
            // One that was frozen may have written, over what was hashed, what has the same checksum.
            _ => Known::First(Hashed::default()),
        }
    }

    /// Checks that the bytes behind the first so many are what was recorded, and hashes them where that is wished.
    async fn read_back(
        &self,
        closed: &dyn ClosedParts,
        sums: &[u32],
        mut hasher: Option<Sha256Hasher>,
        mut at: u64,
    ) -> Checked<Option<Sha256Hasher>> {
        while at < self.size_bytes {
            let end = (at + PIECE_BYTES).min(self.size_bytes);
            let bytes = closed.read(at..end).await.map_err(RegistryError::from)?;
            let sums = sums[(at / BLOCK_BYTES as u64) as usize..].to_vec();
            let checked = tokio::task::spawn_blocking(move || {
                let torn = first_torn(&bytes, &sums);
                if let Some(hasher) = &mut hasher {
                    hasher.update(&bytes);
                }
                (torn, hasher)
            });
            let torn;
            (torn, hasher) = checked.await.expect("hashing does not panic");
            if let Some(block) = torn {
                return Err(Unsound::Torn(at + (block * BLOCK_BYTES) as u64));
            }
            at = end;
            self.hashed_bytes.store(at, Ordering::Relaxed);
        }
        Ok(hasher)
    }

    /// A store that cannot read parts can replace none of those of a complete object.
    pub(super) fn lost(&self, unsound: Unsound) -> RegistryError {
        match unsound {
            Unsound::Refused(error) => error,
            Unsound::Torn(offset) => StorageError::Corrupt {
                object: self.row.object_name.clone(),
                offset,
                what: "it is not what was recorded of its parts".to_owned(),
            }
            .into(),
        }
    }

    /// Somebody wrote over what was durable: that part has to be sent again.
    pub(super) async fn drop_torn_part(&self, at: u64) -> Result<RegistryError> {
        let number = at / unsigned(self.row.part_bytes);
        self.drop_parts(vec![number as usize], RegistryError::UploadIncomplete(at))
            .await
    }

    /// Forgets parts that are not what was recorded, so that they are sent again; answers what to say.
    pub(super) async fn drop_parts(&self, numbers: Vec<usize>, otherwise: RegistryError) -> Result<RegistryError> {
        let Some(first) = numbers.first().copied() else {
            return Ok(otherwise);
        };
        tracing::warn!(
            upload = self.row.uid,
            ?numbers,
            "Parts of an upload are not what was recorded"
        );
        let (id, epoch) = (self.row.id, self.epoch);
        let dropped = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            let numbers = numbers.clone();
            Box::pin(async move {
                for number in numbers {
                    uploads::delete_part(txn, id, number as i64).await?;
                }
                Ok(uploads::mark(txn, (id, epoch), UploadState::Open.code()).await?)
            })
        });
        dropped.await?;
        Ok(RegistryError::UploadIncomplete(
            first as u64 * unsigned(self.row.part_bytes),
        ))
    }
}

/// Number of the first block that has not its sum.
pub(super) fn first_torn(bytes: &[u8], sums: &[u32]) -> Option<usize> {
    let mut blocks = bytes.chunks(BLOCK_BYTES).zip(sums);
    blocks.position(|(block, sum)| crc32c(block) != *sum)
}

pub(super) fn sums_of(stored: &[u8]) -> Vec<u32> {
    stored
        .as_chunks::<4>()
        .0
        .iter()
        .map(|sum| u32::from_le_bytes(*sum))
        .collect()
}
