//! Runs and transforms: closed sets, and how a run is named.

use std::{fmt, str::FromStr};

use crate::{Stem, UidRefused};

/// The identifier of a run: 16 base62 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunUid(Stem);

impl RunUid {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for RunUid {
    type Err = UidRefused;
    fn from_str(text: &str) -> Result<Self, UidRefused> {
        text.parse().map(Self)
    }
}

impl fmt::Display for RunUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// It is to begin later.
    Scheduled,
    /// It has begun.
    Started,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was stopped.
    Aborted,
}

const STATUSES: [(RunStatus, i16, &str); 5] = [
    (RunStatus::Scheduled, -3, "scheduled"),
    (RunStatus::Started, -1, "started"),
    (RunStatus::Completed, 0, "completed"),
    (RunStatus::Failed, 1, "failed"),
    (RunStatus::Aborted, 2, "aborted"),
];

impl RunStatus {
    /// The integer that stands for it in the database; the model's codes.
    pub fn code(self) -> i16 {
        self.row().1
    }

    /// The status that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        STATUSES
            .iter()
            .find(|(_, of, _)| *of == code)
            .map(|(status, ..)| *status)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.row().2
    }

    /// Whether the run has ended.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Aborted)
    }

    fn row(self) -> &'static (Self, i16, &'static str) {
        let row = STATUSES.iter().find(|(status, ..)| *status == self);
        row.expect("every status has a row")
    }
}

/// What a transform is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransformKind {
    /// Steps of a workflow.
    Pipeline,
    /// A notebook.
    Notebook,
    /// A script or program.
    #[default]
    Script,
    /// A function of a program.
    Function,
    /// Somebody who uploads by hand.
    Upload,
}

const KINDS: [(TransformKind, i16, &str); 5] = [
    (TransformKind::Pipeline, 1, "pipeline"),
    (TransformKind::Notebook, 2, "notebook"),
    (TransformKind::Script, 3, "script"),
    (TransformKind::Function, 4, "function"),
    (TransformKind::Upload, 5, "upload"),
];

impl TransformKind {
    /// The integer that stands for it in the database.
    pub fn code(self) -> i16 {
        let row = KINDS.iter().find(|(kind, ..)| *kind == self);
        row.expect("every kind has a row").1
    }

    /// The kind that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        KINDS.iter().find(|(_, of, _)| *of == code).map(|(kind, ..)| *kind)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        let row = KINDS.iter().find(|(kind, ..)| *kind == self);
        row.expect("every kind has a row").2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_unknown_ones_are_none() {
        for (status, code, _) in STATUSES {
            assert_eq!((status.code(), RunStatus::from_code(code)), (code, Some(status)));
        }
        for (kind, code, name) in KINDS {
            assert_eq!((kind.code(), TransformKind::from_code(code)), (code, Some(kind)));
            assert_eq!(kind.as_str(), name);
        }
        assert_eq!((RunStatus::from_code(9), TransformKind::from_code(0)), (None, None));
        assert!(RunStatus::Failed.is_finished() && !RunStatus::Scheduled.is_finished());
    }

    #[test]
    fn a_run_has_16_characters() {
        assert!("0123456789abcdef".parse::<RunUid>().is_ok());
        for refused in ["", "0123456789abcdef0000", "0123456789abcde!", "x"] {
            assert!(refused.parse::<RunUid>().is_err(), "{refused}");
        }
    }
}
