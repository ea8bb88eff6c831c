//! Turns: how many content streams are read at once, and how many may wait for that; and
//! how many go to one key.
//!
//! A stream that is read costs the memory of its pieces, one that waits what its
//! caller may send ahead. Both numbers are bounded, and so is the wait. Turns are
//! given in the order in which they were asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Limits, Registry, RegistryError, Result};

/// How many streams a message is worth that holds a whole part: it is in memory at
/// once, where of a stream there are a few chunks.
const MESSAGE_WORTH: u32 = 4;

/// The turns of a server.
#[derive(Debug)]
pub(super) struct ContentTurns {
    turns: Arc<Semaphore>,
    /// What a message is worth here.
    message_worth: u32,
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
    /// Waits for the turn to read content that comes in one message.
    pub async fn message_turn(&self) -> Result<ContentTurn> {
        self.content_turns.take_for_message().await
    }
}

impl ContentTurns {
    /// As many as the limits say.
    pub(super) fn new(limits: &Limits) -> Self {
        let places = limits.content_streams_max.saturating_add(limits.content_waiting_max);
        let streams = u32::try_from(limits.content_streams_max).unwrap_or(u32::MAX);
        Self {
            message_worth: MESSAGE_WORTH.min(streams),
            turns: Arc::new(Semaphore::new(limits.content_streams_max)),
            places: Arc::new(Semaphore::new(places)),
            wait: limits.content_wait,
        }
    }

    /// Waits for the turn of a stream. `Busy` when there is no place to wait, or none came in time.
    pub(super) async fn take(&self) -> Result<ContentTurn> {
        self.take_worth(1).await
    }

    /// Waits for the turn of a message, as [`Self::take`] does.
    pub(super) async fn take_for_message(&self) -> Result<ContentTurn> {
        self.take_worth(self.message_worth).await
    }

    async fn take_worth(&self, streams: u32) -> Result<ContentTurn> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| RegistryError::Busy)?;
        match timeout(self.wait, Arc::clone(&self.turns).acquire_many_owned(streams)).await {
            Ok(turn) => Ok(ContentTurn {
                _turn: Arc::new(turn.expect("the semaphore is never closed")),
                _place: Arc::new(place),
            }),
            Err(_) => Err(RegistryError::Busy),
        }
    }
}

/// Contents that are on their way to one key at once.
pub(super) const OF_KEY_MAX: usize = 64;

/// How many content streams there are to each key of a space.
///
/// Only one of them makes the latest version: who sends more at once is in a loop, and
/// shall not take the turns of everybody else.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyTurns(Arc<Mutex<HashMap<(i64, String), usize>>>);

/// The right to send a stream to a key, until it is dropped.
#[derive(Debug)]
pub(super) struct KeyTurn {
    turns: KeyTurns,
    place: (i64, String),
}

impl KeyTurns {
    /// One more stream to a key; `KeyBusy` when there are as many as there may be.
    pub(super) fn take(&self, space_id: i64, key: &str) -> Result<KeyTurn> {
        let place = (space_id, key.to_owned());
        let mut streams = self.0.lock().expect("no holder panics");
        let of_key = streams.entry(place.clone()).or_default();
        if *of_key >= OF_KEY_MAX {
            return Err(RegistryError::KeyBusy(place.1));
        }
        *of_key += 1;
        Ok(KeyTurn {
            turns: self.clone(),
            place,
        })
    }
}

impl Drop for KeyTurn {
    fn drop(&mut self) {
        let mut streams = self.turns.0.lock().expect("no holder panics");
        if let Some(of_key) = streams.get_mut(&self.place) {
            *of_key -= 1;
            if *of_key == 0 {
                streams.remove(&self.place);
            }
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
            table_streams_max: 1,
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
    async fn a_message_is_worth_several_streams_where_there_are_as_many() {
        let turns = turns_of(MESSAGE_WORTH as usize + 1, LONG);
        let message = turns.take_for_message().await.unwrap();
        let stream = turns.take().await.unwrap();
        drop(waiting(&turns));
        drop(message);
        let _message = turns.take_for_message().await.unwrap();
        drop(stream);
        let one = turns_of(1, LONG);
        one.take_for_message().await.unwrap();
        one.take().await.unwrap();
    }

    #[test]
    fn a_key_takes_as_many_streams_as_it_may_and_another_one_for_each_that_ends() {
        let turns = KeyTurns::default();
        let mut taken: Vec<_> = (0..OF_KEY_MAX).map(|_| turns.take(1, "a").unwrap()).collect();
        assert!(matches!(turns.take(1, "a"), Err(RegistryError::KeyBusy(key)) if key == "a"));
        let others = [turns.take(1, "b").unwrap(), turns.take(2, "a").unwrap()];
        taken.pop();
        taken.push(turns.take(1, "a").unwrap());
        assert!(turns.take(1, "a").is_err());
        drop((taken, others));
        assert!(turns.0.lock().unwrap().is_empty(), "what nobody sends to is forgotten");
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
