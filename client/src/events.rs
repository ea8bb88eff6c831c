//! What happens in transfers, for whoever shows it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::Stream;

use crate::Client;

/// Events that may wait; older ones go when nobody takes them.
const WAITING_MAX: usize = 256;

/// Something that happened in a save, an upload or a download.
///
/// Numbers count from the beginning of the transfer and include what need not travel,
/// so that the last one of an event is all that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It is known what there is to do.
    Begun {
        /// Files.
        files: u64,
        /// Their bytes; unset when they come from a pipe.
        bytes: Option<u64>,
    },
    /// An upload has an id, under which it can be resumed.
    UploadBegun {
        /// The id.
        uid: String,
    },
    /// Something has arrived: it is durable at the server, or checked and written here.
    Arrived {
        /// Files that are complete.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// The server has hashed something of what arrived.
    Hashed {
        /// Bytes.
        bytes: u64,
    },
    /// The line failed, and another try begins soon.
    Retrying {
        /// Tries that failed since something last arrived.
        tries: u32,
        /// Until the next one.
        wait: Duration,
        /// What failed.
        error: String,
    },
    /// All of it is done.
    Done {
        /// Bytes that travelled for it.
        moved_bytes: u64,
    },
}

impl Event {
    /// Whether a newer event of this kind says all that this one does.
    fn is_outdated_by(&self, newer: &Self) -> bool {
        matches!(
            (self, newer),
            (Self::Arrived { .. }, Self::Arrived { .. }) | (Self::Hashed { .. }, Self::Hashed { .. })
        )
    }
}

/// The events of one client's transfers. Made by [`Client::watched`].
///
/// It ends when the client and its clones are gone. Nobody waits for whoever reads it:
/// events that count up are merged while they wait.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

/// Tells events to whoever listens, if anybody does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Teller(Option<Arc<Closing>>);

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    is_over: bool,
    waker: Option<Waker>,
}

/// Ends the events when the last teller goes.
#[derive(Debug)]
struct Closing(Arc<Shared>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Teller {
    fn new() -> (Self, Events) {
        let shared = Arc::new(Shared::default());
        (Self(Some(Arc::new(Closing(Arc::clone(&shared))))), Events(shared))
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: Event) {
        let Some(closing) = &self.0 else {
            return;
        };
        let mut state = closing.0.lock();
        if state.waiting.back().is_some_and(|last| last.is_outdated_by(&event)) {
            state.waiting.pop_back();
        }
        if state.waiting.len() == WAITING_MAX {
            state.waiting.pop_front();
        }
        state.waiting.push_back(event);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.0.lock();
        match state.waiting.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.is_over => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Client {
    /// The same client, and the events of its transfers: best one for each transfer that
    /// is shown, as events do not say of which one they are.
    ///
    /// ```no_run
    /// # async fn show(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// use artifactd_client::Event;
    /// use futures::StreamExt;
    ///
    /// let (watched, mut events) = client.watched();
    /// let shown = tokio::spawn(async move {
    ///     while let Some(event) = events.next().await {
    ///         if let Event::Arrived { bytes, .. } = event {
    ///             eprintln!("{bytes} bytes");
    ///         }
    ///     }
    /// });
    /// watched.download("cells/large.h5ad", "large.h5ad").await?;
    /// // The events end with the client that tells them.
    /// drop(watched);
    /// # drop(shown);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watched(&self) -> (Self, Events) {
        let (teller, events) = Teller::new();
        let mut client = self.clone();
        client.events = teller;
        (client, events)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn arrived(bytes: u64) -> Event {
        Event::Arrived { files: 0, bytes }
    }

    #[tokio::test]
    async fn counts_are_merged_while_nobody_looks_and_the_last_is_seen() {
        let (teller, events) = Teller::new();
        let begun = Event::Begun {
            files: 1,
            bytes: Some(10_000),
        };
        teller.tell(begun.clone());
        (0..10_000).for_each(|bytes| teller.tell(arrived(bytes)));
        teller.tell(Event::Hashed { bytes: 1 });
        teller.tell(arrived(10_000));
        drop(teller);
        let seen: Vec<Event> = events.collect().await;
        assert_eq!(
            seen,
            [begun, arrived(9_999), Event::Hashed { bytes: 1 }, arrived(10_000)]
        );
    }

    #[tokio::test]
    async fn few_wait_however_many_are_told() {
        let (teller, events) = Teller::new();
        for number in 0..10_000 {
            teller.tell(Event::UploadBegun {
                uid: number.to_string(),
            });
        }
        drop(teller);
        assert_eq!(events.count().await, WAITING_MAX);
    }

    #[tokio::test]
    async fn a_listener_that_waits_is_woken_also_by_the_end() {
        let (teller, mut events) = Teller::new();
        let listening = tokio::spawn(async move {
            let first = events.next().await;
            (first, events.next().await)
        });
        tokio::task::yield_now().await;
        teller.clone().tell(arrived(1));
        tokio::task::yield_now().await;
        drop(teller);
        assert_eq!(listening.await.unwrap(), (Some(arrived(1)), None));
    }
}
