//! Scans of what lies in parts, as the files of a folder and the row groups of a file: one
//! part after the other, the next ones begun ahead.

use std::{collections::VecDeque, sync::Arc};

use super::{
    error::{ArrayError, Result},
    table::{Batch, Batches, ReadOn, Scan, ended_by_errors},
    threads::{Crew, threads_max},
};

/// What is read in parts.
pub(super) trait InParts: Send + Sync + 'static {
    /// What is read of all of them.
    fn scan(&self) -> &Scan;

    /// Begins to read a part, of which so many rows are wanted.
    fn begin(self: Arc<Self>, part: usize, left: u64) -> Result<Batches>;

    /// About how many bytes of a part are unpacked, where it is small enough to be begun beside
    /// another: larger ones keep several threads busy themselves.
    fn small_bytes(&self, part: usize) -> Option<u64>;
}

/// Bytes of parts that may be begun ahead together; one may always be.
const AHEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a part up to which all of it may wait to be taken, so that its thread goes on with
/// the next one.
const WAITING_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Batches of such a part, and of others, that may wait.
const BATCHES_AHEAD: (usize, usize) = (3, 1);

/// Reads some parts, in this order.
pub(super) fn one_by_one(all: Arc<impl InParts>, parts: impl IntoIterator<Item = usize>) -> Batches {
    ended_by_errors(Reading {
        left: all.scan().limit.unwrap_or(u64::MAX),
        parts: parts.into_iter().collect(),
        current: None,
        ahead: VecDeque::new(),
        crew: Crew::default(),
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
    /// Those that follow and were begun, each with its bytes.
    ahead: VecDeque<(Batches, u64)>,
    crew: Crew,
}

impl<T: InParts> ReadOn for Reading<T> {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while self.left > 0 {
            if self.all.scan().cancel.is_cancelled() {
                return Err(ArrayError::Cancelled);
            }
            let Some(current) = &mut self.current else {
                self.current = self.next_part()?;
                if self.current.is_none() {
                    break;
                }
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
    /// The part that follows, and those behind it begun. One that is alone needs no thread.
    fn next_part(&mut self) -> Result<Option<Batches>> {
        if self.ahead.is_empty() && self.parts.len() > 1 {
            self.read_ahead();
        }
        let next = match self.ahead.pop_front() {
            Some((ahead, _)) => Some(ahead),
            None => match self.parts.pop_front() {
                Some(part) => Some(Arc::clone(&self.all).begin(part, self.left)?),
                None => None,
            },
        };
        self.read_ahead();
        Ok(next)
    }

    /// Begins with what follows, where it is small. Where only the first rows are wanted, it
    /// may never be asked for.
    fn read_ahead(&mut self) {
        if self.all.scan().limit.is_some() {
            return;
        }
        while self.ahead.len() <= threads_max()
            && let Some(part) = self.parts.front().copied()
            && let Some(bytes) = self.all.small_bytes(part)
        {
            let begun: u64 = self.ahead.iter().map(|(_, bytes)| bytes).sum();
            if begun > 0 && begun.saturating_add(bytes) > AHEAD_BYTES_MAX {
                break;
            }
            self.parts.pop_front();
            let all = Arc::clone(&self.all);
            let (of_few, of_many) = BATCHES_AHEAD;
            let batches_ahead = if bytes <= WAITING_BYTES_MAX { of_few } else { of_many };
            let batches = self.crew.begin(batches_ahead, move || all.begin(part, u64::MAX));
            self.ahead.push_back((batches, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::arrays::table::Numbers;

    const MIB: u64 = 1024 * 1024;

    /// Parts of some batches of one row each, which is the number of the part.
    struct Numbered {
        scan: Scan,
        /// Bytes of each, where it is small.
        bytes: Vec<Option<u64>>,
        batches: usize,
        begun: Mutex<Vec<usize>>,
        made: AtomicUsize,
    }

    impl Numbered {
        fn new(bytes: &[Option<u64>], limit: Option<u64>) -> Arc<Self> {
            let scan = Scan {
                columns: Arc::from([0]),
                rows: None,
                filter: None,
                limit,
                batch_bytes: 1,
                cancel: CancellationToken::new(),
            };
            Arc::new(Self {
                scan,
                bytes: bytes.to_vec(),
                batches: 1,
                begun: Mutex::default(),
                made: AtomicUsize::new(0),
            })
        }

        /// How many were begun when the first batch was taken, at least so many, and all that was read.
        async fn read(self: &Arc<Self>, begun_min: usize) -> (usize, Vec<i64>) {
            let begun = |all: &Self| all.begun.lock().unwrap().len();
            self.read_counting(begun, begun_min).await
        }

        /// The same of what is counted so.
        async fn read_counting(
            self: &Arc<Self>,
            count: impl Fn(&Self) -> usize + Send + 'static,
            least: usize,
        ) -> (usize, Vec<i64>) {
            let all = Arc::clone(self);
            let reading = tokio::task::spawn_blocking(move || {
                let parts = 0..all.bytes.len();
                let mut batches = one_by_one(Arc::clone(&all), parts);
                let mut read = Vec::from_iter(batches.next());
                while count(&all) < least {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                // One more than that would be begun soon.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let counted = count(&all);
                read.extend(batches);
                let value = |batch: Result<Batch>| {
                    let batch = batch.unwrap().batch;
                    let column: &Int64Array = batch.column(0).as_any().downcast_ref().unwrap();
                    column.value(0)
                };
                (counted, read.into_iter().map(value).collect())
            });
            reading.await.unwrap()
        }
    }

    impl InParts for Numbered {
        fn scan(&self) -> &Scan {
            &self.scan
        }

        fn begin(self: Arc<Self>, part: usize, _left: u64) -> Result<Batches> {
            self.begun.lock().unwrap().push(part);
            let schema = Schema::new(vec![Field::new("part", DataType::Int64, false)]);
            let column = Arc::new(Int64Array::from(vec![part as i64]));
            let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
            Ok(Box::new((0..self.batches).map(move |_| {
                self.made.fetch_add(1, Ordering::SeqCst);
                let numbers = Numbers::From(part as u64);
                Ok(Batch {
                    batch: batch.clone(),
                    numbers,
                })
            })))
        }

        fn small_bytes(&self, part: usize) -> Option<u64> {
            self.bytes[part]
        }
    }

    #[tokio::test]
    async fn small_parts_are_begun_ahead_as_many_as_fit_and_come_in_order() {
        let many = threads_max() + 10;
        let all: Vec<i64> = (0..many as i64).collect();
        for (bytes, begun) in [
            // The one that is read, and as many as keep all threads busy.
            (vec![Some(1); many], threads_max() + 2),
            // Two of these fit, three do not.
            (vec![Some(8 * MIB); many], 3),
            // One may always be.
            (vec![Some(60 * MIB); many], 2),
            (vec![None; many], 1),
        ] {
            let parts = Numbered::new(&bytes, None);
            assert_eq!(parts.read(begun).await, (begun, all.clone()), "{:?}", bytes[0]);
        }
    }

    #[tokio::test]
    async fn batches_wait_behind_the_one_that_is_taken_fewer_of_parts_with_many_bytes() {
        // What waits of both, what their threads have in hand, and what was taken.
        for (bytes, made) in [
            (1, 2 * (3 + 1) + 1),
            (8 * MIB, 2 * (3 + 1) + 1),
            (9 * MIB, 2 * (1 + 1) + 1),
        ] {
            let mut parts = Numbered::new(&[Some(bytes); 2], None);
            Arc::get_mut(&mut parts).unwrap().batches = 10;
            // With one processor the second waits for the first.
            let made = if threads_max() > 1 { made } else { made / 2 + 1 };
            let (counted, read) = parts.read_counting(|all| all.made.load(Ordering::SeqCst), made).await;
            assert_eq!((counted, read.len()), (made, 20), "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn a_large_part_among_small_ones_is_read_in_its_turn() {
        let bytes = [Some(1), None, Some(1), None, None, Some(1)];
        let (_, read) = Numbered::new(&bytes, None).read(1).await;
        assert_eq!(read, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn one_part_is_read_without_a_thread() {
        let parts = Numbered::new(&[Some(1)], None);
        // Outside of the runtime none could be begun.
        assert_eq!(one_by_one(parts, [0]).count(), 1);
    }

    #[tokio::test]
    async fn nothing_is_begun_ahead_where_only_first_rows_are_wanted() {
        let parts = Numbered::new(&[Some(1); 8], Some(2));
        assert_eq!(parts.read(1).await, (1, vec![0, 1]));
        assert_eq!(*parts.begun.lock().unwrap(), [0, 1]);
    }
}
