//! The rules of artifactd: identifiers, versions, keys, suffixes, digests, manifests,
//! values of features and their types.
//!
//! Everything here is pure: no async, no I/O, no database, no wire types. The
//! server and the client both use it, so a name that one of them accepts means
//! the same to the other. A value of a type from here is valid by construction.

mod address;
mod alias;
mod artifact_field;
mod checksum;
mod columns;
mod dtype;
mod etag;
pub mod filter;
mod formats;
mod hash;
mod json;
mod key;
mod kind;
pub mod manifest;
pub mod moment;
mod name;
mod order;
mod partition;
mod record_field;
mod reference;
mod run;
pub mod search;
mod suffix;
mod table_format;
pub mod terms;
mod text;
mod uid;
mod value;
mod version;

pub use address::is_public;
pub use alias::{AliasName, AliasRefused};
pub use artifact_field::{ArtifactField, ArtifactFields};
pub use checksum::{BLOCK_BYTES, BlockChecksums, combine_crc32c, crc32c, crc32c_append};
pub use columns::{
    COLUMNS_SLOT, ColumnFault, ColumnHolds, ExpectedColumn, FoundColumn, column_faults, feature_set_hash,
};
pub use dtype::{Dtype, DtypeRefused, Item};
pub use etag::content_etag;
pub use hash::{ContentDigest, ContentHasher, DigestRefused, HashType, HexDigits, Sha256, Sha256Hasher};
pub use json::{Json, JsonFault, JsonRefused};
pub use key::{FileName, Key, KeyRefused, StorageName};
pub use kind::{Accessor, IfContentExists, Kind, Role, SaveOutcome, Visibility};
pub use name::{Name, NameRefused, Note, RegistryName, Synonyms, SynonymsRefused};
pub use order::{Order, OrderBy, OrderRefused};
pub use partition::{PartitionRefused, PartitionType, holds_rows, partition_int, partitions_of};
pub use record_field::{Held, Mentioned, RecordField, RecordFields};
pub use reference::{ArtifactRef, RefRefused};
pub use run::{RunStatus, RunUid, TransformKind};
pub use suffix::{Suffix, raw_suffix_of};
pub use table_format::{TableFormat, TextPacking};
pub use text::{Description, MediaType, RequestId, TextRefused};
pub use uid::{Stem, Uid, UidRefused, VersionSuffix};
pub use value::{Fitted, LabelBy, LabelName, Misfit, Plain, Value, common_dtype, document_key, exact, fit, text_key};
pub use version::{Label, LabelRefused, VersionName, VersionNumber, version_label};
