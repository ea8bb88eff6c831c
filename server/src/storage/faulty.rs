//! A storage that fails on purpose: it wraps another one and fails, delays, cuts
//! or loses the answer of the n-th operation of a kind.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, path::Path,
};

use super::{
    FinishedObject, ObjectName, ObjectWriter, PendingObject, StorageError, StoredObject, Unfinished, error::Result,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A part is refused.
    PutPart,
    /// A part arrives late.
    DelayPart,
    /// The end is refused; nothing is published.
    Finish,
    /// The end happens, and its answer is lost.
    LoseFinish,
    /// A read fails.
    Read,
    /// A read answers too few bytes.
    CutRead,
}

/// Which time of which operation goes wrong.
#[derive(Debug)]
pub(super) struct Plan {
    fault: Fault,
    at: u64,
    seen: AtomicU64,
}

impl Plan {
    pub(super) fn new(fault: Fault, at: u64) -> Arc<Self> {
        Arc::new(Self {
            fault,
            at,
            seen: AtomicU64::new(0),
        })
    }

    fn strikes(&self, faults: &[Fault]) -> Option<Fault> {
        let meant = faults.contains(&self.fault) && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.at;
        meant.then_some(self.fault)
    }
}

fn failed() -> StorageError {
    StorageError::Unavailable("a fault on purpose".into())
}

/// A writer with faults.
#[derive(Debug)]
pub(super) struct FaultyWriter {
    pub(super) inner: Arc<dyn ObjectWriter>,
    pub(super) plan: Arc<Plan>,
}

struct FaultyPending {
    inner: Box<dyn PendingObject>,
    plan: Arc<Plan>,
}

#[async_trait]
impl ObjectWriter for FaultyWriter {
    fn begin(&self, name: ObjectName) -> Box<dyn PendingObject> {
        Box::new(FaultyPending {
            inner: self.inner.begin(name),
            plan: Arc::clone(&self.plan),
        })
    }

    async fn list_unfinished(&self) -> Result<Vec<Unfinished>> {
        self.inner.list_unfinished().await
    }

    async fn abort_unfinished(&self, unfinished: &Unfinished) -> Result<()> {
        self.inner.abort_unfinished(unfinished).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.inner.delete(name).await
    }

    fn list_objects(&self) -> BoxStream<'static, Result<Vec<StoredObject>>> {
        self.inner.list_objects()
    }

    async fn note(&self) -> Result<Option<String>> {
        self.inner.note().await
    }

    async fn keep_note(&self, words: String) -> Result<()> {
        self.inner.keep_note(words).await
    }

    async fn probe(&self) -> Result<()> {
        self.inner.probe().await
    }
}

#[async_trait]
impl PendingObject for FaultyPending {
    async fn put_part(&mut self, data: Bytes) -> Result<()> {
        match self.plan.strikes(&[Fault::PutPart, Fault::DelayPart]) {
            Some(Fault::PutPart) => return Err(failed()),
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            None => {}
        }
        self.inner.put_part(data).await
    }

    async fn finish(self: Box<Self>) -> Result<FinishedObject> {
        match self.plan.strikes(&[Fault::Finish, Fault::LoseFinish]) {
            Some(Fault::Finish) => {
                self.inner.abort().await;
                Err(failed())
            }
            Some(_) => {
                self.inner.finish().await?;
                Err(failed())
            }
            None => self.inner.finish().await,
        }
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }
}

/// A reader with faults.
#[derive(Debug)]
pub(super) struct FaultyReader {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) plan: Arc<Plan>,
}

impl std::fmt::Display for FaultyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaultyReader({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyReader {
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> object_store::Result<GetResult> {
        match self.plan.strikes(&[Fault::Read, Fault::CutRead]) {
            Some(Fault::Read) => {
                return Err(object_store::Error::Generic {
                    store: "faulty",
                    source: "a fault on purpose".into(),
                });
            }
            Some(_) => {
                if let Some(object_store::GetRange::Bounded(Range { start, end })) = options.range {
                    options.range = Some((start..end - 1).into());
                }
            }
            None => {}
        }
        self.inner.get_opts(location, options).await
    }

    async fn put_opts(&self, at: &Path, data: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(at, data, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
