//! What goes into a change of a folder, and what comes out.

use crate::manifest::{ManifestDigest, ManifestRefused, Member, MemberPath, Page};

/// One edit of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The member is new, or takes the place of the one at its path.
    Put(Member),
    /// The member at this path is taken away.
    Remove(MemberPath),
}

impl Edit {
    /// The path that it is about.
    pub fn path(&self) -> &MemberPath {
        match self {
            Self::Put(member) => &member.path,
            Self::Remove(path) => path,
        }
    }
}

/// Why a folder cannot be changed like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// What comes out is no folder, or edits do not come in the order of their paths.
    #[error(transparent)]
    Manifest(#[from] ManifestRefused),
    /// There is nothing at a path that could be taken away.
    #[error("there is no `{0}` to remove")]
    NoSuchMember(MemberPath),
    /// A page that was given is not the one asked for, or the folder is not made of these pages.
    #[error("the pages are not those of the folder")]
    OtherPages,
}

/// What a change wants, or what it has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeStep {
    /// It wants the next edit, or to hear that there is none: [`Change::give_edit`](super::Change::give_edit).
    Edit,
    /// It wants the old page of this number: [`Change::give_page`](super::Change::give_page).
    Load(usize),
    /// The next page of the new folder is the old page of this number.
    Keep(usize),
    /// The next page of the new folder is this one.
    New(Page),
    /// The new folder has no more pages.
    Done(ManifestDigest),
}
