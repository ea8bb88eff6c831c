//! The index at the end of a pack.

use std::ops::Range;

use artifactd_domain::{Sha256, crc32c};
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{PACK_ENTRIES_MAX, PackEntry};
use crate::storage::{ObjectName, StorageError, error::Result};

const MAGIC: [u8; 8] = *b"artfpack";

const VERSION: u32 = 1;

/// Bytes that a content takes in the index.
pub const ENTRY_BYTES: usize = 8 + 4 + 32 + 4;

const TRAILER_BYTES: usize = 4 + 4 + 4 + 8;

/// Bytes fetched from the end of a pack at first: the index of most.
const TAIL_BYTES: u64 = 64 * 1024;

/// The index of a pack with these entries, and the trailer.
pub(super) fn encode(entries: &[PackEntry]) -> Vec<u8> {
    let mut footer = Vec::with_capacity(entries.len() * ENTRY_BYTES + TRAILER_BYTES);
    for entry in entries {
        let size_bytes = u32::try_from(entry.size_bytes).expect("a packed content is small");
        footer.extend_from_slice(&entry.offset.to_be_bytes());
        footer.extend_from_slice(&size_bytes.to_be_bytes());
        footer.extend_from_slice(entry.sha256.as_bytes());
        footer.extend_from_slice(&entry.crc32c.to_be_bytes());
    }
    let index_bytes = u32::try_from(footer.len()).expect("the entries of a pack are limited");
    footer.extend_from_slice(&index_bytes.to_be_bytes());
    footer.extend_from_slice(&crc32c(&footer).to_be_bytes());
    footer.extend_from_slice(&VERSION.to_be_bytes());
    footer.extend_from_slice(&MAGIC);
    footer
}

/// What a pack of this size holds. Whatever is not as [`PackWriter`](super::PackWriter)
/// wrote it is [`StorageError::Corrupt`].
pub async fn read_index(storage: &dyn ObjectStore, pack: &ObjectName, size_bytes: u64) -> Result<Vec<PackEntry>> {
    let source = Source {
        storage,
        pack,
        size_bytes,
    };
    let tail_start = size_bytes.saturating_sub(TAIL_BYTES);
    let tail = source.fetch(tail_start..size_bytes).await?;
    let index = source.index_range(&tail)?;
    // The crc32c covers the length of the index, which follows it.
    let covered = index.start..index.end + 4;
    let bytes = match covered.start.checked_sub(tail_start) {
        Some(start) => tail.slice(start as usize..(covered.end - tail_start) as usize),
        None => source.fetch(covered).await?,
    };
    source.check_sum(&tail, &bytes, index.end)?;
    let entries: Vec<PackEntry> = bytes.chunks_exact(ENTRY_BYTES).map(entry).collect();
    source.check_entries(&entries, index.start)?;
    Ok(entries)
}

/// A pack, for reads and for what is wrong with it.
struct Source<'s> {
    storage: &'s dyn ObjectStore,
    pack: &'s ObjectName,
    size_bytes: u64,
}

impl Source<'_> {
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Err(self.corrupt(0, "it is empty"));
        }
        match self.storage.get_range(&self.pack.path(), range.clone()).await {
            Ok(bytes) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
            Ok(_) => Err(self.corrupt(range.start, "it is shorter than it was")),
            Err(error) => Err(self.read_failed(&range, error).await),
        }
    }

    /// Stores refuse a range behind the end of a cut object in ways of their own, so its size decides.
    async fn read_failed(&self, range: &Range<u64>, error: object_store::Error) -> StorageError {
        match self.storage.head(&self.pack.path()).await {
            Ok(meta) if meta.size < range.end => self.corrupt(range.start, "it is shorter than it was"),
            _ => StorageError::from_read(self.pack.as_str(), range.start, error),
        }
    }

    /// Where the index lies, by the trailer at the end of `tail`.
    fn index_range(&self, tail: &Bytes) -> Result<Range<u64>> {
        let trailer = tail.last_chunk::<TRAILER_BYTES>();
        let trailer = trailer.ok_or_else(|| self.corrupt(0, "it is too short for a pack"))?;
        let end = self.size_bytes - TRAILER_BYTES as u64;
        if trailer[12..] != MAGIC {
            return Err(self.corrupt(end, "it does not end like a pack"));
        }
        let version = number(&trailer[8..12]);
        if version != VERSION {
            return Err(self.corrupt(end, &format!("it is a pack of version {version}, known is {VERSION}")));
        }
        let index_bytes = number(&trailer[..4]) as usize;
        let fits = index_bytes.is_multiple_of(ENTRY_BYTES) && index_bytes <= PACK_ENTRIES_MAX * ENTRY_BYTES;
        match end.checked_sub(index_bytes as u64) {
            Some(start) if fits => Ok(start..end),
            _ => Err(self.corrupt(end, "its index has no possible length")),
        }
    }

    fn check_sum(&self, tail: &Bytes, covered: &Bytes, index_end: u64) -> Result<()> {
        let expected = number(&tail[tail.len() - TRAILER_BYTES + 4..][..4]);
        let actual = crc32c(covered);
        match actual == expected {
            true => Ok(()),
            false => Err(self.corrupt(
                index_end + 4 - covered.len() as u64,
                &format!("crc32c of its index is {actual:08x}, expected {expected:08x}"),
            )),
        }
    }

    /// Contents lie back to back, from the beginning to the index.
    fn check_entries(&self, entries: &[PackEntry], index_start: u64) -> Result<()> {
        let mut end = 0;
        for entry in entries {
            if entry.offset != end {
                return Err(self.corrupt(end, "its contents do not lie back to back"));
            }
            end += entry.size_bytes;
        }
        match end == index_start {
            true => Ok(()),
            false => Err(self.corrupt(end.min(index_start), "its contents do not end where its index begins")),
        }
    }

    fn corrupt(&self, offset: u64, what: &str) -> StorageError {
        StorageError::Corrupt {
            object: self.pack.to_string(),
            offset,
            what: what.to_owned(),
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

fn entry(bytes: &[u8]) -> PackEntry {
    let (offset, rest) = bytes.split_first_chunk().expect("an entry has all its bytes");
    let (size_bytes, rest) = rest.split_first_chunk().expect("an entry has all its bytes");
    let (sha256, rest) = rest.split_first_chunk().expect("an entry has all its bytes");
    PackEntry {
        offset: u64::from_be_bytes(*offset),
        size_bytes: u64::from(u32::from_be_bytes(*size_bytes)),
        sha256: Sha256::from_bytes(*sha256),
        crc32c: number(rest),
    }
}
