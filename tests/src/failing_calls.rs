//! System calls that fail on purpose.
//!
//! The server talks to the system without a library that could be put in between,
//! so the system itself has to fail: `strace` holds a running server and answers
//! chosen calls with an error instead of letting them through.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{TestServer, required_env};

const ATTACH_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

/// Flushes to the disk.
pub const FLUSH: &str = "fsync,fdatasync";
/// Writes of files; connections are written in other ways.
pub const WRITE: &str = "pwrite64,pwritev,pwritev2";
/// Reads of files.
pub const READ: &str = "pread64,preadv,preadv2,read,readv";
/// Makes files and opens them.
pub const OPEN: &str = "openat";
/// Gives a file its name.
pub const RENAME: &str = "renameat2";

/// A server some of whose system calls fail, until this is dropped.
#[derive(Debug)]
pub struct FailingCalls {
    tracer: Child,
    folder: tempfile::TempDir,
}

/// Which calls fail, and how.
#[derive(Debug, Clone)]
pub struct Failing<'a> {
    /// Names of system calls, as `strace` takes them.
    pub calls: &'a str,
    /// Only calls on these files and folders; on all of them when empty.
    pub paths: &'a [PathBuf],
    /// What they answer.
    pub error: &'a str,
    /// Which of the calls of each thread: `1` for the first one, `2+` for all but that.
    pub when: &'a str,
}

impl<'a> Failing<'a> {
    /// Every one of these calls, with EIO.
    pub fn all(calls: &'a str) -> Self {
        Self {
            calls,
            paths: &[],
            error: "EIO",
            when: "1+",
        }
    }

    /// Those on some files and folders only.
    pub fn on(self, paths: &'a [PathBuf]) -> Self {
        Self { paths, ..self }
    }

    /// Those of each thread that `when` says.
    pub fn when(self, when: &'a str) -> Self {
        Self { when, ..self }
    }
}

/// One call of those that were watched.
#[derive(Debug, Clone)]
pub struct Call {
    /// The line as it was written down.
    pub line: String,
    /// Whether it was made to fail.
    pub failed: bool,
}

impl FailingCalls {
    /// Makes calls of a running server fail.
    ///
    /// # Panics
    /// When the server cannot be held: this needs the right to trace.
    pub fn of(server: &TestServer, failing: &Failing<'_>) -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let Failing {
            calls,
            paths,
            error,
            when,
        } = failing;
        let mut command = Command::new(required_env("ARTIFACTD_TEST_STRACE"));
        command
            .args(["-f", "-y", "-qqq", "-e", "signal=none", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-e")
            .arg(format!("inject={calls}:error={error}:when={when}"))
            .arg("-o")
            .arg(folder.path().join("calls"))
            .arg("-p")
            .arg(server.pid().as_raw_nonzero().to_string());
        for path in *paths {
            command.arg("-P").arg(path);
        }
        let said = File::create(folder.path().join("said")).expect("make a file");
        let tracer = command.stdin(Stdio::null()).stderr(said).spawn().expect("start strace");
        let mut held = Self { tracer, folder };
        held.wait_until_held(server.pid());
        held
    }

    fn wait_until_held(&mut self, server: Pid) {
        let deadline = Instant::now() + ATTACH_TIMEOUT;
        while !all_threads_are_held(server) {
            let ended = self.tracer.try_wait().expect("look after strace");
            let said = fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
            assert!(
                ended.is_none(),
                "strace ended; this test needs the right to trace a process: {said}"
            );
            assert!(Instant::now() < deadline, "strace does not hold the server: {said}");
            thread::sleep(POLL);
        }
    }

    /// Lets the server go on as ever, and answers what was seen.
    pub fn end(mut self) -> Vec<Call> {
        self.let_go();
        let text = fs::read_to_string(self.folder.path().join("calls")).expect("read what strace saw");
        let line = |line: &str| Call {
            line: line.to_owned(),
            failed: line.ends_with("(INJECTED)"),
        };
        text.lines().map(line).collect()
    }

    fn let_go(&mut self) {
        if let Ok(None) = self.tracer.try_wait() {
            // Gone already when the server has ended.
            let _ = kill_process(Pid::from_child(&self.tracer), Signal::INT);
            let _ = self.tracer.wait();
        }
    }
}

impl Drop for FailingCalls {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn all_threads_are_held(server: Pid) -> bool {
    let tasks = format!("/proc/{}/task", server.as_raw_nonzero());
    let held = |task: &Path| {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|pid| pid.trim() != "0")
    };
    fs::read_dir(tasks).is_ok_and(|tasks| tasks.flatten().all(|task| held(&task.path())))
}
