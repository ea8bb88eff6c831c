//! Bodies of messages that go out as they lie in the content, read while they are sent.
//!
//! One stream goes through all bodies of a read, so that what lies between two of them is
//! read and left out. Each piece was checked, and is sent while it is at hand.

use std::ops::Range;

use artifactd_domain::BLOCK_BYTES;
use bytes::{Buf, Bytes};
use futures::StreamExt;

use super::super::open::{Chunks, Reader};
use crate::storage::StorageError;

/// Bytes that are sent at once: fewer wake who sends them more often, and more would be out of
/// the processor's reach before they are sent.
const CHUNK_BYTES: u64 = 8 * BLOCK_BYTES as u64;

/// What lies between two bodies is read up to this size; behind more, another stream begins.
const GAP_BYTES_MAX: u64 = BLOCK_BYTES as u64;

/// A stream through the content.
#[derive(Default)]
pub(super) struct Bodies {
    chunks: Option<Chunks>,
    /// Where the next byte lies.
    at: u64,
    /// What came and was not given yet.
    here: Bytes,
}

impl Bodies {
    /// The next bytes of a range that is not empty: at least one. The stream goes on to `end`
    /// when more is asked for.
    pub(super) async fn next(&mut self, reader: &Reader, range: &Range<u64>, end: u64) -> Result<Bytes, StorageError> {
        let gap = range.start.checked_sub(self.at);
        if self.chunks.is_none() || gap.is_none_or(|gap| gap > GAP_BYTES_MAX) {
            self.chunks = Some(reader.chunks(range.start..end.max(range.end), CHUNK_BYTES));
            (self.at, self.here) = (range.start, Bytes::new());
        }
        loop {
            let left_out = (range.start - self.at).min(self.here.len() as u64);
            self.here.advance(left_out as usize);
            self.at += left_out;
            if !self.here.is_empty() {
                let bytes = (range.end - self.at).min(self.here.len() as u64);
                self.at += bytes;
                return Ok(self.here.split_to(bytes as usize));
            }
            let next = match &mut self.chunks {
                Some(chunks) => chunks.next().await,
                None => None,
            };
            match next {
                Some(Ok(chunk)) => self.here = chunk.data,
                Some(Err(error)) => {
                    self.chunks = None;
                    return Err(error);
                }
                // One that ends where it was to end and had to go on, as none does.
                None => {
                    self.chunks = Some(reader.chunks(self.at..range.end, CHUNK_BYTES));
                }
            }
        }
    }
}

impl std::fmt::Debug for Bodies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bodies(at {})", self.at)
    }
}
