//! A child process that cannot outlive the tests.
//!
//! A test binary has no last moment in which it could stop what it started: it
//! may be killed. So a small shell stands between, which reads from a pipe that
//! only the test binary holds open; when the pipe ends, it stops the child and
//! removes the child's folder.

use std::{
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

const GUARD: &str = r#"
"$@" </dev/null & child=$!
read -r _
kill -"$GUARD_SIGNAL" "$child" 2>/dev/null
wait "$child"
[ -z "$GUARD_FOLDER" ] || rm -rf "$GUARD_FOLDER"
"#;

/// The user `nobody`, for programs that refuse to run as root.
pub const NOBODY: u32 = 65_534;

/// A guarded child.
#[derive(Debug)]
pub struct Guarded {
    guard: Child,
}

/// How to start one.
#[derive(Debug)]
pub struct Guarding<'a> {
    /// Signal that ends the child, such as `TERM`.
    pub signal: &'a str,
    /// Folder that is removed after the child, when there is one.
    pub folder: Option<&'a Path>,
    /// File that takes its output.
    pub log: &'a Path,
    /// User to run as, when another one.
    pub user: Option<u32>,
}

impl Guarded {
    /// Starts `program` with `arguments`.
    ///
    /// # Panics
    /// When the shell cannot be started.
    pub fn start(program: &Path, arguments: &[String], how: &Guarding<'_>) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(how.log)
            .expect("open the log of a child");
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .env("GUARD_SIGNAL", how.signal)
            .env(
                "GUARD_FOLDER",
                how.folder.map_or_else(Default::default, Path::as_os_str),
            )
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("share the log of a child"))
            .stderr(log)
            // A terminal's interrupt goes to the group; the guard must live to clean up.
            .process_group(0)
            .current_dir(how.folder.unwrap_or(Path::new("/")));
        if let Some(user) = how.user {
            command.uid(user).gid(user);
        }
        Self {
            guard: command.spawn().expect("start a guarded child"),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.guard.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.guard.wait();
    }
}
