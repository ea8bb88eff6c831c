//! Content storage: where the bytes of artifacts live.
//!
//! Every object is written once under a random name, so readers need no locks
//! and a retry can never overwrite someone else's bytes. Writing goes through
//! [`ObjectWriter`], whose two implementations (`local`, `cloud`) acknowledge
//! only what is durable. Reading goes through [`ArtifactView`], which checks
//! every byte against its stored checksum before anyone sees it.
//!
//! Nothing here knows about versions, trash or the database; see `registry`.

mod allowed;
mod cloud;
mod cloud_parts;
#[cfg(test)]
mod conformance;
mod error;
#[cfg(test)]
mod faulty;
mod gather;
mod in_place;
mod local;
mod local_parts;
mod local_reader;
mod name;
mod open;
mod pack;
mod parts;
mod root;
mod sums;
mod unmanaged;
mod view;
mod writer;

pub(crate) use allowed::parsed_url;
pub use allowed::{AllowedRoots, Reach};
pub use error::StorageError;
pub(crate) use in_place::{FileSeen, FileToRemove};
pub use name::ObjectName;
pub(crate) use name::SYSTEM_FOLDER;
pub use open::Store;
pub use pack::{
    FinishedPack, PACK_BYTES_MAX, PACK_ENTRIES_MAX, PACK_ENTRY_BYTES, PACKED_CONTENT_BYTES_END, PackEntry, PackWriter,
    read_index,
};
pub use parts::{ClosedParts, PartPlace, PartStore, PartedObject, PendingPart};
pub use root::{BucketRoot, Secret, Service, StorageRoot};
pub use sums::{BlockSums, PageLoader, SUMS_PER_PAGE};
pub(crate) use view::drift;
pub use view::{
    ArtifactView, BlobContent, Member, Pace, ReadBudget, ReadCounter, Room, SMALL_CONTENT_BYTES_MAX, VerifiedChunk,
};
pub use writer::{FinishedObject, ObjectWriter, PendingObject, StoredObject, Tried, Unfinished};
