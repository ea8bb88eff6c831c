//! How something is downloaded, and what became of it.

use std::path::PathBuf;

use crate::Artifact;

/// What to do with what lies at the target already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfExists {
    /// Whatever it is, it stays, and the download is refused.
    Refuse,
    /// It stays when it is this very content, else the download is refused.
    KeepSame,
    /// A file gives way, a folder does not.
    #[default]
    ReplaceFile,
    /// It gives way, also a folder with all that is in it.
    Replace,
}

/// How something is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadOptions {
    /// Streams over which a large content or a folder comes: 4 unless set.
    pub streams: usize,
    /// What to do with what lies at the target already.
    pub if_exists: IfExists,
    /// Whether the download ends only when it would survive a loss of power; true unless set.
    pub durable: bool,
    /// Path of the file to download, when the artifact is a folder.
    pub member: Option<String>,
    /// Whether a key or stem may name a hidden artifact.
    pub include_hidden: bool,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        Self {
            streams: 4,
            if_exists: IfExists::default(),
            durable: true,
            member: None,
            include_hidden: false,
        }
    }
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Whose content it is.
    pub artifact: Artifact,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes that travelled; fewer than its size when some of it was there.
    pub moved_bytes: u64,
    /// Whether it was there before, so that nothing was written.
    pub was_there: bool,
}
