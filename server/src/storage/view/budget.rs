//! Memory for content on its way out, bounded for all streams together.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PIECE_BYTES;

/// Memory of large pieces, shared by all streams of a server.
///
/// A stream that gets none goes on with small pieces, one at a time, so that
/// nobody waits and a thousand streams whose callers take nothing stay small.
#[derive(Debug, Clone)]
pub struct ReadBudget {
    pieces: Arc<Semaphore>,
}

impl Default for ReadBudget {
    /// No room at all.
    fn default() -> Self {
        Self::of_bytes(0)
    }
}

impl ReadBudget {
    /// Room for as many large pieces as fit into `bytes`.
    pub fn of_bytes(bytes: u64) -> Self {
        let pieces = usize::try_from(bytes / PIECE_BYTES).unwrap_or(usize::MAX);
        Self {
            pieces: Arc::new(Semaphore::new(pieces.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for one more large piece, if there is any.
    pub fn room(&self) -> Option<Room> {
        let piece = Arc::clone(&self.pieces).try_acquire_owned().ok()?;
        let piece = Arc::new(piece);
        Some(Room { _piece: piece })
    }
}

/// Room for one large piece, until the last of its copies is dropped.
#[derive(Debug, Clone)]
pub struct Room {
    _piece: Arc<OwnedSemaphorePermit>,
}

impl Room {
    /// Gives the room back when the last holder of the bytes has let go of them.
    pub(crate) fn hold(self, data: Bytes) -> Bytes {
        Bytes::from_owner(Held { data, _room: self })
    }
}

struct Held {
    data: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_for_as_long_as_any_part_of_the_bytes_is_held() {
        let budget = ReadBudget::of_bytes(2 * PIECE_BYTES - 1);
        let data = budget.room().expect("room for one").hold(Bytes::from_static(b"abcdef"));
        assert!(budget.room().is_none());
        let part = data.slice(2..4);
        drop(data);
        assert!(budget.room().is_none());
        drop(part);
        assert!(budget.room().is_some());
    }
}
