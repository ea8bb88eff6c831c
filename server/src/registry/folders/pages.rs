//! Pages of manifests, read and kept for the next reader.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use artifactd_domain::manifest::Page;
use sea_orm::ConnectionTrait;

use super::super::{Registry, Result};
use crate::db::{DbError, manifests, manifests::PlacedPage};

/// Bytes of pages that are kept.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a member takes in memory beside its path.
const MEMBER_BYTES: usize = 80;

/// Pages that were read lately, the latest first. They never change, and neither are
/// their ids used again.
#[derive(Debug, Default)]
pub(in crate::registry) struct PageCache {
    kept: Mutex<VecDeque<(i64, usize, Arc<Page>)>>,
}

impl PageCache {
    fn get(&self, page_id: i64) -> Option<Arc<Page>> {
        let mut kept = self.kept.lock().expect("no holder panics");
        let place = kept.iter().position(|(id, ..)| *id == page_id)?;
        let found = kept.remove(place)?;
        kept.push_front(found.clone());
        Some(found.2)
    }

    fn put(&self, page_id: i64, page: &Arc<Page>) {
        let members = page.members().iter();
        let bytes: usize = members.map(|member| member.path.as_str().len() + MEMBER_BYTES).sum();
        let mut kept = self.kept.lock().expect("no holder panics");
        kept.push_front((page_id, bytes, Arc::clone(page)));
        while kept.len() > 1 && kept.iter().map(|(_, bytes, _)| bytes).sum::<usize>() > KEPT_BYTES_MAX {
            kept.pop_back();
        }
    }
}

impl Registry {
    /// The page at a place of a manifest; `None` when it is gone, and the manifest with it.
    pub(in crate::registry) async fn page(
        &self,
        conn: &impl ConnectionTrait,
        placed: &PlacedPage,
    ) -> Result<Option<Arc<Page>>> {
        if let Some(page) = self.pages.get(placed.page_id) {
            return Ok(Some(page));
        }
        let Some(page) = manifests::page(conn, placed.page_id).await? else {
            return Ok(None);
        };
        if page.sha256() != placed.reference.sha256 {
            return Err(DbError::Row {
                table: "manifest_pages",
                column: "entries",
            }
            .into());
        }
        let page = Arc::new(page);
        self.pages.put(placed.page_id, &page);
        Ok(Some(page))
    }
}
