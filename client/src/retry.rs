//! Trying again: only what is safe, with growing waits of random length, and
//! never more than a share of all calls.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::{Error, Result};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Tries in store at first, and at most. Each try costs ten, each success gives one.
const BUDGET_MAX: i64 = 500;
const TRY_COST: i64 = 10;

/// How often a client tries again.
#[derive(Debug)]
pub(crate) struct Retry {
    tries_max: u32,
    budget: AtomicI64,
}

impl Retry {
    pub(crate) fn new(tries_max: u32) -> Self {
        Self {
            tries_max,
            budget: AtomicI64::new(BUDGET_MAX),
        }
    }

    /// Runs a call until it succeeds, cannot succeed, or was tried often enough.
    pub(crate) async fn run<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tries = 0;
        loop {
            match call().await {
                Ok(done) => {
                    self.succeeded();
                    return Ok(done);
                }
                Err(error) => {
                    tries += 1;
                    if !self.wait(tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Notes that something went well, which pays for a share of another try.
    pub(crate) fn succeeded(&self) {
        let _ = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some((left + 1).min(BUDGET_MAX))
        });
    }

    /// Waits before another try; false when there should be none.
    pub(crate) async fn wait(&self, tries: u32, error: &Error) -> bool {
        error.is_retryable() && self.pause(tries, error).await
    }

    /// Waits before another try after an error that may pass; false when it was tried often enough.
    pub(crate) async fn pause(&self, tries: u32, error: &Error) -> bool {
        if tries >= self.tries_max {
            return false;
        }
        if self.budget.fetch_sub(TRY_COST, Ordering::Relaxed) < TRY_COST {
            self.budget.fetch_add(TRY_COST, Ordering::Relaxed);
            return false;
        }
        let asked = match error {
            Error::Refused {
                retry_after: Some(after),
                ..
            } => *after,
            _ => Duration::ZERO,
        };
        let longest = (FIRST_WAIT * 2u32.saturating_pow(tries.min(10))).min(WAIT_MAX);
        tokio::time::sleep(asked + longest.mul_f64(random_share())).await;
        true
    }
}

/// A number from 0 to 1.
fn random_share() -> f64 {
    let mut byte = [128; 1];
    // Without randomness the wait is half as long as it may be.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Error {
        Error::Transport("down".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_tried_again() {
        let retry = Retry::new(5);
        let mut calls = 0;
        let done = retry.run(|| {
            calls += 1;
            let result = if calls < 3 { Err(unavailable()) } else { Ok(calls) };
            async move { result }
        });
        assert_eq!(done.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_fault_and_a_refusal_end() {
        let retry = Retry::new(3);
        let mut calls = 0;
        let failed: Result<()> = retry
            .run(|| {
                calls += 1;
                async { Err(unavailable()) }
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(calls, 3);
        let mut calls = 0;
        let refused: Result<()> = retry
            .run(|| {
                calls += 1;
                async { Err(Error::Input("no".to_owned())) }
            })
            .await;
        assert!(refused.is_err());
        assert_eq!(calls, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_tries_when_all_calls_fail() {
        let retry = Retry::new(u32::MAX);
        let mut calls = 0;
        let failed: Result<()> = retry
            .run(|| {
                calls += 1;
                async { Err(unavailable()) }
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(calls, BUDGET_MAX / TRY_COST + 1);
    }
}
