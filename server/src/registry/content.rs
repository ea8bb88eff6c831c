//! Content on its way in: hashed, counted and made durable before any record.

use std::{pin::pin, time::Duration};

use artifactd_domain::{BlockChecksums, ContentDigest, ContentHasher, Sha256, Suffix};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{Registry, RegistryError, Result, StoragePlace, random};
use crate::{
    fault,
    storage::{FinishedObject, ObjectName, PendingObject},
};

/// Content above this size is hashed on a thread of its own.
const INLINE_HASH_BYTES_MAX: u64 = 1024 * 1024;

/// Pieces that may wait for the hashing thread.
const PIECES_WAITING_MAX: usize = 2;

/// The content of a save.
pub enum Content {
    /// All of it, at most 1 MiB.
    Whole(Bytes),
    /// A stream of pieces.
    Stream(ContentSource),
    /// None: use what the storage holds.
    Claim,
}

impl Content {
    /// The bytes of content that came in one piece.
    pub(super) fn whole(&self) -> Option<Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes.clone()),
            Self::Stream(_) | Self::Claim => None,
        }
    }
}

/// Pieces of content, then an end. A stream that stops without its end is incomplete.
pub type ContentSource = BoxStream<'static, Result<Piece>>;

/// A part of a content stream.
#[derive(Debug, Clone)]
pub enum Piece {
    /// The next bytes.
    Data(Data),
    /// The end, with what the sender says of the whole.
    End(Declared),
}

/// Bytes of a content, in the pieces in which they came.
#[derive(Debug, Clone, Default)]
pub struct Data {
    pieces: Vec<Bytes>,
    size_bytes: u64,
    sums: BlockChecksums,
}

impl Data {
    /// Takes the checksums of some pieces.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let mut sums = BlockChecksums::default();
        pieces.iter().for_each(|piece| sums.update(piece));
        Self {
            size_bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
            pieces,
            sums,
        }
    }

    /// How many bytes there are.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Their crc32c.
    pub fn crc32c(&self) -> u32 {
        self.sums.of_all()
    }

    /// The bytes themselves.
    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    fn hash(&self, hasher: &mut ContentHasher) {
        hasher.update_summed(self.pieces.iter().map(|piece| &piece[..]), &self.sums);
    }
}

/// What a sender says of its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Declared {
    /// Its digest.
    pub sha256: Option<Sha256>,
    /// Its size in bytes.
    pub size_bytes: Option<u64>,
}

impl Declared {
    pub(super) fn check_size(&self, actual: u64) -> Result<()> {
        match self.size_bytes {
            Some(declared) if declared != actual => Err(RegistryError::SizeMismatch { declared, actual }),
            _ => Ok(()),
        }
    }

    pub(super) fn check(&self, digest: &ContentDigest) -> Result<()> {
        self.check_size(digest.size_bytes)?;
        match self.sha256 {
            Some(declared) if declared != digest.sha256 => Err(RegistryError::DigestMismatch {
                declared,
                actual: digest.sha256,
            }),
            _ => Ok(()),
        }
    }
}

/// Content that is durable and that no record names yet.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) digest: ContentDigest,
    pub(super) object: FinishedObject,
}

impl Registry {
    /// Makes content durable in a storage. Nothing is left of content that is refused.
    pub(super) async fn store(
        &self,
        storage: &StoragePlace,
        suffix: &Suffix,
        content: Content,
        declared: Declared,
    ) -> Result<Stored> {
        let name = ObjectName::new(random(), suffix);
        match content {
            Content::Whole(bytes) => {
                let digest = digest_of(&bytes);
                declared.check(&digest)?;
                self.store_whole(storage, suffix, bytes, digest).await
            }
            Content::Stream(source) => {
                let _turn = self.content_turns.take().await?;
                self.store_stream(storage.store.writer.begin(name), source, declared)
                    .await
            }
            Content::Claim => unreachable!("a claim stores nothing"),
        }
    }

    /// The same for content that is all there and whose digest is known.
    pub(super) async fn store_whole(
        &self,
        storage: &StoragePlace,
        suffix: &Suffix,
        content: Bytes,
        digest: ContentDigest,
    ) -> Result<Stored> {
        let mut object = storage.store.writer.begin(ObjectName::new(random(), suffix));
        object.put_part(content).await?;
        fault::point("save.content_received");
        Ok(Stored {
            digest,
            object: object.finish().await?,
        })
    }

    /// The same for a stream whose turn is taken care of.
    pub(super) async fn store_stream(
        &self,
        mut object: Box<dyn PendingObject>,
        source: ContentSource,
        declared: Declared,
    ) -> Result<Stored> {
        match self.take_in(Some(&mut object), source, declared).await {
            Ok(digest) => {
                fault::point("save.content_received");
                Ok(Stored {
                    digest,
                    object: object.finish().await?,
                })
            }
            Err(error) => {
                object.abort().await;
                Err(error)
            }
        }
    }

    /// Reads a stream to its end and keeps nothing.
    pub(super) async fn drain(&self, content: Content, declared: Declared) -> Result<ContentDigest> {
        match content {
            Content::Whole(bytes) => {
                let digest = digest_of(&bytes);
                declared.check(&digest).map(|()| digest)
            }
            Content::Stream(source) => {
                let _turn = self.content_turns.take().await?;
                self.take_in(None, source, declared).await
            }
            Content::Claim => unreachable!("a claim has no content"),
        }
    }

    async fn take_in(
        &self,
        mut object: Option<&mut Box<dyn PendingObject>>,
        source: ContentSource,
        declared: Declared,
    ) -> Result<ContentDigest> {
        let (mut source, mut hashing, mut size_bytes) = (pin!(source), Hashing::new(), 0);
        let ended = loop {
            match next_piece(&mut source, self.limits.stream_idle_timeout).await? {
                Piece::End(ended) => break ended,
                Piece::Data(data) => {
                    size_bytes += data.size_bytes();
                    self.check_size_so_far(size_bytes, declared)?;
                    hashing.update(data.clone()).await;
                    if let Some(object) = object.as_mut() {
                        for piece in data.pieces {
                            object.put_part(piece).await?;
                        }
                    }
                    fault::point("save.chunk_received");
                }
            }
        };
        declared.check_size(size_bytes)?;
        ended.check_size(size_bytes)?;
        let digest = hashing.finish().await;
        declared.check(&digest)?;
        ended.check(&digest)?;
        Ok(digest)
    }

    /// Refuses a content that is too large by what its sender says, before any byte.
    pub(super) fn check_declared_size(&self, declared: Declared) -> Result<()> {
        let max = self.limits.content_bytes_max;
        if declared.size_bytes.is_some_and(|size| size > max) {
            return Err(RegistryError::ContentTooLarge(max));
        }
        Ok(())
    }

    /// A content that grows too large is refused at that byte, not at its end.
    fn check_size_so_far(&self, size_bytes: u64, declared: Declared) -> Result<()> {
        if let Some(size) = declared.size_bytes
            && size_bytes > size
        {
            return Err(RegistryError::SizeMismatch {
                declared: size,
                actual: size_bytes,
            });
        }
        if size_bytes > self.limits.content_bytes_max {
            return Err(RegistryError::ContentTooLarge(self.limits.content_bytes_max));
        }
        Ok(())
    }
}

async fn next_piece(
    source: &mut (impl futures::Stream<Item = Result<Piece>> + Unpin),
    idle: Duration,
) -> Result<Piece> {
    let next = timeout(idle, source.try_next())
        .await
        .map_err(|_| RegistryError::StreamIdle(idle))?;
    next?.ok_or(RegistryError::StreamIncomplete)
}

/// The digests of some bytes.
pub(super) fn digest_of(bytes: &[u8]) -> ContentDigest {
    let mut hasher = ContentHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// Hashing beside receiving and writing: a thread of its own once it pays.
pub(super) enum Hashing {
    Inline(ContentHasher),
    Thread {
        pieces: mpsc::Sender<Data>,
        digest: JoinHandle<ContentDigest>,
    },
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self::Inline(ContentHasher::new())
    }

    pub(super) async fn update(&mut self, data: Data) {
        if let Self::Inline(hasher) = self {
            if hasher.size_bytes() + data.size_bytes() <= INLINE_HASH_BYTES_MAX {
                data.hash(hasher);
                return;
            }
            *self = Self::thread(std::mem::take(hasher));
        }
        if let Self::Thread { pieces, .. } = self {
            pieces.send(data).await.expect("the hashing thread takes all pieces");
        }
    }

    fn thread(mut hasher: ContentHasher) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<Data>(PIECES_WAITING_MAX);
        let digest = tokio::task::spawn_blocking(move || {
            while let Some(data) = waiting.blocking_recv() {
                data.hash(&mut hasher);
            }
            hasher.finish()
        });
        Self::Thread { pieces, digest }
    }

    pub(super) async fn finish(self) -> ContentDigest {
        match self {
            Self::Inline(hasher) => hasher.finish(),
            Self::Thread { pieces, digest } => {
                drop(pieces);
                digest.await.expect("hashing does not panic")
            }
        }
    }
}

impl From<BoxStream<'static, Result<Piece>>> for Content {
    fn from(source: BoxStream<'static, Result<Piece>>) -> Self {
        Self::Stream(source.boxed())
    }
}
