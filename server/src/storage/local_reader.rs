//! Reads the objects of a local folder.
//!
//! Paths and metadata are those of `object_store`'s own local store. Only bytes
//! are read here, into memory that is used again: fresh memory costs as much as
//! reading into it.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, local::LocalFileSystem, path::Path,
};
use tokio::task::spawn_blocking;

/// Bytes that are read at once.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// Smaller reads have memory of their own, which goes with them.
const KEPT_BYTES_MIN: usize = 512 * 1024;

/// Buffers that are kept for later reads: more than one reader of a table has in use, who
/// sends a message of several while the next one is read. Fewer would be as good as none,
/// as those that were read last are in use when another is needed.
const BUFFERS_KEPT: usize = 12;

/// How long they are kept when nothing is read.
const KEPT_FOR: Duration = Duration::from_secs(10);

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
}

/// Memory of reads whose bytes nobody holds any more. The heap gives memory as large back to
/// the system, which would clear it for each read.
#[derive(Debug, Default)]
struct Buffers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Those that were read last, the last one at the back.
    buffers: VecDeque<Bytes>,
    /// How many were read.
    reads: u64,
    /// Whether somebody looks at that.
    is_watched: bool,
}

/// Gives memory back when nothing was read for a while.
async fn watch(buffers: Weak<Buffers>) {
    let mut reads = 0;
    loop {
        tokio::time::sleep(KEPT_FOR).await;
        match buffers.upgrade().and_then(|buffers| buffers.reads_since(reads)) {
            Some(now) => reads = now,
            None => break,
        }
    }
}

impl Buffers {
    fn read(self: &Arc<Self>, file: &File, range: Range<u64>) -> Result<Bytes> {
        let bytes = (range.end - range.start) as usize;
        let read = match self.free(bytes) {
            Some(mut buffer) => {
                buffer.resize(bytes, 0);
                let read = file.read_exact_at(&mut buffer, range.start);
                read.map(|()| buffer.freeze())
            }
            None => read_anew(file, bytes, range.start),
        };
        let data = read.map_err(|error| object_store::Error::Generic {
            store: "local",
            source: Box::new(error),
        })?;
        self.keep(&data);
        Ok(data)
    }

    fn free(&self, bytes: usize) -> Option<BytesMut> {
        if bytes < KEPT_BYTES_MIN {
            return None;
        }
        let buffers = &mut self.kept.lock().expect("no holder panics").buffers;
        let free = buffers.iter().position(Bytes::is_unique)?;
        buffers.remove(free).map(BytesMut::from)
    }

    fn keep(self: &Arc<Self>, data: &Bytes) {
        if data.len() < KEPT_BYTES_MIN {
            return;
        }
        let mut kept = self.kept.lock().expect("no holder panics");
        kept.reads += 1;
        kept.buffers.push_back(data.clone());
        if kept.buffers.len() > BUFFERS_KEPT {
            kept.buffers.pop_front();
        }
        if !std::mem::replace(&mut kept.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// How many were read by now; when there are no more than before, nothing is kept any
    /// more and nobody watches.
    fn reads_since(&self, before: u64) -> Option<u64> {
        let mut kept = self.kept.lock().expect("no holder panics");
        if kept.reads != before {
            return Some(kept.reads);
        }
        kept.buffers.clear();
        kept.is_watched = false;
        None
    }
}

/// Reads into new memory, which nobody has to clear first.
fn read_anew(file: &File, bytes: usize, start: u64) -> std::io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(bytes);
    while buffer.len() < bytes {
        let at = start + buffer.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(bytes);
    Ok(buffer.into())
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

    use super::*;

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
