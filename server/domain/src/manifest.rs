//! The manifest of a folder: the sorted list of its members, in immutable pages.
//!
//! Where a page ends depends on the paths alone, so two folders that agree on a
//! stretch agree on its pages, and a change makes new pages only where it falls.
//! The digest of the folder is made from the digests of its pages: what is hashed
//! (`digest`) and where pages end (`paging`) are part of the identity of every
//! folder ever saved and can never change; how a page is stored (`page`) can.
//!
//! Nothing here reads or writes. Work that needs stored pages is a machine that
//! says which page it wants next, so that the caller decides how to get it.

mod change;
mod diff;
mod digest;
mod glob;
mod member;
mod names;
mod page;
mod paging;
mod tree;

pub use change::{Change, ChangeRefused, ChangeStep, Edit};
pub use diff::{Diff, DiffStep, Difference, HELD_MAX};
pub use digest::{FOLDER_BYTES_MAX, FolderHasher, ManifestDigest};
pub use glob::{Glob, GlobRefused};
pub use member::{Member, MemberPath};
pub use names::{CaseCollision, CaseWalk};
pub use page::{PAGE_MEMBERS_MAX, Page, PageRef, PageRefused};
pub use paging::{ManifestRefused, Paging, ends_page};
