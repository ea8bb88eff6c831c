//! The peer that moves bytes: a Python gRPC server and client of a few lines.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How the peer is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// As a service: with our protos and stubs that were generated.
    Service,
    /// Without protobuf, as nobody does: what grpcio could do at best.
    Raw,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Raw => "raw",
        }
    }
}

/// A running peer and its address.
pub(crate) struct Grpcio {
    child: Child,
    port: String,
    python: String,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/grpcio_peer.py");

impl Grpcio {
    pub(crate) fn start(folder: &Path) -> Self {
        let python = std::env::var("ARTIFACTD_TEST_PYTHON").expect("start the benchmark with tests/bench/run");
        let mut child = Command::new(&python)
            .args([SCRIPT, "serve"])
            .arg(folder)
            .env("PYTHONPATH", stubs())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the peer");
        let mut port = String::new();
        let out = child.stdout.take().expect("its output is piped");
        BufReader::new(out).read_line(&mut port).expect("read its port");
        Self {
            child,
            port: port.trim().to_owned(),
            python,
        }
    }

    /// Its client downloads some bytes from its memory, unverified.
    pub(crate) async fn download(&self, peer: Peer, bytes: u64) -> Duration {
        self.call(&[peer.name(), "download", &self.port, &bytes.to_string()])
            .await
    }

    /// Its client uploads a file, which it writes and hashes.
    pub(crate) async fn upload(&self, peer: Peer, source: &Path) -> Duration {
        self.call(&[peer.name(), "upload", &self.port, &source.display().to_string()])
            .await
    }

    async fn call(&self, arguments: &[&str]) -> Duration {
        let done = tokio::process::Command::new(&self.python)
            .arg(SCRIPT)
            .args(arguments)
            .env("PYTHONPATH", stubs())
            .output()
            .await;
        let done = done.expect("run the peer's client");
        // It times the call itself, without the start of Python. A peer that failed has no time.
        assert!(
            done.status.success(),
            "the peer failed: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let seconds = String::from_utf8_lossy(&done.stdout).trim().parse::<f64>();
        Duration::from_secs_f64(seconds.expect("the peer prints its seconds"))
    }
}

/// Where the generated code lies.
fn stubs() -> OsString {
    std::env::var_os("ARTIFACTD_TEST_STUBS").expect("start the benchmark with tests/bench/run")
}

impl Drop for Grpcio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
