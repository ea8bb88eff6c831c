//! Positions for committed events on PostgreSQL.
//!
//! Ids are drawn before a commit, so a reader that follows ids would miss events
//! of slower transactions. One sequencer at a time, holding a lease, numbers what
//! is committed: positions have no gaps and never change. SQLite needs none.

use std::{sync::Arc, time::Duration};

use sea_orm::DbBackend;
use tokio::time::sleep;

use super::{Registry, draw_uid};
use crate::db::{DbError, events};

const LEASE_NAME: &str = "event-sequencer";
const LEASE: Duration = Duration::from_secs(5);

/// How long new events wait at most while nothing else goes on.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// How long a server without the lease, or without a database, waits.
const STANDBY_WAIT: Duration = Duration::from_secs(2);

/// Events numbered in one transaction.
const PLACED_MAX: i64 = 5_000;

impl Registry {
    /// Numbers events for as long as it runs. Returns at once on SQLite.
    pub async fn sequence_events(self: Arc<Self>) {
        if self.db.backend() != DbBackend::Postgres {
            return;
        }
        let holder = draw_uid();
        loop {
            let wait = match self.place_events(&holder).await {
                Ok(Some(placed)) if placed as i64 == PLACED_MAX => Duration::ZERO,
                Ok(Some(_)) => IDLE_WAIT,
                Ok(None) => STANDBY_WAIT,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Could not number events");
                    STANDBY_WAIT
                }
            };
            sleep(wait).await;
        }
    }

    /// One step. The lease is taken in the same transaction, so that work of a
    /// holder that was overtaken cannot commit.
    async fn place_events(&self, holder: &str) -> Result<Option<u64>, DbError> {
        let holder = holder.to_owned();
        self.db
            .write(move |txn| {
                let holder = holder.clone();
                Box::pin(async move {
                    let lease_us = LEASE.as_micros() as i64;
                    match events::take_lease(txn, LEASE_NAME, &holder, lease_us).await? {
                        Some(_epoch) => events::place(txn, PLACED_MAX).await.map(Some),
                        None => Ok(None),
                    }
                })
            })
            .await
    }
}
