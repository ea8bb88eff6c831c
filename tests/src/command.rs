//! `artifactctl` as a program of its own, with a home of its own.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::JoinHandle,
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tempfile::TempDir;

use crate::required_env;

/// Somebody who calls one server from a home of their own.
#[derive(Debug)]
pub struct Ctl {
    endpoint: String,
    home: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, when it went well.
    ///
    /// # Panics
    /// When it did not.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The messages that it printed as JSON, when it went well.
    ///
    /// # Panics
    /// When it did not, or printed something else.
    pub fn messages(self) -> Vec<serde_json::Value> {
        let text = self.ok();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} is no JSON")))
            .collect()
    }

    /// What it said, when it ended so.
    ///
    /// # Panics
    /// When it ended otherwise.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

impl Ctl {
    /// Somebody who calls this server.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn of(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            home: tempfile::tempdir().expect("make a home"),
        }
    }

    /// Their home, in which commands run.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command that is yet to be run.
    ///
    /// # Panics
    /// When there is no program.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(required_env("ARTIFACTCTL_BIN"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("TERM", "xterm")
            .env("ARTIFACTD_ENDPOINT", &self.endpoint)
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Ran {
        Ran::of(&self.command(arguments).output().expect("run artifactctl"))
    }

    /// Runs a command with this environment besides.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run_with(&self, env: &[(&str, &str)], arguments: &[impl AsRef<OsStr>]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(env.iter().copied());
        Ran::of(&command.output().expect("run artifactctl"))
    }

    /// Runs a command that reads this.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run_reading(&self, input: &[u8], arguments: &[impl AsRef<OsStr>]) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("run artifactctl");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let writing = std::thread::spawn(move || {
            // Who reads no further needs no more.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("wait for artifactctl");
        writing.join().expect("writing does not panic");
        Ran::of(&output)
    }

    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, arguments: &[impl AsRef<OsStr>]) -> Running {
        Running::of(self.command(arguments))
    }

    /// Starts a command on a terminal of its own.
    ///
    /// # Panics
    /// When there is no terminal.
    pub fn start_on_terminal(&self, arguments: &[impl AsRef<OsStr>]) -> OnTerminal {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
        grantpt(&terminal).expect("grant it");
        unlockpt(&terminal).expect("unlock it");
        let size = Winsize {
            ws_row: 40,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).expect("set its size");
        let name = ptsname(&terminal, Vec::new()).expect("its name");
        let side: OwnedFd = open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("open its other side");
        let share = || Stdio::from(side.try_clone().expect("share the terminal"));
        let mut command = self.command(arguments);
        let child = command.stdin(share()).stdout(share()).stderr(share()).spawn();
        let mut screen = File::from(terminal.try_clone().expect("share the terminal"));
        let reading = std::thread::spawn(move || {
            let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
            // The end of a terminal is an error.
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                seen.extend_from_slice(&piece[..read]);
            }
            String::from_utf8_lossy(&seen).into_owned()
        });
        // The command and what the parent still holds of it have the other side.
        drop((side, command));
        OnTerminal {
            child: child.expect("run artifactctl"),
            keyboard: File::from(terminal),
            reading,
        }
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts a prepared command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(mut command: Command) -> Self {
        Self {
            child: command.spawn().expect("run artifactctl"),
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal artifactctl");
    }

    /// Takes its output.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("its output")
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// When it cannot be looked after.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("look after artifactctl").is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn wait(self) -> Ran {
        Ran::of(&self.child.wait_with_output().expect("wait for artifactctl"))
    }
}

/// A command on a terminal.
#[derive(Debug)]
pub struct OnTerminal {
    child: Child,
    keyboard: File,
    reading: JoinHandle<String>,
}

impl OnTerminal {
    /// Types something.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("type");
    }

    /// Waits for its end. Answers its code, and all that was seen.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn wait(mut self) -> (i32, String) {
        let status = self.child.wait().expect("wait for artifactctl");
        let seen = self.reading.join().expect("reading does not panic");
        (status.code().unwrap_or(-1), seen)
    }
}
