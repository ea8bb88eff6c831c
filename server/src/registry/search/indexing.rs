//! Keeps the index of words up with the log.
//!
//! On PostgreSQL any server of the database does it, one at a time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use artifactd_domain::search::Terms;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::texts;
use crate::{
    db::{
        DbError, Txn,
        artifacts::{self, ArtifactRow},
        search::{self, Change},
    },
    fault,
    registry::Registry,
};

/// What changes the texts of an artifact. `events_after` of the index ignores the rest.
pub(super) const KINDS: [&str; 5] = ["saved", "updated", "content_replaced", "restored", "destroyed"];

/// How long a change waits before it is in the index, and many of them become one write.
const WAIT: Duration = Duration::from_secs(1);

/// Events that one transaction works off: others who write wait so long.
const EVENTS_AT_ONCE: u64 = 200;

/// Text of them that is taken apart in one transaction, but for one that is longer: who
/// wants to write waits for as long.
const TEXT_BYTES_AT_ONCE: usize = 256 * 1024;

/// How long to wait without a database.
const FAILED_WAIT: Duration = Duration::from_secs(5);

/// How long nobody has written when the index has its turn: whoever waits for an answer goes first.
const QUIET: Duration = Duration::from_millis(100);

/// How long it may be put off by others, and how much of the log it may lack meanwhile; then
/// it goes on until it has caught up.
const PUT_OFF_MAX: Duration = Duration::from_secs(5);
const BEHIND_MAX: i64 = 10_000;

impl Registry {
    /// Works off the log for as long as it runs.
    pub async fn index_forever(self: Arc<Self>) {
        let mut changes = self.db.changes();
        let mut is_late = false;
        loop {
            let wait = match self.index_some(&mut changes, &mut is_late).await {
                // Others get their turn in between.
                Ok(true) => Duration::from_millis(1),
                Ok(false) => {
                    is_late = false;
                    WAIT
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Could not index words");
                    FAILED_WAIT
                }
            };
            sleep(wait).await;
        }
    }

    /// Works off some events; whether there may be more.
    async fn index_some(&self, changes: &mut watch::Receiver<()>, is_late: &mut bool) -> Result<bool, DbError> {
        // Most often there is nothing to do, and then nothing to write.
        let position = search::progress(self.db.reader()).await?;
        if search::changes_after(self.db.reader(), position, 1).await?.is_empty() {
            return Ok(false);
        }
        if !*is_late {
            *is_late = !self.falls_quiet(position, changes).await?;
        }
        let more = self.db.write(|txn| Box::pin(work_off(txn))).await;
        // That was no change of others.
        changes.borrow_and_update();
        more
    }

    /// Waits until others do not write; false when they do so for too long.
    async fn falls_quiet(&self, position: i64, changes: &mut watch::Receiver<()>) -> Result<bool, DbError> {
        let began = Instant::now();
        // Who wrote since the index did may go on.
        if !changes.has_changed().unwrap_or_default() {
            return Ok(true);
        }
        loop {
            if began.elapsed() > PUT_OFF_MAX || search::is_beyond(self.db.reader(), position, BEHIND_MAX).await? {
                return Ok(false);
            }
            changes.borrow_and_update();
            match timeout(QUIET, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(true),
            }
        }
    }
}

async fn work_off(txn: &Txn) -> Result<bool, DbError> {
    let Some(position) = search::lock_progress(txn).await? else {
        return Ok(false);
    };
    let changes = search::changes_after(txn, position, EVENTS_AT_ONCE).await?;
    let is_of_texts = |change: &&Change| KINDS.contains(&change.kind.as_str());
    let uids: BTreeSet<&str> = changes.iter().filter(is_of_texts).filter_map(changed).collect();
    let rows = artifacts::by_uids(txn, &uids.into_iter().collect::<Vec<_>>()).await?;
    let rows: HashMap<&str, &ArtifactRow> = rows.iter().map(|row| (row.uid.as_str(), row)).collect();
    let mut bytes = 0;
    let worked_off = changes.iter().take_while(|change| {
        let is_little = bytes < TEXT_BYTES_AT_ONCE;
        let row = changed(change).and_then(|uid| rows.get(uid));
        bytes += row.map_or(0, |row| texts(row).size_bytes());
        is_little
    });
    let worked_off = &changes[..worked_off.count()];
    let Some(last) = worked_off.last() else {
        return Ok(false);
    };
    let of_texts = worked_off.iter().filter(is_of_texts);
    let (destroyed, kept): (Vec<_>, Vec<_>) = of_texts.partition(|change| change.kind == "destroyed");
    let uids: BTreeSet<&str> = kept.into_iter().filter_map(changed).collect();
    let terms = |row: &&ArtifactRow| (row.id, Terms::of(texts(row)).in_space(row.space_id));
    let terms: Vec<(i64, String)> = uids.iter().filter_map(|uid| rows.get(uid)).map(terms).collect();
    search::put(txn, &terms).await?;
    let ids = destroyed.iter().filter_map(|change| {
        let detail: serde_json::Value = serde_json::from_str(&change.detail).unwrap_or_default();
        // Older servers did not tell the id, and had no index either.
        detail["id"].as_i64()
    });
    search::remove(txn, &ids.collect::<Vec<_>>()).await?;
    search::set_progress(txn, last.position).await?;
    fault::point("search.in_transaction");
    Ok(worked_off.len() < changes.len() || changes.len() as u64 == EVENTS_AT_ONCE)
}

/// The artifact of which a change tells, where it is still there.
fn changed(change: &Change) -> Option<&str> {
    change.artifact_uid.as_deref().filter(|_| change.kind != "destroyed")
}
