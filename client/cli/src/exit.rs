//! How a command ends: the table of exit codes, and which failure has which.

use std::{error::Error as _, io};

use artifactd_client::{Error, Reason};
use tonic::Code as Status;

/// An exit code. Numbers never change; `README.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// All was done.
    Done,
    /// Something failed that no other code tells.
    Failed,
    /// The command line, a setting or a value in it is wrong.
    Usage,
    /// There is no such artifact, version, file, storage or space.
    NotFound,
    /// What is there is in the way: a taken key, another etag, trash, a file at the target.
    Conflict,
    /// The server does not let the caller do that.
    Denied,
    /// The server cannot be reached, or did not answer in time.
    Unavailable,
    /// Content is not what its digest says.
    Damaged,
    /// A file here cannot be read or written.
    File,
    /// It cannot be undone, and nobody confirmed it.
    NotConfirmed,
    /// Some of several things failed.
    Partly,
    /// `diff --exit-code` found differences, or `schemas check` faults.
    Differs,
    /// Stopped by the user.
    Interrupted,
    /// Whoever read the output has gone.
    PipeClosed,
    /// Stopped by the system.
    Terminated,
    /// As a command ended that was executed.
    OfCommand(u8),
}

impl From<Code> for i32 {
    fn from(code: Code) -> Self {
        match code {
            Code::Done => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NotFound => 3,
            Code::Conflict => 4,
            Code::Denied => 5,
            Code::Unavailable => 6,
            Code::Damaged => 7,
            Code::File => 8,
            Code::NotConfirmed => 9,
            Code::Partly => 10,
            Code::Differs => 11,
            Code::Interrupted => 130,
            Code::PipeClosed => 141,
            Code::Terminated => 143,
            Code::OfCommand(code) => code.into(),
        }
    }
}

/// Why a command failed, for people.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    text: String,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Code::Usage, text)
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::AlreadyExists => Code::Conflict,
            _ => Code::File,
        };
        Self::new(code, format!("{}: {error}", path.display()))
    }

    /// The same, with where it happened.
    pub(crate) fn at(self, place: &str) -> Self {
        Self {
            text: format!("{place}: {}", self.text),
            ..self
        }
    }

    /// The output could not be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Code::PipeClosed, ""),
            _ => Self::new(Code::File, format!("the output cannot be written: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Shown whole, a status says its cause as the program sees it.
            let status = error.downcast_ref::<tonic::Status>();
            let said = status.map_or_else(|| error.to_string(), |status| status.message().to_owned());
            if !said.is_empty() && !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        Self::new(code_of(&error), text)
    }
}

pub(crate) fn code_of(error: &Error) -> Code {
    match error {
        Error::Refused { code, reason, .. } => code_of_refusal(*code, *reason),
        Error::Transport(_) | Error::TimedOut { .. } => Code::Unavailable,
        Error::Damaged { .. } => Code::Damaged,
        Error::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => Code::Conflict,
        Error::File { .. } => Code::File,
        Error::FileChanged { .. } => Code::Conflict,
        Error::NotCached(_) => Code::NotFound,
        Error::Input(_) => Code::Usage,
        Error::Answer(_) => Code::Failed,
        _ => Code::Failed,
    }
}

fn code_of_refusal(code: Status, reason: Reason) -> Code {
    match code {
        Status::InvalidArgument | Status::OutOfRange if reason == Reason::DigestMismatch => Code::Damaged,
        Status::InvalidArgument | Status::OutOfRange => Code::Usage,
        Status::NotFound => Code::NotFound,
        Status::AlreadyExists | Status::FailedPrecondition | Status::Aborted => Code::Conflict,
        Status::PermissionDenied | Status::Unauthenticated => Code::Denied,
        Status::Unavailable | Status::DeadlineExceeded => Code::Unavailable,
        Status::ResourceExhausted if reason == Reason::ServerBusy => Code::Unavailable,
        Status::DataLoss => Code::Damaged,
        _ => Code::Failed,
    }
}

/// Says why a command failed. Answers its code.
#[expect(clippy::print_stderr, reason = "this is where failures are told")]
pub(crate) fn report(failure: &Failure) -> Code {
    if !failure.text.is_empty() {
        eprintln!("artifactctl: {}", crate::output::plain(&failure.text));
    }
    failure.code
}
