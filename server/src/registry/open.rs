//! Opening content: from a reference to a stream of checked chunks.

use std::{ops::Range, sync::Arc};

use artifactd_domain::{
    ArtifactRef, Sha256, Uid,
    manifest::{Member, MemberPath},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::{
    Artifact, Caller, Registry, RegistryError, Result, events,
    lineage::{InputOf, IsRunInput},
    now_us,
    placing::integer,
};
use crate::{
    arrays::{ArrayError, Place},
    db::{
        Batch, DbError,
        artifacts::{self, ArtifactRow},
        blobs::{self, BlobPlace},
    },
    storage::{ArtifactView, BlobContent, BlockSums, Member as InView, Pace, ReadCounter, StorageError, VerifiedChunk},
};

/// The path of the only member of a view.
const CONTENT: &str = "content";

/// Whose content is asked for.
#[derive(Debug, Clone)]
pub struct ContentOf {
    /// The artifact.
    pub reference: ArtifactRef,
    /// The file of it, when it is a folder.
    pub member: Option<MemberPath>,
    /// Entity tag that its content must have.
    pub if_match: Option<String>,
    /// Whether a look-up by key or stem may find a hidden artifact.
    pub include_hidden: bool,
    /// Whether this is an input of the caller's run.
    pub is_run_input: IsRunInput,
}

/// The part of a content that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// First byte; counted from the end when negative.
    pub offset: i64,
    /// Most bytes; to the end when unset.
    pub length: Option<u64>,
}

impl ReadRange {
    /// The bytes that this means in a content of some size.
    pub(super) fn within(self, size_bytes: u64) -> Result<Range<u64>> {
        let invalid = RegistryError::RangeInvalid {
            offset: self.offset,
            size_bytes,
        };
        let start = match u64::try_from(self.offset) {
            Ok(start) if start > size_bytes => return Err(invalid),
            Ok(start) => start,
            Err(_) => size_bytes.checked_sub(self.offset.unsigned_abs()).ok_or(invalid)?,
        };
        let end = self
            .length
            .map_or(size_bytes, |length| start.saturating_add(length).min(size_bytes));
        Ok(start..end)
    }
}

/// Content that is ready to be streamed.
#[derive(Debug)]
pub struct OpenContent {
    /// Whose content it is.
    pub artifact: Artifact,
    /// The file of it, when it is a folder.
    pub member: Option<Member>,
    /// The bytes that will be streamed.
    pub range: Range<u64>,
    reader: Reader,
    input: Option<InputOf>,
}

impl OpenContent {
    /// Streams the range in checked chunks. The first error ends the stream.
    pub fn stream(self, chunk_bytes: u64) -> BoxStream<'static, Result<VerifiedChunk>> {
        let Self {
            range, reader, input, ..
        } = self;
        let (registry, uid) = (Arc::clone(&reader.registry), reader.uid);
        let chunks = reader.stream(range, chunk_bytes);
        match input {
            Some(input) => input.noted_at_end(&registry, uid, chunks),
            None => chunks,
        }
    }
}

/// Where the bytes of one artifact are read.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    registry: Arc<Registry>,
    caller: Caller,
    uid: Uid,
    /// The manifest that names the content, when it is that of a member.
    manifest_id: Option<i64>,
    blob_id: i64,
    view: ArtifactView,
    content: BlobContent,
}

impl Reader {
    /// Streams a range in checked chunks. The first error ends the stream.
    pub(super) fn stream(self, range: Range<u64>, chunk_bytes: u64) -> BoxStream<'static, Result<VerifiedChunk>> {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        let chunks = self.chunks(range.clone(), chunk_bytes);
        let state = Streaming {
            reader: self,
            chunks,
            range,
            chunk_bytes,
            moved: false,
            ended: false,
        };
        stream::unfold(state, |state| state.next()).boxed()
    }

    /// Where a table is read, until `cancel`.
    pub(super) fn place(&self, cancel: &CancellationToken) -> Place {
        let (view, path) = (Arc::new(self.view.clone()), Path::from(CONTENT));
        Place::stored(view, path, self.content.size_bytes, cancel.clone())
    }

    /// How many bytes there are.
    pub(super) fn size_bytes(&self) -> u64 {
        self.content.size_bytes
    }

    /// What reading has cost so far.
    pub(super) fn counter(&self) -> &ReadCounter {
        self.view.counter()
    }

    /// Who reads.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What a reader of a table is told.
    pub(super) async fn array_failed(&self, error: ArrayError) -> RegistryError {
        match error {
            ArrayError::Storage(error) => self.failed(error).await,
            other => RegistryError::Array(other),
        }
    }

    /// The same at the pace of others before it.
    pub(super) fn at_pace(self, pace: &Pace) -> Self {
        let view = self.view.at_pace(pace);
        Self { view, ..self }
    }

    /// Fails when a file in place is not what was registered any more, as far as one request tells.
    /// What it does not tell, checksums do.
    pub(super) async fn require_undrifted(&self) -> Result<()> {
        let object = &self.content.object;
        let recorded = blobs::object_by_name(self.registry.db.reader(), object.as_str()).await?;
        let has_etags = match &recorded {
            Some(object) => self.registry.places.storage_by_id(object.storage_id)?.store.has_etags(),
            None => false,
        };
        let etag = recorded.and_then(|object| object.store_etag).filter(|_| has_etags);
        let drifted = self.view.drifted(object, etag).await;
        match drifted {
            Ok(None) => Ok(()),
            Ok(Some(what)) => {
                let object = object.to_string();
                let drift = StorageError::Corrupt {
                    object,
                    offset: 0,
                    what,
                };
                Err(self.failed(drift).await)
            }
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// What a reader is told whose bytes keep to their checksums, and are all the same others.
    pub(super) async fn holds_other(&self, actual: &Sha256) -> RegistryError {
        let damage = StorageError::Corrupt {
            object: self.content.object.to_string(),
            offset: 0,
            what: format!("its sha256 is {actual}, another one than is recorded"),
        };
        self.failed(damage).await
    }

    /// The chunks of a range, with errors as the storage tells them.
    pub(super) fn chunks(&self, range: Range<u64>, chunk_bytes: u64) -> Chunks {
        self.view.stream(&self.content, range, chunk_bytes)
    }

    /// What a reader is told. Damage is noted first, so that whoever hears of it
    /// and sends the bytes again finds them wanted.
    pub(super) async fn failed(&self, error: StorageError) -> RegistryError {
        match error {
            StorageError::Corrupt { .. } | StorageError::NotFound { .. } => {
                let Reader {
                    registry,
                    caller,
                    uid,
                    blob_id,
                    ..
                } = self;
                registry.note_damage(caller, uid, *blob_id, &error).await;
                RegistryError::Corrupt {
                    uid: *uid,
                    source: error,
                }
            }
            other => RegistryError::Storage(other),
        }
    }
}

pub(super) type Chunks = BoxStream<'static, std::result::Result<VerifiedChunk, StorageError>>;

struct Streaming {
    reader: Reader,
    chunks: Chunks,
    range: Range<u64>,
    chunk_bytes: u64,
    moved: bool,
    ended: bool,
}

impl Streaming {
    async fn next(mut self) -> Option<(Result<VerifiedChunk>, Self)> {
        if self.ended {
            return None;
        }
        let chunk = match self.chunks.next().await? {
            Err(StorageError::NotFound { .. }) if !self.moved => {
                self.moved = true;
                self.look_again().await
            }
            Err(error) => Err(self.reader.failed(error).await),
            Ok(chunk) => Ok(chunk),
        };
        match &chunk {
            Ok(chunk) => self.range.start = chunk.offset + chunk.data.len() as u64,
            Err(_) => self.ended = true,
        }
        Some((chunk, self))
    }

    /// The object is gone: its bytes may have been moved to another one.
    async fn look_again(&mut self) -> Result<VerifiedChunk> {
        let Reader {
            registry,
            caller,
            uid,
            manifest_id,
            blob_id,
            ..
        } = &self.reader;
        let row = artifacts::by_uid(registry.db.reader(), uid).await?;
        let row = row.ok_or(RegistryError::ContentChanged(*uid))?;
        self.reader = match manifest_id {
            None if row.blob_id == Some(*blob_id) => registry.reader(caller, &row)?,
            Some(_) if row.manifest_id == *manifest_id => {
                let place = blobs::place(registry.db.reader(), *blob_id).await?;
                let place = place.ok_or(RegistryError::ContentChanged(*uid))?;
                registry.reader_of(caller, &row, place)?
            }
            _ => return Err(RegistryError::ContentChanged(*uid)),
        };
        self.chunks = self.reader.chunks(self.range.clone(), self.chunk_bytes);
        let uid = self.reader.uid;
        match self.chunks.next().await {
            Some(Ok(chunk)) => Ok(chunk),
            Some(Err(error)) => Err(self.reader.failed(error).await),
            None => Err(RegistryError::ContentChanged(uid)),
        }
    }
}

impl Registry {
    /// Opens the content of an artifact, or of a file in a folder, or a range of it.
    pub async fn open_content(
        self: &Arc<Self>,
        caller: &Caller,
        from: &ContentOf,
        range: ReadRange,
    ) -> Result<OpenContent> {
        let row = self
            .find(self.db.reader(), caller, &from.reference, from.include_hidden)
            .await?;
        let input = self.require_reader(caller, from.is_run_input).await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        let (reader, member) = match &from.member {
            None => {
                row.require_file()?;
                let reader = self.reader(caller, &row)?;
                if !row.key_is_virtual {
                    reader.require_undrifted().await?;
                }
                (reader, None)
            }
            Some(path) => {
                let member = self.member(&row, path).await?;
                let reader = self.reader_of_member(caller, &row, &member).await?;
                if !row.key_is_virtual {
                    reader.require_undrifted().await?;
                }
                (reader, Some(member))
            }
        };
        let artifact = self.to_artifact(row)?;
        if from
            .if_match
            .as_ref()
            .is_some_and(|wanted| *wanted != artifact.content_etag())
        {
            return Err(RegistryError::ContentChanged(artifact.uid));
        }
        let range = range.within(reader.content.size_bytes)?;
        Ok(OpenContent {
            artifact,
            member,
            range,
            reader,
            input,
        })
    }

    pub(super) fn reader(self: &Arc<Self>, caller: &Caller, row: &ArtifactRow) -> Result<Reader> {
        let impossible = |column| {
            RegistryError::Db(DbError::Row {
                table: "artifacts",
                column,
            })
        };
        let blob_id = row.blob_id.ok_or(impossible("blob_id"))?;
        let (Some(object), Some(offset_bytes)) = (&row.object_name, row.offset_bytes) else {
            return Err(impossible("blob_id"));
        };
        let place = BlobPlace {
            blob_id,
            object_name: object.clone(),
            offset_bytes,
            size_bytes: row.size_bytes,
            crc32c: row.crc32c,
        };
        self.reader_of(caller, row, place)
    }

    /// Reads a member of a folder, whose blob is found by its content.
    pub(super) async fn reader_of_member(
        self: &Arc<Self>,
        caller: &Caller,
        row: &ArtifactRow,
        member: &Member,
    ) -> Result<Reader> {
        let size_bytes = integer(member.size_bytes)?;
        let place = blobs::place_of(self.db.reader(), row.storage_id, &member.sha256, size_bytes).await?;
        // A page keeps its blobs, so the folder itself is gone.
        let place = place.ok_or(RegistryError::ContentChanged(row.uid()?))?;
        self.reader_of(caller, row, place)
    }

    /// What lies at a place, and how it is checked.
    pub(super) fn content_at(&self, place: &BlobPlace) -> Result<BlobContent> {
        let impossible = |column| RegistryError::Db(DbError::Row { table: "blobs", column });
        Ok(BlobContent {
            object: place.object_name.parse().map_err(|_| impossible("object_name"))?,
            offset: u64::try_from(place.offset_bytes).map_err(|_| impossible("offset_bytes"))?,
            size_bytes: u64::try_from(place.size_bytes).map_err(|_| impossible("size_bytes"))?,
            sums: match place.crc32c {
                Some(sum) => BlockSums::Inline([u32::try_from(sum).map_err(|_| impossible("crc32c"))?].into()),
                None => self.stored_sums(place.blob_id),
            },
        })
    }

    /// Reads what lies at a place.
    pub(super) fn reader_of(self: &Arc<Self>, caller: &Caller, row: &ArtifactRow, place: BlobPlace) -> Result<Reader> {
        let content = self.content_at(&place)?;
        let store = &self.places.storage_by_id(row.storage_id)?.store;
        let in_view = InView {
            path: Path::from(CONTENT),
            content: content.clone(),
        };
        let view = self.view(store, vec![in_view]);
        let (registry, caller) = (Arc::clone(self), caller.clone());
        Ok(Reader {
            registry,
            caller,
            uid: row.uid()?,
            manifest_id: row.manifest_id,
            blob_id: place.blob_id,
            view,
            content,
        })
    }

    /// The checksums of a blob, read from the database page by page.
    pub(super) fn stored_sums(&self, blob_id: i64) -> BlockSums {
        let db = self.db.clone();
        BlockSums::paged(Arc::new(move |page| {
            let db = db.clone();
            Box::pin(async move {
                let page = i64::try_from(page).expect("contents have fewer pages");
                match blobs::checksums(db.reader(), blob_id, page).await {
                    Ok(Some(sums)) => Ok(sums.into()),
                    // The blob went while it was read: as good as its object being gone.
                    Ok(None) => Err(StorageError::NotFound {
                        object: format!("checksums of blob {blob_id}"),
                    }),
                    Err(error) => Err(StorageError::Unavailable(Box::new(error))),
                }
            })
        }))
    }

    /// Remembers that bytes were found wrong, so that the same content, sent
    /// again, takes their place.
    pub(super) async fn note_damage(&self, caller: &Caller, uid: &Uid, blob_id: i64, error: &StorageError) {
        tracing::error!(artifact.uid = %uid, error = error as &dyn std::error::Error, "Content of {uid} is damaged");
        let (caller, uid, what) = (caller.clone(), *uid, error.to_string());
        let noted = self.db.write::<_, DbError, _>(move |txn| {
            let (caller, what) = (caller.clone(), what.clone());
            Box::pin(async move {
                let mut batch = Batch::new(txn);
                batch.push(&blobs::mark_damaged(blob_id, now_us()));
                let detail = serde_json::json!({ "what": what });
                events::record(&mut batch, &caller, "content_damaged", uid.as_str(), detail);
                batch.run(txn).await
            })
        });
        if let Err(error) = noted.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "Could not note damage");
        }
    }
}
