//! Folders: many files as one artifact.
//!
//! A folder is a manifest: sorted pages of entries, shared between versions. A save
//! comes in as a listing or as edits of a base; `save` is that conversation, one step
//! per message. Contents that are missing go into packs, or objects of their own when
//! they are large (`contents`), pages into the database once all their contents are
//! durable (`write`). Large folders write pages on the way, held by a lease; the last
//! transaction adds what is left, the manifest and the artifact.

mod check;
mod contents;
mod copies;
mod diff;
mod held;
mod listing;
mod maker;
mod members;
mod pages;
mod reading;
mod save;
mod sweep;
mod table;
mod window;
mod write;

pub use diff::{DiffFound, FolderDiff};
pub use listing::{MemberPage, MembersQuery};
pub use reading::{MemberHead, MemberPiece, MemberRange, MembersToRead, OpenMembers, WhichMembers};
pub use save::{FolderBegun, FolderEdit, FolderSave, FolderSource, NewFolder};

pub(super) use check::CheckedPages;
pub(super) use copies::{FolderCopies, HeldPages};
pub(super) use pages::PageCache;
pub(super) use table::FolderReader;
pub(super) use write::FolderContent;

/// What tells contents apart: sha256 and size.
type Identity = (artifactd_domain::Sha256, u64);
