//! The entries of a folder that is saved: a listing, or edits of a base.

use artifactd_domain::{
    ArtifactRef, Sha256Hasher,
    manifest::{Member, MemberPath},
};

/// One entry of a listing, or one edit of a base.
#[derive(Debug, Clone)]
pub enum FolderEdit {
    /// The folder has this file.
    Put(Member),
    /// The base has a file here, and the folder has not.
    Remove(MemberPath),
    /// The folder has a file here that some artifact has.
    Copy {
        /// Where it shall be.
        path: MemberPath,
        /// What it is.
        from: FolderSource,
    },
}

/// A file that an artifact has.
#[derive(Debug, Clone)]
pub struct FolderSource {
    /// The artifact.
    pub reference: ArtifactRef,
    /// The path of the file in it; unset when it is a file itself.
    pub path: Option<MemberPath>,
}

/// Adds one edit of a base to the digest of all, told apart from any other.
pub(super) fn hash_edit(hasher: &mut Sha256Hasher, edit: &FolderEdit) {
    let (kind, path) = match edit {
        FolderEdit::Put(member) => (b'p', &member.path),
        FolderEdit::Remove(path) => (b'r', path),
        FolderEdit::Copy { path, .. } => (b'c', path),
    };
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    text(path.as_str());
    if let FolderEdit::Copy { from, .. } = edit {
        text(&from.reference.to_string());
        text(from.path.as_ref().map_or("", MemberPath::as_str));
    }
    hasher.update(&[kind]);
    if let FolderEdit::Put(member) = edit {
        hasher.update(&member.size_bytes.to_be_bytes());
        hasher.update(member.sha256.as_bytes());
    }
}
