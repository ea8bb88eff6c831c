//! Room for large batches.
//!
//! A read of a table has two batches in memory: one is sent, and one waits. Callers may
//! wish for batches of 16 MiB, of which a few readers have as many as they like. When
//! many wish for them at once, those that come later get usual ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest batch for which nobody needs room.
const USUAL_BYTES: usize = 2 * 1024 * 1024;

/// All large batches that are in memory at once.
const LARGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Batches of one read.
const BATCHES_HELD: usize = 2;

/// Room is counted in these.
const STEP_BYTES: usize = 64 * 1024;

/// The room of a server.
#[derive(Debug)]
pub(in crate::registry) struct BatchRoom(Arc<Semaphore>);

impl Default for BatchRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BYTES_MAX / STEP_BYTES)))
    }
}

impl BatchRoom {
    /// How large batches of a read may be of which the caller wishes for so many bytes, and
    /// the room that they need until it is dropped.
    pub(super) fn take(&self, wish: usize) -> (usize, Option<OwnedSemaphorePermit>) {
        if wish <= USUAL_BYTES {
            return (wish, None);
        }
        let steps = (BATCHES_HELD * wish).div_ceil(STEP_BYTES);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        match Arc::clone(&self.0).try_acquire_many_owned(steps) {
            Ok(room) => (wish, Some(room)),
            Err(_) => (USUAL_BYTES, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_comers_get_usual_batches_until_there_is_room_again() {
        const LARGE: usize = 16 * 1024 * 1024;
        let room = BatchRoom::default();
        let mut taken: Vec<_> = (0..8).map(|_| room.take(LARGE)).collect();
        assert!(taken.iter().all(|(bytes, room)| *bytes == LARGE && room.is_some()));
        assert_eq!(room.take(LARGE).0, USUAL_BYTES);
        assert_eq!(room.take(USUAL_BYTES + 1).0, USUAL_BYTES);
        assert_eq!(room.take(64 * 1024).0, 64 * 1024);
        taken.pop();
        assert_eq!(room.take(LARGE).0, LARGE);
        // What is wished for counts, rounded up.
        let small = room.take(USUAL_BYTES + 1);
        assert_eq!((small.0, small.1.unwrap().num_permits()), (USUAL_BYTES + 1, 65));
    }
}
