//! Scans of what lies in parts, as the files of a folder and the row groups of a file: one
//! part after the other, the next one begun ahead.

use std::{collections::VecDeque, sync::Arc};

use super::{
    error::{ArrayError, Result},
    table::{Batch, Batches, ReadOn, Scan, ended_by_errors, on_a_thread},
};

/// What is read in parts.
pub(super) trait InParts: Send + Sync + 'static {
    /// What is read of all of them.
    fn scan(&self) -> &Scan;

    /// Begins to read a part, of which so many rows are wanted.
    fn begin(self: Arc<Self>, part: usize, left: u64) -> Result<Batches>;

    /// Whether a part is small enough to be begun beside another: larger ones keep several
    /// threads busy themselves.
    fn is_small(&self, part: usize) -> bool;
}

/// Reads some parts, in this order.
pub(super) fn one_by_one(all: Arc<impl InParts>, parts: impl IntoIterator<Item = usize>) -> Batches {
    ended_by_errors(Reading {
        left: all.scan().limit.unwrap_or(u64::MAX),
        parts: parts.into_iter().collect(),
        current: None,
        ahead: None,
        all,
    })
}

/// A scan under way.
struct Reading<T> {
    all: Arc<T>,
    /// Those that are to come and were not begun.
    parts: VecDeque<usize>,
    /// Rows that are still wanted.
    left: u64,
    /// The part of which batches are taken.
    current: Option<Batches>,
    /// The one that follows, on a thread of its own.
    ahead: Option<Batches>,
}

impl<T: InParts> ReadOn for Reading<T> {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while self.left > 0 {
            if self.all.scan().cancel.is_cancelled() {
                return Err(ArrayError::Cancelled);
            }
            let Some(current) = &mut self.current else {
                self.current = match self.ahead.take() {
                    Some(ahead) => Some(ahead),
                    None => match self.parts.pop_front() {
                        Some(part) => Some(Arc::clone(&self.all).begin(part, self.left)?),
                        None => break,
                    },
                };
                self.read_ahead();
                continue;
            };
            let Some(batch) = current.next().transpose()? else {
                self.current = None;
                continue;
            };
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            let rows = batch.batch.num_rows().min(left);
            if rows > 0 {
                self.left -= rows as u64;
                return Ok(Some(batch.slice(0..rows)));
            }
        }
        Ok(None)
    }
}

impl<T: InParts> Reading<T> {
    /// Begins with what follows, where it is small. Where only the first rows are wanted, it
    /// may never be asked for.
    fn read_ahead(&mut self) {
        if self.all.scan().limit.is_some() || self.ahead.is_some() {
            return;
        }
        if let Some(part) = self.parts.front().copied()
            && self.all.is_small(part)
        {
            self.parts.pop_front();
            let all = Arc::clone(&self.all);
            self.ahead = Some(on_a_thread(move || all.begin(part, u64::MAX)));
        }
    }
}
