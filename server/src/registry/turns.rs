//! Turns: how many content streams are read at once, and how many may wait for that.
//!
//! A stream that is read costs the memory of its pieces, one that waits what its
//! caller may send ahead. Both numbers are bounded, and so is the wait. Turns are
//! given in the order in which they were asked for.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Limits, Registry, RegistryError, Result};

/// The turns of a server.
#[derive(Debug)]
pub(super) struct ContentTurns {
    turns: Arc<Semaphore>,
    /// Places of the streams that have a turn, and of those that wait for one.
    places: Arc<Semaphore>,
    wait: Duration,
}

/// The right to read a content stream, until the last of its copies is dropped.
#[derive(Debug, Clone)]
pub struct ContentTurn {
    _turn: Arc<OwnedSemaphorePermit>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Registry {
    /// Waits for the turn to read content, for callers whose content comes in one message.
    pub async fn content_turn(&self) -> Result<ContentTurn> {
        self.content_turns.take().await
    }
}

impl ContentTurns {
    /// As many as the limits say.
    pub(super) fn new(limits: &Limits) -> Self {
        let places = limits.content_streams_max.saturating_add(limits.content_waiting_max);
        Self {
            turns: Arc::new(Semaphore::new(limits.content_streams_max)),
            places: Arc::new(Semaphore::new(places)),
            wait: limits.content_wait,
        }
    }

    /// Waits for a turn. `Busy` when there is no place to wait, or none came in time.
    pub(super) async fn take(&self) -> Result<ContentTurn> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| RegistryError::Busy)?;
        match timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(turn) => Ok(ContentTurn {
                _turn: Arc::new(turn.expect("the semaphore is never closed")),
                _place: Arc::new(place),
            }),
            Err(_) => Err(RegistryError::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const WAITING_MAX: usize = 3;

    fn turns_of(streams_max: usize, wait: Duration) -> ContentTurns {
        ContentTurns::new(&Limits {
            content_bytes_max: 1,
            content_streams_max: streams_max,
            content_waiting_max: WAITING_MAX,
            content_wait: wait,
            stream_idle_timeout: LONG,
            upload_expiry: LONG,
        })
    }

    fn waiting(turns: &ContentTurns) -> BoxFuture<'_, Result<ContentTurn>> {
        let mut waiting = turns.take().boxed();
        assert!((&mut waiting).now_or_never().is_none(), "it has its turn");
        waiting
    }

    #[tokio::test]
    async fn who_finds_no_place_to_wait_is_turned_away_at_once() {
        let turns = turns_of(2, LONG);
        let first = turns.take().await.unwrap();
        let _second = turns.take().await.unwrap();
        let mut line: Vec<_> = (0..WAITING_MAX).map(|_| waiting(&turns)).collect();
        let more = turns.take().now_or_never().expect("an answer at once");
        assert!(matches!(more, Err(RegistryError::Busy)));
        // One that has ended leaves its turn to the first in line, and a place behind the last.
        drop(first);
        let third = line.remove(0).await.unwrap();
        let last = waiting(&turns);
        assert!(turns.take().now_or_never().expect("an answer at once").is_err());
        // So does one that gave up.
        drop(last);
        drop(waiting(&turns));
        drop(third);
    }

    #[tokio::test]
    async fn who_waited_in_vain_leaves_its_place() {
        let turns = turns_of(1, Duration::ZERO);
        let held = turns.take().await.unwrap();
        for _ in 0..=WAITING_MAX {
            assert!(matches!(turns.take().await, Err(RegistryError::Busy)));
        }
        drop(held);
        turns.take().await.unwrap();
    }
}
