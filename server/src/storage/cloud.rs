//! A storage in a bucket: of S3, of Azure, of Google.
//!
//! Small content is one PUT, larger content a multipart upload whose parts travel
//! side by side. An object counts as finished when a HEAD shows the size and the
//! version or ETag that the completion answered. Since no name is used twice, that
//! HEAD also decides what happened when the answer to a completion was lost.
//!
//! A PUT asks that nothing has the name yet, so that one which was under way for long
//! cannot write over anything. A completion needs no condition: it names its upload,
//! or its blocks, which belong to one name, and can only give the same bytes again.

mod azure;
mod s3;
mod trial;
mod uploads;
mod versions;
mod xml;

use std::{io, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{BoxStream, FuturesUnordered},
};
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use tokio::task::JoinHandle;

use self::uploads::ListedUpload;
pub(super) use self::{
    azure::AzureUploads,
    s3::{S3Uploads, SignedBy},
    uploads::OpenUploads,
};
use super::{
    FinishedObject, ObjectName, ObjectWriter, PendingObject, StorageError, StoredObject, Unfinished,
    error::Result,
    gather::Gathered,
    name::{FOLDERS, NOTE, SYSTEM_FOLDER},
    writer::Tried,
};
use crate::fault;

/// Bytes of the first parts; what is smaller travels in one request.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts after which the part size doubles, so that 10,000 parts hold 600 GiB and more.
const PARTS_BEFORE_GROWTH: usize = 1_000;

/// Objects of one page of a list.
const LISTED_AT_ONCE: usize = 1_000;

/// Parts of one object under way at once.
const PARTS_AT_ONCE: usize = 4;

/// A bucket of any service.
pub(super) trait Bucket: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Bucket for T {}

/// Writes objects to one bucket, below one prefix.
#[derive(Debug, Clone)]
pub(crate) struct CloudWriter {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) uploads: Arc<dyn OpenUploads>,
    prefix: String,
}

impl CloudWriter {
    pub(super) fn new(bucket: Arc<dyn Bucket>, uploads: Arc<dyn OpenUploads>, prefix: &str) -> Self {
        Self {
            bucket,
            uploads,
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn path(&self, name: &str) -> Path {
        let below = format!("{SYSTEM_FOLDER}/{name}");
        Path::from(if self.prefix.is_empty() {
            below
        } else {
            format!("{}/{below}", self.prefix)
        })
    }

    /// The name of an object from its path in the bucket.
    fn name_of(&self, path: &str) -> Option<ObjectName> {
        let prefix = self.path("");
        path.strip_prefix(prefix.as_ref())?.trim_start_matches('/').parse().ok()
    }

    /// Writes an object in one request, unless there is one.
    pub(super) async fn put_new(&self, path: &Path, payload: PutPayload) -> object_store::Result<PutResult> {
        let put = || self.bucket.put_opts(path, payload.clone(), PutMode::Create.into());
        let put = match put().await {
            // The library does not repeat a request with a condition when its answer was
            // lost. Here it may be: if the first one came, the second is told so.
            Err(object_store::Error::Generic { .. }) => put().await,
            put => put,
        };
        match put {
            // The operator said that this store knows no conditions (`AWS_CONDITIONAL_PUT=disabled`).
            Err(object_store::Error::NotImplemented { .. }) => self.bucket.put(path, payload).await,
            put => put,
        }
    }

    /// What the store has under a name, once the writing request has ended.
    pub(super) async fn settle(
        &self,
        name: &ObjectName,
        size_bytes: u64,
        put: object_store::Result<PutResult>,
    ) -> Result<FinishedObject> {
        fault::point("cloud.after_complete");
        let head = self.bucket.head(&self.path(name.as_str())).await;
        let (answered, found) = match (put, head) {
            (Ok(put), Ok(found)) => (Some(put), found),
            // The answer was lost, yet the object is there, and nobody else uses its name.
            (Err(_), Ok(found)) => (None, found),
            (Err(error), Err(_)) | (Ok(_), Err(error)) => return Err(from_write(error)),
        };
        fault::point("cloud.after_head");
        if found.size != size_bytes || answered.is_some_and(|put| is_another(&put, &found)) {
            return Err(StorageError::Corrupt {
                object: name.to_string(),
                offset: 0,
                what: format!(
                    "the store shows {} of {size_bytes} bytes, or another object",
                    found.size
                ),
            });
        }
        Ok(FinishedObject {
            name: name.clone(),
            size_bytes,
            store_etag: found.e_tag,
        })
    }
}

/// Whether what a store shows is not what it said to have taken. A version, where a store has
/// such, tells more than an ETag, which need not be one thing in all of its answers.
fn is_another(put: &PutResult, found: &ObjectMeta) -> bool {
    match (&put.version, &found.version) {
        (Some(put), Some(found)) => put != found,
        _ => put.e_tag.is_some() && put.e_tag != found.e_tag,
    }
}

pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::Unavailable(Box::new(error))
}

pub(super) fn from_write(error: object_store::Error) -> StorageError {
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            StorageError::ReadOnly(io::Error::other(error))
        }
        other => unavailable(other),
    }
}

#[async_trait]
impl ObjectWriter for CloudWriter {
    fn begin(&self, name: ObjectName) -> Box<dyn PendingObject> {
        Box::new(PendingCloud {
            writer: self.clone(),
            path: self.path(name.as_str()),
            name,
            upload_id: None,
            waiting: Gathered::default(),
            size_bytes: 0,
            parts_begun: 0,
            sending: FuturesUnordered::new(),
            sent: Vec::new(),
        })
    }

    async fn list_unfinished(&self) -> Result<Vec<Unfinished>> {
        let begun = self.uploads.begun(&self.path("")).await?;
        let named = begun.into_iter().filter_map(|upload| {
            let ListedUpload { path, id, initiated } = upload;
            let name = self.name_of(&path)?.to_string();
            Some(Unfinished {
                name,
                store_upload_id: Some(id),
                // One of unknown age counts as new, and stays.
                since: initiated.unwrap_or_else(SystemTime::now),
                size_bytes: None,
                is_owned: false,
            })
        });
        Ok(named.collect())
    }

    async fn abort_unfinished(&self, unfinished: &Unfinished) -> Result<()> {
        let Some(id) = &unfinished.store_upload_id else {
            return Ok(());
        };
        self.uploads.forget(&self.path(&unfinished.name), id).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        match self.bucket.delete(&self.path(name.as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_write(error)),
        }
    }

    fn list_objects(&self) -> BoxStream<'static, Result<Vec<StoredObject>>> {
        let listings = FOLDERS.map(|folder| self.bucket.list(Some(&self.path(folder))));
        let writer = self.clone();
        let listed = futures::stream::iter(listings).flatten().map_err(unavailable);
        let objects = listed.try_filter_map(move |meta| {
            let object = writer.name_of(meta.location.as_ref()).map(|name| StoredObject {
                name,
                size_bytes: meta.size,
                modified: meta.last_modified.into(),
            });
            std::future::ready(Ok(object))
        });
        objects.try_chunks(LISTED_AT_ONCE).map_err(|error| error.1).boxed()
    }

    async fn note(&self) -> Result<Option<String>> {
        let note = match self.bucket.get(&self.path(NOTE)).await {
            Ok(found) => found.bytes().await.map_err(unavailable)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        Ok(Some(String::from_utf8_lossy(&note).into_owned()))
    }

    async fn keep_note(&self, words: String) -> Result<()> {
        let put = self.bucket.put(&self.path(NOTE), PutPayload::from(words)).await;
        put.map(drop).map_err(from_write)
    }

    async fn probe(&self) -> Result<()> {
        let path = self.path("probe");
        self.bucket
            .put(&path, PutPayload::from_static(b"probe"))
            .await
            .map_err(from_write)?;
        self.bucket.head(&path).await.map_err(unavailable)?;
        self.bucket.delete(&path).await.map_err(from_write)
    }

    async fn try_out(&self) -> Result<Tried> {
        self.try_all().await
    }
}

/// An object on its way into a bucket; at most [`PARTS_AT_ONCE`] parts and one
/// that is being gathered are in memory.
struct PendingCloud {
    writer: CloudWriter,
    name: ObjectName,
    path: Path,
    upload_id: Option<String>,
    waiting: Gathered,
    size_bytes: u64,
    parts_begun: usize,
    sending: FuturesUnordered<JoinHandle<object_store::Result<(usize, PartId)>>>,
    sent: Vec<(usize, PartId)>,
}

impl PendingCloud {
    fn part_bytes(&self) -> usize {
        PART_BYTES << (self.parts_begun / PARTS_BEFORE_GROWTH).min(4)
    }

    async fn send_waiting(&mut self) -> Result<()> {
        let id = self.upload_id().await?;
        while self.sending.len() >= PARTS_AT_ONCE {
            self.take_sent().await?;
        }
        let payload = PutPayload::from_iter(self.waiting.take());
        let (bucket, path, part) = (Arc::clone(&self.writer.bucket), self.path.clone(), self.parts_begun);
        self.parts_begun += 1;
        self.sending.push(tokio::spawn(async move {
            let sent = bucket.put_part(&path, &id, part, payload).await?;
            fault::point("cloud.after_part");
            Ok((part, sent))
        }));
        Ok(())
    }

    async fn take_sent(&mut self) -> Result<()> {
        if let Some(part) = self.sending.next().await {
            self.sent
                .push(part.expect("sending a part does not panic").map_err(from_write)?);
        }
        Ok(())
    }

    async fn upload_id(&mut self) -> Result<String> {
        if let Some(id) = &self.upload_id {
            return Ok(id.clone());
        }
        let id = self
            .writer
            .bucket
            .create_multipart(&self.path)
            .await
            .map_err(from_write)?;
        fault::point("cloud.after_create");
        self.upload_id = Some(id.clone());
        Ok(id)
    }

    async fn complete(&mut self, id: &String) -> Result<object_store::Result<PutResult>> {
        if self.waiting.bytes() > 0 {
            self.send_waiting().await?;
        }
        while !self.sending.is_empty() {
            self.take_sent().await?;
        }
        self.sent.sort_unstable_by_key(|(number, _)| *number);
        let parts = std::mem::take(&mut self.sent)
            .into_iter()
            .map(|(_, part)| part)
            .collect();
        fault::point("cloud.before_complete");
        Ok(self.writer.bucket.complete_multipart(&self.path, id, parts).await)
    }

    async fn abandon(&mut self) {
        let waits = self.writer.uploads.takes_late_parts();
        for task in std::mem::take(&mut self.sending) {
            if !waits {
                task.abort();
            }
            let _ = task.await;
        }
        if let Some(id) = self.upload_id.take() {
            // An upload that cannot be aborted now is listed as unfinished.
            let _ = self.writer.uploads.forget(&self.path, &id).await;
        }
    }
}

#[async_trait]
impl PendingObject for PendingCloud {
    async fn put_part(&mut self, data: Bytes) -> Result<()> {
        self.size_bytes += data.len() as u64;
        self.waiting.push(data);
        if self.waiting.bytes() >= self.part_bytes() {
            self.send_waiting().await
        } else {
            Ok(())
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<FinishedObject> {
        let put = match self.upload_id.clone() {
            None => {
                let payload = PutPayload::from_iter(self.waiting.take());
                self.writer.put_new(&self.path, payload).await
            }
            Some(id) => match self.complete(&id).await {
                Ok(put) => put,
                Err(error) => {
                    self.abandon().await;
                    return Err(error);
                }
            },
        };
        let completed = put.is_ok();
        let settled = self.writer.settle(&self.name, self.size_bytes, put).await;
        if completed || settled.is_ok() {
            self.upload_id = None;
        } else {
            self.abandon().await;
        }
        settled
    }

    async fn abort(mut self: Box<Self>) {
        self.abandon().await;
    }
}

impl Drop for PendingCloud {
    /// Ends the parts under way and asks the store to forget the upload, which a
    /// caller that hung up cannot do. When that fails, it is listed as unfinished.
    fn drop(&mut self) {
        for part in &self.sending {
            part.abort();
        }
        let (Some(id), Ok(runtime)) = (self.upload_id.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (uploads, path) = (Arc::clone(&self.writer.uploads), self.path.clone());
        runtime.spawn(async move { uploads.forget(&path, &id).await });
    }
}
