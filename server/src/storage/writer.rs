//! The write side of a storage.

use std::{fmt::Debug, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::{ObjectName, error::Result};

/// Writes, lists and removes the objects of one storage.
#[async_trait]
pub trait ObjectWriter: Debug + Send + Sync {
    /// Starts an object under a name that was never used. Does no I/O yet.
    fn begin(&self, name: ObjectName) -> Box<dyn PendingObject>;

    /// Lists what was begun and neither finished nor aborted, also by other processes.
    async fn list_unfinished(&self) -> Result<Vec<Unfinished>>;

    /// Removes what [`list_unfinished`](Self::list_unfinished) showed; nothing there is fine.
    async fn abort_unfinished(&self, unfinished: &Unfinished) -> Result<()>;

    /// Removes an object; nothing there is fine.
    async fn delete(&self, name: &ObjectName) -> Result<()>;

    /// Lists all finished objects, some at a time, by and large in the order of their names.
    /// Names that the server did not make are passed over.
    fn list_objects(&self) -> BoxStream<'static, Result<Vec<StoredObject>>>;

    /// A few words that the storage keeps beside its objects.
    async fn note(&self) -> Result<Option<String>>;

    /// Keeps other words in their place.
    async fn keep_note(&self, words: String) -> Result<()>;

    /// Writes, reads and removes a small object, to find a broken storage before a caller does.
    async fn probe(&self) -> Result<()>;

    /// The same before anybody relies on it, and more: that all of it is gone afterwards.
    async fn try_out(&self) -> Result<Tried> {
        self.probe().await?;
        Ok(Tried::default())
    }
}

/// What trying a storage has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried {
    /// Whether it keeps versions of what is removed, as far as it tells.
    pub keeps_versions: bool,
}

/// An object on its way in. Nobody can read it before it is finished.
///
/// Dropping it without an end leaves at most what
/// [`ObjectWriter::list_unfinished`] lists.
#[async_trait]
pub trait PendingObject: Send {
    /// Takes the next bytes. An error is final: abort and begin anew.
    async fn put_part(&mut self, data: Bytes) -> Result<()>;

    /// Makes the object durable and readable under its name.
    async fn finish(self: Box<Self>) -> Result<FinishedObject>;

    /// Removes what was written.
    async fn abort(self: Box<Self>);
}

/// An object that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The ETag that an object store answered, if it is one.
    pub store_etag: Option<String>,
}

/// Something that was begun and has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Name of the object that it would have become.
    pub name: String,
    /// The store's id of the multipart upload, if it has one.
    pub store_upload_id: Option<String>,
    /// When it was begun or last written to.
    pub since: SystemTime,
    /// Bytes that were written, where the storage tells.
    pub size_bytes: Option<u64>,
    /// Whether its process is known to be alive.
    pub is_owned: bool,
}

/// A finished object as the storage lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was finished.
    pub modified: SystemTime,
}
