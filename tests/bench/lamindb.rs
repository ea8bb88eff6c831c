//! The peer that does what we do: lamindb on SQLite and a local folder, driven
//! line by line. It times itself, so neither Python's start nor the pipe counts.

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

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/lamindb_peer.py");

/// A running lamindb.
pub(crate) struct Lamindb {
    /// Ends with the peer, as its pipes do.
    _child: Child,
    log: PathBuf,
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Lamindb {
    /// Starts it on a fresh instance in `folder`, where it also looks for the files it is to save.
    pub(crate) async fn start(folder: &Path) -> Self {
        let python = std::env::var_os("ARTIFACTD_BENCH_PYTHON").expect("start the benchmark with tests/bench/run");
        let log = folder.join("lamindb.log");
        let mut child = Command::new(python)
            .arg(SCRIPT)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("create the log of lamindb"))
            .kill_on_drop(true)
            .spawn()
            .expect("start lamindb");
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
        to.write_all(line.as_bytes()).await.expect("lamindb takes a line");
        let answer = from.next_line().await.expect("read lamindb's answer");
        let Some(seconds) = answer.and_then(|answer| answer.parse().ok()) else {
            // A peer that failed has no time.
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("lamindb failed at {line}{log}");
        };
        Duration::from_secs_f64(seconds)
    }
}
