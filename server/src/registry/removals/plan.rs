//! What is to go, looked at and written down before any record goes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};

use super::{DoomedFile, FILES_AT_ONCE, Registry, RegistryError, Result, StoragePlace, require_removable};
use crate::{
    db::{
        DbError, Txn,
        artifacts::ArtifactRow,
        manifests,
        removals::{self, Held, Removal},
    },
    fault,
    registry::{
        now_us,
        placing::integer,
        storages::{PlaceInStorage, read_in_place},
    },
    storage::{FileSeen, StorageError},
};

/// How long a plan stays after files were added to it: reading many may take its time.
const LEASE: Duration = Duration::from_secs(24 * 3600);

/// Files that are looked at, or read, at once.
const LOOKED_AT_ONCE: usize = 8;

/// A plan: its files are as they were registered, or were, a moment ago.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Plan {
    pub(super) removal: Removal,
    /// Whose files: the ids of artifacts, and the digests of what they hold.
    of: BTreeSet<(i64, Vec<u8>)>,
}

impl Plan {
    /// Lets the files go when the transaction ends that destroys these artifacts.
    pub(in crate::registry) async fn commit(&self, txn: &Txn, doomed: &[ArtifactRow]) -> Result<()> {
        let is_planned = of(doomed) == self.of;
        if is_planned && removals::commit(txn, self.removal, now_us()).await? {
            return Ok(());
        }
        // Versions came or went meanwhile.
        let what = doomed.first().and_then(|row| row.key.clone()).unwrap_or_default();
        Err(RegistryError::ChangedInPlace(what))
    }

    /// What is removed once it is committed.
    pub(in crate::registry) fn removal(&self) -> Removal {
        self.removal
    }
}

fn of(rows: &[ArtifactRow]) -> BTreeSet<(i64, Vec<u8>)> {
    let in_place = rows.iter().filter(|row| !row.key_is_virtual);
    in_place.map(|row| (row.id, row.sha256.clone())).collect()
}

fn lease_us() -> i64 {
    now_us() + i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX / 2)
}

impl Registry {
    /// Plans to remove the files of some artifacts of one family, those with the highest
    /// version first; `None` when none of them lies in place.
    pub(in crate::registry) async fn plan_removal(
        self: &Arc<Self>,
        storage_id: i64,
        doomed: &[ArtifactRow],
    ) -> Result<Option<Plan>> {
        let of = of(doomed);
        if of.is_empty() {
            return Ok(None);
        }
        let storage = self.places.storage_by_id(storage_id)?;
        require_removable(storage)?;
        let begun = self.db.write::<_, DbError, _>(move |txn| {
            Box::pin(async move { removals::begin(txn, storage_id, lease_us()).await })
        });
        let id = begun.await?;
        let planned = Planning {
            registry: self,
            storage,
            id,
            but: of.iter().map(|(id, _)| *id).collect(),
        };
        match planned.look_at_all(doomed).await {
            Ok(()) => {
                fault::point("remove.planned");
                let removal = Removal { id, storage_id };
                Ok(Some(Plan { removal, of }))
            }
            Err(error) => {
                if let Err(error) = self.abandon(id).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Could not let go of a plan");
                }
                Err(error)
            }
        }
    }

    /// Whether the files of a plan go.
    pub(in crate::registry) async fn is_committed(&self, plan: &Plan) -> Result<bool> {
        let id = plan.removal.id;
        let first = removals::committed(self.db.reader(), id - 1).await?;
        Ok(first.is_some_and(|removal| removal.id == id))
    }

    /// Lets go of a plan that is not committed. One that cannot be now ends with its lease.
    pub(in crate::registry) async fn abandon_plan(self: &Arc<Self>, plan: &Plan) -> Result<()> {
        self.abandon(plan.removal.id).await
    }

    async fn abandon(self: &Arc<Self>, id: i64) -> Result<()> {
        let abandoned = self
            .db
            .write::<_, DbError, _>(move |txn| Box::pin(async move { removals::abandon(txn, id).await }));
        abandoned.await?;
        self.sweep_soon();
        Ok(())
    }
}

/// A plan in the making.
struct Planning<'r> {
    registry: &'r Arc<Registry>,
    storage: &'r StoragePlace,
    id: i64,
    /// Ids of the artifacts that go.
    but: Vec<i64>,
}

impl Planning<'_> {
    async fn look_at_all(&self, doomed: &[ArtifactRow]) -> Result<()> {
        for row in doomed.iter().filter(|row| !row.key_is_virtual) {
            let key = row.key.clone().unwrap_or_default();
            let Some(manifest_id) = row.manifest_id else {
                let file = wanted(key, None, row.sha256.clone(), row.size_bytes);
                self.look_at(row, vec![file]).await?;
                continue;
            };
            let reader = self.registry.db.reader();
            for placed in manifests::pages_of(reader, manifest_id).await? {
                let page = self.registry.page(reader, &placed).await?;
                let page = page.ok_or(RegistryError::ContentChanged(row.uid()?))?;
                for members in page.members().chunks(FILES_AT_ONCE as usize) {
                    let files = members.iter().map(|member| {
                        let path = format!("{key}/{}", member.path);
                        let sha256 = member.sha256.as_bytes().to_vec();
                        Ok(wanted(path, Some(key.clone()), sha256, integer(member.size_bytes)?))
                    });
                    self.look_at(row, files.collect::<Result<_>>()?).await?;
                }
            }
        }
        Ok(())
    }

    /// Adds some files of an artifact, once they were found to be as they were registered.
    /// Whatever is gone already needs no plan.
    async fn look_at(&self, row: &ArtifactRow, mut files: Vec<DoomedFile>) -> Result<()> {
        let (registry, storage) = (self.registry, self.storage);
        let reader = registry.db.reader();
        // A newer version of the artifact said what lies there.
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let planned = removals::planned(reader, self.id, &paths).await?;
        let needed = registry.needed(storage.id, &files, &self.but).await?;
        files.retain(|file| !planned.contains(&file.path) && !needed.contains(&file.path));
        let found = registry.found_there(storage.id, &files).await?;
        let looked = stream::iter(files).map(|file| {
            let held = found.get(&file.path).cloned();
            async move { self.as_registered(row, file, held).await }
        });
        let looked: Vec<Option<DoomedFile>> = looked.buffered(LOOKED_AT_ONCE).try_collect().await?;
        let (id, files) = (self.id, Arc::new(looked.into_iter().flatten().collect::<Vec<_>>()));
        let added = registry.db.write::<_, DbError, _>(move |txn| {
            let files = Arc::clone(&files);
            Box::pin(async move { removals::add(txn, id, &files, lease_us()).await })
        });
        match added.await? {
            true => Ok(()),
            false => Err(RegistryError::ChangedInPlace(row.key.clone().unwrap_or_default())),
        }
    }

    /// A file as it is, when it is what was registered; `None` when it is gone.
    ///
    /// Its ETag tells, where it was read under its own path. It is read otherwise.
    async fn as_registered(
        &self,
        row: &ArtifactRow,
        file: DoomedFile,
        held: Option<Held>,
    ) -> Result<Option<DoomedFile>> {
        let uid = row.uid()?;
        let drifted = |what: String| RegistryError::Drifted {
            uid,
            path: file.path.clone(),
            what,
        };
        let found = self.storage.store.file_in_place(&file.path).await;
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(StorageError::Corrupt { what, .. }) => return Err(drifted(what)),
            Err(error) => return Err(error.into()),
        };
        if found.size_bytes != file.size_bytes.unsigned_abs() {
            let is = found.size_bytes;
            let was = file.size_bytes;
            return Err(drifted(format!("{is} bytes lie in place, {was} were registered")));
        }
        let known = held.filter(|held| held.damaged_since_us.is_none());
        let is_known = known.is_some_and(|held| held.store_etag.is_some() && held.store_etag == found.etag);
        if !is_known {
            let place = PlaceInStorage {
                storage: self.storage.clone(),
                path: file.path.clone(),
            };
            let read = read_in_place(&place).await?;
            if read.digest.sha256.as_bytes().as_slice() != file.sha256 {
                let is = read.digest.sha256;
                return Err(drifted(format!("its sha256 is {is}, another one than was registered")));
            }
            if read.object.store_etag != found.etag {
                return Err(RegistryError::ChangedInPlace(file.path));
            }
        }
        let FileSeen {
            path: _,
            size_bytes: _,
            etag,
            modified_us,
        } = found;
        Ok(Some(DoomedFile {
            store_etag: etag,
            modified_us,
            ..file
        }))
    }
}

/// A file that is to be looked at.
fn wanted(path: String, folder: Option<String>, sha256: Vec<u8>, size_bytes: i64) -> DoomedFile {
    DoomedFile {
        path,
        folder,
        sha256,
        size_bytes,
        store_etag: None,
        modified_us: 0,
    }
}
