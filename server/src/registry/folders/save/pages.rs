//! Pages of a large folder, written before it is whole and held by a lease.

use std::{collections::HashMap, sync::Arc};

use artifactd_domain::{
    Sha256,
    manifest::{Edit, Page},
};

use super::{
    super::super::{Result, now_us},
    super::{
        held::{LEASE, renew, write_held},
        maker::Made,
        window::identity,
        write::{NewPages, PlaceOf},
    },
    FolderSave,
};
use crate::fault;

/// Members in finished pages that wait in memory to be written.
const WAITING_MEMBERS_MAX: usize = 32 * 1024;

/// Members whose pages are written in one transaction: other writers wait for it.
const GROUP_MEMBERS: usize = 2 * 1024;

impl FolderSave {
    /// Moves what is decided into pages, and writes these when many wait.
    pub async fn advance(&mut self) -> Result<()> {
        while let Some(edit) = self.window.pop() {
            let is_put = matches!(edit, Edit::Put(_));
            if let Edit::Put(member) = &edit {
                self.tail.push(member.clone());
            }
            let maker = self.maker.as_mut().expect("a save ends once");
            let mut made = Vec::new();
            maker.push(&self.registry, edit, &mut made).await?;
            if let (Some(names), Some(put)) = (&mut self.names, self.tail.last().filter(|_| is_put)) {
                names.push(&put.path)?;
            }
            self.take(made);
        }
        if self.waiting_members >= WAITING_MEMBERS_MAX {
            self.flush(0).await?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, made: Vec<Made>) {
        for made in made {
            match made {
                Made::Kept(placed) => {
                    let place = PlaceOf::Row(placed.page_id);
                    self.places.push((placed.reference.first_path, place));
                }
                Made::New(page) => {
                    let last = page.members().last().map(|member| &member.path);
                    let done = self.tail.partition_point(|member| Some(&member.path) <= last);
                    self.tail.drain(..done);
                    self.waiting_members += page.members().len();
                    self.waiting.push_back((self.places.len(), page.clone()));
                    self.places
                        .push((page.first_path().clone(), PlaceOf::New(page.sha256())));
                }
            }
        }
    }

    /// Writes complete pages until few enough members wait.
    pub(super) async fn flush(&mut self, waiting_members_max: usize) -> Result<()> {
        self.contents.finish_pack().await?;
        fault::point("folder.pack_durable");
        while self.waiting_members > waiting_members_max {
            self.write_group().await?;
        }
        Ok(())
    }

    pub(super) async fn write_group(&mut self) -> Result<()> {
        let (mut places, mut pages, mut members) = (Vec::new(), Vec::new(), 0);
        while members < GROUP_MEMBERS
            && let Some((place, page)) = self.waiting.pop_front()
        {
            members += page.members().len();
            places.push((place, page.sha256()));
            pages.push(page);
        }
        self.waiting_members -= members;
        let ids = self.write_held(pages).await?;
        for (place, sha256) in places {
            if let (Some(place), Some(id)) = (self.places.get_mut(place), ids.get(&sha256)) {
                place.1 = PlaceOf::Row(*id);
            }
        }
        Ok(())
    }

    /// Writes some pages, which this save holds from then on.
    pub(super) async fn write_held(&mut self, pages: Vec<Page>) -> Result<HashMap<Sha256, i64>> {
        let contents = self.contents.take(pages.iter().flat_map(Page::members).map(identity));
        let new = Arc::new(NewPages {
            storage_id: self.storage.id,
            pages,
            contents,
        });
        let (place, save, now) = (self.held_for(), self.save.map(|(id, _)| id), now_us());
        let (id, ids) = write_held(&self.registry, place, save, new).await?;
        self.save = Some((id, now));
        Ok(ids)
    }

    /// The storage of its pages, and whose they are.
    fn held_for(&self) -> (i64, i64) {
        (self.storage.id, self.caller.principal.id)
    }

    pub(super) async fn renew_lease(&mut self) -> Result<()> {
        let (Some((id, renewed_us)), now) = (self.save, now_us()) else {
            return Ok(());
        };
        if now - renewed_us < LEASE.as_micros() as i64 / 4 {
            return Ok(());
        }
        renew(&self.registry, id, now).await?;
        self.save = Some((id, now));
        Ok(())
    }
}
