//! Positions for committed events on PostgreSQL.
//!
//! Ids are drawn before a commit, so a reader that follows ids would miss events
//! of slower transactions. One sequencer at a time, holding a lease, numbers what
//! is committed: positions have no gaps and never change. SQLite needs none.
//!
//! A server hears of its own commits. For those of others it looks, often while
//! there are some, and writes nothing where there is nothing to number.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::DbBackend;
use tokio::time::{sleep, timeout};

use super::{Registry, draw_uid};
use crate::db::{DbError, events};

const LEASE_NAME: &str = "event-sequencer";
const LEASE: Duration = Duration::from_secs(5);

/// How long an event of this server waits for others that are numbered with it.
const GATHER_WAIT: Duration = Duration::from_millis(10);

/// How long events of other servers wait at most, when some came lately and when none did.
const BUSY_WAIT: Duration = Duration::from_millis(100);
const IDLE_WAIT: Duration = Duration::from_secs(1);
const BUSY_FOR: Duration = Duration::from_secs(10);

/// How long a server without the lease, or without a database, waits.
const STANDBY_WAIT: Duration = Duration::from_secs(2);

/// Events numbered in one transaction.
const PLACED_MAX: i64 = 5_000;

/// What became of one step.
enum Step {
    /// So many events were numbered.
    Placed(u64),
    /// Another server numbers them.
    Standby,
}

impl Registry {
    /// Numbers events for as long as it runs. Returns at once on SQLite.
    pub async fn sequence_events(self: Arc<Self>) {
        if self.db.backend() != DbBackend::Postgres {
            return;
        }
        let (holder, mut changes, mut placed_at) = (draw_uid(), self.db.changes(), Instant::now());
        loop {
            let wait = match self.place_events(&holder).await {
                Ok(Step::Placed(placed)) => {
                    if placed > 0 {
                        placed_at = Instant::now();
                    }
                    match placed_at.elapsed() {
                        _ if placed as i64 == PLACED_MAX => Duration::ZERO,
                        lately if lately < BUSY_FOR => BUSY_WAIT,
                        _ => IDLE_WAIT,
                    }
                }
                Ok(Step::Standby) => {
                    sleep(STANDBY_WAIT).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Could not number events");
                    sleep(STANDBY_WAIT).await;
                    continue;
                }
            };
            if timeout(wait, changes.changed()).await.is_ok() {
                sleep(GATHER_WAIT).await;
            }
        }
    }

    /// One step. The lease is taken in the same transaction, so that work of a
    /// holder that was overtaken cannot commit.
    async fn place_events(&self, holder: &str) -> Result<Step, DbError> {
        if !events::any_waits(self.db.reader()).await? {
            return Ok(Step::Placed(0));
        }
        let holder = holder.to_owned();
        self.db
            .write(move |txn| {
                let holder = holder.clone();
                Box::pin(async move {
                    let lease_us = LEASE.as_micros() as i64;
                    match events::take_lease(txn, LEASE_NAME, &holder, lease_us).await? {
                        Some(_epoch) => events::place(txn, PLACED_MAX).await.map(Step::Placed),
                        None => Ok(Step::Standby),
                    }
                })
            })
            .await
    }
}
