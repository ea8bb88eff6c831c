//! Contents of a folder that come in: small ones into packs, large ones into objects.

use std::{collections::HashMap, sync::Arc};

use artifactd_domain::{ContentDigest, Suffix};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    super::{
        Registry, RegistryError, Result, StoragePlace,
        content::{Data, Declared, Piece, Stored},
        random,
    },
    Identity,
    write::{NewPages, StoredAt},
};
use crate::storage::{ObjectName, PackWriter};

/// Pieces of a large file that wait to be written.
const PIECES_WAITING_MAX: usize = 2;

/// What came in and has no row yet.
pub(super) struct Contents {
    storage: StoragePlace,
    pack: Option<PackWriter>,
    /// What lies in the pack that is being written.
    in_pack: HashMap<Identity, (u64, ContentDigest)>,
    durable: HashMap<Identity, StoredAt>,
    /// Every object that was finished.
    objects: Vec<ObjectName>,
}

impl Contents {
    pub(super) fn new(storage: StoragePlace) -> Self {
        Self {
            storage,
            pack: None,
            in_pack: HashMap::new(),
            durable: HashMap::new(),
            objects: Vec::new(),
        }
    }

    /// Whether a content came.
    pub(super) fn has(&self, identity: &Identity) -> bool {
        self.in_pack.contains_key(identity) || self.durable.contains_key(identity)
    }

    /// How many contents came that have no row yet.
    pub(super) fn len(&self) -> usize {
        self.in_pack.len() + self.durable.len()
    }

    /// Puts a small content into the pack.
    pub(super) async fn put(&mut self, bytes: Bytes, digest: ContentDigest) -> Result<()> {
        let identity = (digest.sha256, digest.size_bytes);
        if self.has(&identity) {
            return Ok(());
        }
        if self.pack.as_ref().is_some_and(PackWriter::is_full) {
            self.finish_pack().await?;
        }
        let writer = &self.storage.store.writer;
        let pack = self
            .pack
            .get_or_insert_with(|| PackWriter::new(writer.begin(ObjectName::of_pack(random()))));
        match pack.put(bytes, &digest).await {
            Ok(offset) => {
                self.in_pack.insert(identity, (offset, digest));
                Ok(())
            }
            Err(error) => {
                self.abort_pack().await;
                Err(error.into())
            }
        }
    }

    /// Takes a large content that has become an object of its own.
    pub(super) fn put_object(&mut self, stored: Stored) {
        let Stored { digest, object } = stored;
        self.objects.push(object.name.clone());
        let stored = StoredAt {
            object: Arc::new(object),
            is_pack: false,
            offset: 0,
            digest,
        };
        let identity = (stored.digest.sha256, stored.digest.size_bytes);
        self.durable.insert(identity, stored);
    }

    /// Makes everything durable that came.
    pub(super) async fn finish_pack(&mut self) -> Result<()> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let in_pack = std::mem::take(&mut self.in_pack);
        let object = Arc::new(pack.finish().await?.object);
        self.objects.push(object.name.clone());
        let durable = in_pack.into_iter().map(|(identity, (offset, digest))| {
            let stored = StoredAt {
                object: Arc::clone(&object),
                is_pack: true,
                offset,
                digest,
            };
            (identity, stored)
        });
        self.durable.extend(durable);
        Ok(())
    }

    /// Drops the pack that is being written.
    pub(super) async fn abort_pack(&mut self) {
        self.in_pack.clear();
        if let Some(pack) = self.pack.take() {
            pack.abort().await;
        }
    }

    /// Takes out what some pages need.
    pub(super) fn take(&mut self, identities: impl Iterator<Item = Identity>) -> HashMap<Identity, StoredAt> {
        let durable = &mut self.durable;
        identities
            .filter_map(|identity| Some((identity, durable.remove(&identity)?)))
            .collect()
    }

    /// Takes back what some pages needed that were not written.
    pub(super) fn put_back(&mut self, pages: &NewPages) {
        self.durable.extend(
            pages
                .contents
                .iter()
                .map(|(identity, stored)| (*identity, stored.clone())),
        );
    }

    /// The objects that were finished; the caller finds out which of them have rows.
    pub(super) fn into_objects(self) -> Vec<ObjectName> {
        self.objects
    }
}

/// A large file on its way in, written beside by a task of its own.
pub(super) struct LargeFile {
    pub(super) number: u64,
    pub(super) received: u64,
    pieces: Option<mpsc::Sender<Piece>>,
    stored: JoinHandle<Result<Stored>>,
}

impl LargeFile {
    /// Begins to write the file of this number.
    pub(super) fn begin(
        registry: &Arc<Registry>,
        storage: &StoragePlace,
        number: u64,
        suffix: &Suffix,
        declared: Declared,
    ) -> Self {
        let (pieces, waiting) = mpsc::channel(PIECES_WAITING_MAX);
        let source = stream::unfold(waiting, |mut waiting| async move {
            let piece: Piece = waiting.recv().await?;
            Some((Ok(piece), waiting))
        });
        let object = storage.store.writer.begin(ObjectName::new(random(), suffix));
        let registry_there = Arc::clone(registry);
        let stored = registry.spawn(async move { registry_there.store_stream(object, source.boxed(), declared).await });
        Self {
            number,
            received: 0,
            pieces: Some(pieces),
            stored,
        }
    }

    /// Takes the next bytes. What is wrong with them shows at the end.
    pub(super) async fn put(&mut self, data: Data) {
        self.received += data.size_bytes();
        if let Some(pieces) = &self.pieces
            && pieces.send(Piece::Data(data)).await.is_err()
        {
            self.pieces = None;
        }
    }

    /// Waits until the file is durable, or learns why it is not.
    pub(super) async fn end(self) -> Result<Stored> {
        if let Some(pieces) = self.pieces {
            // A failed writer has hung up, and says why below.
            let _ = pieces.send(Piece::End(Declared::default())).await;
        }
        self.stored.await.unwrap_or(Err(RegistryError::StreamIncomplete))
    }

    /// Removes what was written.
    pub(super) async fn abandon(mut self) {
        self.pieces = None;
        // It ends without its end, and is taken away.
        let _ = self.stored.await;
    }
}
