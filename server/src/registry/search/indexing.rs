//! Keeps the index of words up with the log.
//!
//! On PostgreSQL any server of the database does it, one at a time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use artifactd_domain::search::Terms;
use tokio::time::sleep;

use super::texts;
use crate::{
    db::{DbError, Txn, artifacts, search},
    fault,
    registry::Registry,
};

/// What changes the texts of an artifact. `events_after` of the index ignores the rest.
pub(super) const KINDS: [&str; 5] = ["saved", "updated", "content_replaced", "restored", "destroyed"];

/// How long a change waits before it is in the index, and many of them become one write.
const WAIT: Duration = Duration::from_secs(1);

/// Events that one transaction works off: others who write wait so long.
const EVENTS_AT_ONCE: u64 = 200;

/// How long to wait without a database.
const FAILED_WAIT: Duration = Duration::from_secs(5);

impl Registry {
    /// Works off the log for as long as it runs.
    pub async fn index_forever(self: Arc<Self>) {
        loop {
            let wait = match self.index_some().await {
                // Others get their turn in between.
                Ok(true) => Duration::from_millis(1),
                Ok(false) => WAIT,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Could not index words");
                    FAILED_WAIT
                }
            };
            sleep(wait).await;
        }
    }

    /// Works off some events; whether there may be more.
    async fn index_some(&self) -> Result<bool, DbError> {
        // Most often there is nothing to do, and then nothing to write.
        let position = search::progress(self.db.reader()).await?;
        if search::changes_after(self.db.reader(), position, 1).await?.is_empty() {
            return Ok(false);
        }
        self.db.write(|txn| Box::pin(work_off(txn))).await
    }
}

async fn work_off(txn: &Txn) -> Result<bool, DbError> {
    let Some(position) = search::lock_progress(txn).await? else {
        return Ok(false);
    };
    let changes = search::changes_after(txn, position, EVENTS_AT_ONCE).await?;
    let Some(last) = changes.last() else { return Ok(false) };
    let of_texts = changes.iter().filter(|change| KINDS.contains(&change.kind.as_str()));
    let (destroyed, changed): (Vec<_>, Vec<_>) = of_texts.partition(|change| change.kind == "destroyed");
    let uids: BTreeSet<&str> = changed
        .iter()
        .filter_map(|change| change.artifact_uid.as_deref())
        .collect();
    let uids: Vec<&str> = uids.into_iter().collect();
    for row in artifacts::by_uids(txn, &uids).await? {
        let terms = Terms::of(texts(&row)).in_space(row.space_id);
        search::put(txn, row.id, &terms).await?;
    }
    for change in destroyed {
        let detail: serde_json::Value = serde_json::from_str(&change.detail).unwrap_or_default();
        // Older servers did not tell the id, and had no index either.
        if let Some(id) = detail["id"].as_i64() {
            search::remove(txn, id).await?;
        }
    }
    search::set_progress(txn, last.position).await?;
    fault::point("search.in_transaction");
    Ok(changes.len() as u64 == EVENTS_AT_ONCE)
}
