//! The peers that do what we do: lamindb on SQLite and a local folder, and ml-metadata in
//! its own process on SQLite; both driven line by line. They time themselves, so neither
//! Python's start nor the pipe counts.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

/// A running peer.
pub(crate) struct Peer {
    /// Ends with the peer, as its pipes do.
    _child: Child,
    log: PathBuf,
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Peer {
    /// Starts lamindb on a fresh instance in `folder`, where it also looks for the files it is to save.
    pub(crate) fn lamindb(folder: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/lamindb_peer.py");
        Self::start("ARTIFACTD_BENCH_PYTHON", script, folder)
    }

    /// Starts ml-metadata on a fresh database in `folder`.
    pub(crate) fn ml_metadata(folder: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ml_metadata_peer.py");
        Self::start("ARTIFACTD_BENCH_ML_METADATA", script, folder)
    }

    fn start(python: &str, script: &str, folder: &Path) -> Self {
        let python = std::env::var_os(python).expect("start the benchmark with tests/bench/run");
        let log = folder.join("peer.log");
        let mut child = Command::new(python)
            .arg(script)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("create its log"))
            .kill_on_drop(true)
            .spawn()
            .expect("start the peer");
        let to = child.stdin.take().expect("its input is piped");
        let from = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        Self {
            _child: child,
            log,
            pipes: Mutex::new((to, from)),
        }
    }

    /// How long one of the operations of the script took.
    pub(crate) async fn call(&self, operation: &str, number: u64) -> Duration {
        let mut pipes = self.pipes.lock().await;
        let (to, from) = &mut *pipes;
        let line = format!("{operation} {number}\n");
        to.write_all(line.as_bytes()).await.expect("the peer takes a line");
        let answer = from.next_line().await.expect("read its answer");
        let Some(seconds) = answer.and_then(|answer| answer.parse().ok()) else {
            // A peer that failed has no time.
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("the peer failed at {line}{log}");
        };
        Duration::from_secs_f64(seconds)
    }
}
