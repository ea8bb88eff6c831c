//! Work that is timed, and the turns that both sides of a case take.
//!
//! Where both sides work in one process, turns are single calls. A side in another
//! process takes the processor's caches with it: a call after its turn meets a machine
//! that has just been somebody else's, which no server in use does. So there both
//! sides take turns of many calls.

use std::time::{Duration, Instant};

use crate::table::Samples;

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
