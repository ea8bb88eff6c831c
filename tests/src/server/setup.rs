//! What a server is started with: settings, limits, a folder, a database, a bucket.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::TestServer;
use crate::{
    backend::{Backend, Database, Storage},
    postgres::Postgres,
    s3::S3Server,
};

/// What a server is started with.
#[derive(Debug)]
pub struct Setup {
    pub(super) backend: Backend,
    pub(super) env: Vec<(String, String)>,
    pub(super) database_url: Option<String>,
    pub(super) limits: Vec<String>,
    pub(super) storage_path: Option<PathBuf>,
    pub(super) pauses: bool,
}

impl Setup {
    /// The backend that it runs on.
    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// A setting of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Garbage goes at once.
    pub fn without_grace(self) -> Self {
        self.env("ARTIFACTD_GC__GRACE", "0s")
    }

    /// Waits at the points that [`Pauses`](crate::pauses::Pauses) name.
    pub fn with_pauses(mut self) -> Self {
        self.pauses = true;
        self
    }

    /// A database that the test made itself.
    pub fn database_url(mut self, url: String) -> Self {
        self.database_url = Some(url);
        self
    }

    /// A folder for the bytes that the test made itself.
    pub fn storage_path(mut self, path: &Path) -> Self {
        self.storage_path = Some(path.to_owned());
        self
    }

    /// Limits of the process, as `prlimit` takes them (`--fsize=1000000`).
    pub fn limit(mut self, limit: &str) -> Self {
        self.limits.push(limit.to_owned());
        self
    }

    /// Starts the server and waits until it takes calls.
    pub async fn start(self) -> TestServer {
        let mut server = self.prepare().await;
        server.start_again().await;
        server
    }

    /// Makes folder, database and bucket, without starting the server.
    ///
    /// # Panics
    /// When a part is missing.
    pub async fn prepare(self) -> TestServer {
        let mut env = self.env.clone();
        let database_url = match (&self.database_url, self.backend.database) {
            (Some(url), _) => Some(url.clone()),
            (None, Database::Postgres) => Some(Postgres::shared().create_database().await),
            (None, Database::Sqlite) => None,
        };
        if let Some(url) = &database_url {
            env.push(("ARTIFACTD_DATABASE__URL".to_owned(), url.clone()));
        }
        let bucket = (self.backend.storage == Storage::S3).then(|| S3Server::shared().create_bucket());
        if let Some(bucket) = &bucket {
            env.extend(s3_settings(&bucket.name));
        }
        if let Some(path) = &self.storage_path {
            env.push(("ARTIFACTD_STORAGE__URL".to_owned(), path.display().to_string()));
        }
        let mut server = self.prepare_folder();
        if server.setup.pauses {
            let folder = server.folder.path().join("pauses");
            fs::create_dir(&folder).expect("make a folder");
            env.push(("ARTIFACTD_PAUSE_IN".to_owned(), folder.display().to_string()));
        }
        server.env = env;
        server.database_url = database_url;
        server.bucket = bucket;
        server
    }

    /// Makes the folder alone.
    pub(super) fn prepare_folder(self) -> TestServer {
        let folder = tempfile::Builder::new().prefix("artifactd-test-").tempdir();
        TestServer {
            env: self.env.clone(),
            setup: self,
            folder: folder.expect("make a folder"),
            database_url: None,
            bucket: None,
            child: None,
            address: None,
            log_may_hold_panics: false,
        }
    }
}

fn s3_settings(bucket: &str) -> [(String, String); 6] {
    [
        ("ARTIFACTD_STORAGE__URL", format!("s3://{bucket}/store")),
        ("ARTIFACTD_STORAGE__ENDPOINT", S3Server::shared().endpoint()),
        ("ARTIFACTD_STORAGE__REGION", "us-east-1".to_owned()),
        ("ARTIFACTD_STORAGE__ALLOW_HTTP", "true".to_owned()),
        ("ARTIFACTD_STORAGE__ACCESS_KEY_ID", "test".to_owned()),
        ("ARTIFACTD_STORAGE__SECRET_ACCESS_KEY", "test".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}
