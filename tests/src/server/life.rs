//! Its process: how it is started, crashed, stopped and started again.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Setup, TestServer};
use crate::required_env;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

impl TestServer {
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
}
