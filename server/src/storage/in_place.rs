//! Files that lie where their owner put them: looked at, and removed when their record says so.
//!
//! Nothing is followed that is a link by now, and nothing is removed that is not as it was
//! when it was looked at. A store of objects does not compare and remove at once, so that
//! what its owner writes in that very moment may go too; a file in a folder that changes
//! between the two has the same fate.

mod folder;

use futures::{StreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};
use tokio::task::spawn_blocking;

use self::folder::Folder;
use super::{StorageError, Store, cloud::from_write, error::Result};

/// Objects of a bucket that are removed at once.
const REMOVED_AT_ONCE: usize = 16;

/// A file as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSeen {
    /// Its path from the root.
    pub(crate) path: String,
    /// How many bytes it has.
    pub(crate) size_bytes: u64,
    /// Its ETag, where there is one; that of a local file is told by its inode, its time and its size.
    pub(crate) etag: Option<String>,
    /// When it was written, in microseconds since 1970 UTC.
    pub(crate) modified_us: i64,
}

/// A file to remove.
#[derive(Debug, Clone)]
pub(crate) struct FileToRemove {
    /// As it was seen.
    pub(crate) seen: FileSeen,
    /// A folder that goes, with those in it, once it is empty.
    pub(crate) folder: Option<String>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// There is none any more.
    Gone,
    /// Another one lies there by now, and stays.
    Changed,
}

impl Store {
    /// A file as it is now; `None` when there is none. A link is no file.
    pub(crate) async fn file_in_place(&self, path: &str) -> Result<Option<FileSeen>> {
        if let Some(root) = self.folder_of_root() {
            let (root, path) = (root.to_owned(), path.to_owned());
            let looked = spawn_blocking(move || Folder::open(&root)?.look(&path));
            return looked.await.expect("looking at a file does not panic");
        }
        match self.reader.head(&location(path)?).await {
            Ok(meta) => Ok(Some(seen(path, meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StorageError::from_read(path, 0, error)),
        }
    }

    /// Removes files that are as they were seen; what became of each, in their order.
    pub(crate) async fn remove_in_place(&self, files: Vec<FileToRemove>) -> Vec<Result<Removed>> {
        if let Some(root) = self.folder_of_root() {
            let root = root.to_owned();
            let removed = spawn_blocking(move || folder::remove(&root, &files));
            return removed.await.expect("removing files does not panic");
        }
        let each = stream::iter(files).map(|file| self.remove_object(file.seen));
        each.buffered(REMOVED_AT_ONCE).collect().await
    }

    async fn remove_object(&self, was: FileSeen) -> Result<Removed> {
        match self.file_in_place(&was.path).await? {
            None => return Ok(Removed::Gone),
            Some(is) if is != was => return Ok(Removed::Changed),
            Some(_) => {}
        }
        match self.reader.delete(&location(&was.path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(Removed::Gone),
            Err(error) => Err(from_write(error)),
        }
    }

    fn folder_of_root(&self) -> Option<&std::path::Path> {
        self.uri.strip_prefix("file://").map(std::path::Path::new)
    }
}

fn location(path: &str) -> Result<Path> {
    Path::parse(path).map_err(|error| StorageError::Unavailable(Box::new(error)))
}

fn seen(path: &str, meta: ObjectMeta) -> FileSeen {
    FileSeen {
        path: path.to_owned(),
        size_bytes: meta.size,
        etag: meta.e_tag,
        modified_us: meta.last_modified.timestamp_micros(),
    }
}
