//! Users, spaces and storages: few, needed by nearly every call, and therefore
//! read once when the server starts.

use artifactd_domain::StorageName;

mod list;

use self::list::StorageList;
use super::{Caller, Principal, RegistryError, Result, StorageRoots, draw_uid, now_us, storages::registered_root};
use crate::{
    db::{
        Db, DbError, places,
        storages::{self, StorageRow},
    },
    storage::Store,
};

const LOCAL_ADMIN: &str = "admin";
const DEFAULT_SPACE: &str = "default";

/// A tenant.
#[derive(Debug, Clone)]
pub struct Space {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The storage of its saves that name none.
    pub default_storage_id: i64,
}

/// A storage and its open root.
#[derive(Debug, Clone)]
pub struct StoragePlace {
    /// Its row.
    pub id: i64,
    /// The space that it belongs to.
    pub space_id: i64,
    /// Its name.
    pub name: String,
    /// Whether objects are written to it; files lie in place otherwise.
    pub is_managed: bool,
    /// Whether nothing below its root is ever written or removed.
    pub is_read_only: bool,
    /// Its open root.
    pub store: Store,
}

impl StoragePlace {
    /// Whether objects can be written to it now.
    pub(super) fn is_written(&self) -> bool {
        self.is_managed && !self.store.is_absent()
    }
}

/// All users, spaces and storages.
#[derive(Debug)]
pub struct Places {
    principals: Vec<Principal>,
    spaces: Vec<Space>,
    storages: StorageList,
}

impl Places {
    /// Reads them, after making those that a new database needs.
    pub(super) async fn open(
        db: &Db,
        storage_name: &str,
        root: &str,
        store: Store,
        roots: &StorageRoots,
    ) -> Result<Self> {
        if let Some((places, recorded_root)) = Self::read(db, storage_name, &store, roots).await? {
            if recorded_root != root {
                places.record_root(db, storage_name, root).await?;
            }
            return Ok(places);
        }
        let (name, root_text) = (storage_name.to_owned(), root.to_owned());
        db.write(move |txn| {
            let (name, root) = (name.clone(), root_text.clone());
            Box::pin(async move {
                let now = now_us();
                places::ensure_principal(txn, LOCAL_ADMIN, &draw_uid(), now).await?;
                places::ensure_space(txn, DEFAULT_SPACE, &draw_uid(), now).await?;
                let space = places::spaces(txn)
                    .await?
                    .into_iter()
                    .find(|space| space.name == DEFAULT_SPACE);
                let space_id = space
                    .ok_or(DbError::Row {
                        table: "spaces",
                        column: "name",
                    })?
                    .id;
                places::ensure_storage(txn, space_id, &name, &draw_uid(), &root, now).await?;
                let storage = places::storages(txn)
                    .await?
                    .into_iter()
                    .find(|storage| storage.name == name);
                let storage_id = storage
                    .ok_or(DbError::Row {
                        table: "storages",
                        column: "name",
                    })?
                    .id;
                places::set_storage_root(txn, storage_id, &root).await?;
                places::ensure_default_storage(txn, space_id, storage_id).await
            })
        })
        .await?;
        let places = Self::read(db, storage_name, &store, roots).await?;
        places.map(|(places, _)| places).ok_or_else(|| {
            DbError::Row {
                table: "spaces",
                column: "default_storage_id",
            }
            .into()
        })
    }

    /// A root may have moved with its data folder, or be mounted elsewhere here.
    async fn record_root(&self, db: &Db, storage_name: &str, root: &str) -> Result<()> {
        let Some(storage) = self.storages().find(|storage| storage.name == storage_name) else {
            return Ok(());
        };
        tracing::info!(
            storage = storage_name,
            root,
            "Storage {storage_name} lies at another root now"
        );
        let (id, root) = (storage.id, root.to_owned());
        db.write(move |txn| {
            let root = root.clone();
            Box::pin(async move { Ok(places::set_storage_root(txn, id, &root).await?) })
        })
        .await
    }

    /// Everything, and the recorded root of the storage; `None` when something is
    /// missing that a server needs.
    async fn read(db: &Db, storage_name: &str, store: &Store, roots: &StorageRoots) -> Result<Option<(Self, String)>> {
        let (principals, spaces, storages) = futures::try_join!(
            places::principals(db.reader()),
            places::spaces(db.reader()),
            storages::all(db.reader())
        )?;
        let principals = principals
            .into_iter()
            .map(|row| Principal {
                id: row.id,
                name: row.name,
            })
            .collect::<Vec<_>>();
        let spaces: Vec<_> = spaces
            .into_iter()
            .filter_map(|row| {
                Some(Space {
                    id: row.id,
                    name: row.name,
                    default_storage_id: row.default_storage_id?,
                })
            })
            .collect();
        let recorded_root = storages
            .iter()
            .find(|row| row.name == storage_name)
            .map(|row| row.root.clone());
        let storages_found = StorageList::default();
        let mut has_default = false;
        for row in storages {
            if row.name == storage_name {
                has_default = true;
                storages_found.add(place(&row, store.clone()));
            } else if row.registered {
                storages_found.add(place(&row, opened(&row, roots).await));
            }
        }
        let storages = storages_found;
        let complete = principals.iter().any(|principal| principal.name == LOCAL_ADMIN)
            && spaces.iter().any(|space| space.name == DEFAULT_SPACE)
            && has_default;
        let Some(recorded_root) = recorded_root.filter(|_| complete) else {
            return Ok(None);
        };
        let places = Self {
            principals,
            spaces,
            storages,
        };
        Ok(Some((places, recorded_root)))
    }

    /// The caller of a call that comes from this machine and names no other user.
    pub fn local_admin(&self, space: Option<&str>, call_id: String) -> Result<Caller> {
        let principal = self.principals.iter().find(|principal| principal.name == LOCAL_ADMIN);
        let principal = principal.expect("opening made the local admin").clone();
        let name = space.unwrap_or(DEFAULT_SPACE);
        let space = self.spaces.iter().find(|space| space.name == name);
        let space_id = space.ok_or_else(|| RegistryError::SpaceNotFound(name.to_owned()))?.id;
        let shared = self.spaces.iter().find(|space| space.name == DEFAULT_SPACE);
        let shared_space_id = shared.expect("opening made the default space").id;
        let readable_space_ids = self.spaces.iter().map(|space| space.id).collect();
        Ok(Caller {
            principal,
            space_id,
            shared_space_id,
            readable_space_ids,
            call_id,
            run: None,
        })
    }

    /// The storage that a caller names, or the default one of its space.
    pub fn storage(&self, caller: &Caller, name: Option<&StorageName>) -> Result<&StoragePlace> {
        match name {
            None => self.storage_by_id(self.space(caller.space_id)?.default_storage_id),
            Some(name) => self
                .storages()
                .find(|storage| storage.name == name.as_str() && caller.may_read(storage.space_id))
                .ok_or_else(|| RegistryError::StorageNotFound(name.to_string())),
        }
    }

    /// The storage with this id. One that this server was not given is not found.
    pub fn storage_by_id(&self, id: i64) -> Result<&StoragePlace> {
        let found = self.storages().find(|storage| storage.id == id);
        found.ok_or_else(|| RegistryError::StorageNotFound(format!("number {id}, which is not configured here")))
    }

    /// The space with this id.
    pub fn space(&self, id: i64) -> Result<&Space> {
        let found = self.spaces.iter().find(|space| space.id == id);
        found.ok_or(RegistryError::Db(DbError::Row {
            table: "artifacts",
            column: "space_id",
        }))
    }

    /// Name of the user with this id.
    pub(super) fn principal_name(&self, id: i64) -> Result<&str> {
        let found = self.principals.iter().find(|principal| principal.id == id);
        let found = found.ok_or(RegistryError::Db(DbError::Row {
            table: "artifacts",
            column: "created_by",
        }))?;
        Ok(&found.name)
    }

    /// Ids and names of all users.
    pub(super) fn principal_names(&self) -> impl Iterator<Item = (i64, &str)> {
        let principals = self.principals.iter();
        principals.map(|principal| (principal.id, principal.name.as_str()))
    }

    /// Ids and names of all open storages.
    pub(super) fn storage_names(&self) -> impl Iterator<Item = (i64, &str)> {
        self.storages.iter().map(|storage| (storage.id, storage.name.as_str()))
    }

    /// All open storages.
    pub fn storages(&self) -> impl Iterator<Item = &StoragePlace> {
        self.storages.iter()
    }

    /// The storages of saves that name none: without them the server can do little.
    pub(super) fn default_storages(&self) -> impl Iterator<Item = &StoragePlace> {
        let is_default = |id| self.spaces.iter().any(|space| space.default_storage_id == id);
        self.storages().filter(move |storage| is_default(storage.id))
    }

    /// Takes a storage that was registered; one that is there already stays.
    pub(super) fn add(&self, place: StoragePlace) {
        self.storages.add(place);
    }

    /// Forgets a storage that was deleted.
    pub(super) fn forget(&self, id: i64) {
        self.storages.forget(id);
    }
}

/// A storage with its open root.
pub(super) fn place(row: &StorageRow, store: Store) -> StoragePlace {
    StoragePlace {
        id: row.id,
        space_id: row.space_id,
        name: row.name.clone(),
        is_managed: row.managed,
        is_read_only: row.read_only,
        store,
    }
}

/// Opens a storage that was registered before. One that cannot be opened takes nobody else down.
pub(super) async fn opened(row: &StorageRow, roots: &StorageRoots) -> Store {
    let (root, managed, name) = (row.root.clone(), row.managed, row.name.clone());
    let found = registered_root(&root, row.region.as_deref(), row.endpoint.as_deref(), roots);
    let opened = match found {
        Err(error) => Err(error.to_string()),
        Ok((at, reach)) => {
            let opened = tokio::task::spawn_blocking(move || match managed {
                true => Store::open_registered(&at, reach),
                false => Store::open_unmanaged(&at, reach),
            });
            let opened = opened.await.expect("opening a storage does not panic");
            opened.map_err(|error| error.to_string())
        }
    };
    opened.unwrap_or_else(|why| {
        tracing::warn!(storage = name, root, why, "Storage {name} cannot be opened");
        Store::absent(&root, why)
    })
}
