//! Answers that nobody takes.
//!
//! A caller that opens no window for its answer would keep a call, its buffers and
//! its place among others for ever: a connection asks for the next piece only when
//! there is room for it, so that the answer itself notices nothing. Here the task
//! of the call watches how long a piece has been with the connection. The end of an
//! answer waits until what came before it has left, so that a call does not end while
//! most of its answer still waits for a window.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep};

/// A caller has to take as much in the time for which a stream may be silent.
const PIECE_BYTES: usize = 256 << 10;

/// The same of one who takes answers at speed, since a piece wakes a task or two.
const FAST_PIECE_BYTES: usize = 2 << 20;

/// Who takes a piece at this rate does so.
const FAST_BYTES_PER_SECOND: f64 = (8 << 20) as f64;

/// The end of an answer waits for pieces from this size on.
const AWAITED_BYTES_MIN: usize = 16 << 10;

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
    /// When one of full size was handed over that was not asked for since, and its bytes.
    since: Option<(Instant, usize)>,
    is_fast: bool,
    leaving: Arc<Leaving>,
}

/// Large pieces that the connection has and did not write yet.
#[derive(Default)]
struct Leaving {
    pieces: AtomicUsize,
    /// Who waits until there is none.
    end: AtomicWaker,
}

/// A large piece. The connection drops it once it is written, or never will be.
struct Piece {
    data: Bytes,
    leaving: Arc<Leaving>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.leaving.pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.leaving.end.wake();
        }
    }
}

impl Pieces {
    pub(super) fn new() -> Self {
        Self {
            rest: Bytes::new(),
            handed: HANDED.try_with(Arc::clone).ok(),
            away: false,
            since: None,
            is_fast: false,
            leaving: Arc::default(),
        }
    }

    /// The connection asks for more. Answers what is left of the last piece.
    pub(super) fn asked(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.away) {
            self.count();
        }
        if let Some((since, bytes)) = self.since.take() {
            self.is_fast = bytes as f64 >= FAST_BYTES_PER_SECOND * since.elapsed().as_secs_f64();
        }
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| self.hand(rest))
    }

    /// Cuts off what the connection gets now.
    pub(super) fn hand(&mut self, mut data: Bytes) -> Bytes {
        let most = if self.is_fast { FAST_PIECE_BYTES } else { PIECE_BYTES };
        self.rest = data.split_off(data.len().min(most));
        if data.len() >= PIECE_BYTES {
            self.since = Some((Instant::now(), data.len()));
        }
        self.away = true;
        self.count();
        if data.len() < AWAITED_BYTES_MIN {
            return data;
        }
        self.leaving.pieces.fetch_add(1, Ordering::AcqRel);
        let leaving = Arc::clone(&self.leaving);
        Bytes::from_owner(Piece { data, leaving })
    }

    /// Ready when all large pieces have left. Until then the last one counts as being with
    /// the connection.
    pub(super) fn poll_left(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.leaving.end.register(cx.waker());
        if self.leaving.pieces.load(Ordering::Acquire) > 0 {
            if !std::mem::replace(&mut self.away, true) {
                self.count();
            }
            return Poll::Pending;
        }
        if std::mem::take(&mut self.away) {
            self.count();
        }
        Poll::Ready(())
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

    /// The sizes of the pieces in which so many bytes are handed over, each taken after a time.
    async fn sizes(pieces: &mut Pieces, bytes: usize, after: Duration) -> Vec<usize> {
        let mut sizes = vec![pieces.hand(vec![7; bytes].into()).len()];
        loop {
            tokio::time::advance(after).await;
            match pieces.asked() {
                Some(piece) => sizes.push(piece.len()),
                None => return sizes,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pieces_are_the_answer_and_small_until_they_are_taken_at_speed() {
        let mut pieces = Pieces::new();
        let fast = Duration::from_millis(30);
        let slow = Duration::from_millis(32);
        for bytes in [0, 1, PIECE_BYTES - 1] {
            assert_eq!(sizes(&mut pieces, bytes, fast).await, [bytes]);
        }
        let small = sizes(&mut pieces, 3 * PIECE_BYTES + 1, slow).await;
        assert_eq!(small, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 1]);
        let grown = sizes(&mut pieces, PIECE_BYTES + FAST_PIECE_BYTES + 5, fast).await;
        assert_eq!(grown, [PIECE_BYTES, FAST_PIECE_BYTES, 5]);
        let shrunk = sizes(&mut pieces, FAST_PIECE_BYTES + PIECE_BYTES + 5, 8 * slow).await;
        assert_eq!(shrunk, [FAST_PIECE_BYTES, PIECE_BYTES, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_the_large_pieces_before_it() {
        let mut pieces = Pieces::new();
        let left = async |pieces: &mut Pieces, within| {
            let left = poll_fn(|cx| pieces.poll_left(cx));
            tokio::time::timeout(within, left).await.is_ok()
        };
        assert!(left(&mut pieces, PATIENCE).await);
        let small = pieces.hand(vec![7; AWAITED_BYTES_MIN - 1].into());
        pieces.asked();
        assert!(left(&mut pieces, PATIENCE).await, "a small piece is not waited for");
        let first = pieces.hand(vec![7; AWAITED_BYTES_MIN].into());
        pieces.asked();
        let second = pieces.hand(vec![7; PIECE_BYTES].into()).slice(5..6);
        pieces.asked();
        drop((small, first));
        assert!(!left(&mut pieces, PATIENCE).await, "a part of a piece is still there");
        tokio::spawn(async move {
            sleep(PATIENCE / 4).await;
            drop(second);
        });
        assert!(left(&mut pieces, 10 * PATIENCE).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_waits_for_too_long_ends_a_call() {
        let stuck = async {
            let mut pieces = Pieces::new();
            let _piece = pieces.hand(vec![7; PIECE_BYTES].into());
            pieces.asked();
            poll_fn(|cx| pieces.poll_left(cx)).await;
        };
        assert!(while_taken(stuck, PATIENCE).await.is_none());
    }

    const PATIENCE: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
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
