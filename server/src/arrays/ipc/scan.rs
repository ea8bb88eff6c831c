//! A scan of a file or stream: batch after batch, each in windows of its rows.

use std::{ops::Range, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;

use super::{
    FORMAT, IpcTable,
    decode::{BodyReader, Dictionaries},
    layout::Block,
    plan::BatchPlan,
};
use crate::arrays::{
    Rows,
    budget::Deadline,
    error::{ArrayError, Result},
    filter::{columns_of, mask},
    source::Source,
    table::{Batch, Batches, Numbers, ReadOn, Scan, ended_by_errors},
};

/// A batch whose body is not larger is fetched from its first byte to its last.
const BODY_BYTES_WHOLE: u64 = 32 * 1024 * 1024;

/// What a batch may have once it is unpacked.
const UNPACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Reads a selection of a table.
pub(super) fn scan(table: Arc<IpcTable>, scan: Scan) -> Result<Batches> {
    let place = table.place.until(&scan.cancel);
    // Without rows to look for, nobody needs to know where they are before they come.
    let starts = match &scan.rows {
        Some(_) => Some(table.starts(&place, Deadline::NEVER)?.to_vec()),
        None => None,
    };
    let asked = scan
        .filter
        .as_ref()
        .map(|filter| columns_of(filter))
        .unwrap_or_default();
    let all_columns = scan.columns.len() == table.layout.schema.fields().len();
    let reading = Reading {
        headers: Source::sparse(place.clone()),
        bodies: all_columns.then(|| Source::new(place)),
        schema: scan.schema(&table.layout.schema),
        left: scan.limit.unwrap_or(u64::MAX),
        batch: 0,
        row: 0,
        starts,
        windows: None,
        dictionaries: (0, Dictionaries::new()),
        asked,
        scan,
        table,
    };
    Ok(ended_by_errors(reading))
}

struct Reading {
    table: Arc<IpcTable>,
    scan: Scan,
    schema: SchemaRef,
    headers: Source,
    /// For whole bodies; where columns are left out, each batch has a reader of its own.
    bodies: Option<Source>,
    /// The first row of each batch, where that has to be known.
    starts: Option<Vec<u64>>,
    /// The next batch, and its first row.
    batch: usize,
    row: u64,
    /// Rows that are still wanted.
    left: u64,
    windows: Option<Windows>,
    /// Those that were read, and how many of the messages that hold them.
    dictionaries: (usize, Dictionaries),
    /// Columns that the filter asks for.
    asked: Vec<usize>,
}

/// From the first of some rows to the last.
fn spanned(rows: &Rows) -> Range<u64> {
    let (first, last) = (rows.ranges().first(), rows.ranges().last());
    first.map_or(0, |rows| rows.start)..last.map_or(0, |rows| rows.end)
}

/// About where some rows of a buffer lie: of values of one size exactly there. What is
/// missed is fetched when it is needed.
fn share_of(buffer: &Range<u64>, rows: &Range<u64>, all_rows: u64) -> Range<u64> {
    let bytes = u128::from(buffer.end - buffer.start);
    let at = |row: u64| (bytes * u128::from(row) / u128::from(all_rows.max(1))) as u64;
    // Offsets have one more than rows.
    let end = buffer.start + at(rows.end) + 64;
    buffer.start + at(rows.start)..end.min(buffer.end)
}

/// A batch that is being read.
struct Windows {
    plan: BatchPlan,
    start: u64,
    /// Its first row in the table.
    first_row: u64,
    /// Rows of it that are to come, counted from its first.
    rows: std::vec::IntoIter<Range<u64>>,
    source: Option<Source>,
}

/// The body of one message.
struct Body<'s> {
    source: &'s Source,
    start: u64,
}

impl BodyReader for Body<'_> {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.source.read(self.start + range.start..self.start + range.end)
    }
}

impl ReadOn for Reading {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while self.left > 0 {
            let Some(windows) = &mut self.windows else {
                if !self.open_next()? {
                    break;
                }
                continue;
            };
            let Some(rows) = windows.rows.next() else {
                self.windows = None;
                continue;
            };
            if let Some(batch) = self.window(rows.start as usize..rows.end as usize)? {
                let rows = batch
                    .batch
                    .num_rows()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= rows as u64;
                return Ok(Some(batch.slice(0..rows)));
            }
        }
        Ok(None)
    }
}

impl Reading {
    /// Begins the next batch that has wanted rows; false at the end.
    fn open_next(&mut self) -> Result<bool> {
        let table = Arc::clone(&self.table);
        while let Some(block) = table.layout.batches.get(self.batch) {
            let number = self.batch;
            self.batch += 1;
            let known = self.starts.as_ref().map(|starts| starts[number]..starts[number + 1]);
            let first_row = known.as_ref().map_or(self.row, |rows| rows.start);
            if let Some((rows, known)) = self.scan.rows.as_ref().zip(known)
                && rows.within(&known).is_empty()
            {
                continue;
            }
            let plan = table.layout.plan(&self.headers, block)?;
            let rows = first_row..first_row + plan.rows as u64;
            self.row = rows.end;
            let wanted = match &self.scan.rows {
                Some(wanted) => wanted.within(&rows).counted_from(first_row),
                None => Rows::all(plan.rows as u64),
            };
            if wanted.is_empty() {
                continue;
            }
            let (read, dictionaries) = &mut self.dictionaries;
            if *read < block.dictionaries {
                table
                    .layout
                    .read_dictionaries(&self.headers, *read..block.dictionaries, dictionaries)?;
                *read = block.dictionaries;
            }
            self.windows = Some(self.windows(plan, block, first_row, &wanted)?);
            return Ok(true);
        }
        Ok(false)
    }

    /// Cuts the wanted rows of a batch into what is decoded at once.
    fn windows(&self, plan: BatchPlan, block: &Block, first_row: u64, wanted: &Rows) -> Result<Windows> {
        let rows_at_once = match plan.is_compressed() {
            true => plan.rows as u64,
            false => {
                let row_bytes = (block.body_bytes / plan.rows.max(1) as u64).max(1);
                (self.scan.batch_bytes as u64 / row_bytes / 64 * 64).max(64)
            }
        };
        let cut = wanted.ranges().iter().flat_map(|range| {
            let starts = (range.start..range.end).step_by(usize::try_from(rows_at_once).unwrap_or(usize::MAX));
            starts.map(|start| start..(start + rows_at_once).min(range.end))
        });
        let cut: Vec<_> = cut.collect();
        let is_whole = matches!(cut.as_slice(), [all] if *all == (0..plan.rows as u64));
        let body_start = block.start + block.head_bytes;
        let is_most = plan.is_compressed() || wanted.count() >= plan.rows as u64 / 4;
        let source = match &self.bodies {
            Some(_) if is_whole || (is_most && block.body_bytes <= BODY_BYTES_WHOLE) => None,
            _ => {
                let columns = self.columns();
                let fields = self.table.layout.schema.fields();
                let buffers = plan.buffers_of(fields, |column| columns.contains(&column))?;
                let runs = if is_whole { 1 } else { buffers.len() };
                let share = match is_most {
                    true => 0..plan.rows as u64,
                    false => spanned(wanted),
                };
                let parts = buffers.iter().map(|buffer| {
                    let part = share_of(buffer, &share, plan.rows as u64);
                    body_start + part.start..body_start + part.end
                });
                let place = self.headers.place().clone();
                Some(Source::of_parts(
                    place,
                    parts.filter(|part| !part.is_empty()).collect(),
                    runs,
                ))
            }
        };
        Ok(Windows {
            plan,
            start: body_start,
            first_row,
            rows: cut.into_iter(),
            source,
        })
    }

    /// All columns that are read.
    fn columns(&self) -> Vec<usize> {
        let mut columns = [&self.scan.columns, &self.asked[..]].concat();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Some rows of the batch; nothing when none of them matches.
    fn window(&self, rows: Range<usize>) -> Result<Option<Batch>> {
        let windows = self.windows.as_ref().expect("a batch is open");
        let first = Numbers::From(windows.first_row + rows.start as u64);
        let Some(filter) = &self.scan.filter else {
            let batch = self.decode(rows, &self.scan.columns)?;
            return Ok(Some(Batch { batch, numbers: first }));
        };
        let asked = self.decode(rows.clone(), &self.asked)?;
        let mask = mask(filter, &asked, &self.asked)?;
        if mask.count_set_bits() == 0 {
            return Ok(None);
        }
        let batch = self.decode(rows, &self.scan.columns)?;
        let batch = Batch { batch, numbers: first };
        batch
            .filter(&mask)
            .map(Some)
            .map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }

    fn decode(&self, rows: Range<usize>, columns: &[usize]) -> Result<RecordBatch> {
        let windows = self.windows.as_ref().expect("a batch is open");
        let source = windows
            .source
            .as_ref()
            .or(self.bodies.as_ref())
            .expect("one of them is there");
        source.check_cancelled()?;
        let body = Body {
            source,
            start: windows.start,
        };
        let fields = self.table.layout.schema.fields();
        let wanted = |column| columns.contains(&column);
        let (_, dictionaries) = &self.dictionaries;
        let mut decoded = windows.plan.decode(fields, wanted, rows.clone(), &body, dictionaries)?;
        let bytes: u64 = decoded
            .iter()
            .flatten()
            .map(|column| column.get_buffer_memory_size() as u64)
            .sum();
        if windows.plan.is_compressed() && bytes > UNPACKED_BYTES_MAX {
            return Err(ArrayError::too_large("a packed batch", bytes, UNPACKED_BYTES_MAX));
        }
        let arrays = columns
            .iter()
            .map(|column| decoded[*column].take().expect("it was wanted"));
        let arrays: Vec<ArrayRef> = arrays.collect();
        let schema = match columns == &*self.scan.columns {
            true => Arc::clone(&self.schema),
            false => {
                let fields: Vec<_> = columns.iter().map(|column| Arc::clone(&fields[*column])).collect();
                Arc::new(Schema::new(fields))
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }
}
