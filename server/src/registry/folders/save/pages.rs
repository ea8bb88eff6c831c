//! Pages of a large folder, written before it is whole and held by a lease.

use std::{collections::HashMap, sync::Arc, time::Duration};

use artifactd_domain::{
    Sha256,
    manifest::{Edit, Page},
};

use super::{
    super::super::{RegistryError, Result, draw_uid, now_us},
    super::{
        maker::Made,
        window::identity,
        write::{NewPages, PlaceOf},
    },
    FolderSave,
};
use crate::{db::folder_saves, fault};

/// Members in finished pages that wait in memory to be written.
const WAITING_MEMBERS_MAX: usize = 32 * 1024;

/// Members whose pages are written in one transaction: other writers wait for it.
const GROUP_MEMBERS: usize = 2 * 1024;

/// How long pages stay that no artifact has, after the last sign of their save.
const LEASE: Duration = Duration::from_secs(60 * 60);

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
        let (place, save, uid) = ((self.storage.id, self.caller.principal.id), self.save, draw_uid());
        let now = now_us();
        let written = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            let (new, uid) = (Arc::clone(&new), uid.clone());
            Box::pin(async move {
                let ids = new.write(txn).await?;
                let id = match save {
                    None => folder_saves::begin(txn, &uid, place, lease_until(now), now).await?,
                    Some((id, _)) if folder_saves::renew(txn, id, lease_until(now)).await? => id,
                    Some(_) => return Err(lease_ended()),
                };
                let pages: Vec<i64> = ids.values().copied().collect();
                folder_saves::hold(txn, id, &pages).await?;
                fault::point("folder.page_in_transaction");
                Ok((id, ids))
            })
        });
        let (id, ids) = written.await?;
        fault::point("folder.page_committed");
        self.save = Some((id, now));
        Ok(ids)
    }

    pub(super) async fn renew_lease(&mut self) -> Result<()> {
        let (Some((id, renewed_us)), now) = (self.save, now_us()) else {
            return Ok(());
        };
        if now - renewed_us < LEASE.as_micros() as i64 / 4 {
            return Ok(());
        }
        let renewed = self
            .registry
            .db
            .write::<_, RegistryError, _>(move |txn| {
                Box::pin(async move { Ok(folder_saves::renew(txn, id, lease_until(now)).await?) })
            })
            .await?;
        self.save = Some((id, now));
        if renewed { Ok(()) } else { Err(lease_ended()) }
    }
}

fn lease_until(now_us: i64) -> i64 {
    now_us + LEASE.as_micros() as i64
}

fn lease_ended() -> RegistryError {
    RegistryError::FolderRefused("the save was silent for so long that its pages are gone; begin again".to_owned())
}
