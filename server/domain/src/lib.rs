//! The rules of artifactd: identifiers, versions, keys, suffixes, digests, manifests.
//!
//! Everything here is pure: no async, no I/O, no database, no wire types. The
//! server and the client both use it, so a name that one of them accepts means
//! the same to the other. A value of a type from here is valid by construction.

mod checksum;
mod etag;
pub mod filter;
mod formats;
mod hash;
mod key;
mod kind;
pub mod manifest;
mod reference;
mod suffix;
mod text;
mod uid;
mod version;

pub use checksum::{BLOCK_BYTES, BlockChecksums, combine_crc32c, crc32c, crc32c_append};
pub use etag::content_etag;
pub use hash::{ContentDigest, ContentHasher, DigestRefused, HashType, Sha256, Sha256Hasher};
pub use key::{FileName, Key, KeyRefused, StorageName};
pub use kind::{IfContentExists, Kind, SaveOutcome, Visibility};
pub use reference::{ArtifactRef, RefRefused};
pub use suffix::{Suffix, raw_suffix_of};
pub use text::{Description, MediaType, RequestId, TextRefused};
pub use uid::{Stem, Uid, UidRefused, VersionSuffix};
pub use version::{Label, LabelRefused, VersionName, VersionNumber, version_label};
