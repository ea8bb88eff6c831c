//! Folders that are one table: where the bytes of their files are, and a look at them on
//! a save.

use std::{collections::HashMap, sync::Arc};

use artifactd_domain::{
    Uid,
    manifest::{Member, MemberPath, Page},
};
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Caller, Registry, RegistryError, Result, StoragePlace, looking::Facts, placing::integer},
    Identity,
    window::identity,
    write::{FolderContent, PlaceOf},
};
use crate::{
    arrays::{self, ArrayError, FileOf, Found, Place},
    db::{artifacts::ArtifactRow, blobs, blobs::BlobPlace, manifests},
    storage::{ArtifactView, BlobContent, BlockSums, Member as InView, ReadCounter, StorageError},
};

/// The path of the only member of a view.
const CONTENT: &str = "content";

/// Where the bytes of the files of a folder are read.
#[derive(Debug)]
pub(in crate::registry) struct FolderReader {
    registry: Arc<Registry>,
    caller: Caller,
    uid: Uid,
    /// Counts what all files cost.
    view: ArtifactView,
    files: Vec<(MemberPath, BlobPlace)>,
}

impl FolderReader {
    /// The files, read until `cancel`.
    pub(in crate::registry) fn files(&self, cancel: &CancellationToken) -> Result<Vec<FileOf>> {
        let files = self.files.iter().map(|(path, place)| {
            let content = self.registry.content_at(place)?;
            Ok(file_of(&self.view, path, content, cancel))
        });
        files.collect()
    }

    /// What reading has cost so far.
    pub(in crate::registry) fn counter(&self) -> &ReadCounter {
        self.view.counter()
    }

    /// Who reads.
    pub(in crate::registry) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What a reader is told. Damage is noted first, as it is of a file.
    pub(in crate::registry) async fn failed(&self, error: ArrayError) -> RegistryError {
        let ArrayError::Storage(error) = error else {
            return RegistryError::Array(error);
        };
        match &error {
            StorageError::Corrupt { object, .. } | StorageError::NotFound { object } => {
                if let Some(blob_id) = self.damaged(object).await {
                    self.registry
                        .note_damage(&self.caller, &self.uid, blob_id, &error)
                        .await;
                }
                RegistryError::Corrupt {
                    uid: self.uid,
                    source: error,
                }
            }
            _ => RegistryError::Storage(error),
        }
    }

    /// The first content in an object that cannot be read any more: many may lie in one.
    async fn damaged(&self, object: &str) -> Option<i64> {
        for (_, place) in self.files.iter().filter(|(_, place)| place.object_name == object) {
            let content = self.registry.content_at(place).ok()?;
            let whole = 0..content.size_bytes;
            let read = self.view.read(&content, whole).await;
            if let Err(StorageError::Corrupt { .. } | StorageError::NotFound { .. }) = read {
                return Some(place.blob_id);
            }
        }
        None
    }
}

/// A file behind a view of its own.
fn file_of(view: &ArtifactView, path: &MemberPath, content: BlobContent, cancel: &CancellationToken) -> FileOf {
    let size_bytes = content.size_bytes;
    let name = Path::from(CONTENT);
    let view = view.over(InView {
        path: name.clone(),
        content,
    });
    FileOf {
        path: path.to_string(),
        place: Place::stored(Arc::new(view), name, size_bytes, cancel.clone()),
    }
}

impl Registry {
    /// Opens the files of a folder that is one table.
    pub(in crate::registry) async fn reader_of_folder(
        self: &Arc<Self>,
        caller: &Caller,
        row: &ArtifactRow,
    ) -> Result<FolderReader> {
        let reader = self.db.reader();
        // A page keeps its contents, so where one is missing the folder itself is gone.
        let gone = || -> Result<RegistryError> { Ok(RegistryError::ContentChanged(row.uid()?)) };
        let mut files = Vec::new();
        for placed in manifests::pages_of(reader, row.folder()?).await? {
            let Some(page) = self.page(reader, &placed).await? else {
                return Err(gone()?);
            };
            let members = files_of(page.members(), files.len())?;
            let places = self.places_of_page(placed.page_id).await?;
            for member in members {
                let Some(place) = places.get(&identity(member)) else {
                    return Err(gone()?);
                };
                files.push((member.path.clone(), place.clone()));
            }
        }
        if files.is_empty() {
            return Err(RegistryError::Array(ArrayError::NoTable(row.suffix.clone())));
        }
        let store = &self.places.storage_by_id(row.storage_id)?.store;
        Ok(FolderReader {
            registry: Arc::clone(self),
            caller: caller.clone(),
            uid: row.uid()?,
            view: self.view(store, Vec::new()),
            files,
        })
    }

    async fn places_of_page(&self, page_id: i64) -> Result<HashMap<Identity, BlobPlace>> {
        let places = manifests::places_of_page(self.db.reader(), page_id).await?;
        let places = places
            .into_iter()
            .map(|(sha256, place)| ((sha256, place.size_bytes.unsigned_abs()), place));
        Ok(places.collect())
    }

    /// Looks into a folder whose contents are durable, and which no record names yet.
    pub(super) async fn look_into_folder(&self, storage: &StoragePlace, content: &FolderContent) -> Facts {
        // Ends the look when the save goes away.
        let cancel = CancellationToken::new();
        let _ended = cancel.clone().drop_guard();
        match self.files_to_look_at(storage, content, &cancel).await {
            Ok(files) if files.is_empty() => Facts::default(),
            Ok(files) => {
                let looked = tokio::task::spawn_blocking(move || arrays::look_into_folder(files));
                looked.await.unwrap_or_default().into()
            }
            Err(RegistryError::Array(error)) => {
                let why_not = Some(error.to_string());
                let found = Found::nothing();
                Found { why_not, ..found }.into()
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Could not look into a folder");
                Facts::default()
            }
        }
    }

    async fn files_to_look_at(
        &self,
        storage: &StoragePlace,
        content: &FolderContent,
        cancel: &CancellationToken,
    ) -> Result<Vec<FileOf>> {
        let view = self.view(&storage.store, Vec::new());
        let mut files = Vec::new();
        for (first, place) in &content.places {
            // Says so of most folders that are no table without a look at their pages.
            arrays::is_file_of_table(first.as_str())?;
            let (page, places) = match place {
                PlaceOf::New(sha256) => {
                    let page = content.rest.pages.iter().find(|page| page.sha256() == *sha256);
                    (page.cloned(), HashMap::new())
                }
                PlaceOf::Row(id) => (
                    manifests::page(self.db.reader(), *id).await?,
                    self.places_of_page(*id).await?,
                ),
            };
            let page = page.as_ref().map_or(&[][..], Page::members);
            for member in files_of(page, files.len())? {
                let lies = self.content_of_new(content, &places, member).await?;
                files.push(file_of(&view, &member.path, lies, cancel));
            }
        }
        Ok(files)
    }

    /// Where the content of a file lies that is about to be a member.
    async fn content_of_new(
        &self,
        new: &FolderContent,
        places: &HashMap<Identity, BlobPlace>,
        member: &Member,
    ) -> Result<BlobContent> {
        let identity = identity(member);
        if let Some(stored) = new.rest.contents.get(&identity) {
            return Ok(BlobContent {
                object: stored.object.name.clone(),
                offset: stored.offset,
                size_bytes: member.size_bytes,
                sums: BlockSums::Inline(stored.digest.block_crc32c.clone().into()),
            });
        }
        if let Some(place) = places.get(&identity) {
            return self.content_at(place);
        }
        let (storage_id, size_bytes) = (new.rest.storage_id, integer(member.size_bytes)?);
        let place = blobs::place_of(self.db.reader(), storage_id, &member.sha256, size_bytes).await?;
        let place = place.ok_or_else(|| RegistryError::FolderRefused(format!("`{}` is gone", member.path)))?;
        self.content_at(&place)
    }
}

/// Those members of a page that have rows, where so many were found before; an error
/// where one is no file of a table, or they are too many.
fn files_of(members: &[Member], found: usize) -> Result<Vec<&Member>> {
    let mut files = Vec::with_capacity(members.len());
    for member in members {
        if arrays::is_file_of_table(member.path.as_str())? {
            files.push(member);
        }
    }
    match found + files.len() <= arrays::FILES_MAX {
        true => Ok(files),
        false => Err(RegistryError::Array(ArrayError::OverBudget("100,000 files"))),
    }
}
