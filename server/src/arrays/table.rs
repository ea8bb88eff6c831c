//! What every format gives: a table that can be looked at and scanned.
//!
//! A table is scanned on a thread that may wait, batch by batch, and nothing is read
//! that the selection does not need. DataFusion's `TableProvider` is not what stands
//! here, because it cannot say which rows: by number, from a row on, one after the
//! other with their numbers. Whoever wants one wraps a [`Table`].

use std::{fmt, ops::Range, sync::Arc};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use artifactd_domain::filter::{Predicate, Value};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Rows, error::Result, filter::Column, ipc::Message};

/// A table in some content.
pub(crate) trait Table: Send + Sync + fmt::Debug {
    /// Its columns, with all metadata that the content has for them.
    fn schema(&self) -> &SchemaRef;

    /// How many rows it has, where that is known without reading them.
    fn n_rows(&self) -> Option<u64>;

    /// Where it is best cut: rows that are read together and the bytes that they take,
    /// in order. Empty where one has to read from the start.
    fn parts(&self) -> Vec<Part>;

    /// What is known of each column without reading it, in their order.
    fn column_facts(&self) -> Vec<ColumnFacts>;

    /// Reads a selection. Must be called, and its batches taken, where waiting is allowed.
    fn scan(self: Arc<Self>, scan: Scan) -> Result<Batches>;

    /// The same for those who send on what they read: messages that the content holds may
    /// come as they are.
    fn scan_to_send(self: Arc<Self>, scan: Scan) -> Result<Portions> {
        let batches = self.scan(scan)?;
        Ok(Box::new(batches.map(|batch| batch.map(Portion::Unpacked))))
    }
}

/// Rows that are stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Their numbers.
    pub(crate) rows: Range<u64>,
    /// About how many bytes they have in memory.
    pub(crate) bytes: u64,
}

/// What is known of a column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnFacts {
    /// Rows in which it is null.
    pub(crate) nulls: Option<u64>,
    /// Its smallest value, as text.
    pub(crate) min: Option<String>,
    /// Its largest value, as text.
    pub(crate) max: Option<String>,
    /// The smallest one as filters know it, where it can be compared with that of other files.
    pub(crate) min_value: Option<Value>,
    /// The largest one.
    pub(crate) max_value: Option<Value>,
}

/// What to read of a table.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    /// Columns by their places in the schema, in the order in which they are wanted.
    pub(crate) columns: Arc<[usize]>,
    /// The rows; all when unset.
    pub(crate) rows: Option<Rows>,
    /// What rows must hold.
    pub(crate) filter: Option<Arc<Predicate<Column>>>,
    /// Most rows that are wanted.
    pub(crate) limit: Option<u64>,
    /// Most bytes of a batch, as near as a format can tell before it has it.
    pub(crate) batch_bytes: usize,
    /// Ends the scan.
    pub(crate) cancel: CancellationToken,
}

impl Scan {
    /// The schema of what is read.
    pub(crate) fn schema(&self, of: &Schema) -> SchemaRef {
        let fields: Vec<_> = self
            .columns
            .iter()
            .map(|column| Arc::clone(&of.fields()[*column]))
            .collect();
        Arc::new(Schema::new_with_metadata(fields, of.metadata().clone()))
    }
}

/// Batches on their way. The first error ends them.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<Batch>> + Send>;

/// What goes out, on its way. The first error ends it.
pub(crate) type Portions = Box<dyn Iterator<Item = Result<Portion>> + Send>;

/// A scan that goes on from batch to batch.
pub(crate) trait ReadOn<T = Batch> {
    /// The next batch; `None` at the end.
    fn next_batch(&mut self) -> Result<Option<T>>;
}

/// The batches of a scan, up to its end or its first error.
pub(crate) fn ended_by_errors<T: 'static>(
    mut reading: impl ReadOn<T> + Send + 'static,
) -> Box<dyn Iterator<Item = Result<T>> + Send> {
    let mut ended = false;
    Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let next = reading.next_batch().transpose();
        ended = !matches!(next, Some(Ok(_)));
        next
    }))
}

/// Some rows of a table, for those who send them on.
#[derive(Debug)]
pub(crate) enum Portion {
    /// In memory, as they are computed with.
    Unpacked(Batch),
    /// As the content holds them.
    Stored(Stored),
    /// The same, to be fetched by who sends it.
    Lying(Lying),
}

/// A message of the content of which all rows and columns are wanted.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The message.
    pub(crate) message: Message,
    /// How many rows it has.
    pub(crate) rows: u64,
    /// The number of the first one.
    pub(crate) first_row: u64,
}

/// A message of the content that can go out whatever the bytes of its body are.
#[derive(Debug)]
pub(crate) struct Lying {
    /// Its header.
    pub(crate) header: Bytes,
    /// Where its body lies in the content.
    pub(crate) body: Range<u64>,
    /// How many rows it has.
    pub(crate) rows: u64,
    /// The number of the first one.
    pub(crate) first_row: u64,
}

/// Some rows of a table.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The rows.
    pub(crate) batch: RecordBatch,
    /// Their numbers in the table.
    pub(crate) numbers: Numbers,
}

/// The numbers of some rows, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// One after the other, from this one on.
    From(u64),
    /// Each by itself.
    Listed(Arc<[u64]>),
}

impl Batch {
    /// A part of its rows.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        let numbers = match &self.numbers {
            Numbers::From(first) => Numbers::From(first + rows.start as u64),
            Numbers::Listed(numbers) => Numbers::Listed(numbers[rows.clone()].into()),
        };
        let batch = self.batch.slice(rows.start, rows.end - rows.start);
        Self { batch, numbers }
    }

    /// The row at which one has to go on after these.
    pub(crate) fn next_row(&self) -> u64 {
        match self.batch.num_rows() {
            0 => self.number(0),
            rows => self.number(rows - 1) + 1,
        }
    }

    /// The number of one of its rows.
    pub(crate) fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            Numbers::From(first) => first + row as u64,
            Numbers::Listed(numbers) => numbers[row],
        }
    }

    /// Those of its rows that a mask has.
    pub(crate) fn filter(&self, mask: &BooleanBuffer) -> std::result::Result<Self, ArrowError> {
        let kept = mask.count_set_bits();
        if kept == self.batch.num_rows() {
            return Ok(self.clone());
        }
        let batch = filter_record_batch(&self.batch, &BooleanArray::new(mask.clone(), None))?;
        let numbers = mask.set_indices().map(|row| self.number(row)).collect();
        let numbers = Numbers::Listed(numbers);
        Ok(Self { batch, numbers })
    }
}

/// Gives rows their numbers, as they come out of a scan one after the other.
#[derive(Debug)]
pub(crate) struct Numbering {
    rows: Vec<Range<u64>>,
    /// The range in which the next row lies, and how many of it are gone.
    at: (usize, u64),
}

impl Numbering {
    /// For the rows of a scan.
    pub(crate) fn new(rows: &Rows) -> Self {
        let rows = rows.ranges().to_vec();
        Self { rows, at: (0, 0) }
    }

    /// The numbers of the next rows; `None` when there are not as many.
    pub(crate) fn next(&mut self, count: usize) -> Option<Numbers> {
        let (range, gone) = self.at;
        let left = |range: &Range<u64>, gone| range.end - range.start - gone;
        match self.rows.get(range) {
            Some(rows) if left(rows, gone) >= count as u64 => {
                let first = rows.start + gone;
                self.pass(count as u64);
                Some(Numbers::From(first))
            }
            None if count == 0 => Some(Numbers::From(0)),
            None => None,
            Some(_) => {
                let mut numbers = Vec::with_capacity(count);
                while numbers.len() < count {
                    let (range, gone) = self.at;
                    let rows = self.rows.get(range)?;
                    let take = left(rows, gone).min((count - numbers.len()) as u64);
                    numbers.extend(rows.start + gone..rows.start + gone + take);
                    self.pass(take);
                }
                Some(Numbers::Listed(numbers.into()))
            }
        }
    }

    fn pass(&mut self, count: u64) {
        let (range, gone) = self.at;
        let rows = &self.rows[range];
        self.at = match rows.end - rows.start == gone + count {
            true => (range + 1, 0),
            false => (range, gone + count),
        };
    }
}
