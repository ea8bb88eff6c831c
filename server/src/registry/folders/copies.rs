//! Folders on their way to another storage: their pages, and the contents that these name.
//!
//! A page is the same in every storage, so one that is there already is shared. Every
//! content is checked as it is read and hashed before it is named again; small ones go into
//! packs, wherever they lay before. Pages are written a few thousand members at a time, and
//! held for the transaction that makes them those of the artifact.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    mem,
    pin::pin,
    sync::Arc,
};

use artifactd_domain::{
    ContentDigest, Sha256, Suffix,
    manifest::{ManifestDigest, Member, MemberPath, Page},
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::time::timeout;

use super::{
    super::{
        Caller, Registry, RegistryError, Result, StoragePlace, content::digest_of, now_us, save::commit::moved_away,
    },
    Identity,
    contents::Contents,
    held::{LEASE, renew, write_held},
    window::identity,
    write::NewPages,
};
use crate::{
    db::{
        Txn,
        artifacts::ArtifactRow,
        blobs::{self, BlobPlace},
        folder_saves,
        manifests::{self, PlacedPage},
    },
    storage::{ArtifactView, PACKED_CONTENT_BYTES_END, SMALL_CONTENT_BYTES_MAX},
};

/// Members whose pages wait in memory for their contents to be durable.
const WAITING_MEMBERS_MAX: usize = 32 * 1024;

/// Members whose pages are written in one transaction: other writers wait for it.
const GROUP_MEMBERS: usize = 2 * 1024;

/// Small contents that are read together.
const TOGETHER_BYTES_MAX: i64 = 4 * 1024 * 1024;
const TOGETHER_MAX: usize = 1_000;

/// Folders of one artifact that are copied to a storage.
pub(in crate::registry) struct FolderCopies {
    target: StoragePlace,
    contents: Contents,
    /// Digests of all pages that were copied.
    known: HashSet<Sha256>,
    /// Pages whose contents came, and that have no row yet.
    waiting: Vec<Page>,
    waiting_members: usize,
    written: Arc<HashMap<Sha256, i64>>,
    /// The row that holds them.
    save_id: Option<i64>,
    copied_bytes: u64,
}

/// Pages that a storage has for an artifact which is about to move there.
#[derive(Debug, Clone)]
pub(in crate::registry) struct HeldPages {
    /// Their ids by their digests.
    ids: Arc<HashMap<Sha256, i64>>,
    save_id: Option<i64>,
}

/// A folder, where it is copied from.
struct Source<'s> {
    registry: &'s Arc<Registry>,
    caller: &'s Caller,
    row: &'s ArtifactRow,
}

/// A content to copy: the first member that has it, and where it lies.
type Wanted = (Member, BlobPlace);

impl FolderCopies {
    /// Nothing yet.
    pub(in crate::registry) fn to(target: &StoragePlace) -> Self {
        Self {
            contents: Contents::new(target.clone()),
            target: target.clone(),
            known: HashSet::new(),
            waiting: Vec::new(),
            waiting_members: 0,
            written: Arc::default(),
            save_id: None,
            copied_bytes: 0,
        }
    }

    /// Bytes of the contents that were copied.
    pub(in crate::registry) fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Copies what a folder consists of and the storage does not have.
    pub(in crate::registry) async fn copy(
        &mut self,
        registry: &Arc<Registry>,
        caller: &Caller,
        row: &ArtifactRow,
    ) -> Result<()> {
        let source = Source { registry, caller, row };
        for placed in manifests::pages_of(registry.db.reader(), row.folder()?).await? {
            if self.known.contains(&placed.reference.sha256) {
                continue;
            }
            let page = self.copy_page(&source, &placed).await?;
            self.known.insert(placed.reference.sha256);
            self.waiting_members += page.members().len();
            self.waiting.push(page);
            if self.waiting_members >= WAITING_MEMBERS_MAX {
                self.write(registry, caller).await?;
            }
        }
        Ok(())
    }

    /// Waits for other work, and keeps meanwhile what is held.
    pub(in crate::registry) async fn beside<T>(
        &mut self,
        registry: &Registry,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout(LEASE / 4, &mut work).await {
                return done;
            }
            if let Some(id) = self.save_id {
                renew(registry, id, now_us()).await.map_err(again)?;
            }
        }
    }

    /// What is held, for the transaction.
    pub(in crate::registry) fn held(&self) -> HeldPages {
        HeldPages {
            ids: Arc::clone(&self.written),
            save_id: self.save_id,
        }
    }

    /// Removes objects in which nothing lies that a row names. What has its row is kept while
    /// the lease runs, so that another try need not copy it again.
    pub(in crate::registry) async fn discard_unused(mut self, registry: &Arc<Registry>) {
        self.contents.abort_pack().await;
        for name in self.contents.into_objects() {
            if let Ok(None) = blobs::object_by_name(registry.db.reader(), name.as_str()).await {
                registry.discard(self.target.id, name);
            }
        }
    }

    async fn copy_page(&mut self, source: &Source<'_>, placed: &PlacedPage) -> Result<Page> {
        let reader = source.registry.db.reader();
        let gone = || Ok::<_, RegistryError>(RegistryError::ContentChanged(source.row.uid()?));
        let Some(page) = source.registry.page(reader, placed).await? else {
            return Err(gone()?);
        };
        let missing = self.missing(source.registry, &page).await?;
        if missing.is_empty() {
            return Ok(page.as_ref().clone());
        }
        let places = manifests::places_of_page(reader, placed.page_id).await?;
        let mut places: HashMap<Identity, BlobPlace> = places
            .into_iter()
            .map(|(sha256, place)| ((sha256, place.size_bytes.unsigned_abs()), place))
            .collect();
        let mut small = Vec::with_capacity(missing.len());
        for (identity, member) in missing {
            let Some(place) = places.remove(&identity) else {
                return Err(gone()?);
            };
            match member.size_bytes < PACKED_CONTENT_BYTES_END {
                true => small.push((member, place)),
                false => self.copy_large(source, &member, place).await?,
            }
        }
        self.copy_small(source, small).await?;
        Ok(page.as_ref().clone())
    }

    /// What a page names and the storage does not have sound, each once.
    async fn missing(&mut self, registry: &Registry, page: &Page) -> Result<BTreeMap<Identity, Member>> {
        let members = page.members().iter();
        let mut wanted: BTreeMap<Identity, Member> = members
            .filter(|member| !self.contents.has(&identity(member)))
            .map(|member| (identity(member), member.clone()))
            .collect();
        let digests: BTreeSet<Sha256> = wanted.keys().map(|(sha256, _)| *sha256).collect();
        let digests: Vec<Sha256> = digests.into_iter().collect();
        for (sha256, size_bytes) in blobs::held(registry.db.reader(), self.target.id, &digests).await? {
            if let Ok(sha256) = <[u8; 32]>::try_from(sha256) {
                wanted.remove(&(Sha256::from_bytes(sha256), size_bytes.unsigned_abs()));
            }
        }
        Ok(wanted)
    }

    async fn copy_large(&mut self, source: &Source<'_>, member: &Member, place: BlobPlace) -> Result<()> {
        let reader = source.registry.reader_of(source.caller, source.row, place)?;
        let suffix = Suffix::of_name(member.path.file_name());
        let target = self.target.clone();
        let copying = source.registry.copy_content(reader, identity(member), &suffix, &target);
        let stored = self.beside(source.registry, copying).await?;
        self.copied_bytes += member.size_bytes;
        self.contents.put_object(stored);
        Ok(())
    }

    /// Copies contents that go into packs, in the order in which they lie.
    async fn copy_small(&mut self, source: &Source<'_>, mut wanted: Vec<Wanted>) -> Result<()> {
        wanted.sort_by_cached_key(|(_, place)| (place.object_name.clone(), place.offset_bytes));
        let (mut rest, mut together, mut bytes) = (wanted.into_iter(), Vec::new(), 0);
        loop {
            let next = rest.next();
            let is_full = together.len() >= TOGETHER_MAX || bytes >= TOGETHER_BYTES_MAX;
            if is_full || next.is_none() {
                self.copy_together(source, mem::take(&mut together)).await?;
                bytes = 0;
            }
            let Some(next) = next else { return Ok(()) };
            bytes += next.1.size_bytes;
            together.push(next);
        }
    }

    async fn copy_together(&mut self, source: &Source<'_>, wanted: Vec<Wanted>) -> Result<()> {
        let is_block = |(_, place): &Wanted| place.size_bytes.unsigned_abs() <= SMALL_CONTENT_BYTES_MAX;
        let (blocks, larger): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_block);
        let contents = blocks.iter().map(|(_, place)| source.registry.content_at(place));
        let contents = contents.collect::<Result<Vec<_>>>()?;
        let view = source.view()?;
        for (wanted, read) in blocks.into_iter().zip(view.read_small(&contents).await) {
            let bytes = match read {
                Ok(chunk) => chunk.data,
                // It may have been moved; if it is damaged, that is noted.
                Err(_) => source.read(&wanted.1).await?,
            };
            self.put(source, wanted, bytes).await?;
        }
        for wanted in larger {
            let bytes = source.read(&wanted.1).await?;
            self.put(source, wanted, bytes).await?;
        }
        Ok(())
    }

    async fn put(&mut self, source: &Source<'_>, (member, place): Wanted, bytes: Bytes) -> Result<()> {
        let digest: ContentDigest = digest_of(&bytes);
        if (digest.sha256, digest.size_bytes) != identity(&member) {
            let reader = source.registry.reader_of(source.caller, source.row, place)?;
            return Err(reader.holds_other(&digest.sha256).await);
        }
        self.copied_bytes += member.size_bytes;
        self.contents.put(bytes, digest).await
    }

    /// Makes durable what came, and writes the pages that wait.
    pub(in crate::registry) async fn write(&mut self, registry: &Arc<Registry>, caller: &Caller) -> Result<()> {
        self.contents.finish_pack().await?;
        self.waiting_members = 0;
        let mut waiting = mem::take(&mut self.waiting).into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut pages, mut members) = (Vec::new(), 0);
            while members < GROUP_MEMBERS
                && let Some(page) = waiting.next()
            {
                members += page.members().len();
                pages.push(page);
            }
            let contents = self.contents.take(pages.iter().flat_map(Page::members).map(identity));
            let new = Arc::new(NewPages {
                storage_id: self.target.id,
                pages,
                contents,
            });
            let place = (self.target.id, caller.principal.id);
            let (id, ids) = write_held(registry, place, self.save_id, new).await.map_err(again)?;
            self.save_id = Some(id);
            Arc::make_mut(&mut self.written).extend(ids);
        }
        Ok(())
    }
}

/// A save whose lease has ended is no fault of who moves something: the next try is another.
fn again(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::FolderRefused(_) => moved_away(),
        other => other,
    }
}

impl Source<'_> {
    /// A view of the storage in which the folder lies.
    fn view(&self) -> Result<ArtifactView> {
        let place = self.registry.places.storage_by_id(self.row.storage_id)?;
        Ok(self.registry.view(&place.store, Vec::new()))
    }

    /// Reads a content that fits into memory.
    async fn read(&self, place: &BlobPlace) -> Result<Bytes> {
        let size_bytes = place.size_bytes.unsigned_abs();
        let reader = self.registry.reader_of(self.caller, self.row, place.clone())?;
        let mut chunks = reader.stream(0..size_bytes, size_bytes.max(1));
        let mut bytes = BytesMut::with_capacity(size_bytes as usize);
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes.freeze())
    }
}

impl HeldPages {
    /// Makes a folder of pages that are held; answers its manifest, or nothing when one of its
    /// pages was not copied.
    pub(in crate::registry) async fn manifest(
        &self,
        txn: &Txn,
        storage_id: i64,
        row: &ArtifactRow,
    ) -> Result<Option<i64>> {
        let pages = manifests::pages_of(txn, row.folder()?).await?;
        let place = |placed: &PlacedPage| {
            Some((
                placed.reference.first_path.clone(),
                *self.ids.get(&placed.reference.sha256)?,
            ))
        };
        let places: Option<Vec<(MemberPath, i64)>> = pages.iter().map(place).collect();
        let Some(places) = places else { return Ok(None) };
        let digest = ManifestDigest {
            sha256: row.digest()?,
            size_bytes: row.size_bytes.unsigned_abs(),
            n_objects: row.n_objects.unwrap_or_default().unsigned_abs(),
        };
        let id = manifests::insert(txn, storage_id, &digest, now_us()).await?;
        let places: Vec<(&MemberPath, i64)> = places.iter().map(|(path, id)| (path, *id)).collect();
        manifests::insert_places(txn, id, &places).await?;
        Ok(Some(id))
    }

    /// Ends what holds them, once they are those of the artifact; false when it had ended.
    pub(in crate::registry) async fn let_go(&self, txn: &Txn) -> Result<bool> {
        match self.save_id {
            None => Ok(true),
            Some(id) => Ok(folder_saves::end(txn, id).await?),
        }
    }
}
