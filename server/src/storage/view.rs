//! The one way to read content: a read-only object store over one artifact that
//! checks every byte.
//!
//! A range is widened to whole blocks, fetched, compared block by block with the
//! stored checksums, and cut to what was asked. So damage is found by the read
//! that meets it, and reads of sound parts go on.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use artifactd_domain::{BLOCK_BYTES, combine_crc32c, crc32c};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, path::Path,
};

mod budget;
mod flow;
mod small;

use self::flow::{Flow, PIECE_BYTES};
pub use self::{
    budget::{ReadBudget, Room},
    flow::Pace,
    small::SMALL_CONTENT_BYTES_MAX,
};
use super::{BlockSums, ObjectName, StorageError, error::Result, sums::blocks_of};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Pieces under way at once for those who gather them.
const PIECES_GATHERED: usize = 2;

/// Where the bytes of one blob lie, and what they must be.
#[derive(Debug, Clone)]
pub struct BlobContent {
    /// The object that holds them.
    pub object: ObjectName,
    /// Position of the first one in the object.
    pub offset: u64,
    /// How many there are.
    pub size_bytes: u64,
    /// Their checksums.
    pub sums: BlockSums,
}

/// One file of an artifact.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its path in the artifact.
    pub path: Path,
    /// Its content.
    pub content: BlobContent,
}

/// What reads have cost the storage so far.
#[derive(Debug, Default)]
pub struct ReadCounter {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl ReadCounter {
    /// One more request, and what it fetched.
    fn note(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes fetched.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Requests made.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A piece of content whose bytes were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChunk {
    /// Position of the first byte in the content.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// Their crc32c.
    pub crc32c: u32,
}

impl VerifiedChunk {
    /// No bytes.
    pub fn empty(offset: u64) -> Self {
        Self {
            offset,
            data: Bytes::new(),
            crc32c: crc32c(b""),
        }
    }

    /// A part of it, by positions in the content.
    #[must_use]
    pub fn part(self, range: &Range<u64>) -> Self {
        if range.start == self.offset && range.end - range.start == self.data.len() as u64 {
            return self;
        }
        let data = self
            .data
            .slice((range.start - self.offset) as usize..(range.end - self.offset) as usize);
        Self {
            offset: range.start,
            crc32c: crc32c(&data),
            data,
        }
    }
}

/// What of a file in place is not as it was recorded.
pub(crate) fn drift(found: &ObjectMeta, recorded_bytes: u64, recorded_etag: Option<&String>) -> Option<String> {
    if found.size != recorded_bytes {
        let found = found.size;
        return Some(format!("{found} bytes lie in place, {recorded_bytes} were registered"));
    }
    let differs = recorded_etag.is_some() && found.e_tag.is_some() && recorded_etag != found.e_tag.as_ref();
    differs.then(|| "its ETag is another one than was registered".to_owned())
}

/// Reads the members of one artifact, and nothing else.
#[derive(Debug, Clone)]
pub struct ArtifactView {
    storage: Arc<dyn ObjectStore>,
    members: Arc<[Member]>,
    counter: Arc<ReadCounter>,
    budget: ReadBudget,
    pace: Pace,
}

impl ArtifactView {
    /// What a file in place shows that differs from what was recorded: its size, or its ETag
    /// where one is given that tells contents apart.
    pub(crate) async fn drifted(&self, object: &ObjectName, etag: Option<String>) -> Result<Option<String>> {
        let found = self.storage.head(&object.path()).await;
        let found = found.map_err(|error| StorageError::from_read(object.as_str(), 0, error))?;
        let recorded = self.members.first().map_or(0, |member| member.content.size_bytes);
        Ok(drift(&found, recorded, etag.as_ref()))
    }

    /// A view over some members, whose objects lie in `storage`.
    pub fn new(storage: Arc<dyn ObjectStore>, members: Vec<Member>) -> Self {
        Self {
            storage,
            members: members.into(),
            counter: Arc::default(),
            budget: ReadBudget::default(),
            pace: Pace::default(),
        }
    }

    /// A view over another member, whose cost counts here too.
    #[must_use]
    pub fn over(&self, member: Member) -> Self {
        let members = [member].into();
        Self {
            members,
            ..self.clone()
        }
    }

    /// Lets streams of this view take large pieces out of a budget; without one,
    /// they are small.
    pub fn within(self, budget: &ReadBudget) -> Self {
        let budget = budget.clone();
        Self { budget, ..self }
    }

    /// Lets streams of this view begin at the pace of others before them.
    pub fn at_pace(self, pace: &Pace) -> Self {
        let pace = pace.clone();
        Self { pace, ..self }
    }

    /// What reads through this view, and its clones, have cost.
    pub fn counter(&self) -> &ReadCounter {
        &self.counter
    }

    /// Streams a range of one member in checked chunks of at most `chunk_bytes`.
    ///
    /// The range must lie inside the content. The first error ends the stream.
    pub fn stream(
        &self,
        content: &BlobContent,
        range: Range<u64>,
        chunk_bytes: u64,
    ) -> BoxStream<'static, Result<VerifiedChunk>> {
        debug_assert!(range.end <= content.size_bytes);
        Flow::new(self.clone(), content.clone(), range, chunk_bytes).chunks()
    }

    /// Reads a range of one member.
    pub async fn read(&self, content: &BlobContent, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let blocks = self.fetch(content, &range).await?;
        Ok(blocks.slice(&range))
    }

    /// The same in large pieces, for those who gather them in memory of their own.
    fn pieces(&self, content: &BlobContent, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let (view, content) = (self.clone(), content.clone());
        stream::iter(cut(range, PIECE_BYTES))
            .map(move |piece| {
                let (view, content) = (view.clone(), content.clone());
                async move { view.read(&content, piece).await }
            })
            .buffered(PIECES_GATHERED)
            .boxed()
    }

    /// Fetches and checks the whole blocks around `range`.
    async fn fetch(&self, content: &BlobContent, range: &Range<u64>) -> Result<CheckedBlocks> {
        let blocks = blocks_of(range);
        let start = blocks.start * BLOCK;
        let wide = start..(blocks.end * BLOCK).min(content.size_bytes);
        let in_object = content.offset + wide.start..content.offset + wide.end;
        let (data, sums) = futures::try_join!(
            async {
                let (path, only) = (content.object.path(), std::slice::from_ref(&in_object));
                match self.storage.get_ranges(&path, only).await {
                    // One range is answered, as it is the only one.
                    Ok(data) => Ok(data.into_iter().next().unwrap_or_default()),
                    Err(error) => Err(self.read_failed(content, &wide, in_object.end, error).await),
                }
            },
            content.sums.of_blocks(blocks)
        )?;
        self.counter.note(data.len());
        check(&content.object, &wide, &data, &sums)?;
        Ok(CheckedBlocks {
            range: range.clone(),
            start,
            data,
            sums,
            content_end: content.size_bytes,
        })
    }

    /// Why a read failed: stores refuse a range behind the end of a cut object in
    /// ways of their own, so its size decides.
    async fn read_failed(
        &self,
        content: &BlobContent,
        range: &Range<u64>,
        end: u64,
        error: object_store::Error,
    ) -> StorageError {
        let object = content.object.as_str();
        match self.storage.head(&content.object.path()).await {
            Ok(meta) if meta.size < end => StorageError::Corrupt {
                object: object.to_owned(),
                offset: range.start,
                what: format!("the object has {} of {end} bytes", meta.size),
            },
            _ => StorageError::from_read(object, range.start, error),
        }
    }

    fn member(&self, path: &Path) -> object_store::Result<&Member> {
        self.members
            .iter()
            .find(|member| member.path == *path)
            .ok_or_else(|| object_store::Error::NotFound {
                path: path.to_string(),
                source: "no such member".into(),
            })
    }
}

/// Cuts a range at the multiples of `step`. No part is empty.
fn cut(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> {
    let first = range.start / step;
    let last = if range.is_empty() {
        first
    } else {
        range.end.div_ceil(step)
    };
    (first..last).map(move |n| (n * step).max(range.start)..((n + 1) * step).min(range.end))
}

/// Compares fetched blocks with their sums.
fn check(object: &ObjectName, range: &Range<u64>, data: &Bytes, sums: &[u32]) -> Result<()> {
    let corrupt = |offset, what: String| {
        Err(StorageError::Corrupt {
            object: object.to_string(),
            offset,
            what,
        })
    };
    let expected = range.end - range.start;
    if data.len() as u64 != expected {
        return corrupt(range.start, format!("{} of {expected} bytes are there", data.len()));
    }
    if sums.len() != data.len().div_ceil(BLOCK_BYTES) {
        return corrupt(range.start, "stored checksums are missing".to_owned());
    }
    for (number, (block, sum)) in data.chunks(BLOCK_BYTES).zip(sums).enumerate() {
        let actual = crc32c(block);
        if actual != *sum {
            let offset = range.start + (number * BLOCK_BYTES) as u64;
            return corrupt(offset, format!("crc32c is {actual:08x}, expected {sum:08x}"));
        }
    }
    Ok(())
}

/// Whole blocks that agree with their sums.
struct CheckedBlocks {
    /// What was asked for.
    range: Range<u64>,
    start: u64,
    data: Bytes,
    sums: Vec<u32>,
    content_end: u64,
}

impl CheckedBlocks {
    fn slice(&self, range: &Range<u64>) -> Bytes {
        self.data
            .slice((range.start - self.start) as usize..(range.end - self.start) as usize)
    }

    fn chunk(&self, range: Range<u64>) -> VerifiedChunk {
        let data = self.slice(&range);
        let whole_blocks =
            range.start.is_multiple_of(BLOCK) && (range.end.is_multiple_of(BLOCK) || range.end == self.content_end);
        let crc32c = if whole_blocks {
            self.combined(&range)
        } else {
            crc32c(&data)
        };
        VerifiedChunk {
            offset: range.start,
            data,
            crc32c,
        }
    }

    /// The crc32c of whole blocks follows from theirs, which were just checked.
    fn combined(&self, range: &Range<u64>) -> u32 {
        let first = (range.start - self.start) / BLOCK;
        let sums = &self.sums[first as usize..];
        cut(range.clone(), BLOCK).zip(sums).fold(0, |crc, (block, sum)| {
            if block.start == range.start {
                *sum
            } else {
                combine_crc32c(crc, *sum, (block.end - block.start) as usize)
            }
        })
    }
}

impl fmt::Display for ArtifactView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactView({} members)", self.members.len())
    }
}

fn read_only<T>() -> object_store::Result<T> {
    Err(object_store::Error::NotSupported {
        source: "an artifact is read-only".into(),
    })
}

fn generic(error: StorageError) -> object_store::Error {
    object_store::Error::Generic {
        store: "artifact",
        source: Box::new(error),
    }
}

fn meta(member: &Member) -> ObjectMeta {
    ObjectMeta {
        location: member.path.clone(),
        last_modified: std::time::UNIX_EPOCH.into(),
        size: member.content.size_bytes,
        e_tag: None,
        version: None,
    }
}

#[async_trait]
impl ObjectStore for ArtifactView {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let member = self.member(location)?;
        let meta = meta(member);
        options.check_preconditions(&meta)?;
        let size = member.content.size_bytes;
        let range = match &options.range {
            None => 0..size,
            Some(range) => range.as_range(size).map_err(|refused| object_store::Error::Generic {
                store: "artifact",
                source: Box::new(refused),
            })?,
        };
        let wanted = if options.head { 0..0 } else { range.clone() };
        let payload = GetResultPayload::Stream(self.pieces(&member.content, wanted).map_err(generic).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes: object_store::Attributes::default(),
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        let found: Vec<_> = self
            .members
            .iter()
            .filter(|member| {
                member
                    .path
                    .prefix_match(&prefix)
                    .is_some_and(|mut rest| rest.next().is_some())
            })
            .map(|member| Ok(meta(member)))
            .collect();
        stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        let (mut objects, mut folders) = (Vec::new(), std::collections::BTreeSet::new());
        for member in self.members.iter() {
            let Some(mut rest) = member.path.prefix_match(&prefix) else {
                continue;
            };
            match (rest.next(), rest.next()) {
                (Some(_), None) => objects.push(meta(member)),
                (Some(folder), Some(_)) => {
                    folders.insert(prefix.clone().join(folder));
                }
                (None, _) => {}
            }
        }
        Ok(ListResult {
            common_prefixes: folders.into_iter().collect(),
            objects,
        })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        read_only()
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        read_only()
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        locations.map(|_| read_only()).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        read_only()
    }
}

#[cfg(test)]
mod tests;
