//! Packs: one object that holds many small contents.
//!
//! A thousand small files would cost a thousand fsyncs or PUTs of their own. In a
//! pack they lie back to back and cost one. After them comes an index, so that what
//! a pack holds is known without the database, and after it a trailer of fixed size,
//! so that the index is found from the end:
//!
//! ```text
//! contents    back to back
//! index       per content: offset (8), size (4), sha256 (32), crc32c of it (4)
//! trailer     bytes of the index (4), crc32c of the index and these 4 (4), version (4), "artfpack"
//! ```
//!
//! Numbers are big-endian. Readers of contents know their offsets from the database
//! and never read the index; it is there for `verify`, compaction and recovery.

mod index;

use artifactd_domain::{BLOCK_BYTES, ContentDigest, Sha256, combine_crc32c};
use bytes::Bytes;
pub use index::{ENTRY_BYTES as PACK_ENTRY_BYTES, read_index};

use super::{FinishedObject, PendingObject, error::Result};

/// Contents of this size and more have an object of their own.
pub const PACKED_CONTENT_BYTES_END: u64 = 1024 * 1024;

/// Bytes of all contents of a pack.
pub const PACK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Contents of a pack; their index has 3 MiB then.
pub const PACK_ENTRIES_MAX: usize = 64 * 1024;

/// One content of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEntry {
    /// Position of its first byte in the object.
    pub offset: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// crc32c of all of it.
    pub crc32c: u32,
}

/// A pack that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedPack {
    /// The object.
    pub object: FinishedObject,
    /// What it holds, in the order in which it came.
    pub entries: Vec<PackEntry>,
}

/// Writes a pack into an object that was begun under the name of one.
pub struct PackWriter {
    object: Box<dyn PendingObject>,
    entries: Vec<PackEntry>,
    content_bytes: u64,
}

impl PackWriter {
    /// A pack with nothing in it.
    pub fn new(object: Box<dyn PendingObject>) -> Self {
        Self {
            object,
            entries: Vec::new(),
            content_bytes: 0,
        }
    }

    /// Whether nothing was put into it; such a pack is aborted rather than finished.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the contents that were put into it.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Whether a content of this size still fits.
    pub fn has_room_for(&self, size_bytes: u64) -> bool {
        self.entries.len() < PACK_ENTRIES_MAX && size_bytes <= PACK_BYTES_MAX - self.content_bytes
    }

    /// Whether it is full: some content that belongs into packs may not fit any more.
    pub fn is_full(&self) -> bool {
        !self.has_room_for(PACKED_CONTENT_BYTES_END - 1)
    }

    /// Puts a content at the end, and gives its offset. An error is final: abort.
    ///
    /// The content must fit, and the digest must be its.
    pub async fn put(&mut self, content: Bytes, digest: &ContentDigest) -> Result<u64> {
        assert!(self.has_room_for(digest.size_bytes), "a full pack is finished first");
        assert_eq!(
            content.len() as u64,
            digest.size_bytes,
            "a content comes with its own digest"
        );
        let offset = self.content_bytes;
        self.object.put_part(content).await?;
        self.content_bytes += digest.size_bytes;
        self.entries.push(PackEntry {
            offset,
            size_bytes: digest.size_bytes,
            sha256: digest.sha256,
            crc32c: whole_crc32c(digest),
        });
        Ok(offset)
    }

    /// Writes the index, and makes the pack durable and readable.
    pub async fn finish(mut self) -> Result<FinishedPack> {
        match self.object.put_part(index::encode(&self.entries).into()).await {
            Ok(()) => Ok(FinishedPack {
                object: self.object.finish().await?,
                entries: self.entries,
            }),
            Err(error) => {
                self.object.abort().await;
                Err(error)
            }
        }
    }

    /// Removes what was written.
    pub async fn abort(self) {
        self.object.abort().await;
    }
}

/// The crc32c of a whole content, from those of its blocks.
fn whole_crc32c(digest: &ContentDigest) -> u32 {
    let mut blocks = (0..).zip(&digest.block_crc32c);
    // That of one block is that of the whole: most contents of packs have no more.
    let first = blocks.next().map_or(0, |(_, first)| *first);
    blocks.fold(first, |crc, (number, block)| {
        let before = number * BLOCK_BYTES;
        let size = (digest.size_bytes as usize - before).min(BLOCK_BYTES);
        combine_crc32c(crc, *block, size)
    })
}

#[cfg(test)]
mod tests;
