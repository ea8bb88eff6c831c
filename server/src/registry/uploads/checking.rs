//! What a completion checks: that all parts are there, and that they are what was
//! declared and recorded.

use artifactd_domain::{BLOCK_BYTES, ContentDigest, Sha256Hasher, crc32c};

use super::{
    super::{RegistryError, Result, content::Declared, now_us},
    complete::{Held, LEASE, lease_until},
    declared, object_of, unsigned,
};
use crate::db::uploads;

/// Bytes that are read and hashed at once.
const PIECE_BYTES: u64 = 16 * BLOCK_BYTES as u64;

impl Held {
    /// That all parts are there.
    pub(super) fn check_parts(&self, declared_now: Declared) -> Result<()> {
        let missing = || RegistryError::UploadIncomplete(self.size_bytes);
        let sum: u64 = self.parts.iter().map(|part| unsigned(part.size_bytes)).sum();
        if sum != self.size_bytes {
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
    pub(super) async fn checked_digest(&self, declared_now: Declared) -> Result<ContentDigest> {
        let block_crc32c: Vec<u32> = self.parts.iter().flat_map(|part| sums_of(&part.crc32c)).collect();
        let came_whole = self.registry.upload_locks.take_whole(self.row.id);
        let sha256 = match self.registry.hash_seal.digest(&self.row, self.size_bytes) {
            Some(sha256) => {
                // Where several streams wrote, one that was frozen may have written over what was durable;
                // a store that cannot read parts names each by what it holds.
                if self.store.parts.reads_parts() && !came_whole {
                    self.read_back(&block_crc32c, None).await?;
                }
                sha256
            }
            None => {
                let hasher = self.read_back(&block_crc32c, Some(Sha256Hasher::default())).await?;
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

    /// Checks that the bytes are what was recorded, and hashes them where that is wished.
    async fn read_back(&self, sums: &[u32], mut hasher: Option<Sha256Hasher>) -> Result<Option<Sha256Hasher>> {
        let object = object_of(&self.row)?;
        let mut at = 0;
        let mut renewed = tokio::time::Instant::now();
        while at < self.size_bytes {
            let end = (at + PIECE_BYTES).min(self.size_bytes);
            let bytes = self.store.parts.read(&object, at..end).await?;
            let sums = sums[(at / BLOCK_BYTES as u64) as usize..].to_vec();
            let checked = tokio::task::spawn_blocking(move || {
                let mut blocks = bytes.chunks(BLOCK_BYTES).zip(sums);
                let torn = blocks.position(|(block, sum)| crc32c(block) != sum);
                if let Some(hasher) = &mut hasher {
                    hasher.update(&bytes);
                }
                (torn, hasher)
            });
            let torn;
            (torn, hasher) = checked.await.expect("hashing does not panic");
            if let Some(block) = torn {
                return Err(self.drop_torn_part(at + (block * BLOCK_BYTES) as u64).await?);
            }
            at = end;
            if renewed.elapsed() > LEASE / 4 {
                self.renew(at).await?;
                renewed = tokio::time::Instant::now();
            }
        }
        Ok(hasher)
    }

    async fn renew(&self, hashed_bytes: u64) -> Result<()> {
        let (held, hashed) = ((self.row.id, self.epoch), hashed_bytes as i64);
        let renewed = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move { Ok(uploads::progress(txn, held, hashed, lease_until(now_us())).await?) })
        });
        if renewed.await? { Ok(()) } else { Err(self.fenced()) }
    }

    /// Somebody wrote over what was durable: that part has to be sent again.
    async fn drop_torn_part(&self, at: u64) -> Result<RegistryError> {
        tracing::warn!(
            upload = self.row.uid,
            at,
            "A part of an upload is not what was recorded"
        );
        let number = (at / unsigned(self.row.part_bytes)) as i64;
        let (id, torn) = (self.row.id, number * self.row.part_bytes);
        let dropped = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move { Ok(uploads::delete_part(txn, id, number).await?) })
        });
        dropped.await?;
        Ok(RegistryError::UploadIncomplete(unsigned(torn)))
    }
}

fn sums_of(stored: &[u8]) -> Vec<u32> {
    stored
        .as_chunks::<4>()
        .0
        .iter()
        .map(|sum| u32::from_le_bytes(*sum))
        .collect()
}
