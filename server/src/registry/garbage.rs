//! Garbage collection: bytes that nothing needs any more go, after a grace.
//!
//! Nothing is removed because a list says so. An object goes when the database has
//! decided that nothing lies in it, in a transaction that nobody who puts something
//! there can pass (`db::garbage::condemn`); bytes without a row first get one, so that
//! a process that is about to name them cannot. The row stays for a while after the
//! bytes. So every step can be cut, repeated, and run beside saves, reads and another
//! collection; the grace is for those who read what they looked up before. A database that
//! may not know all of a storage collects nothing there (`epochs`).
//!
//! What is collected: manifests and saves of folders that ended (`folders::sweep`),
//! blobs that nothing uses, objects in which nothing lies, objects without a row, what
//! was begun and never finished, the unneeded parts of packs, and requests that are too
//! old to be repeated.

mod background;
mod epochs;
mod objects;
mod packs;
mod unfinished;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{Caller, Registry, Result, StoragePlace, now_us};
use crate::db::{DbError, garbage, requests};

/// How long the row of an object stays after its bytes.
const ROW_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows that are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// When what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbageLimits {
    /// How long bytes stay that nothing needs, for those who read them.
    pub grace: Duration,
    /// How often a server collects by itself.
    pub interval: Duration,
    /// How long a request can be repeated with the effect of one.
    pub requests_kept: Duration,
}

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// Only says what would go.
    pub dry_run: bool,
    /// Looks for what no row marks as garbage too: lists the storages and all blobs.
    pub thorough: bool,
    /// Collects also where a storage holds more than the database may know of.
    pub accepts_restored: bool,
}

/// Why bytes are garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GarbageReason {
    /// What lay in the object was destroyed, replaced or moved.
    Unused,
    /// The object has no row: its save was cut.
    Orphan,
    /// The object was begun and never finished.
    Unfinished,
    /// Unneeded contents of packs, whose other contents move to new ones.
    Sparse,
}

/// Some garbage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Their bytes, where the storage tells.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// The garbage of one storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StorageGarbage {
    /// Name of the storage.
    pub storage: String,
    /// What went, or would go.
    pub collected: BTreeMap<GarbageReason, Amount>,
    /// What waits for the end of the grace.
    pub waiting: BTreeMap<GarbageReason, Amount>,
    /// What could not be removed now; the next collection tries again.
    pub failed: u64,
    /// Objects that records need and the storage does not have; `verify` says whose they are.
    pub missing: u64,
}

impl StorageGarbage {
    fn add(&mut self, reason: GarbageReason, is_due: bool, bytes: u64) {
        let amounts = if is_due { &mut self.collected } else { &mut self.waiting };
        amounts.entry(reason).or_default().add(bytes);
    }

    fn failed(&mut self, what: &str, error: &(dyn std::error::Error + 'static)) {
        self.failed += 1;
        tracing::warn!(error, "Could not collect {what}");
    }
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GarbageReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Each storage.
    pub storages: Vec<StorageGarbage>,
    /// Blobs that nothing used, and whose row had stayed.
    pub unused_blobs: u64,
    /// Requests that are too old to be repeated.
    pub old_requests: u64,
}

impl GarbageReport {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        let is_clean =
            |storage: &StorageGarbage| storage.collected.is_empty() && storage.failed == 0 && storage.missing == 0;
        self.storages.iter().all(is_clean) && self.unused_blobs == 0 && self.old_requests == 0
    }
}

/// One collection under way.
struct Collector {
    registry: Arc<Registry>,
    how: Collection,
    limits: GarbageLimits,
}

impl Registry {
    /// Collects garbage, to the end also when the caller goes away.
    pub async fn collect_garbage(self: &Arc<Self>, _caller: &Caller, how: Collection) -> Result<GarbageReport> {
        let registry = Arc::clone(self);
        let collecting = self.spawn(async move { registry.collect(how).await });
        collecting.await.unwrap_or(Err(super::RegistryError::StreamIncomplete))
    }

    /// The same for the server itself.
    pub async fn collect(self: &Arc<Self>, how: Collection) -> Result<GarbageReport> {
        let collector = Collector {
            registry: Arc::clone(self),
            how,
            limits: self.garbage,
        };
        collector.run().await
    }
}

impl Collector {
    async fn run(&self) -> Result<GarbageReport> {
        let mut report = GarbageReport {
            dry_run: self.how.dry_run,
            ..GarbageReport::default()
        };
        self.begin_epochs().await?;
        if !self.how.dry_run {
            self.registry.sweep_folders().await?;
            self.registry.sweep_removals().await?;
            self.registry.sweep_uploads().await?;
        }
        // What belongs to a root that is not there now goes another time.
        let there = |storage: &&StoragePlace| !storage.store.is_absent();
        for storage in self.registry.places.storages().filter(there) {
            let mut found = StorageGarbage {
                storage: storage.name.clone(),
                ..StorageGarbage::default()
            };
            if self.how.thorough {
                report.unused_blobs += self.collect_blobs(storage).await?;
                self.collect_orphans(storage, &mut found).await?;
                self.collect_unfinished(storage, &mut found).await?;
                self.compact_packs(storage, &mut found).await?;
                if !self.how.dry_run {
                    self.mark_empty_objects(storage).await?;
                }
            }
            self.collect_objects(storage, &mut found).await?;
            report.storages.push(found);
        }
        if !self.how.dry_run {
            report.old_requests = self.forget_requests().await?;
            self.forget_objects().await?;
        }
        Ok(report)
    }

    /// Whether what is garbage since then may go by now.
    fn is_due(&self, since_us: i64) -> bool {
        since_us <= self.due_us()
    }

    /// What is garbage since then, or before, may go.
    fn due_us(&self) -> i64 {
        now_us() - micros(self.limits.grace)
    }

    /// Whether what was last touched then may go by now; a clock that went back keeps it.
    fn is_old(&self, at: SystemTime) -> bool {
        self.limits.grace.is_zero() || at.elapsed().is_ok_and(|age| age >= self.limits.grace)
    }

    async fn forget_requests(&self) -> Result<u64> {
        let before = now_us() - micros(self.limits.requests_kept);
        let mut forgotten = 0;
        loop {
            let some = self.registry.db.write::<_, DbError, _>(move |txn| {
                Box::pin(async move { requests::forget(txn, before, FORGOTTEN_AT_ONCE).await })
            });
            let some = some.await?;
            forgotten += some;
            if some < FORGOTTEN_AT_ONCE.unsigned_abs() || self.registry.is_ending() {
                return Ok(forgotten);
            }
        }
    }

    async fn forget_objects(&self) -> Result<()> {
        let before = now_us() - micros(ROW_KEPT);
        loop {
            let some = self.registry.db.write::<_, DbError, _>(move |txn| {
                Box::pin(async move { garbage::forget(txn, before, FORGOTTEN_AT_ONCE).await })
            });
            if some.await? < FORGOTTEN_AT_ONCE.unsigned_abs() || self.registry.is_ending() {
                return Ok(());
            }
        }
    }

    /// Removes the bytes of an object of which the database knows that they go.
    async fn remove(&self, storage: &StoragePlace, name: &str) -> Result<()> {
        let impossible = || DbError::Row {
            table: "objects",
            column: "name",
        };
        let name = name.parse().map_err(|_| impossible())?;
        Ok(storage.store.writer.delete(&name).await?)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2)
}
