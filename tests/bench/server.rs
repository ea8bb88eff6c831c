//! A release server on a fresh folder, and what it costs when it does nothing.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use artifactd_client::Client;

const RUNS: usize = 5;

pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: String,
}

impl Server {
    /// Starts a server on `folder` and answers how long it took to be ready.
    pub(crate) async fn start(folder: &Path) -> (Self, Duration) {
        let binary = std::env::var("ARTIFACTD_BIN").expect("start the benchmark with tests/bench/run");
        let ready = folder.join("ready");
        let _ = std::fs::remove_file(&ready);
        let began = Instant::now();
        let child = Command::new(binary)
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
                    return (Self { child, endpoint }, began.elapsed());
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.endpoint).await.expect("connect")
    }

    /// Resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("read its status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("it has a resident size");
        let kib: f64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number");
        kib / 1024.0
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Start on an existing folder, and idle memory.
pub(crate) async fn run() {
    let folder = tempfile::tempdir().expect("make a folder");
    Server::start(folder.path()).await.0.stop().await;
    let (mut times, mut resident_mib) = (Vec::new(), 0.0);
    for _ in 0..RUNS {
        let (server, took) = Server::start(folder.path()).await;
        times.push(took);
        server.client().await.server_info().await.expect("it answers");
        resident_mib = server.resident_mib();
        server.stop().await;
    }
    let took = crate::median(times).as_secs_f64();
    let verdict = |met| if met { "met" } else { "MISSED" };
    println!(
        "{:<42} {:>9.3} s {:>20}   {:<24} {}",
        "start on an existing folder",
        took,
        "",
        "0.2 s",
        verdict(took <= 0.2)
    );
    println!(
        "{:<42} {resident_mib:>8.1} MiB {:>19}   {:<24} {}",
        "idle memory",
        "",
        "64 MiB",
        verdict(resident_mib <= 64.0)
    );
}
