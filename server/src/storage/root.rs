//! Where a storage lies.

use std::{fmt, path::PathBuf};

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
    /// A bucket, or a prefix in it.
    Bucket(BucketRoot),
    /// Files behind a URL, in place.
    Http(String),
}

/// Who keeps a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// AWS, or another one that speaks S3.
    S3,
    /// Azure Blob Storage, whose buckets are the containers of an account.
    Azure,
    /// Google Cloud Storage.
    Google,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 3] = [Self::S3, Self::Azure, Self::Google];

    /// What URLs of its buckets begin with.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Google => "gs",
        }
    }

    /// The one of a scheme.
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.scheme() == scheme)
    }
}

/// A bucket of a service, or a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRoot {
    /// Who keeps it.
    pub service: Service,
    /// The bucket.
    pub bucket: String,
    /// Prefix of all keys, without slashes at its ends; empty for none.
    pub prefix: String,
    /// Region of the bucket, where that matters.
    pub region: String,
    /// Endpoint of the service; its own one when unset.
    pub endpoint: Option<String>,
    /// Whether an endpoint without TLS is allowed.
    pub allow_http: bool,
    /// Access key id, or the account of Azure; found in the environment of the machine when unset.
    pub access_key_id: Option<String>,
    /// What goes with it: a secret access key, the key of the account, or the key of a service
    /// account of Google as JSON.
    pub secret_access_key: Option<Secret>,
    /// Whether the endpoint may be shown what the environment of the machine gives access with,
    /// where that is shown rather than signed with.
    pub is_trusted: bool,
}

impl fmt::Display for BucketRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.bucket)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl fmt::Display for StorageRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Bucket(root) => root.fmt(f),
            Self::Http(url) => f.write_str(url),
        }
    }
}
