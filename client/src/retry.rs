//! Trying again: only what is safe, with growing waits of random length, and
//! never more than a share of all calls.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use tokio::time::{self, Instant};

use crate::{
    Error, Result,
    methods::{self, Repeat},
};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The longest wait that a server may ask for; who is asked for more does not wait here.
const ASKED_WAIT_MAX: Duration = Duration::from_secs(60);

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
    pub(crate) async fn run<T, F>(&self, method: &str, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.run_until(method, None, call).await
    }

    /// The same, but no try begins behind a deadline.
    pub(crate) async fn run_until<T, F>(
        &self,
        method: &str,
        deadline: Option<Instant>,
        mut call: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tries = 0;
        loop {
            let error = match call().await {
                Ok(done) => {
                    self.succeeded();
                    return Ok(done);
                }
                Err(error) => error,
            };
            tries += 1;
            let may_pass = error.is_retryable() && methods::repeat(method) != Repeat::Never;
            match self.plan(tries, &error, deadline).filter(|_| may_pass) {
                Some(wait) => time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// Whether nothing may be tried again.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.tries_max <= 1
    }

    /// Notes that something went well, which pays for a share of another try.
    pub(crate) fn succeeded(&self) {
        let _ = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some((left + 1).min(BUDGET_MAX))
        });
    }

    /// Waits before another try after an error that may pass; false when it was tried often enough.
    pub(crate) async fn pause(&self, tries: u32, error: &Error) -> bool {
        let Some(wait) = self.plan(tries, error, None) else {
            return false;
        };
        time::sleep(wait).await;
        true
    }

    /// How long to wait before another try, which is paid for; none when there should be none.
    pub(crate) fn plan(&self, tries: u32, error: &Error, deadline: Option<Instant>) -> Option<Duration> {
        let wait = wait_after(tries, error).filter(|_| tries < self.tries_max)?;
        let is_late = deadline.is_some_and(|deadline| Instant::now() + wait >= deadline);
        (!is_late && self.pay()).then_some(wait)
    }

    /// Takes the cost of a try out of the budget; false when too little is left.
    fn pay(&self) -> bool {
        let paid = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left - TRY_COST).filter(|left| *left >= 0)
        });
        paid.is_ok()
    }
}

/// How long to wait before the next try: as long as the server asks for, and a random
/// share of a time that doubles with each try.
fn wait_after(tries: u32, error: &Error) -> Option<Duration> {
    let asked = match error {
        Error::Refused {
            retry_after: Some(after),
            ..
        } => *after,
        _ => Duration::ZERO,
    };
    if asked > ASKED_WAIT_MAX {
        return None;
    }
    let longest = (FIRST_WAIT * 2u32.saturating_pow(tries.min(10))).min(WAIT_MAX);
    Some(asked + longest.mul_f64(random_share()))
}

/// A number from 0 to 1.
pub(crate) fn random_share() -> f64 {
    let mut byte = [128; 1];
    // Without randomness the wait is half as long as it may be.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: &str = "GetArtifact";

    fn unavailable() -> Error {
        Error::Transport("down".into())
    }

    fn busy(after: Duration) -> Error {
        Error::Refused {
            code: tonic::Code::ResourceExhausted,
            reason: crate::Reason::ServerBusy,
            message: "busy".to_owned(),
            field: None,
            request_id: String::new(),
            retry_after: Some(after),
        }
    }

    /// How often a call is made that always fails, and for how long.
    async fn tries(retry: &Retry, method: &str, deadline: Option<Duration>, error: fn() -> Error) -> (u32, Duration) {
        let (began, mut calls) = (Instant::now(), 0);
        let failed: Result<()> = retry
            .run_until(method, deadline.map(|deadline| began + deadline), || {
                calls += 1;
                async move { Err(error()) }
            })
            .await;
        assert!(failed.is_err());
        (calls, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_tried_again() {
        let retry = Retry::new(5);
        let mut calls = 0;
        let done = retry.run(METHOD, || {
            calls += 1;
            let result = if calls < 3 { Err(unavailable()) } else { Ok(calls) };
            async move { result }
        });
        assert_eq!(done.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_fault_and_a_refusal_end() {
        assert_eq!(tries(&Retry::new(3), METHOD, None, unavailable).await.0, 3);
        assert_eq!(
            tries(&Retry::new(3), METHOD, None, || Error::Input("no".to_owned()))
                .await
                .0,
            1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_effect_nobody_knows_is_made_once() {
        assert_eq!(tries(&Retry::new(3), "WriteUpload", None, unavailable).await.0, 1);
        assert_eq!(tries(&Retry::new(3), "SaveArtifact", None, unavailable).await.0, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_how_long_to_wait_but_not_for_ever() {
        let (calls, took) = tries(&Retry::new(3), METHOD, None, || busy(Duration::from_secs(7))).await;
        assert_eq!(calls, 3);
        assert!(
            (Duration::from_secs(14)..Duration::from_secs(16)).contains(&took),
            "{took:?}"
        );
        let (calls, took) = tries(&Retry::new(3), METHOD, None, || busy(Duration::from_secs(3600))).await;
        assert_eq!((calls, took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_begins_behind_the_deadline() {
        let deadline = Some(Duration::from_secs(20));
        let (calls, took) = tries(&Retry::new(u32::MAX), METHOD, deadline, || busy(Duration::from_secs(7))).await;
        assert!(calls == 3 && took < Duration::from_secs(20), "{calls} {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_differ() {
        let (calls, took) = tries(&Retry::new(9), METHOD, None, unavailable).await;
        assert_eq!(calls, 9);
        // The longest would be 0.1 + 0.2 + 0.4 ... + 5 + 5 s.
        assert!(
            (Duration::from_millis(500)..Duration::from_secs(22)).contains(&took),
            "{took:?}"
        );
        assert_ne!(tries(&Retry::new(9), METHOD, None, unavailable).await.1, took);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_tries_when_all_calls_fail() {
        let retry = Retry::new(u32::MAX);
        let calls = tries(&retry, METHOD, None, unavailable).await.0;
        assert_eq!(i64::from(calls), BUDGET_MAX / TRY_COST + 1);
        // Ten successes pay for one more.
        assert_eq!(tries(&retry, METHOD, None, unavailable).await.0, 1);
        (0..TRY_COST).for_each(|_| retry.succeeded());
        assert_eq!(tries(&retry, METHOD, None, unavailable).await.0, 2);
    }
}
