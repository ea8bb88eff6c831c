//! What is hashed of a folder. This can never change: every folder that was ever
//! saved is known by it.
//!
//! The digest of a page is the sha256 of its members in order, each as
//!
//! ```text
//! length of the path in bytes   2 bytes, big-endian
//! path                          UTF-8
//! size in bytes                 8 bytes, big-endian
//! sha256 of the content         32 bytes
//! ```
//!
//! and the digest of a folder the sha256 of the digests of its pages in order, 32
//! bytes each. Neither is mixed up with the digest of a file that happens to hold
//! those bytes, since the type of a hash goes wherever the hash goes.

use super::{ManifestRefused, Member};
use crate::{Sha256, Sha256Hasher};

/// Largest size of a folder in bytes: what a signed integer of a database holds.
pub const FOLDER_BYTES_MAX: u64 = i64::MAX as u64;

/// What is known of a folder as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestDigest {
    /// Its digest, of the type [`HashType::Sha256Manifest`](crate::HashType::Sha256Manifest).
    pub sha256: Sha256,
    /// Bytes of all members together.
    pub size_bytes: u64,
    /// Number of members.
    pub n_objects: u64,
}

/// The digest of a page with these members.
pub(super) fn page_digest(members: &[Member]) -> Sha256 {
    let mut hashed = Vec::with_capacity(members.len() * 96);
    for member in members {
        let path = member.path.as_str();
        hashed.extend_from_slice(&(path.len() as u16).to_be_bytes());
        hashed.extend_from_slice(path.as_bytes());
        hashed.extend_from_slice(&member.size_bytes.to_be_bytes());
        hashed.extend_from_slice(member.sha256.as_bytes());
    }
    Sha256::of(&hashed)
}

/// Makes the digest of a folder from those of its pages.
#[derive(Debug, Clone, Default)]
pub struct FolderHasher(Sha256Hasher);

impl FolderHasher {
    /// Takes the digest of the next page.
    pub fn add(&mut self, page: &Sha256) {
        self.0.update(page.as_bytes());
    }

    /// The digest of a folder with the pages that were seen.
    pub fn finish(self) -> Sha256 {
        self.0.finish()
    }
}

/// Number and size of the members of a folder.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) size_bytes: u64,
    pub(super) n_objects: u64,
}

impl Totals {
    pub(super) fn of(folder: &ManifestDigest) -> Self {
        Self {
            size_bytes: folder.size_bytes,
            n_objects: folder.n_objects,
        }
    }

    /// `None` when the member cannot have been among them.
    #[must_use]
    pub(super) fn remove(&mut self, member: &Member) -> Option<()> {
        self.size_bytes = self.size_bytes.checked_sub(member.size_bytes)?;
        self.n_objects = self.n_objects.checked_sub(1)?;
        Some(())
    }

    pub(super) fn add(&mut self, member: &Member) -> Result<(), ManifestRefused> {
        let size_bytes = self.size_bytes.checked_add(member.size_bytes);
        self.size_bytes = size_bytes
            .filter(|size| *size <= FOLDER_BYTES_MAX)
            .ok_or(ManifestRefused::TooLarge)?;
        self.n_objects += 1;
        Ok(())
    }

    pub(super) fn digest(self, hasher: FolderHasher) -> Result<ManifestDigest, ManifestRefused> {
        if self.n_objects == 0 {
            return Err(ManifestRefused::Empty);
        }
        Ok(ManifestDigest {
            sha256: hasher.finish(),
            size_bytes: self.size_bytes,
            n_objects: self.n_objects,
        })
    }
}
