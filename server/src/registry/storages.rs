//! Storages that are registered while the server runs: roots where files lie in place,
//! and roots to which it writes.

mod in_place;
mod moving;
mod root;

use std::time::Duration;

use artifactd_domain::{Note, StorageName};

use super::{
    Caller, Registry, RegistryError, Result, Thing, draw_uid, events,
    features::{entry_etag, require_entry_etag},
    idempotency::{Repeatable, RequestKey},
    now_us,
    place::{opened, place},
};
use crate::{
    db::{
        Batch,
        storages::{self, StorageRow},
    },
    storage::{Reach, StorageError, StorageRoot, Store, Tried},
};
pub use in_place::{FilesInPlace, InPlace, RegisteredFile};
pub(super) use in_place::{Place as PlaceInStorage, read as read_in_place};
pub use moving::{Move, Moved};
pub use root::StorageRoots;
pub(super) use root::registered_root;
use root::{require_apart, root_of};

/// How often the storages of other servers are looked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// How long opening and trying a root may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// A storage to register.
#[derive(Debug, Clone)]
pub struct NewStorage {
    /// Its name.
    pub name: StorageName,
    /// Where it lies: an absolute path, or an s3, az, gs, http or https URL.
    pub root: String,
    /// Region of a bucket.
    pub region: Option<String>,
    /// Endpoint of the service of a bucket.
    pub endpoint: Option<String>,
    /// Whether objects are written to it; files lie in place otherwise.
    pub managed: bool,
    /// Whether nothing below it is ever written or removed; always so of http and https.
    pub read_only: bool,
    /// What it is for.
    pub description: Option<Note>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// A storage.
#[derive(Debug, Clone)]
pub struct StorageRecord {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub root: String,
    /// Region of a bucket.
    pub region: Option<String>,
    /// Endpoint of the service of a bucket.
    pub endpoint: Option<String>,
    /// Whether objects are written to it.
    pub managed: bool,
    /// Whether nothing below it is ever written or removed.
    pub read_only: bool,
    /// Whether it keeps versions of what is removed.
    pub keeps_versions: bool,
    /// Whether this server could open it.
    pub is_open: bool,
    /// Whether the calls of its space use it that name none.
    pub is_default: bool,
    /// What it is for.
    pub description: Option<String>,
    /// Name of its space.
    pub space: String,
    /// Who registered it; nobody did when the configuration names it.
    pub created_by: Option<String>,
    /// When it was registered, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// Changes with every change.
    pub etag: String,
}

impl StorageRow {
    fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }
}

impl Registry {
    /// Registers a root, once it was opened and tried.
    pub async fn register_storage(&self, caller: &Caller, new: NewStorage) -> Result<StorageRecord> {
        // What it made is in the way of its repetition.
        if let Some(repeatable) = Repeatable::new(new.request.as_ref(), caller)
            && let Some(finished) = repeatable.finished::<StorageRow>(self.db.reader(), caller).await?
        {
            return self.to_storage(finished.answer);
        }
        if new.managed && new.read_only {
            let rule = "must not be set with `managed`: the server writes to such a storage";
            return Err(RegistryError::other("read_only", rule));
        }
        let roots = &self.storage_roots;
        let found = root_of(&new, &roots.allowed, roots.default.as_ref())?;
        require_apart(&found, &self.places, roots.database.as_deref())?;
        // Nothing is written by http, whatever is said.
        let read_only = new.read_only || matches!(found.root, StorageRoot::Http(_));
        let (store, root, tried) = self.tried(found, new.managed).await?;
        let now = now_us();
        let row = StorageRow {
            id: 0,
            uid: draw_uid(),
            space_id: caller.space_id,
            name: new.name.to_string(),
            root: root.clone(),
            managed: new.managed,
            read_only,
            keeps_versions: tried.keeps_versions,
            registered: true,
            region: new.region.clone(),
            endpoint: new.endpoint.clone(),
            description: new.description.as_ref().map(ToString::to_string),
            revision: 1,
            created_by: Some(caller.principal.id),
            created_at_us: now,
            updated_at_us: now,
        };
        let maker = caller.clone();
        let row: StorageRow = self
            .change_once(caller, new.request.as_ref(), move |txn| {
                let (caller, row) = (maker.clone(), row.clone());
                Box::pin(async move {
                    if storages::by_name(txn, &row.name).await?.is_some() {
                        let (what, name) = (Thing::Storage, row.name);
                        return Err(RegistryError::NameTaken { what, name });
                    }
                    let id = storages::insert(txn, &row).await?;
                    let row = StorageRow { id, ..row };
                    let mut batch = Batch::new(txn);
                    let detail = serde_json::json!({ "name": row.name, "root": row.root, "managed": row.managed, "read_only": row.read_only });
                    events::record_of(&mut batch, &caller, "storage_registered", row.uid.clone(), detail);
                    batch.run(txn).await?;
                    Ok(row)
                })
            })
            .await?;
        self.places.add(place(&row, store));
        self.to_storage(row)
    }

    /// Opens a root and tries it: a managed one is written to, read and cleaned again.
    async fn tried(&self, found: Root, managed: bool) -> Result<(Store, String, Tried)> {
        let root = found.root.to_string();
        let unusable = |field: &'static str, why: String| RegistryError::StorageUnusable {
            root: root.clone(),
            field,
            why,
        };
        let Root { root: at, reach, .. } = found;
        let opened = tokio::task::spawn_blocking(move || match managed {
            true => Store::open_registered(&at, reach),
            false => Store::open_unmanaged(&at, reach),
        });
        let store = opened.await.expect("opening a storage does not panic");
        let store = store.map_err(|error| unusable("root", error.to_string()))?;
        let tried = async {
            match managed {
                true => store.writer.try_out().await,
                false => store.probe_reading().await.map(|()| Tried::default()),
            }
        };
        match tokio::time::timeout(PROBE_TIMEOUT, tried).await {
            Ok(Ok(tried)) => Ok((store, root, tried)),
            Ok(Err(error)) => {
                let is_elsewhere = matches!(error, StorageError::OtherRegion(_));
                let field = if is_elsewhere { "region" } else { "root" };
                Err(unusable(field, with_causes(&error)))
            }
            Err(_) => Err(unusable("root", "it does not answer in time".to_owned())),
        }
    }

    /// Storages of the caller's spaces, by their names.
    pub async fn storages(&self, caller: &Caller) -> Result<Vec<StorageRecord>> {
        let rows = storages::all(self.db.reader()).await?;
        let rows = rows.into_iter().filter(|row| caller.may_read(row.space_id));
        rows.map(|row| self.to_storage(row)).collect()
    }

    /// Finds a storage.
    pub async fn storage(&self, caller: &Caller, name: &StorageName) -> Result<StorageRecord> {
        let row = storages::by_name(self.db.reader(), name.as_str()).await?;
        self.to_storage(seen(row, caller, name)?)
    }

    /// Changes what is said of a storage.
    pub async fn describe_storage(
        &self,
        caller: &Caller,
        name: StorageName,
        description: Option<Note>,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<StorageRecord> {
        let changer = caller.clone();
        let row: StorageRow = self
            .change_once(caller, request.as_ref(), move |txn| {
                let (caller, name, etag) = (changer.clone(), name.clone(), etag.clone());
                let description = description.as_ref().map(ToString::to_string);
                Box::pin(async move {
                    let row = storages::by_name(txn, name.as_str()).await?;
                    let mut row = seen(row, &caller, &name)?;
                    require_entry_etag(Thing::Storage, &row.name, row.etag(), etag.as_deref())?;
                    if row.description != description {
                        row.description = description;
                        row.revision += 1;
                        row.updated_at_us = now_us().max(row.updated_at_us);
                        storages::describe(txn, &row).await?;
                        let mut batch = Batch::new(txn);
                        let detail = serde_json::json!({ "name": row.name, "description": row.description });
                        events::record_of(&mut batch, &caller, "storage_updated", row.uid.clone(), detail);
                        batch.run(txn).await?;
                    }
                    Ok(row)
                })
            })
            .await?;
        self.to_storage(row)
    }

    /// Forgets a storage that nothing uses. Its files stay.
    pub async fn delete_storage(
        &self,
        caller: &Caller,
        name: StorageName,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<()> {
        let deleter = caller.clone();
        let id: i64 = self
            .change_once(caller, request.as_ref(), move |txn| {
                let (caller, name, etag) = (deleter.clone(), name.clone(), etag.clone());
                Box::pin(async move {
                    let row = storages::by_name(txn, name.as_str()).await?;
                    let row = seen(row, &caller, &name)?;
                    require_entry_etag(Thing::Storage, &row.name, row.etag(), etag.as_deref())?;
                    let by = match row.registered {
                        true => storages::use_of(txn, row.id).await?,
                        false => Some("the configuration"),
                    };
                    if let Some(by) = by {
                        let (what, name) = (Thing::Storage, row.name);
                        return Err(RegistryError::InUse { what, name, by });
                    }
                    storages::delete(txn, row.id).await?;
                    let mut batch = Batch::new(txn);
                    let detail = serde_json::json!({ "name": row.name, "root": row.root });
                    events::record_of(&mut batch, &caller, "storage_deleted", row.uid.clone(), detail);
                    batch.run(txn).await?;
                    Ok(row.id)
                })
            })
            .await?;
        self.places.forget(id);
        Ok(())
    }

    /// Opens what other servers have registered, and forgets what they have deleted, until the server ends.
    pub(crate) async fn follow_storages(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                () = self.ending.cancelled() => return,
            }
            let Ok(rows) = storages::all(self.db.reader()).await else {
                continue;
            };
            let known: Vec<i64> = self.places.storages().map(|place| place.id).collect();
            for row in rows.iter().filter(|row| row.registered && !known.contains(&row.id)) {
                let store = opened(row, &self.storage_roots).await;
                self.places.add(place(row, store));
            }
            for id in known.into_iter().filter(|id| rows.iter().all(|row| row.id != *id)) {
                self.places.forget(id);
            }
        }
    }

    fn to_storage(&self, row: StorageRow) -> Result<StorageRecord> {
        let space = self.places.space(row.space_id)?;
        let created_by = row.created_by.map(|id| self.places.principal_name(id));
        Ok(StorageRecord {
            is_open: self
                .places
                .storage_by_id(row.id)
                .is_ok_and(|place| !place.store.is_absent()),
            is_default: space.default_storage_id == row.id,
            etag: row.etag(),
            space: space.name.clone(),
            created_by: created_by.transpose()?.map(ToOwned::to_owned),
            uid: row.uid,
            name: row.name,
            root: row.root,
            region: row.region,
            endpoint: row.endpoint,
            managed: row.managed,
            read_only: row.read_only,
            keeps_versions: row.keeps_versions,
            description: row.description,
            created_at_us: row.created_at_us,
        })
    }
}

/// A root that may be a storage.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) root: StorageRoot,
    pub(super) reach: Reach,
}

fn seen(row: Option<StorageRow>, caller: &Caller, name: &StorageName) -> Result<StorageRow> {
    row.filter(|row| caller.may_read(row.space_id))
        .ok_or_else(|| RegistryError::StorageNotFound(name.to_string()))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
