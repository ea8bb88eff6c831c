//! Objects that come in parts, in any order, over any time, from any process.
//!
//! A part is durable when [`PendingPart::finish`] says so. Parts of one object have one
//! size, but for the last. Nothing can be read as an object before it is complete.

use std::{fmt::Debug, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;

use super::{FinishedObject, ObjectName, error::Result};

/// An object that comes in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartedObject {
    /// The name that it will have.
    pub name: ObjectName,
    /// The store's id of the multipart upload, if it has one.
    pub store_upload_id: Option<String>,
}

/// Where a part lies in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlace {
    /// Number of the part, from 0.
    pub number: usize,
    /// Position of its first byte.
    pub offset: u64,
}

/// Takes objects in parts.
#[async_trait]
pub trait PartStore: Debug + Send + Sync {
    /// Least bytes of a part that is not the last.
    fn part_bytes_min(&self) -> u64;

    /// Whether parts can be read before the object is complete.
    fn reads_parts(&self) -> bool;

    /// Begins an object.
    async fn create(&self, name: ObjectName) -> Result<PartedObject>;

    /// Begins a part. Another one with the same number is replaced when this is finished.
    fn begin_part(&self, object: &PartedObject, place: PartPlace) -> Box<dyn PendingPart>;

    /// Reads a range of what came, while it is not complete.
    async fn read(&self, object: &PartedObject, range: Range<u64>) -> Result<Bytes>;

    /// Closes an object of so many bytes: what they are now they stay, whoever else still
    /// writes, for as long as what this answers is held. Fine when it is complete already.
    async fn close(&self, object: &PartedObject, size_bytes: u64) -> Result<Box<dyn ClosedParts>>;

    /// Whether the store has forgotten that the object was begun, and has no such object: as
    /// when a rule of a bucket ends what was not finished for some days. To be asked where
    /// something failed.
    async fn is_lost(&self, _object: &PartedObject) -> Result<bool> {
        Ok(false)
    }

    /// Removes what came; nothing there is fine. A complete object stays.
    async fn abort(&self, object: &PartedObject) -> Result<()>;
}

/// An object that came in parts, and to which nobody writes any more.
#[async_trait]
pub trait ClosedParts: Send + Sync {
    /// Reads a range; of a store that cannot read parts, of the complete object.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// Makes the object from its parts, named by what their `finish` answered, durable and
    /// readable. Fine when it is there already.
    async fn complete(&mut self, parts: Vec<String>) -> Result<FinishedObject>;

    /// Numbers of parts that are not any more what their `finish` answered: others wrote them
    /// after that. To be asked where completing failed.
    async fn replaced(&self, parts: &[String]) -> Result<Vec<usize>>;

    /// Makes it no object again, so that parts of it can be replaced; where parts can be read.
    async fn reopen(self: Box<Self>) -> Result<()>;
}

/// A part on its way in. Dropping it leaves the part as it was before, or torn.
#[async_trait]
pub trait PendingPart: Send + Sync {
    /// Takes the next bytes.
    async fn put(&mut self, data: Bytes) -> Result<()>;

    /// Makes the part durable; answers what names it.
    async fn finish(self: Box<Self>) -> Result<String>;
}
