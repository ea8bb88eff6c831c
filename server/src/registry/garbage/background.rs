//! Collecting by itself, beside everything else.

use std::{sync::Arc, time::Duration};

use sea_orm::DbBackend;
use tokio::time::{Instant, sleep};

use super::{
    super::{Registry, draw_uid},
    Collection, micros,
};
use crate::db::{DbError, events};

const LEASE_NAME: &str = "garbage-collector";

/// How often a collection looks for what no row marks as garbage.
const THOROUGH_EVERY: Duration = Duration::from_secs(24 * 3600);

/// A server that has just started has other things to do.
const FIRST_WAIT: Duration = Duration::from_secs(60);

impl Registry {
    /// Collects garbage for as long as it runs. Of the servers of one database one does.
    pub async fn collect_forever(self: Arc<Self>) {
        let holder = draw_uid();
        let mut thorough_at = Instant::now();
        // What a crash has cut is promised.
        self.finish_removals().await;
        sleep(FIRST_WAIT.min(self.garbage.interval)).await;
        loop {
            match self.take_collection(&holder).await {
                Ok(true) => {
                    let thorough = Instant::now() >= thorough_at;
                    if thorough {
                        thorough_at = Instant::now() + THOROUGH_EVERY;
                    }
                    self.collect_once(thorough).await;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not begin to collect garbage"
                    );
                }
            }
            sleep(self.garbage.interval).await;
        }
    }

    async fn finish_removals(self: &Arc<Self>) {
        if let Err(error) = self.sweep_removals().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not remove files that should be gone"
            );
        }
    }

    async fn collect_once(self: &Arc<Self>, thorough: bool) {
        let how = Collection {
            dry_run: false,
            thorough,
            accepts_restored: false,
        };
        match self.collect(how).await {
            Ok(report) if report.is_empty() => {}
            Ok(report) => {
                let report = serde_json::to_string(&report).unwrap_or_default();
                tracing::info!(report, "Collected garbage");
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "Could not collect garbage"),
        }
    }

    /// Whether it is this server's turn. Two that collect at once do no harm, only the same.
    async fn take_collection(&self, holder: &str) -> Result<bool, DbError> {
        if self.db.backend() != DbBackend::Postgres {
            return Ok(true);
        }
        let (holder, lease_us) = (holder.to_owned(), 2 * micros(self.garbage.interval));
        self.db
            .write(move |txn| {
                let holder = holder.clone();
                Box::pin(async move {
                    let epoch = events::take_lease(txn, LEASE_NAME, &holder, lease_us).await?;
                    Ok(epoch.is_some())
                })
            })
            .await
    }
}
