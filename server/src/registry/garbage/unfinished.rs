//! What was begun and never finished: staging files and multipart uploads.

use super::{Collector, GarbageReason, Result, StorageGarbage, StoragePlace};
use crate::{db::uploads, fault};

impl Collector {
    /// Removes what nobody has touched for the grace. What a living process is known to
    /// write to stays in any case.
    pub(super) async fn collect_unfinished(&self, storage: &StoragePlace, found: &mut StorageGarbage) -> Result<()> {
        let listed = storage.store.writer.list_unfinished().await?;
        let names: Vec<String> = listed.iter().map(|unfinished| unfinished.name.clone()).collect();
        let uploads = uploads::named(self.registry.db.reader(), &names).await?;
        for unfinished in listed
            .into_iter()
            .filter(|unfinished| !uploads.contains(&unfinished.name))
        {
            if self.registry.is_ending() {
                return Ok(());
            }
            let is_due = !unfinished.is_owned && self.is_old(unfinished.since);
            let bytes = unfinished.size_bytes.unwrap_or_default();
            if !is_due || self.how.dry_run {
                found.add(GarbageReason::Unfinished, is_due, bytes);
                continue;
            }
            fault::point("gc.before_unfinished");
            match storage.store.writer.abort_unfinished(&unfinished).await {
                Ok(()) => found.add(GarbageReason::Unfinished, true, bytes),
                Err(error) => found.failed(&unfinished.name, &error),
            }
            fault::point("gc.unfinished_removed");
        }
        Ok(())
    }
}
