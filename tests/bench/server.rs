//! A release server on a folder, and how much memory it takes.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use artifactd_client::Client;
use artifactd_tests::Calls;
use tonic::transport::Endpoint;

/// How long a server is left alone before it counts as idle.
const IDLE_AFTER: Duration = Duration::from_millis(200);

pub(crate) struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    /// Starts a server on `folder` and waits until it is ready.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, None).await
    }

    /// The same on a database of PostgreSQL, when there is one.
    pub(crate) async fn start_with(folder: &Path, database_url: Option<&str>) -> Self {
        let binary = std::env::var_os("ARTIFACTD_BIN").expect("start the benchmark with tests/bench/run");
        let ready = folder.join("ready");
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(binary);
        if let Some(url) = database_url {
            command.env("ARTIFACTD_DATABASE__URL", url);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--ready-file"])
            .arg(&ready)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the server");
        loop {
            match std::fs::read_to_string(&ready) {
                Ok(address) if !address.is_empty() => {
                    let endpoint = format!("http://{}", address.trim());
                    return Self { child, endpoint };
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            let ended = child.try_wait().expect("look after the server");
            assert!(ended.is_none(), "the server ended while it started: {ended:?}");
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.endpoint).await.expect("connect")
    }

    /// Its URL.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.endpoint.trim_start_matches("http://");
        address.parse().expect("the server said where it listens")
    }

    /// A stock client.
    pub(crate) async fn calls(&self) -> Calls {
        Self::calls_to(self.address()).await
    }

    /// A stock client of the server that listens there.
    pub(crate) async fn calls_to(address: SocketAddr) -> Calls {
        let endpoint = Endpoint::new(format!("http://{address}")).expect("an address");
        Calls::over(endpoint.connect().await.expect("connect"))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory after one call and some rest.
    pub(crate) async fn idle_mib(&self) -> f64 {
        self.client().await.server_info().await.expect("it answers");
        tokio::time::sleep(IDLE_AFTER).await;
        self.status_mib("VmRSS:")
    }

    /// Forgets how much memory it ever had.
    pub(crate) fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("reset the peak of its memory");
    }

    /// The most resident memory it had since then.
    pub(crate) fn peak_mib(&self) -> f64 {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("read its status");
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.expect("the kernel counts it") / 1024.0
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How long the threads of a process have been busy so far.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("read its state");
    // Behind the name, which may hold anything.
    let fields = stat.rsplit(')').next().expect("a state has a name").split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("ticks are a number"))
        .sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
