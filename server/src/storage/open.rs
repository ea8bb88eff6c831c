//! Opens a storage root, refusing what could not keep its promises.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    http::HttpBuilder,
    local::LocalFileSystem,
    prefix::PrefixStore,
};

use super::{
    ObjectName, ObjectWriter, PartStore, Reach, StorageError,
    allowed::GuardedConnector,
    cloud::CloudWriter,
    error::Result,
    local::LocalWriter,
    local_parts::LocalParts,
    local_reader::LocalReader,
    name::SYSTEM_FOLDER,
    unmanaged::{Absent, Unmanaged},
};

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a storage lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageRoot {
    /// A local folder.
    Local(PathBuf),
    /// A bucket of an S3 service, or a prefix in it.
    S3(S3Root),
    /// Files behind a URL, in place.
    Http(String),
}

/// A bucket of an S3 service, or a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Root {
    /// The bucket.
    pub bucket: String,
    /// Prefix of all keys, without slashes at its ends; empty for none.
    pub prefix: String,
    /// Region of the bucket.
    pub region: String,
    /// Endpoint of the service; AWS when unset.
    pub endpoint: Option<String>,
    /// Whether an endpoint without TLS is allowed.
    pub allow_http: bool,
    /// Access key id; found in the environment of the machine when unset.
    pub access_key_id: Option<String>,
    /// Secret access key.
    pub secret_access_key: Option<Secret>,
}

impl fmt::Display for StorageRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::S3(root) if root.prefix.is_empty() => write!(f, "s3://{}", root.bucket),
            Self::S3(root) => write!(f, "s3://{}/{}", root.bucket, root.prefix),
            Self::Http(url) => f.write_str(url),
        }
    }
}

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
            StorageRoot::S3(s3) => open_s3(root, s3, Reach::Named),
            StorageRoot::Http(_) => Err(StorageError::Refused {
                root: root.to_string(),
                why: "nothing is written by http".to_owned(),
            }),
        }
    }

    /// Opens a root that was registered, to be written to.
    pub(crate) fn open_registered(root: &StorageRoot, reach: Reach) -> Result<Self> {
        match root {
            StorageRoot::S3(s3) => open_s3(root, s3, reach),
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
            StorageRoot::S3(s3) => open_s3(root, s3, reach)?.reader,
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

fn open_s3(root: &StorageRoot, s3: &S3Root, reach: Reach) -> Result<Store> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_allow_http(s3.allow_http)
        .with_disable_tagging(true);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if reach == Reach::Public {
        builder = builder.with_http_connector(GuardedConnector(reach));
    }
    if let (Some(id), Some(secret)) = (&s3.access_key_id, &s3.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
    }
    // The endpoint may come from the environment, and the writer makes requests of its own.
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let store = builder.build().map_err(|error| StorageError::Refused {
        root: root.to_string(),
        why: error.to_string(),
    })?;
    let bucket = Arc::new(store);
    let writer = CloudWriter::new(Arc::clone(&bucket), &S3Root { endpoint, ..s3.clone() })?;
    let reader: Arc<dyn ObjectStore> = if s3.prefix.is_empty() {
        bucket
    } else {
        Arc::new(PrefixStore::new(bucket, s3.prefix.as_str()))
    };
    Ok(Store {
        parts: Arc::new(writer.clone()),
        writer: Arc::new(writer),
        reader,
        uri: root.to_string(),
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
