//! What lies below a folder.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// Why something in a folder was not saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// A folder with nothing in it, which no key can stand for.
    EmptyFolder,
    /// A link, which is not followed, or a pipe, socket or device.
    NotRegular,
    /// Its path is not UTF-8, so that it cannot be a key.
    NotUnicode,
}

/// A regular file below a folder.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Its path below the folder, as the system has it.
    pub(crate) relative: PathBuf,
    /// The same with `/` between its segments.
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) stamp: Stamp,
}

/// How a file looks from outside; another one when it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size_bytes: u64,
    pub(crate) modified_ns: i64,
    pub(crate) inode: u64,
}

impl Stamp {
    /// The stamp of a regular file.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            size_bytes: metadata.len(),
            modified_ns: metadata
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(metadata.mtime_nsec()),
            inode: metadata.ino(),
        })
    }
}

/// Files, and what is none.
pub(crate) type Walked = (Vec<Found>, Vec<(PathBuf, Skipped)>);

/// Everything below a folder: files in the order of the bytes of their joined paths,
/// which is not that of the system's paths (`a.b` comes before `a/b`).
pub(crate) fn walk(folder: &Path) -> Result<Walked> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = folder.join(&relative);
        let failed = |error| Error::file(&path, error);
        let mut is_empty = true;
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            is_empty = false;
            let below = relative.join(entry.file_name());
            // Of the entry itself, not of what a link leads to.
            let metadata: Metadata = entry.metadata().map_err(failed)?;
            let Some(path) = joined(&below) else {
                skipped.push((below, Skipped::NotUnicode));
                continue;
            };
            if metadata.is_dir() {
                waiting.push(below);
            } else if let Some(stamp) = Stamp::of(&metadata) {
                found.push(Found {
                    relative: below,
                    path,
                    size_bytes: stamp.size_bytes,
                    stamp,
                });
            } else {
                skipped.push((below, Skipped::NotRegular));
            }
        }
        if is_empty && !relative.as_os_str().is_empty() {
            skipped.push((relative, Skipped::EmptyFolder));
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    skipped.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok((found, skipped))
}

fn joined(relative: &Path) -> Option<String> {
    let segments: Option<Vec<&str>> = relative.iter().map(|segment| segment.to_str()).collect();
    Some(segments?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_the_bytes_of_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/c")).unwrap();
        for path in ["a0", "a/b", "a.b", "Z", "é", "a/c/d", "a/c.d"] {
            std::fs::write(folder.path().join(path), path).unwrap();
        }
        let (found, skipped) = walk(folder.path()).unwrap();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["Z", "a.b", "a/b", "a/c.d", "a/c/d", "a0", "é"]);
        assert_eq!(skipped, []);
    }
}
