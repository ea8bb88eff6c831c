//! One server process with a folder, a database and a storage of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::{
    backend::{Backend, Database, Storage},
    calls::Calls,
    database::RawDatabase,
    pauses::Pauses,
    postgres::Postgres,
    published, required_env,
    s3::{Bucket, S3Server},
};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
const INDEX_POLL: Duration = Duration::from_millis(20);

/// What a server is started with.
#[derive(Debug)]
pub struct Setup {
    backend: Backend,
    env: Vec<(String, String)>,
    database_url: Option<String>,
    limits: Vec<String>,
    storage_path: Option<PathBuf>,
    pauses: bool,
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

    /// Waits at the points that [`Pauses`] name.
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
    fn prepare_folder(self) -> TestServer {
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

/// What `artifactd verify` found.
#[derive(Debug)]
pub struct Verified {
    /// Exit code: 0 clean, 2 data problem, 3 could not run.
    pub exit_code: Option<i32>,
    /// The report.
    pub report: serde_json::Value,
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

    /// Starts the stopped server again on the same data.
    pub async fn start_again(&mut self) {
        self.start_again_with(&[]).await;
    }

    /// Starts the stopped server again with more settings, for this time only.
    ///
    /// # Panics
    /// When it does not come up; the message holds its log.
    pub async fn start_again_with(&mut self, more: &[(&str, &str)]) {
        self.start_listening("127.0.0.1:0", more).await;
    }

    /// Starts the stopped server again, with a crash point armed. Answers false when it
    /// met the point before it took calls.
    ///
    /// # Panics
    /// When it ends otherwise, or does not come up; the message holds its log.
    pub async fn start_again_armed(&mut self, point: &str) -> bool {
        match self.try_start("127.0.0.1:0", &[("ARTIFACTD_CRASH_AT", point)]).await {
            Ok(()) => true,
            Err(status) if status.signal() == Some(Signal::KILL.as_raw()) => false,
            Err(status) => panic!("the server ended with {status:?}:\n{}", self.log()),
        }
    }

    /// Starts the stopped server again where it listened before, for clients that wait for it.
    pub async fn start_again_in_place(&mut self) {
        let address = self.address().to_string();
        self.start_listening(&address, &[]).await;
    }

    async fn start_listening(&mut self, listen: &str, more: &[(&str, &str)]) {
        let started = self.try_start(listen, more).await;
        assert!(started.is_ok(), "the server ended with {started:?}:\n{}", self.log());
    }

    async fn try_start(&mut self, listen: &str, more: &[(&str, &str)]) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "the server runs already");
        let ready = self.ready_file();
        let _ = fs::remove_file(&ready);
        self.child = Some(self.command(listen, more).spawn().expect("start the server"));
        let deadline = Instant::now() + START_TIMEOUT;
        let address = loop {
            if let Some(address) = fs::read_to_string(&ready)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                break address;
            }
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().expect("look after the server"));
            if let Some(status) = ended {
                self.child = None;
                return Err(status);
            }
            assert!(Instant::now() < deadline, "the server did not start:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        };
        self.address = Some(address);
        Ok(())
    }

    /// Runs the prepared server until it ends by itself, for one that must refuse to start.
    ///
    /// # Panics
    /// When it still runs after the time that a start may take.
    pub async fn start_refused(&mut self) -> ExitStatus {
        self.child = Some(self.command("127.0.0.1:0", &[]).spawn().expect("start the server"));
        self.wait_for_end(START_TIMEOUT).await
    }

    /// Starts the prepared server and kills it after some time, wherever it is then.
    ///
    /// # Panics
    /// When it ends by itself.
    pub async fn start_and_kill(&mut self, life: Duration) {
        let mut child = self.command("127.0.0.1:0", &[]).spawn().expect("start the server");
        tokio::time::sleep(life).await;
        let ended = child.try_wait().expect("look after the server");
        assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", self.log());
        child.kill().expect("kill the server");
        child.wait().expect("wait for the server");
    }

    fn command(&self, listen: &str, more: &[(&str, &str)]) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("open the log");
        let binary = required_env("ARTIFACTD_BIN");
        let mut command = if self.setup.limits.is_empty() {
            Command::new(binary)
        } else {
            let mut limited = Command::new("prlimit");
            limited.args(&self.setup.limits).arg(binary);
            limited
        };
        command
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(self.data_dir())
            .arg("--ready-file")
            .arg(self.ready_file())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log);
        command
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

    /// Ends it as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("kill the server");
        child.wait().expect("wait for the server");
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end(STOP_TIMEOUT).await
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("signal the server");
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("the server runs"))
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn wait_for_end(&mut self, timeout: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = child.try_wait().expect("look after the server") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("the server did not end within {timeout:?}:\n{}", self.log());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether it ended by itself with SIGKILL: a crash point was met. Takes note
    /// of the end, so that it can be started again.
    pub fn has_crashed(&mut self) -> bool {
        let ended = self
            .child
            .as_mut()
            .and_then(|child| child.try_wait().expect("look after the server"));
        if ended.is_some() {
            self.child = None;
        }
        ended.is_some_and(|status| status.signal() == Some(Signal::KILL.as_raw()))
    }

    /// Whether no process of it runs.
    pub fn is_stopped(&self) -> bool {
        self.child.is_none()
    }

    /// Runs `artifactd` with other arguments on the same data and settings.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(required_env("ARTIFACTD_BIN"))
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("run artifactd")
    }

    /// Compares records and bytes, re-reading every byte when `deep`.
    ///
    /// # Panics
    /// When there is no report.
    pub fn verify(&self, depth: Depth) -> Verified {
        let data_dir = self.data_dir();
        let mut arguments = vec![
            "verify",
            "--json",
            "--data-dir",
            data_dir.to_str().expect("a plain path"),
        ];
        if depth == Depth::Deep {
            arguments.push("--deep");
        }
        let output = self.run(&arguments);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
            panic!("verify gave no report ({error}), {}:\n{out}\n{err}", output.status)
        });
        Verified {
            exit_code: output.status.code(),
            report,
        }
    }

    /// Fails the test unless every record has its bytes, and the right ones.
    ///
    /// # Panics
    /// When `verify --deep` finds a problem.
    pub fn assert_clean(&self) {
        let verified = self.verify(Depth::Deep);
        assert_eq!(
            verified.exit_code,
            Some(0),
            "verify on {:?}: {:#}",
            self.setup.backend,
            verified.report
        );
    }

    /// Names of everything that the storage holds, staging left out.
    pub fn stored_objects(&self) -> Vec<String> {
        let all = match &self.bucket {
            Some(bucket) => bucket.list(),
            None => self
                .stored_files()
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        };
        all.into_iter()
            .filter(|name| name.contains("/objects/") || name.contains("/packs/"))
            .collect()
    }

    /// Names of what is on its way in or was left behind on it.
    pub fn staged(&self) -> Vec<String> {
        match &self.bucket {
            Some(bucket) => vec![".".to_owned(); bucket.unfinished_uploads()],
            None => {
                let files = self.stored_files().into_iter().map(|path| path.display().to_string());
                // The server probes its storage under a name of zeros.
                let is_probe = |name: &String| name.contains("/staging/00000000000000000000000000000000.");
                files
                    .filter(|name| name.contains("/staging/") && !is_probe(name))
                    .collect()
            }
        }
    }

    /// Number of files in a folder of the server's in a local storage.
    pub fn stored_files_below(&self, folder: &str) -> usize {
        let folder = format!("/.artifactd/{folder}/");
        let files = self.stored_files().into_iter().map(|path| path.display().to_string());
        files.filter(|path| path.contains(&folder)).count()
    }

    /// Another server of the same database and storage.
    ///
    /// # Panics
    /// When this one keeps its records or bytes to itself.
    pub async fn replica(&self) -> Self {
        let shares_bytes = self.bucket.is_some() || self.setup.storage_path.is_some();
        assert!(self.database_url.is_some() && shares_bytes, "nothing is shared");
        let setup = Setup {
            storage_path: self.setup.storage_path.clone(),
            ..Self::setup()
        };
        let mut replica = setup.on(self.setup.backend).prepare_folder();
        replica.env.clone_from(&self.env);
        replica.database_url.clone_from(&self.database_url);
        replica.start_again().await;
        replica
    }

    /// Every file below the storage's root.
    pub fn stored_files(&self) -> Vec<PathBuf> {
        let root = self.setup.storage_path.clone().unwrap_or_else(|| self.data_dir());
        let mut files = Vec::new();
        collect_files(&root, &mut files);
        files
    }

    /// Puts other bytes where the only stored object is.
    ///
    /// # Panics
    /// When the storage does not hold exactly one object.
    pub fn overwrite_only_object(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let objects = self.stored_objects();
        let [name] = objects.as_slice() else {
            panic!("expected one object, got {objects:?}")
        };
        let mut bytes = match &self.bucket {
            Some(bucket) => bucket.read(name),
            None => fs::read(name).expect("read an object"),
        };
        change(&mut bytes);
        match &self.bucket {
            Some(bucket) => bucket.overwrite(name, &bytes),
            None => overwrite_file(Path::new(name), &bytes),
        }
    }

    /// Removes the only stored object.
    ///
    /// # Panics
    /// When the storage does not hold exactly one object.
    pub fn remove_only_object(&self) {
        let objects = self.stored_objects();
        let [name] = objects.as_slice() else {
            panic!("expected one object, got {objects:?}")
        };
        match &self.bucket {
            Some(bucket) => bucket.remove(name),
            None => fs::remove_file(name).expect("remove an object"),
        }
    }

    /// One integer out of the database, past the server.
    ///
    /// # Panics
    /// When the query does not answer one integer.
    pub async fn query_integer(&self, sql: &str) -> i64 {
        self.database().await.integer(sql).await
    }

    /// The database, past the server.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn database(&self) -> RawDatabase {
        if let Some(url) = &self.database_url {
            return RawDatabase::postgres(url).await;
        }
        let is_database = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sqlite3");
        let mut files = Vec::new();
        collect_files(&self.data_dir(), &mut files);
        let file = files.into_iter().find(is_database);
        RawDatabase::sqlite(&file.expect("a database in the data folder"))
    }

    /// Folder of its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Whether the index of words has everything that the log has.
    pub async fn is_indexed(&self) -> bool {
        let behind = "SELECT (SELECT count(*) FROM events WHERE position IS NULL) + \
             (SELECT count(*) FROM events WHERE position > (SELECT position FROM search_progress))";
        self.query_integer(behind).await == 0
    }

    /// Waits until the index has everything.
    pub async fn wait_until_indexed(&self) {
        while !self.is_indexed().await {
            tokio::time::sleep(INDEX_POLL).await;
        }
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

    /// Memory that the process has resident, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that it ever had.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let pid = self.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the kernel counts it");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number");
        kib * 1024
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

/// How much `verify` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Records against what the storage says of its objects.
    Quick,
    /// Every byte again.
    Deep,
}

/// A port that nobody listens on.
///
/// # Panics
/// When the system has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    listener.local_addr().expect("a bound port").port()
}

/// Writes over a file in place, also one that is marked read-only.
fn overwrite_file(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    fs::write(path, bytes).expect("overwrite an object");
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
