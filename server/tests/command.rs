//! The `artifactd` command as a process: exit codes, signals, the ready file.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in tests only inside of test functions"
)]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

fn artifactd(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_artifactd"));
    command
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = artifactd(folder, arguments).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code(), stdout, stderr)
}

/// A server process, killed when the test ends early.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--ready-file", "ready"], more].concat();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut process = artifactd(folder, &arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            if let Ok(address) = fs::read_to_string(folder.join("ready")) {
                let address = address.parse().unwrap();
                return Self { process, address };
            }
            assert!(
                process.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE,
                "{}",
                log_of(folder)
            );
            thread::sleep(POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// A call whose body never ends, as a gRPC-Web upload over HTTP/1.1.
fn endless_call(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: x\r\n\
                content-type: application/grpc-web+proto\r\ncontent-length: 5\r\n\r\n\0";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_server_says_where_it_listens_and_ends_well_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0), "{}", log_of(folder.path()));
    let mut said = String::new();
    server.process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, format!("artifactd listening on {}\n", server.address));
}

#[test]
fn a_second_signal_stops_a_server_that_waits_for_calls() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let _call = endless_call(server.address);
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    assert!(server.process.try_wait().unwrap().is_none(), "it waits for the call");
    let begun = Instant::now();
    server.signal(Signal::INT);
    assert_eq!(server.end().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn logs_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &["--log-format", "json"]);
    server.signal(Signal::TERM);
    server.end();
    let log = log_of(folder.path());
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(log.lines().count() > 0);
}

#[test]
fn what_cannot_run_exits_with_3_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&[], "Usage: artifactd"),
        (&["server"], "unrecognized subcommand"),
        (
            &["serve", "--listen", "127.0.0.1:70000"],
            "artifactd: flag --listen: port 70000 is above 65535",
        ),
        (
            &["config", "check", "--config", "missing.toml"],
            "artifactd: missing.toml: cannot be read",
        ),
        (
            &["serve", "--listen", "127.0.0.1:0", "--data-dir", "/proc/none"],
            "artifactd: data folder: /proc/none: ",
        ),
    ];
    for (arguments, why) in cases {
        let (code, stdout, stderr) = output(folder.path(), arguments);
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{arguments:?}");
        assert!(stderr.contains(why), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_configuration_is_checked_without_touching_anything() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("artifactd.toml"),
        "[server]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    assert_eq!(output(folder.path(), &["config", "check"]).0, Some(0));
    fs::write(
        folder.path().join("artifactd.toml"),
        "[server]\nlisten = 7\nlsten = 8\n",
    )
    .unwrap();
    let (code, _, stderr) = output(folder.path(), &["config", "check"]);
    assert_eq!(code, Some(3));
    let expected = "artifactd: artifactd.toml:2: server.listen: expected an address such as \"127.0.0.1:50051\", \
                    found an integer\nartifactd.toml:3: server.lsten: unknown setting\n";
    assert_eq!(stderr, expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn help_and_version_are_no_failure_and_tell_the_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["serve", "--help"], &["verify", "--help"]] {
        let (code, stdout, _) = output(folder.path(), arguments);
        assert_eq!(code, Some(0));
        assert!(
            stdout.contains("Exit codes:") && stdout.contains("3  could not run"),
            "{stdout}"
        );
    }
    assert_eq!(output(folder.path(), &["--version"]).0, Some(0));
}

#[test]
fn a_new_folder_is_migrated_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = output(folder.path(), &["migrate"]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "the schema is up to date\n"),
        "{stderr}"
    );
    let (code, stdout, stderr) = output(folder.path(), &["verify", "--deep"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.ends_with("0 faults, 0 pieces of garbage, 0 kept blobs\n"),
        "{stdout}"
    );
}
