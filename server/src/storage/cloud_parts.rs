//! Objects that come in parts, in a bucket: a multipart upload of the store.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload, multipart::PartId};

use super::{
    FinishedObject, ObjectName,
    cloud::{CloudWriter, from_write, unavailable},
    error::Result,
    gather::Gathered,
    parts::{ClosedParts, PartPlace, PartStore, PartedObject, PendingPart},
};
use crate::{fault, storage::StorageError};

/// What services take at least for a part that is not the last.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

fn upload_id(object: &PartedObject) -> String {
    object.store_upload_id.clone().unwrap_or_default()
}

#[async_trait]
impl PartStore for CloudWriter {
    fn part_bytes_min(&self) -> u64 {
        PART_BYTES_MIN
    }

    fn reads_parts(&self) -> bool {
        false
    }

    async fn create(&self, name: ObjectName) -> Result<PartedObject> {
        let id = self.bucket.create_multipart(&self.path(name.as_str())).await;
        Ok(PartedObject {
            name,
            store_upload_id: Some(id.map_err(from_write)?),
        })
    }

    fn begin_part(&self, object: &PartedObject, place: PartPlace) -> Box<dyn PendingPart> {
        Box::new(PendingCloudPart {
            writer: self.clone(),
            object: object.clone(),
            number: place.number,
            waiting: Gathered::default(),
        })
    }

    async fn read(&self, object: &PartedObject, _range: Range<u64>) -> Result<Bytes> {
        let object = object.name.to_string();
        Err(StorageError::NotFound { object })
    }

    /// Each part is named by what it holds, so that whoever replaces one makes completion fail.
    async fn close(&self, object: &PartedObject, size_bytes: u64) -> Result<Box<dyn ClosedParts>> {
        Ok(Box::new(ClosedCloud {
            writer: self.clone(),
            object: object.clone(),
            size_bytes,
        }))
    }

    async fn is_lost(&self, object: &PartedObject) -> Result<bool> {
        let path = self.path(object.name.as_str());
        if self.uploads.is_begun(&path, &upload_id(object)).await? {
            return Ok(false);
        }
        match self.bucket.head(&path).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn abort(&self, object: &PartedObject) -> Result<()> {
        let path = self.path(object.name.as_str());
        self.uploads.forget(&path, &upload_id(object)).await
    }
}

struct ClosedCloud {
    writer: CloudWriter,
    object: PartedObject,
    size_bytes: u64,
}

#[async_trait]
impl ClosedParts for ClosedCloud {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let (name, start) = (self.object.name.as_str(), range.start);
        let read = self.writer.bucket.get_range(&self.writer.path(name), range).await;
        read.map_err(|error| StorageError::from_read(name, start, error))
    }

    async fn complete(&mut self, parts: Vec<String>) -> Result<FinishedObject> {
        let Self {
            writer,
            object,
            size_bytes,
        } = self;
        let path = writer.path(object.name.as_str());
        let put = if parts.is_empty() {
            writer.abort(object).await?;
            writer.put_new(&path, PutPayload::new()).await
        } else {
            let ids = parts.into_iter().map(|content_id| PartId { content_id });
            fault::point("cloud.before_parts_complete");
            let id = upload_id(object);
            writer.bucket.complete_multipart(&path, &id, ids.collect()).await
        };
        // Whether it was completed before, or the answer was lost, shows the object.
        writer.settle(&object.name, *size_bytes, put).await
    }

    async fn replaced(&self, parts: &[String]) -> Result<Vec<usize>> {
        let path = self.writer.path(self.object.name.as_str());
        self.writer
            .uploads
            .replaced(&path, &upload_id(&self.object), parts)
            .await
    }

    async fn reopen(self: Box<Self>) -> Result<()> {
        let object = self.object.name.to_string();
        Err(StorageError::Closed { object })
    }
}

struct PendingCloudPart {
    writer: CloudWriter,
    object: PartedObject,
    number: usize,
    waiting: Gathered,
}

#[async_trait]
impl PendingPart for PendingCloudPart {
    async fn put(&mut self, data: Bytes) -> Result<()> {
        self.waiting.push(data);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        let payload = PutPayload::from_iter(self.waiting.take());
        let path = self.writer.path(self.object.name.as_str());
        let (bucket, id) = (Arc::clone(&self.writer.bucket), upload_id(&self.object));
        let part = bucket
            .put_part(&path, &id, self.number, payload)
            .await
            .map_err(from_write)?;
        fault::point("uploads.part_written");
        Ok(part.content_id)
    }
}
