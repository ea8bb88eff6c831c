//! A real PostgreSQL: with fsync on, in a folder of its own, on a free port.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sea_orm::ConnectionTrait;

use crate::{
    guarded::{Guarded, Guarding, NOBODY},
    required_env,
    server::free_port,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECTIONS_MAX: u32 = 400;

/// A running PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    user: Option<u32>,
    guards: Mutex<Vec<Guarded>>,
}

/// How to stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ends every session and writes everything down.
    Fast,
    /// Like a crash of the database: sessions are cut, recovery follows.
    Immediate,
}

impl Postgres {
    /// The one that all tests of this binary share; each takes a database of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts another one, for a test that stops it.
    ///
    /// # Panics
    /// When it does not come up; the message holds its log.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("artifactd-pg-")
            .tempdir()
            .expect("make a folder")
            .keep();
        let user = geteuid().is_root().then_some(NOBODY);
        if let Some(user) = user {
            chown(&folder, Some(user), Some(user)).expect("give the folder away");
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("close the folder");
        let postgres = Self {
            bin: required_env("ARTIFACTD_TEST_PG_BIN").into(),
            folder,
            port: free_port(),
            user,
            guards: Mutex::default(),
        };
        postgres.make_cluster();
        postgres.run();
        postgres
    }

    fn make_cluster(&self) {
        let mut initdb = Command::new(self.bin.join("initdb"));
        initdb
            .arg("-D")
            .arg(self.data())
            .args(["-U", "artifactd", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]);
        initdb.current_dir(&self.folder);
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt;
            initdb.uid(user).gid(user);
        }
        let made = initdb.output().expect("run initdb");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    /// Starts it again after `stop`, on the same data and port.
    ///
    /// # Panics
    /// When it does not come up; the message holds its log.
    pub fn run(&self) {
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.folder.display()),
            format!("max_connections={CONNECTIONS_MAX}"),
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
        ];
        let mut arguments = vec!["-D".to_owned(), self.data().display().to_string()];
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        let guard = Guarded::start(
            &self.bin.join("postgres"),
            &arguments,
            &Guarding {
                signal: "INT",
                folder: Some(&self.folder),
                log: &self.log(),
                user: self.user,
            },
        );
        self.guards.lock().expect("no test panics here").push(guard);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        // The last line of the file says `ready` once it takes connections.
        while !fs::read_to_string(self.pid_file()).is_ok_and(|text| text.lines().nth(7).unwrap_or("").contains("ready"))
        {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL did not start:\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it and waits until it is gone.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&self, how: Stop) {
        let text = fs::read_to_string(self.pid_file()).expect("PostgreSQL runs");
        let pid = text
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .and_then(Pid::from_raw)
            .expect("a pid");
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        kill_process(pid, signal).expect("signal PostgreSQL");
        let deadline = Instant::now() + START_TIMEOUT;
        while self.pid_file().exists() {
            assert!(Instant::now() < deadline, "PostgreSQL did not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes an empty database and answers its URL.
    ///
    /// # Panics
    /// When PostgreSQL refuses.
    pub async fn create_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = sea_orm::Database::connect(self.url("postgres"))
            .await
            .expect("connect to PostgreSQL");
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .expect("create a database");
        admin.close().await.expect("close the connection");
        self.url(&name)
    }

    /// Has a database write down each statement that its connections run from now on.
    ///
    /// # Panics
    /// When PostgreSQL refuses.
    pub async fn note_statements(&self, url: &str) {
        let name = url.rsplit('/').next().expect("a URL ends with its database");
        let admin = sea_orm::Database::connect(url).await.expect("connect to PostgreSQL");
        let note = format!("ALTER DATABASE {name} SET log_statement = 'all'");
        admin.execute_unprepared(&note).await.expect("change a database");
        admin.close().await.expect("close the connection");
    }

    /// The statements that were noted so far, of all databases that note them.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn noted_statements(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).expect("read the log");
        let executed = log.split(" LOG:  execute ").skip(1);
        let statement = |rest: &str| {
            rest.split_once(": ")
                .map(|(_, text)| text.lines().next().map(str::to_owned))
        };
        executed.filter_map(statement).flatten().collect()
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://artifactd@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Folder of the instance, for messages.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
