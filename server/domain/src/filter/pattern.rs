//! Texts in which `*` stands for any text.

use std::ops::Range;

use super::{FilterRefused, Literal, fault::Fault};

/// What a text must begin with, hold and end with, one after the other: `begins*holds*ends`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    prefix: String,
    infix: String,
    suffix: String,
}

impl Pattern {
    /// The pattern that a value is; `None` when it has no star.
    pub(super) fn of(literal: &Literal) -> Result<Option<Self>, Fault> {
        let text = |range: Range<usize>| literal.text[range].to_owned();
        let runs = runs_of(&literal.stars);
        let end = literal.text.len();
        match runs.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(Self {
                prefix: text(0..one.start),
                infix: String::new(),
                suffix: text(one.end..end),
            })),
            [one, other] => Ok(Some(Self {
                prefix: text(0..one.start),
                infix: text(one.end..other.start),
                suffix: text(other.end..end),
            })),
            _ => Err(Fault::new(literal.span.start, FilterRefused::Stars)),
        }
    }

    /// What texts begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What texts hold between beginning and end.
    pub fn infix(&self) -> &str {
        &self.infix
    }

    /// What texts end with.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Whether only the beginning of a text counts.
    pub fn is_prefix(&self) -> bool {
        self.infix.is_empty() && self.suffix.is_empty()
    }

    /// Whether every text fits.
    pub fn is_anything(&self) -> bool {
        self.is_prefix() && self.prefix.is_empty()
    }

    /// Whether a text fits.
    pub fn matches(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.prefix.as_str());
        let middle = rest.and_then(|rest| rest.strip_suffix(self.suffix.as_str()));
        middle.is_some_and(|middle| middle.contains(&self.infix))
    }
}

/// Where stars stand; those side by side say what one of them says.
fn runs_of(stars: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for star in stars {
        match runs.last_mut() {
            Some(run) if run.end == *star => run.end += 1,
            _ => runs.push(*star..star + 1),
        }
    }
    runs
}
