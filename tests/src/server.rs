//! One server process with a folder, a database and a storage of its own.

mod inside;
mod life;
mod setup;
mod stored;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Child,
    thread,
};

use tempfile::TempDir;
use tonic::transport::Endpoint;

pub use self::{
    setup::Setup,
    stored::{Depth, Verified},
};
use crate::{backend::Backend, calls::Calls, pauses::Pauses, published, s3::Bucket};

/// A server under test. It is killed when it is dropped, and its log must be
/// free of panics then.
#[derive(Debug)]
pub struct TestServer {
    setup: Setup,
    folder: TempDir,
    env: Vec<(String, String)>,
    /// The database when it is not the embedded one.
    pub database_url: Option<String>,
    /// The bucket when bytes lie on S3.
    pub bucket: Option<Bucket>,
    child: Option<Child>,
    address: Option<SocketAddr>,
    log_may_hold_panics: bool,
}

impl TestServer {
    /// Starts a server on SQLite and a folder.
    pub async fn start() -> Self {
        Self::on(Backend::EMBEDDED).await
    }

    /// Starts a server on a backend.
    pub async fn on(backend: Backend) -> Self {
        Self::setup().on(backend).start().await
    }

    /// A server that is yet to be started.
    pub fn setup() -> Setup {
        Setup {
            backend: Backend::EMBEDDED,
            env: Vec::new(),
            database_url: None,
            limits: Vec::new(),
            storage_path: None,
            pauses: false,
        }
    }

    /// The backend that it runs on.
    pub fn backend(&self) -> Backend {
        self.setup.backend
    }

    /// Calls to this server over a connection of their own.
    ///
    /// # Panics
    /// When the server was never started.
    pub fn calls(&self) -> Calls {
        let endpoint = Endpoint::from_shared(self.url()).expect("a URL");
        Calls::over(endpoint.connect_lazy())
    }

    /// The Rust client, connected to this server.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn client(&self) -> artifactd_client::Client {
        artifactd_client::Client::connect(self.url())
            .await
            .expect("connect to the server")
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its address.
    ///
    /// # Panics
    /// When the server was never started.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the server was started")
    }

    /// Folder of its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Folder of everything that belongs to it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that it logged, over all its starts.
    pub fn log(&self) -> String {
        fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Points at which it waits.
    pub fn pauses(&self) -> Pauses {
        Pauses::in_folder(self.folder.path().join("pauses"))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        if thread::panicking() {
            use std::io::Write;
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            let _ = writeln!(
                std::io::stderr(),
                "--- log of the server on {:?}:\n{tail}\n---",
                self.setup.backend
            );
        } else if !self.log_may_hold_panics {
            assert!(!log.contains("panicked"), "the server panicked:\n{log}");
            let unpublished = published::unpublished(&log);
            assert!(
                unpublished.is_empty(),
                "reasons that the comments of the calls do not list: {unpublished:?}"
            );
        }
    }
}

/// A port that nobody listens on.
///
/// # Panics
/// When the system has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    listener.local_addr().expect("a bound port").port()
}
