//! Answers that nobody takes.
//!
//! A caller that opens no window for its answer would keep a call, its buffers and
//! its place among others for ever: a connection asks for the next piece only when
//! there is room for it, so that the answer itself notices nothing. Here the task
//! of the call watches how long a piece has been with the connection.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

/// A caller has to take as much in the time for which a stream may be silent.
const PIECE_BYTES: usize = 256 << 10;

/// From this size on the connection has to ask once more before the last byte, so
/// that a call does not end while most of its answer still waits for a window.
const LAST_BYTE_APART: usize = 16 << 10;

tokio::task_local! {
    static HANDED: Arc<Handed>;
}

/// Counts up when a piece is handed to the connection, and when the next one is
/// asked for: odd while the connection has one.
#[derive(Debug, Default)]
struct Handed(AtomicU64);

/// Runs a call, or the calls of a connection that has one at a time. Answers nothing
/// when a piece was not taken for as long as `patience`.
pub(crate) async fn while_taken<F: Future>(work: F, patience: Duration) -> Option<F::Output> {
    let handed = Arc::new(Handed::default());
    let mut work = pin!(HANDED.scope(Arc::clone(&handed), work));
    let mut timer = Timer::default();
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer
            .poll(handed.0.load(Ordering::Relaxed), patience, cx)
            .map(|()| None),
    })
    .await
}

/// Measures how long one piece has been away.
#[derive(Default)]
struct Timer {
    piece: u64,
    until: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready when `piece` has been with the connection for too long.
    fn poll(&mut self, piece: u64, patience: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if piece.is_multiple_of(2) {
            return Poll::Pending;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(patience)));
        if piece != self.piece {
            self.piece = piece;
            until.as_mut().reset(Instant::now() + patience);
        }
        until.as_mut().poll(cx)
    }
}

/// The pieces of one answer.
pub(super) struct Pieces {
    /// What was cut off and is yet to be handed over.
    rest: Bytes,
    /// Nothing where nobody watches.
    handed: Option<Arc<Handed>>,
    away: bool,
}

impl Pieces {
    pub(super) fn new() -> Self {
        Self {
            rest: Bytes::new(),
            handed: HANDED.try_with(Arc::clone).ok(),
            away: false,
        }
    }

    /// The connection asks for more. Answers what is left of the last piece.
    pub(super) fn asked(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.away) {
            self.count();
        }
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| self.hand(rest))
    }

    /// Cuts off what the connection gets now.
    pub(super) fn hand(&mut self, mut data: Bytes) -> Bytes {
        let len = match data.len() {
            long if long > PIECE_BYTES => PIECE_BYTES,
            last if last > LAST_BYTE_APART => last - 1,
            short => short,
        };
        self.rest = data.split_off(len);
        self.away = true;
        self.count();
        data
    }

    fn count(&self) {
        if let Some(handed) = &self.handed {
            handed.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_answer_and_the_last_byte_of_a_long_one_is_apart() {
        for len in [
            0,
            1,
            LAST_BYTE_APART,
            LAST_BYTE_APART + 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            1 << 20,
        ] {
            let data = Bytes::from(vec![7; len]);
            let mut pieces = Pieces::new();
            let mut sizes = vec![pieces.hand(data).len()];
            sizes.extend(std::iter::from_fn(|| pieces.asked()).map(|piece| piece.len()));
            assert_eq!(sizes.iter().sum::<usize>(), len);
            assert!(sizes.iter().all(|size| *size <= PIECE_BYTES), "{sizes:?}");
            assert!(len <= LAST_BYTE_APART || sizes.last() == Some(&1), "{len}: {sizes:?}");
        }
    }

    const PATIENCE: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn only_a_piece_that_stays_away_ends_a_call() {
        let idle = sleep(3 * PATIENCE);
        assert!(while_taken(idle, PATIENCE).await.is_some(), "nothing was handed over");
        let slow = async {
            let mut pieces = Pieces::new();
            for _ in 0..4 {
                pieces.hand(Bytes::from_static(b"x"));
                sleep(PATIENCE / 4).await;
                pieces.asked();
                sleep(2 * PATIENCE).await;
            }
        };
        assert!(
            while_taken(slow, PATIENCE).await.is_some(),
            "every piece was taken in time"
        );
        let stuck = async {
            let mut pieces = Pieces::new();
            pieces.hand(Bytes::from_static(b"x"));
            pieces.asked();
            pieces.hand(Bytes::from_static(b"x"));
            sleep(10 * PATIENCE).await;
        };
        assert!(while_taken(stuck, PATIENCE).await.is_none());
    }
}
