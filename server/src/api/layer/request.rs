//! The messages of a request, as they come in.
//!
//! A call of one message gets one, and a caller that sends does so at a pace: a
//! stream that is kept open by a byte now and then holds what others wait for.
//! Only time in which the server waits for the caller counts.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, body::Body};

/// What a caller sends at least, on average over the time for which it may be silent.
pub(crate) const BYTES_PER_SECOND_MIN: u64 = 1024;

/// A flag and a length stand before every message.
const PREFIX_BYTES: usize = 5;

/// The body of a request, checked.
pub(super) struct RequestBody {
    body: Body,
    /// Where one message is all that may come.
    only: Option<OnlyMessage>,
    pace: Pace,
}

impl RequestBody {
    /// A body of any number of messages, or of one; `patience` is how long the caller may be silent.
    pub(super) fn new(body: Body, one_message: bool, patience: Duration) -> Self {
        Self {
            body,
            only: one_message.then(OnlyMessage::default),
            pace: Pace::new(patience),
        }
    }

    fn check(&mut self, frame: &Frame<Bytes>) -> Result<(), Status> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        self.pace.came(data.len());
        match &mut self.only {
            Some(only) => only.take(data),
            None => Ok(()),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => self.pace.wait(cx).map(|slow| Some(Err(slow))),
            Poll::Ready(Some(Ok(frame))) => {
                let checked = self.check(&frame);
                Poll::Ready(Some(checked.map(|()| frame)))
            }
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The message of a call that has one.
#[derive(Debug, Default)]
struct OnlyMessage {
    prefix: Vec<u8>,
    /// Bytes of the message that came.
    came: u64,
}

impl OnlyMessage {
    /// Takes bytes; fails when they are more than the message.
    fn take(&mut self, mut data: &[u8]) -> Result<(), Status> {
        let missing = (PREFIX_BYTES - self.prefix.len()).min(data.len());
        self.prefix.extend_from_slice(&data[..missing]);
        data.advance(missing);
        let Some(mut len) = self.prefix.get(1..PREFIX_BYTES) else {
            return Ok(());
        };
        self.came += data.len() as u64;
        if self.came > u64::from(len.get_u32()) {
            return Err(Status::invalid_argument("the call takes one message, and more came"));
        }
        Ok(())
    }
}

/// How fast a caller sends.
#[derive(Debug)]
struct Pace {
    patience: Duration,
    /// Bytes that came since it was last judged.
    bytes: u64,
    /// How long the server waited for the caller since then, this time left out.
    waited: Duration,
    /// Since when it waits now, and until when it will.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            bytes: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing is there. Ready with the refusal once the caller was too slow.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        loop {
            let left = self.patience.saturating_sub(self.waited);
            let (since, until) = self
                .waiting
                .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            if !left.is_zero() && until.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let waited = self.waited + since.elapsed();
            if self.bytes < self.least_bytes() {
                let what = format!("{} bytes came in {waited:.0?} of waiting", self.bytes);
                return Poll::Ready(Status::deadline_exceeded(what));
            }
            (self.bytes, self.waited, self.waiting) = (0, Duration::ZERO, None);
        }
    }

    fn least_bytes(&self) -> u64 {
        (self.patience.as_secs_f64() * BYTES_PER_SECOND_MIN as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn taken(pieces: &[&[u8]]) -> bool {
        let mut only = OnlyMessage::default();
        pieces.iter().all(|piece| only.take(piece).is_ok())
    }

    #[test]
    fn one_message_may_come_in_any_pieces_and_nothing_may_follow() {
        let message = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        for cut in 0..=message.len() {
            let (first, second) = message.split_at(cut);
            assert!(taken(&[first, second]), "cut at {cut}");
            assert!(!taken(&[first, second, &[0]]), "cut at {cut}, and a byte more");
        }
        assert!(taken(&[&[0; 5]]));
        assert!(!taken(&[&[0; 5], &message]));
        assert!(!taken(&[&[0; 10]]));
        assert!(taken(&[&[0, 0xff, 0xff, 0xff, 0xff], &[7; 100]]));
    }

    const PATIENCE: Duration = Duration::from_millis(100);
    const STEP: Duration = Duration::from_millis(10);

    /// Sends some bytes again and again to a server that waits for them.
    async fn send(bytes: usize, steps: u32, pace: &mut Pace) -> Poll<Status> {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..steps {
            if let Poll::Ready(slow) = pace.wait(&mut cx) {
                return Poll::Ready(slow);
            }
            sleep(STEP).await;
            pace.came(bytes);
        }
        pace.wait(&mut cx)
    }

    #[tokio::test]
    async fn who_sends_too_little_is_refused_and_who_sends_enough_is_not() {
        assert!(send(200, 50, &mut Pace::new(PATIENCE)).await.is_pending());
        assert!(send(1, 5, &mut Pace::new(PATIENCE)).await.is_pending());
        assert!(send(1, 50, &mut Pace::new(PATIENCE)).await.is_ready());
        assert!(send(0, 50, &mut Pace::new(PATIENCE)).await.is_ready());
    }

    #[tokio::test]
    async fn time_in_which_nobody_waits_for_the_caller_does_not_count() {
        let mut pace = Pace::new(PATIENCE);
        for _ in 0..20 {
            sleep(STEP).await;
            pace.came(1);
        }
        assert!(send(1, 2, &mut pace).await.is_pending());
    }
}
