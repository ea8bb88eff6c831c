//! Opens a storage root, refusing what could not keep its promises.

mod buckets;

use std::{
    path::{Component, Path},
    sync::Arc,
};

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, http::HttpBuilder, local::LocalFileSystem};

use super::{
    ObjectName, ObjectWriter, PartStore, Reach, StorageError, StorageRoot,
    allowed::GuardedConnector,
    error::Result,
    local::LocalWriter,
    local_parts::LocalParts,
    local_reader::LocalReader,
    name::SYSTEM_FOLDER,
    unmanaged::{Absent, Unmanaged},
};

/// An open storage.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its write side.
    pub writer: Arc<dyn ObjectWriter>,
    /// Its read side, unchecked; content is read through [`super::ArtifactView`].
    pub reader: Arc<dyn ObjectStore>,
    /// Its write side for objects that come in parts.
    pub parts: Arc<dyn PartStore>,
    pub(super) uri: String,
    /// Whether it stands for a root that could not be opened.
    pub(super) is_absent: bool,
    pub(super) can_list: bool,
}

impl Store {
    /// Opens a root. A local folder is made when it is missing; a bucket must exist.
    pub fn open(root: &StorageRoot) -> Result<Self> {
        match root {
            StorageRoot::Local(path) => open_local(path),
            StorageRoot::Bucket(bucket) => buckets::open(bucket, Reach::Named),
            StorageRoot::Http(_) => Err(StorageError::Refused {
                root: root.to_string(),
                why: "nothing is written by http".to_owned(),
            }),
        }
    }

    /// Opens a root that was registered, to be written to.
    pub(crate) fn open_registered(root: &StorageRoot, reach: Reach) -> Result<Self> {
        match root {
            StorageRoot::Bucket(bucket) => buckets::open(bucket, reach),
            other => Self::open(other),
        }
    }

    /// Opens a root in which files lie in place: nothing is ever written to it.
    pub(crate) fn open_unmanaged(root: &StorageRoot, reach: Reach) -> Result<Self> {
        let refused = |why: String| StorageError::Refused {
            root: root.to_string(),
            why,
        };
        let reader: Arc<dyn ObjectStore> = match root {
            StorageRoot::Local(path) => {
                let files = LocalFileSystem::new_with_prefix(path).map_err(|error| refused(error.to_string()))?;
                Arc::new(LocalReader::new(files))
            }
            StorageRoot::Bucket(bucket) => buckets::open(bucket, reach)?.reader,
            StorageRoot::Http(url) => {
                let files = HttpBuilder::new()
                    .with_url(url)
                    .with_http_connector(GuardedConnector(reach))
                    .build();
                Arc::new(files.map_err(|error| refused(error.to_string()))?)
            }
        };
        Ok(Self {
            writer: Arc::new(Unmanaged),
            parts: Arc::new(Unmanaged),
            reader,
            uri: match root {
                StorageRoot::Local(path) => format!("file://{}", path.display()),
                other => other.to_string(),
            },
            is_absent: false,
            can_list: !matches!(root, StorageRoot::Http(_)),
        })
    }

    /// Stands for a root that cannot be opened now.
    pub(crate) fn absent(root: &str, why: String) -> Self {
        let is_path = root.starts_with('/');
        Self {
            writer: Arc::new(Unmanaged),
            parts: Arc::new(Unmanaged),
            reader: Arc::new(Absent { why }),
            uri: if is_path {
                format!("file://{root}")
            } else {
                root.to_owned()
            },
            is_absent: true,
            can_list: false,
        }
    }

    /// Whether it stands for a root that could not be opened.
    pub(crate) fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// Whether an ETag tells one content of its files from another: a local file may be written
    /// again and hold what it held.
    pub(crate) fn has_etags(&self) -> bool {
        !self.uri.starts_with("file://")
    }

    /// Whether its files can be listed.
    pub(crate) fn can_list(&self) -> bool {
        self.can_list
    }

    /// Where its root lies.
    pub(crate) fn uri_of_root(&self) -> &str {
        &self.uri
    }

    /// Reads what shows whether anything can be read.
    pub(crate) async fn probe_reading(&self) -> Result<()> {
        let tried = if self.can_list {
            self.reader.list(None).try_next().await.map(drop)
        } else {
            // Any answer will do: few hosts have this file.
            match self.reader.head(&".artifactd-probe".into()).await {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        tried.map_err(|error| StorageError::Unavailable(Box::new(error)))
    }

    /// The physical location of an object.
    pub fn uri_of(&self, object: &str) -> String {
        let name = object.parse::<ObjectName>();
        match name.as_ref().ok().and_then(ObjectName::place) {
            Some(place) => self.uri_of_place(place),
            None => format!("{}/{SYSTEM_FOLDER}/{object}", self.uri),
        }
    }

    /// The location of a file in place.
    pub(crate) fn uri_of_place(&self, path: &str) -> String {
        format!("{}/{path}", self.uri)
    }

    /// Size in bytes of the object with this name, or `None` when there is none.
    pub async fn reader_size(&self, object: &str) -> Result<Option<u64>> {
        Ok(self.reader_meta(object).await?.map(|meta| meta.size))
    }

    /// The same, and its ETag.
    pub(crate) async fn reader_meta(&self, object: &str) -> Result<Option<ObjectMeta>> {
        let Ok(name) = object.parse::<ObjectName>() else {
            return Ok(None);
        };
        match self.reader.head(&name.path()).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StorageError::from_read(object, 0, error)),
        }
    }
}

fn open_local(path: &Path) -> Result<Store> {
    let refused = |why: String| StorageError::Refused {
        root: path.display().to_string(),
        why,
    };
    let root = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
    if !root.components().any(|part| matches!(part, Component::Normal(_))) {
        return Err(refused("it is the root of the file system".to_owned()));
    }
    if root.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(refused("it has a `..` segment".to_owned()));
    }
    let writer = LocalWriter::open(&root).map_err(|error| refused(with_cause(&error)))?;
    let root = root.canonicalize().map_err(|error| refused(error.to_string()))?;
    let reader = LocalFileSystem::new_with_prefix(&root).map_err(|error| refused(error.to_string()))?;
    let parts =
        LocalParts::open(writer.clone(), root.join(SYSTEM_FOLDER)).map_err(|error| refused(with_cause(&error)))?;
    Ok(Store {
        writer: Arc::new(writer),
        reader: Arc::new(LocalReader::new(reader)),
        parts: Arc::new(parts),
        uri: format!("file://{}", root.display()),
        is_absent: false,
        can_list: true,
    })
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
