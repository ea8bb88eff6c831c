//! Takes folders apart that nobody has any more, in steps that hold up nobody.

use std::sync::Arc;

use super::super::{Registry, Result, now_us};
use crate::{
    db::{DbError, folder_saves, manifests},
    fault,
};

/// Pages in one transaction.
const PAGES_AT_ONCE: i64 = 2;

/// What lets go of its pages.
#[derive(Debug, Clone, Copy)]
enum Doomed {
    Manifest { id: i64, keeps_bytes: bool },
    Save { id: i64 },
}

impl Registry {
    /// Removes the manifests of destroyed folders, what ended saves have left, and all
    /// that only these needed. Objects that become empty are marked as garbage. A server
    /// that is about to end stops early.
    pub async fn sweep_folders(&self) -> Result<()> {
        while let Some((id, keeps_bytes)) = manifests::garbage(self.db.reader()).await? {
            while self.take_some(Doomed::Manifest { id, keeps_bytes }).await? {
                if self.is_ending() {
                    return Ok(());
                }
            }
        }
        while let Some(id) = folder_saves::expired(self.db.reader(), now_us()).await? {
            while self.take_some(Doomed::Save { id }).await? {
                if self.is_ending() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One step; false when there is nothing left.
    async fn take_some(&self, doomed: Doomed) -> Result<bool> {
        let taken = self.db.write::<_, DbError, _>(move |txn| {
            Box::pin(async move {
                let now = now_us();
                let (pages, keeps_bytes) = match doomed {
                    Doomed::Manifest { id, keeps_bytes } => {
                        (manifests::take_pages(txn, id, PAGES_AT_ONCE).await?, keeps_bytes)
                    }
                    Doomed::Save { id } => (folder_saves::take_pages(txn, id, PAGES_AT_ONCE, now).await?, false),
                };
                for page_id in &pages {
                    manifests::delete_page_if_unused(txn, *page_id, keeps_bytes, now).await?;
                }
                fault::point("sweep.in_transaction");
                Ok(pages.len() as i64 == PAGES_AT_ONCE)
            })
        });
        Ok(taken.await?)
    }

    /// Sweeps beside the call that asked for it. What fails now is found by the next one.
    pub(in crate::registry) fn sweep_soon(self: &Arc<Self>) {
        let registry = Arc::clone(self);
        drop(self.spawn(async move {
            if let Err(error) = registry.sweep_folders().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "Could not sweep folders");
            }
            if let Err(error) = registry.sweep_removals().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not sweep files in place"
                );
            }
        }));
    }
}
