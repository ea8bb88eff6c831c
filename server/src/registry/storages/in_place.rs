//! Files that become artifacts where they lie, without a copy.
//!
//! Each is read once, so that its record says what is in it: a file that changes
//! afterwards is noticed by whoever reads it.

use std::{path::Path as FilePath, sync::Arc};

use artifactd_domain::{
    BLOCK_BYTES, ContentDigest, ContentHasher, Key,
    manifest::{Member, MemberPath},
};
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};

use super::root::unsupported;
use crate::{
    db::DbError,
    registry::{
        Caller, FolderBegun, FolderEdit, NewArtifact, NewFolder, Registry, RegistryError, Result, Saved, StoragePlace,
        content::Stored, random,
    },
    storage::{FinishedObject, ObjectName, StorageError},
};

/// Files that are read at once for one call.
const FILES_AT_ONCE: usize = 4;

/// Files that are listed to a folder at once.
const LISTED_AT_ONCE: usize = 256;

/// Files of one folder, or below one prefix, at most.
const FILES_MAX: usize = 1_000_000;

/// What lies in place, and what is said of it.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// Where: a path or URL below a registered root.
    pub uri: String,
    /// What is said of it. Key and storage follow from where it lies.
    pub new: NewArtifact,
}

/// Files below a prefix.
#[derive(Debug, Clone)]
pub struct FilesInPlace {
    /// Where they begin.
    pub uri: String,
    /// What is said of each.
    pub new: NewArtifact,
}

/// A file below a prefix, and what became of it.
#[derive(Debug)]
pub struct RegisteredFile {
    /// Its key.
    pub key: String,
    /// What became of it.
    pub outcome: Result<Saved>,
}

/// A place below a registered root.
pub(in crate::registry) struct Place {
    pub(in crate::registry) storage: StoragePlace,
    /// Its path from the root.
    pub(in crate::registry) path: String,
}

impl Registry {
    /// Registers one file.
    pub async fn register_file(self: &Arc<Self>, caller: &Caller, file: InPlace) -> Result<Saved> {
        let place = self.place_of(caller, &file.uri).await?;
        let new = at_place(file.new, &place)?;
        if let Some(key) = &new.key {
            require_file(&place, key)?;
        }
        let _turn = self.content_turns.take().await?;
        self.register(caller, &place, new).await
    }

    async fn register(self: &Arc<Self>, caller: &Caller, place: &Place, new: NewArtifact) -> Result<Saved> {
        let content = read(place).await?;
        new.declared.check(&content.digest)?;
        self.save_stored(caller, &place.storage, new, content).await
    }

    /// Registers all files below a prefix, each as an artifact of its own.
    pub async fn register_files(
        self: &Arc<Self>,
        caller: &Caller,
        files: FilesInPlace,
    ) -> Result<BoxStream<'static, RegisteredFile>> {
        let place = self.place_of(caller, &files.uri).await?;
        if files.new.key.is_some() {
            return Err(RegistryError::other("header.key", "follows from where each file lies"));
        }
        let found = list(&place).await?;
        let turn = self.content_turns.take().await?;
        let (registry, caller, new, storage) = (Arc::clone(self), caller.clone(), files.new, place.storage);
        let each = stream::iter(found).map(move |path| {
            let (registry, caller, new, storage) =
                (Arc::clone(&registry), caller.clone(), new.clone(), storage.clone());
            async move {
                let place = Place { storage, path };
                let outcome = match at_place(new, &place) {
                    Ok(new) => registry.register(&caller, &place, new).await,
                    Err(error) => Err(error),
                };
                let key = place.path;
                RegisteredFile { key, outcome }
            }
        });
        let each = each.buffered(FILES_AT_ONCE);
        Ok(each
            .map(move |file| {
                let _held = &turn;
                file
            })
            .boxed())
    }

    /// Registers all files below a prefix as one folder.
    pub async fn register_folder(self: &Arc<Self>, caller: &Caller, folder: InPlace) -> Result<Saved> {
        let place = self.place_of(caller, &folder.uri).await?;
        let artifact = at_place(folder.new, &place)?;
        let found = list(&place).await?;
        let prefix = format!("{}/", place.path.trim_end_matches('/'));
        let begun = self
            .begin_folder(
                caller,
                NewFolder {
                    artifact,
                    base: None,
                    // What is there is there.
                    allow_case_collisions: true,
                },
            )
            .await?;
        let mut save = match begun {
            FolderBegun::Before(saved) => return Ok(*saved),
            FolderBegun::Save(save) => save,
        };
        let done = fill(&mut save, &place, &prefix, found).await;
        match done {
            Ok(()) => save.commit().await,
            Err(error) => {
                save.abandon().await;
                Err(error)
            }
        }
    }

    /// Where a path or URL lies in a registered root.
    async fn place_of(&self, caller: &Caller, uri: &str) -> Result<Place> {
        let uri = match uri.strip_prefix("file://").unwrap_or(uri) {
            path if path.starts_with('/') => {
                let path = FilePath::new(path).to_owned();
                let real = tokio::task::spawn_blocking(move || path.canonicalize()).await;
                let real = real.expect("it does not panic");
                // What is not there is told only below a root.
                real.map_or_else(|_| format!("file://{uri}"), |real| format!("file://{}", real.display()))
            }
            _ => uri.to_owned(),
        };
        if uri.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(RegistryError::other("uri", "must not have a `.` or `..` segment"));
        }
        if let Some((scheme, _)) = uri.split_once("://")
            && !matches!(scheme, "file" | "s3" | "az" | "gs" | "http" | "https")
        {
            return Err(RegistryError::other("uri", unsupported(scheme)));
        }
        let uri = uri.trim_end_matches('/');
        let below = |place: &&StoragePlace| {
            let rest = uri.strip_prefix(place.store.uri_of_root());
            caller.may_read(place.space_id) && rest.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
        };
        let storages = self.places.storages().filter(below);
        let nearest = storages.max_by_key(|place| place.store.uri_of_root().len());
        let storage = nearest.ok_or_else(|| RegistryError::StorageNotRegistered {
            uri: without_secrets(uri),
            root: root_to_register(uri),
        })?;
        if storage.is_managed {
            return Err(RegistryError::RealKeyUnsupported {
                key: uri.to_owned(),
                why: format!(
                    "storage {} holds objects that the server writes; register another root",
                    storage.name
                ),
            });
        }
        Ok(Place {
            path: uri[storage.store.uri_of_root().len() + 1..].to_owned(),
            storage: storage.clone(),
        })
    }
}

/// A URL without what may be a secret: a user, a password, a query.
fn without_secrets(uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or(uri);
    let Some((scheme, rest)) = uri.split_once("://") else {
        return uri.to_owned();
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or(host);
    let slash = if rest.contains('/') { "/" } else { "" };
    format!("{scheme}://{host}{slash}{path}")
}

/// The root that would hold a file.
fn root_to_register(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme @ ("s3" | "az" | "gs" | "http" | "https"), rest)) => {
            let host = rest.split('/').next().unwrap_or(rest);
            // Whatever stands before it may be a secret.
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}")
        }
        Some(("file", path)) => {
            let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
            folder.to_owned()
        }
        _ => "its folder".to_owned(),
    }
}

/// What is said of an artifact, with the key and storage of its place.
fn at_place(new: NewArtifact, place: &Place) -> Result<NewArtifact> {
    let key: Key =
        place.path.parse().map_err(
            |error: artifactd_domain::KeyRefused| RegistryError::RealKeyUnsupported {
                key: place.path.clone(),
                why: error.to_string(),
            },
        )?;
    if new.key.as_ref().is_some_and(|named| *named != key) {
        let rule = format!("is another one than {key}, which is where the file lies");
        return Err(RegistryError::other("header.key", rule));
    }
    if new.revises.is_some() {
        return Err(RegistryError::other(
            "header.revises",
            "follows from where the file lies",
        ));
    }
    let name = place.storage.name.parse().map_err(|_| DbError::Row {
        table: "storages",
        column: "name",
    })?;
    if new.storage.as_ref().is_some_and(|named| *named != name) {
        let rule = format!("is another one than {name}, in which the file lies");
        return Err(RegistryError::other("header.storage", rule));
    }
    Ok(NewArtifact {
        key: Some(key),
        storage: Some(name),
        expect_accessor: None,
        in_place: true,
        ..new
    })
}

/// A path in a store, as its files are called.
fn location(path: &str) -> Result<Path> {
    Path::parse(path).map_err(|error| RegistryError::RealKeyUnsupported {
        key: path.to_owned(),
        why: error.to_string(),
    })
}

/// Fails for what is no file, or a link that leads out of the root.
fn require_file(place: &Place, key: &Key) -> Result<()> {
    let Some(root) = place.storage.store.uri_of_root().strip_prefix("file://") else {
        return Ok(());
    };
    let refused = |why: String| RegistryError::other("uri", why);
    let path = FilePath::new(root).join(key.as_str());
    let real = path
        .canonicalize()
        .map_err(|error| refused(format!("cannot be opened: {error}")))?;
    if !real.starts_with(root) {
        return Err(refused("is a link that leads out of the storage".to_owned()));
    }
    match real.is_file() {
        true => Ok(()),
        false => Err(refused("is no file".to_owned())),
    }
}

/// The files below a place, by their paths from the root.
async fn list(place: &Place) -> Result<Vec<String>> {
    let store = &place.storage.store;
    if !store.can_list() {
        return Err(RegistryError::other(
            "uri",
            "is of a storage that cannot be listed: register each file",
        ));
    }
    let prefix = location(&place.path)?;
    let mut found = Vec::new();
    let mut listed = store.reader.list(Some(&prefix));
    while let Some(meta) = listed
        .try_next()
        .await
        .map_err(|error| unreadable(&place.path, error))?
    {
        let path = meta.location.to_string();
        // What the server wrote itself is no file of anybody.
        if path.split('/').any(|segment| segment == crate::storage::SYSTEM_FOLDER) {
            continue;
        }
        found.push(path);
        if found.len() > FILES_MAX {
            let rule = format!("holds more than {FILES_MAX} files");
            return Err(RegistryError::other("uri", rule));
        }
    }
    if found.is_empty() {
        return Err(RegistryError::other("uri", "holds no file"));
    }
    found.sort_unstable();
    Ok(found)
}

fn unreadable(path: &str, error: object_store::Error) -> RegistryError {
    match error {
        object_store::Error::NotFound { .. } => RegistryError::other("uri", format!("has no file {path}")),
        other => RegistryError::Storage(StorageError::from_read(path, 0, other)),
    }
}

/// Reads a file whole, once.
pub(in crate::registry) async fn read(place: &Place) -> Result<Stored> {
    let (path, store) = (location(&place.path)?, &place.storage.store);
    if let Ok(key) = place.path.parse() {
        require_file(place, &key)?;
    }
    let found = store
        .reader
        .get(&path)
        .await
        .map_err(|error| unreadable(&place.path, error))?;
    let before = found.meta.clone();
    let digest = hashed(found.into_stream(), &place.path).await?;
    let after = store
        .reader
        .head(&path)
        .await
        .map_err(|error| unreadable(&place.path, error))?;
    let changed = |before: &ObjectMeta, after: &ObjectMeta| {
        before.size != after.size || before.e_tag != after.e_tag || before.last_modified != after.last_modified
    };
    if digest.size_bytes != before.size || changed(&before, &after) {
        return Err(RegistryError::ChangedInPlace(place.path.clone()));
    }
    Ok(Stored {
        object: FinishedObject {
            name: ObjectName::in_place(random(), &place.path),
            size_bytes: digest.size_bytes,
            store_etag: before.e_tag,
        },
        digest,
    })
}

async fn hashed(mut bytes: BoxStream<'static, object_store::Result<Bytes>>, path: &str) -> Result<ContentDigest> {
    let mut hasher = ContentHasher::new();
    let mut waiting = BytesMut::new();
    while let Some(next) = bytes.try_next().await.map_err(|error| unreadable(path, error))? {
        waiting.extend_from_slice(&next);
        if waiting.len() >= BLOCK_BYTES {
            hasher = update(hasher, waiting.split().freeze()).await;
        }
    }
    Ok(update(hasher, waiting.freeze()).await.finish())
}

/// Hashes on a thread that may be busy.
async fn update(mut hasher: ContentHasher, data: Bytes) -> ContentHasher {
    let hashed = tokio::task::spawn_blocking(move || {
        hasher.update(&data);
        hasher
    });
    hashed.await.expect("hashing does not panic")
}

/// Reads the files of a folder, and lists them to it.
async fn fill(save: &mut crate::registry::FolderSave, place: &Place, prefix: &str, found: Vec<String>) -> Result<()> {
    let reading = stream::iter(found).map(|path| async move {
        let storage = place.storage.clone();
        let read = read(&Place {
            storage,
            path: path.clone(),
        })
        .await?;
        let below = path.strip_prefix(prefix).unwrap_or(&path);
        let path: MemberPath =
            below.parse().map_err(
                |error: artifactd_domain::KeyRefused| RegistryError::RealKeyUnsupported {
                    key: below.to_owned(),
                    why: error.to_string(),
                },
            )?;
        Ok::<_, RegistryError>((path, read))
    });
    let mut reading = reading.buffered(FILES_AT_ONCE).chunks(LISTED_AT_ONCE).boxed();
    while let Some(chunk) = reading.next().await {
        let chunk = chunk.into_iter().collect::<Result<Vec<_>>>()?;
        for (_, stored) in &chunk {
            save.lies_in_place(stored.clone());
        }
        let members = chunk.into_iter().map(|(path, stored)| {
            FolderEdit::Put(Member {
                path,
                size_bytes: stored.digest.size_bytes,
                sha256: stored.digest.sha256,
            })
        });
        save.list(members.collect()).await?;
    }
    Ok(())
}
