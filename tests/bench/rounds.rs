//! Work that is timed, and the turns that both sides of a case take.
//!
//! Where both sides work in one process, turns are single calls. A side in another
//! process takes the processor's caches with it: a call after its turn meets a machine
//! that has just been somebody else's, which no server in use does. So there both
//! sides take turns of many calls.

use std::time::{Duration, Instant};

use crate::{peer::Peer, table::Samples};

/// Rounds beside another process, and how many of them are one turn.
const BESIDE_ROUNDS: u64 = 200;
const BESIDE_TURN: u64 = 20;

/// What a call answers, and how long it took. It must succeed.
pub(crate) async fn timed<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> (T, Duration) {
    let began = Instant::now();
    let done = call.await.expect("the call succeeds");
    (done, began.elapsed())
}

/// How long a call took. It must succeed.
pub(crate) async fn time_of<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> Duration {
    timed(call).await.1
}

/// What was measured of both sides.
#[derive(Default)]
pub(crate) struct Both {
    pub(crate) ours: Samples,
    pub(crate) other: Samples,
}

impl Both {
    /// One block of rounds: each side works all of them, and every other block begins with the other one.
    pub(crate) async fn block(
        &mut self,
        number: u64,
        ours: impl AsyncFnOnce(&mut Samples),
        other: impl AsyncFnOnce(&mut Samples),
    ) {
        if number.is_multiple_of(2) {
            ours(&mut self.ours).await;
            other(&mut self.other).await;
        } else {
            other(&mut self.other).await;
            ours(&mut self.ours).await;
        }
    }

    /// All rounds of a call that changes nothing, beside an operation of a peer.
    pub(crate) async fn beside(peer: &Peer, operation: &str, ours: impl AsyncFn() -> Duration) -> Self {
        let mut both = Self::default();
        for number in 0..BESIDE_ROUNDS / BESIDE_TURN {
            let our_turn = async |times: &mut Samples| {
                for _ in 0..BESIDE_TURN {
                    times.push_time(ours().await);
                }
            };
            let turn_of_peer = async |times: &mut Samples| {
                for round in 0..BESIDE_TURN {
                    times.push_time(peer.call(operation, number * BESIDE_TURN + round).await);
                }
            };
            both.block(number, our_turn, turn_of_peer).await;
        }
        both
    }

    /// One round: each side works once, and every other round begins with the other one.
    pub(crate) async fn round(
        &mut self,
        number: u64,
        ours: impl Future<Output = Duration>,
        other: impl Future<Output = Duration>,
    ) {
        if number.is_multiple_of(2) {
            self.ours.push_time(ours.await);
            self.other.push_time(other.await);
        } else {
            self.other.push_time(other.await);
            self.ours.push_time(ours.await);
        }
    }
}
