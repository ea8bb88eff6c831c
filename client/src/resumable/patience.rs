//! How long an upload waits for what does not come back.
//!
//! What travelled for hours is worth a minute of waiting: where the tries of the client
//! are used up, more follow for as long as that, unless it may not try again at all.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    Error, Result,
    retry::{Retry, random_share},
};

/// Longest wait between two of the later tries.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// The patience with one part, or one call.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    retry: &'a Retry,
    longest: Duration,
    tries: u32,
    /// When it failed first since it last went well.
    since: Option<Instant>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(retry: &'a Retry, longest: Duration) -> Self {
        Self {
            retry,
            longest,
            tries: 0,
            since: None,
        }
    }

    /// Waits before another try after an error that may pass; false when there should be none.
    pub(super) async fn wait(&mut self, error: &Error) -> bool {
        self.tries += 1;
        self.since.get_or_insert_with(Instant::now);
        self.retry.pause(self.tries, error).await || self.outlast().await
    }

    /// The same where the tries of the client are used up already.
    async fn outlast(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.retry.is_forbidden() || since.elapsed() >= self.longest {
            return false;
        }
        sleep(WAIT_MAX.mul_f64(random_share())).await;
        true
    }

    /// Notes that it went well.
    pub(super) fn succeeded(&mut self) {
        self.retry.succeeded();
        (self.tries, self.since) = (0, None);
    }

    /// Makes a call, which tries again by itself, until it succeeds, or cannot.
    pub(super) async fn run<T, F>(&mut self, mut call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        loop {
            match call().await {
                Ok(done) => {
                    self.succeeded();
                    return Ok(done);
                }
                Err(error) if error.is_retryable() && self.outlast().await => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);

    fn down() -> Error {
        Error::Transport("down".into())
    }

    /// Fails until a time has passed.
    async fn outage(retry: &Retry, lasting: Duration) -> (Result<()>, Duration) {
        let began = Instant::now();
        let ended = Patience::new(retry, LONGEST)
            .run(|| async move { if began.elapsed() < lasting { Err(down()) } else { Ok(()) } })
            .await;
        (ended, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_shorter_than_the_patience_is_waited_for() {
        let (ended, _) = outage(&Retry::new(5), Duration::from_secs(50)).await;
        assert!(ended.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_one_is_not_and_neither_is_any_by_who_may_not_try_again() {
        let (ended, took) = outage(&Retry::new(5), Duration::from_secs(3600)).await;
        assert!(ended.is_err() && took < LONGEST + 2 * WAIT_MAX, "{took:?}");
        let (ended, took) = outage(&Retry::new(1), Duration::from_secs(1)).await;
        assert!(ended.is_err() && took.is_zero(), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_success_gives_all_of_it_again() {
        let retry = Retry::new(2);
        let mut patience = Patience::new(&retry, LONGEST);
        for _ in 0..5 {
            while patience.since.is_none_or(|since| since.elapsed() < LONGEST / 2) {
                assert!(patience.wait(&down()).await);
            }
            patience.succeeded();
        }
    }
}
