//! The write side of a root that is only pointed into, and the read side of one that is not there.

use std::{fmt, io, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, path::Path,
};

use super::{
    ClosedParts, FinishedObject, ObjectName, ObjectWriter, PartPlace, PartStore, PartedObject, PendingObject,
    PendingPart, StorageError, StoredObject, Unfinished, error::Result,
};

/// Writes nothing, has nothing, and removes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unmanaged;

fn read_only() -> StorageError {
    let error = io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "files lie in place here");
    StorageError::ReadOnly(error)
}

#[async_trait]
impl ObjectWriter for Unmanaged {
    fn begin(&self, _name: ObjectName) -> Box<dyn PendingObject> {
        Box::new(Self)
    }

    async fn list_unfinished(&self) -> Result<Vec<Unfinished>> {
        Ok(Vec::new())
    }

    async fn abort_unfinished(&self, _unfinished: &Unfinished) -> Result<()> {
        Ok(())
    }

    async fn delete(&self, _name: &ObjectName) -> Result<()> {
        Ok(())
    }

    fn list_objects(&self) -> BoxStream<'static, Result<Vec<StoredObject>>> {
        stream::empty().boxed()
    }

    async fn note(&self) -> Result<Option<String>> {
        Ok(None)
    }

    async fn keep_note(&self, _words: String) -> Result<()> {
        Err(read_only())
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl PendingObject for Unmanaged {
    async fn put_part(&mut self, _data: Bytes) -> Result<()> {
        Err(read_only())
    }

    async fn finish(self: Box<Self>) -> Result<FinishedObject> {
        Err(read_only())
    }

    async fn abort(self: Box<Self>) {}
}

#[async_trait]
impl PartStore for Unmanaged {
    fn part_bytes_min(&self) -> u64 {
        1
    }

    fn reads_parts(&self) -> bool {
        false
    }

    async fn create(&self, _name: ObjectName) -> Result<PartedObject> {
        Err(read_only())
    }

    fn begin_part(&self, _object: &PartedObject, _place: PartPlace) -> Box<dyn PendingPart> {
        Box::new(Self)
    }

    async fn read(&self, _object: &PartedObject, _range: Range<u64>) -> Result<Bytes> {
        Err(read_only())
    }

    async fn close(&self, _object: &PartedObject, _size_bytes: u64) -> Result<Box<dyn ClosedParts>> {
        Err(read_only())
    }

    async fn abort(&self, _object: &PartedObject) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl PendingPart for Unmanaged {
    async fn put(&mut self, _data: Bytes) -> Result<()> {
        Err(read_only())
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        Err(read_only())
    }
}

/// A root that could not be opened: whatever is asked of it waits for another start.
#[derive(Debug, Clone)]
pub(super) struct Absent {
    pub(super) why: String,
}

impl Absent {
    fn error(&self) -> object_store::Error {
        object_store::Error::Generic {
            store: "absent",
            source: self.why.clone().into(),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "absent: {}", self.why)
    }
}

#[async_trait]
impl ObjectStore for Absent {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(self.error())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(self.error())
    }

    async fn get_opts(&self, _: &Path, _: GetOptions) -> object_store::Result<GetResult> {
        Err(self.error())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        stream::iter([Err(self.error())]).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        stream::iter([Err(self.error())]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> object_store::Result<ListResult> {
        Err(self.error())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(self.error())
    }
}
