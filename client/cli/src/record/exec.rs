//! `artifactctl run exec`
//!
//! The command gets this program's input and outputs, and the run by `ARTIFACTD_RUN`,
//! which artifactctl and the client crate take up. Signals are passed on to it; the run
//! is finished when it has ended, whatever ended it.

use std::{ffi::OsString, io, os::unix::process::ExitStatusExt, process::ExitStatus};

use artifactd_client::messages::{self as pb, RunStatus};
use rustix::{
    process::{Pid, Signal as Number, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

use super::run::What;
use crate::{
    Context,
    exit::{Code, Failure},
    output::plain,
};

/// What a shell says when there is no such command, and when it cannot be executed.
const NO_COMMAND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Execute a command as a run: what it saves is its output, what it reads is its input
///
/// The run is told to the command by ARTIFACTD_RUN, together with ARTIFACTD_ENDPOINT and
/// ARTIFACTD_SPACE. It ends with the exit code of the command, which is also that of this
/// one: completed with 0, failed otherwise, aborted after a signal that was passed on.
#[derive(Debug, clap::Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    what: What,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) async fn run(context: &mut Context, exec: Exec) -> Result<Code, Failure> {
    // Before the run begins: no signal shall leave one behind.
    let mut signals = Signals::new()?;
    let client = context.settings.connect().await?;
    let mut request = exec.what.request();
    request.name = request.name.or_else(|| Some(name_of(&exec.command)));
    let begun = client.create_run(request).await?;
    let (status, code, finish) = match start(context, &exec.command, &begun.uid) {
        Ok(mut child) => {
            let status = signals.pass_until_end(&mut child).await;
            let status =
                status.map_err(|error| Failure::new(Code::Failed, format!("cannot be waited for: {error}")))?;
            let (how, error) = ending(status, signals.were_passed);
            (how, code_of(status), (status.code(), error))
        }
        Err(error) => {
            let code = match error.kind() {
                io::ErrorKind::NotFound => NO_COMMAND,
                _ => NOT_EXECUTABLE,
            };
            let text = format!("{}: {error}", exec.command[0].to_string_lossy());
            crate::exit::report(&Failure::new(Code::OfCommand(code), &text));
            (RunStatus::Failed, code, (Some(code.into()), Some(text)))
        }
    };
    let (exit_code, error) = finish;
    let end = pb::FinishRunRequest {
        uid: begun.uid.clone(),
        status: status.into(),
        exit_code,
        error,
        request_id: None,
    };
    match client.finish_run(end).await {
        Ok(run) => context.output.message("Run", &run)?,
        // A command that failed is what the caller wants to hear of first.
        Err(error) => {
            let failure = Failure::from(error).at(&format!("run {} could not be finished", begun.uid));
            if code == 0 {
                return Err(failure);
            }
            crate::exit::report(&failure);
        }
    }
    Ok(Code::OfCommand(code))
}

/// The first line of a command, as its run is called unless it has another name.
fn name_of(command: &[OsString]) -> String {
    const BYTES_MAX: usize = 200;
    let words: Vec<String> = command.iter().map(|word| plain(&word.to_string_lossy())).collect();
    let mut name = words.join(" ");
    name.truncate(name.floor_char_boundary(BYTES_MAX));
    name
}

fn start(context: &Context, command: &[OsString], run: &str) -> io::Result<Child> {
    let mut child = Command::new(&command[0]);
    child
        .args(&command[1..])
        .env("ARTIFACTD_RUN", run)
        .env("ARTIFACTD_ENDPOINT", &context.settings.endpoint);
    if let Some(space) = &context.settings.space {
        child.env("ARTIFACTD_SPACE", space);
    }
    child.spawn()
}

/// How the run ends, and what went wrong.
fn ending(status: ExitStatus, was_passed: bool) -> (RunStatus, Option<String>) {
    let error = status.signal().map(|number| format!("ended by signal {number}"));
    match (status.success(), was_passed) {
        (true, _) => (RunStatus::Completed, None),
        (false, true) => (RunStatus::Aborted, error),
        (false, false) => (RunStatus::Failed, error),
    }
}

/// The exit code of a command, as shells tell it.
fn code_of(status: ExitStatus) -> u8 {
    let of_signal = || 128 + status.signal().unwrap_or_default();
    u8::try_from(status.code().unwrap_or_else(of_signal)).unwrap_or(u8::MAX)
}

/// Signals that are passed on.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
    /// Whether one of those that end programs was.
    were_passed: bool,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let hear = |kind| signal(kind).map_err(|error| Failure::new(Code::Failed, format!("no signals: {error}")));
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            quit: hear(SignalKind::quit())?,
            terminate: hear(SignalKind::terminate())?,
            hangup: hear(SignalKind::hangup())?,
            user_1: hear(SignalKind::user_defined1())?,
            user_2: hear(SignalKind::user_defined2())?,
            were_passed: false,
        })
    }

    /// Waits for the end of a command, and passes on to it what comes meanwhile.
    async fn pass_until_end(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            let number = tokio::select! {
                status = child.wait() => return status,
                _ = self.interrupt.recv() => Number::INT,
                _ = self.quit.recv() => Number::QUIT,
                _ = self.terminate.recv() => Number::TERM,
                _ = self.hangup.recv() => Number::HUP,
                _ = self.user_1.recv() => Number::USR1,
                _ = self.user_2.recv() => Number::USR2,
            };
            self.were_passed |= !matches!(number, Number::USR1 | Number::USR2);
            // What somebody types, the terminal tells all of them.
            let was_typed = matches!(number, Number::INT | Number::QUIT) && is_in_front();
            let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            if let (false, Some(pid)) = (was_typed, pid) {
                // A command that has just ended hears nothing, and needs nothing.
                let _ = kill_process(pid, number);
            }
        }
    }
}

/// Whether this program is what its terminal listens to.
fn is_in_front() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|front| front == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_a_run_as_shells_tell_it() {
        let ended = |raw| ExitStatus::from_raw(raw);
        assert_eq!(code_of(ended(3 << 8)), 3);
        assert_eq!(code_of(ended(9)), 137);
        assert_eq!(ending(ended(0), true), (RunStatus::Completed, None));
        assert_eq!(ending(ended(3 << 8), false), (RunStatus::Failed, None));
        let killed = Some("ended by signal 9".to_owned());
        assert_eq!(ending(ended(9), false), (RunStatus::Failed, killed));
        assert_eq!(ending(ended(15), true).0, RunStatus::Aborted);
    }

    #[test]
    fn a_run_is_called_as_its_command_is_written() {
        let words = ["python", "a b.py", "\u{1b}[2J"].map(OsString::from);
        assert_eq!(name_of(&words), "python a b.py \\u{1b}[2J");
        assert_eq!(name_of(&[OsString::from("é".repeat(1_000))]).len(), 200);
    }
}
