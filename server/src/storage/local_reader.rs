//! Reads the objects of a local folder.
//!
//! Paths and metadata are those of `object_store`'s own local store. Only bytes
//! are read here: at once where the system has them in memory, else by a thread that
//! may wait.

mod at_hand;
mod buffers;

use std::{fmt, fs::File, io, ops::Range, path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, local::LocalFileSystem, path::Path,
};
use tokio::task::spawn_blocking;

use self::buffers::Buffers;

/// Bytes that are read at once.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// What is copied on the spot when it is in memory, in a few hundred microseconds: more would
/// keep other tasks waiting.
const AT_HAND_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The read side of a local folder.
#[derive(Debug)]
pub(super) struct LocalReader {
    files: LocalFileSystem,
    buffers: Arc<Buffers>,
}

impl LocalReader {
    pub(super) fn new(files: LocalFileSystem) -> Self {
        Self {
            files,
            buffers: Arc::default(),
        }
    }

    fn pieces(&self, file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let (file, buffers) = (Arc::new(file), Arc::clone(&self.buffers));
        let starts = range.clone().step_by(READ_BYTES as usize);
        let pieces = starts.map(move |start| start..(start + READ_BYTES).min(range.end));
        stream::iter(pieces)
            .then(move |piece| {
                let (file, buffers) = (Arc::clone(&file), Arc::clone(&buffers));
                async move { spawn_blocking(move || buffers.read(&file, piece)).await? }
            })
            .boxed()
    }

    /// Some ranges of a file, if the system has all of them in memory.
    fn at_hand(&self, path: &path::Path, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        if bytes > AT_HAND_BYTES_MAX {
            return None;
        }
        let file = at_hand::open(path)?;
        ranges
            .iter()
            .map(|range| self.buffers.read_at_hand(&file, range))
            .collect()
    }
}

/// Opens a file that may be anywhere.
fn open(path: &path::Path) -> Result<File> {
    let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "is a folder")),
        false => Ok(file),
    });
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => object_store::Error::NotFound {
            path: path.display().to_string(),
            source: Box::new(error),
        },
        _ => failed(error),
    })
}

fn failed(error: io::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "local",
        source: Box::new(error),
    }
}

impl fmt::Display for LocalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalReader {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.files.get_opts(location, options).await?;
        // Nothing is read before the stream is asked: a head is never.
        if let GetResultPayload::File(file, _) = found.payload {
            found.payload = GetResultPayload::Stream(self.pieces(file, found.range.clone()));
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = self.files.path_to_filesystem(location)?;
        if let Some(read) = self.at_hand(&path, ranges) {
            return Ok(read);
        }
        let (buffers, ranges) = (Arc::clone(&self.buffers), ranges.to_vec());
        spawn_blocking(move || {
            let file = open(&path)?;
            let ranges = ranges.into_iter();
            ranges.map(|range| buffers.read(&file, range)).collect()
        })
        .await?
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.files.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::{
        buffers::{BUFFERS_KEPT, KEPT_BYTES_MIN},
        *,
    };

    fn reader(content: &[u8]) -> (tempfile::TempDir, LocalReader) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("object"), content).unwrap();
        let files = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        (folder, LocalReader::new(files))
    }

    #[tokio::test]
    async fn memory_is_used_again_only_when_nobody_holds_its_bytes() {
        let content: Vec<u8> = (0..4 * KEPT_BYTES_MIN).map(|n| (n / 1000) as u8).collect();
        let (_folder, reader) = reader(&content);
        let size = KEPT_BYTES_MIN as u64;
        let held = reader.get_range(&"object".into(), 0..size).await.unwrap();
        let other = reader.get_range(&"object".into(), size..2 * size).await.unwrap();
        let place = other.as_ptr();
        drop(other);
        let again = reader.get_range(&"object".into(), 2 * size..3 * size).await.unwrap();
        assert_eq!(again.as_ptr(), place);
        assert_eq!(again, content[2 * KEPT_BYTES_MIN..3 * KEPT_BYTES_MIN]);
        assert_eq!(held, content[..KEPT_BYTES_MIN]);
        for _ in 0..2 * BUFFERS_KEPT {
            reader.get_range(&"object".into(), 0..size + 1).await.unwrap();
        }
        let kept = || reader.buffers.kept.lock().unwrap().buffers.len();
        assert!((1..=BUFFERS_KEPT).contains(&kept()));
        // Nothing is kept for long when nothing is read.
        let reads = reader.buffers.reads_since(0).unwrap();
        assert!(kept() > 0);
        assert_eq!(reader.buffers.reads_since(reads), None);
        assert_eq!(kept(), 0);
        assert!(!reader.buffers.kept.lock().unwrap().is_watched);
    }

    #[tokio::test]
    async fn ranges_are_the_same_whether_they_are_at_hand_or_not() {
        let content: Vec<u8> = (0..2 * READ_BYTES).map(|n| (n / 1000) as u8).collect();
        let (folder, reader) = reader(&content);
        let large = 5..READ_BYTES + 7;
        let one = [large.clone()];
        for ranges in [
            &one[..],
            &[3..3, 10..20, 2 * READ_BYTES - 1..2 * READ_BYTES],
            &[large, 1..2],
            &[],
        ] {
            let read = reader.get_ranges(&"object".into(), ranges).await.unwrap();
            let expected = ranges
                .iter()
                .map(|range| &content[range.start as usize..range.end as usize]);
            assert!(read.iter().eq(expected), "{ranges:?}");
        }
        let behind = [Range {
            start: 2 * READ_BYTES - 1,
            end: 2 * READ_BYTES + 1,
        }];
        let behind = reader.get_ranges(&"object".into(), &behind).await;
        assert!(matches!(behind, Err(object_store::Error::Generic { .. })));
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let first = [Range { start: 0, end: 1 }];
        for missing in ["other", "folder"] {
            let read = reader.get_ranges(&missing.into(), &first).await;
            assert!(matches!(read, Err(object_store::Error::NotFound { .. })), "{missing}");
        }
    }

    #[tokio::test]
    async fn a_whole_object_comes_in_pieces_and_an_empty_one_in_none() {
        let content = vec![5; READ_BYTES as usize + 3];
        let (folder, reader) = reader(&content);
        assert_eq!(
            reader.get(&"object".into()).await.unwrap().bytes().await.unwrap(),
            content
        );
        std::fs::write(folder.path().join("object"), b"").unwrap();
        assert!(
            reader
                .get(&"object".into())
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap()
                .is_empty()
        );
        let missing = reader.get_range(&"other".into(), 0..1).await;
        assert!(matches!(missing, Err(object_store::Error::NotFound { .. })));
    }
}
