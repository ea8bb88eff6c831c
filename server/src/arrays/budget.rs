//! How much a content may make us do.
//!
//! A few bytes can say that they are petabytes. So what has to be unpacked as a whole
//! has a largest size, and a look into content that somebody saves ends early.

use std::time::{Duration, Instant};

use super::error::{ArrayError, Result};

/// Largest unit: a page, a dictionary, a compressed buffer, a line.
pub(crate) const UNIT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many times its size a text may have when it is unpacked. Texts of one repeated
/// line reach a thousand; what is beyond ten thousand was made to be that.
pub(crate) const RATIO_MAX: u64 = 10_000;

/// What may be unpacked whatever the ratio.
pub(crate) const RATIO_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Columns of one table, with those that lie in others.
pub(crate) const COLUMNS_MAX: usize = 100_000;

/// Ends what takes too long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// None at all.
    pub(crate) const NEVER: Self = Self(None);

    /// So long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Some(Instant::now() + time))
    }

    /// Fails when it has passed.
    pub(crate) fn check(self) -> Result<()> {
        match self.0 {
            Some(at) if Instant::now() > at => Err(ArrayError::OverBudget("its time")),
            _ => Ok(()),
        }
    }
}
