//! A scan of a file or stream: batch after batch, each in windows of its rows.

use std::{ops::Range, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;

use super::{
    FORMAT, IpcTable,
    body::{Body, Held},
    decode::Dictionaries,
    layout::Block,
    plan::BatchPlan,
    stored::{are_plain, are_values},
};
use crate::arrays::{
    Rows,
    budget::Deadline,
    error::{ArrayError, Result},
    filter::{columns_of, mask},
    source::{Content, Source},
    table::{Batch, Batches, Lying, Numbers, Portion, Portions, ReadOn, Scan, Stored, ended_by_errors},
};

/// A body that is not larger, or no larger than a batch may be, is fetched from its first
/// byte to its last and held, so that rows of all columns are there again and again.
const BODY_BYTES_HELD: u64 = 8 * 1024 * 1024;

/// A body from this size on may be left to who sends it. The headers of smaller ones are read
/// with what is between them.
const BODY_BYTES_LEFT_MIN: u64 = 2 * 1024 * 1024;

/// What a batch may have once it is unpacked.
const UNPACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Reads a selection of a table.
pub(super) fn scan(table: Arc<IpcTable>, scan: Scan) -> Result<Batches> {
    Ok(ended_by_errors(reading(table, scan)?))
}

/// The same for those who send on what they read.
pub(super) fn scan_to_send(table: Arc<IpcTable>, scan: Scan) -> Result<Portions> {
    let fields = table.layout.schema.fields();
    let all_in_order = scan.columns.iter().copied().eq(0..fields.len());
    let whole_messages = scan.filter.is_none() && all_in_order && are_plain(fields);
    let leaves_bodies = whole_messages && are_values(fields) && matches!(table.place.content, Content::Stored(..));
    let mut reading = reading(table, scan)?;
    reading.leaves_bodies = leaves_bodies;
    Ok(ended_by_errors(Sending {
        reading,
        whole_messages,
    }))
}

fn reading(table: Arc<IpcTable>, scan: Scan) -> Result<Reading> {
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
    Ok(Reading {
        headers: Source::sparse(place.clone()),
        bodies: all_columns.then(|| Source::new(place)),
        schema: scan.schema(&table.layout.schema),
        left: scan.limit.unwrap_or(u64::MAX),
        batch: 0,
        row: 0,
        starts,
        windows: None,
        leaves_bodies: false,
        lying: None,
        dictionaries: (0, Dictionaries::new()),
        asked,
        scan,
        table,
    })
}

struct Reading {
    table: Arc<IpcTable>,
    scan: Scan,
    schema: SchemaRef,
    headers: Source,
    /// For whole messages; where columns are left out, each batch has a reader of its own.
    bodies: Option<Source>,
    /// The first row of each batch, where that has to be known.
    starts: Option<Vec<u64>>,
    /// The next batch, and its first row.
    batch: usize,
    row: u64,
    /// Rows that are still wanted.
    left: u64,
    windows: Option<Windows>,
    /// Whether large bodies are left to who sends them, where they need not be looked at: until
    /// one has to be.
    leaves_bodies: bool,
    /// A message whose body is.
    lying: Option<Lying>,
    /// Those that were read, and how many of the messages that hold them.
    dictionaries: (usize, Dictionaries),
    /// Columns that the filter asks for.
    asked: Vec<usize>,
}

/// Whether so many rows of a batch are wanted that all of it is read.
fn is_most(wanted: u64, rows: u64) -> bool {
    wanted >= rows / 4
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
    /// Its first row in the table.
    first_row: u64,
    /// Rows of it that are to come, counted from its first.
    rows: std::vec::IntoIter<Range<u64>>,
    body: Body,
    /// The header with which all of the body may go out, until that is decided.
    header: Option<Bytes>,
}

impl ReadOn for Reading {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while self.is_in_batch()? {
            if let Some(batch) = self.next_window()? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// A scan for those who send on what they read.
struct Sending {
    reading: Reading,
    /// Whether messages of which all rows are wanted may go out as they are.
    whole_messages: bool,
}

impl ReadOn<Portion> for Sending {
    fn next_batch(&mut self) -> Result<Option<Portion>> {
        while self.reading.is_in_batch()? {
            if let Some(lying) = self.reading.lying.take() {
                return Ok(Some(Portion::Lying(lying)));
            }
            if self.whole_messages
                && let Some(stored) = self.reading.whole_message()?
            {
                return Ok(Some(Portion::Stored(stored)));
            }
            if let Some(batch) = self.reading.next_window()? {
                return Ok(Some(Portion::Unpacked(batch)));
            }
        }
        Ok(None)
    }
}

impl Reading {
    /// Begins the next batch where none is read; false at the end of what is wanted.
    fn is_in_batch(&mut self) -> Result<bool> {
        Ok(self.lying.is_some() || (self.left > 0 && (self.windows.is_some() || self.open_next()?)))
    }

    /// The next rows of the batch; nothing at its end, and where none of them matches.
    fn next_window(&mut self) -> Result<Option<Batch>> {
        let Some(rows) = self.windows.as_mut().and_then(|windows| windows.rows.next()) else {
            self.windows = None;
            return Ok(None);
        };
        let Some(batch) = self.window(rows.start as usize..rows.end as usize)? else {
            return Ok(None);
        };
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let rows = batch.batch.num_rows().min(left);
        self.left -= rows as u64;
        Ok(Some(batch.slice(0..rows)))
    }

    /// The message that the batch is in the content, where it can go out as it is.
    fn whole_message(&mut self) -> Result<Option<Stored>> {
        let Some(windows) = &mut self.windows else {
            return Ok(None);
        };
        let (Some(header), Body::Held(body)) = (windows.header.take(), &windows.body) else {
            return Ok(None);
        };
        let (rows, bytes) = (windows.plan.rows as u64, header.len() as u64 + body.bytes());
        let fits = bytes <= self.scan.batch_bytes as u64 && rows <= self.left;
        if !fits || !windows.plan.holds(self.table.layout.schema.fields(), body)? {
            return Ok(None);
        }
        let stored = Stored {
            message: body.message(header),
            rows,
            first_row: windows.first_row,
        };
        self.left -= rows;
        self.windows = None;
        Ok(Some(stored))
    }

    /// Begins the next batch that has wanted rows; false at the end.
    fn open_next(&mut self) -> Result<bool> {
        let table = Arc::clone(&self.table);
        while let Some(block) = table.layout.batches.get(self.batch) {
            let number = self.batch;
            self.batch += 1;
            let known = self.starts.as_ref().map(|starts| starts[number]..starts[number + 1]);
            let first_row = known.as_ref().map_or(self.row, |rows| rows.start);
            // How many rows are wanted, of how many there are.
            let asked = self.scan.rows.as_ref().zip(known);
            let asked = asked.map(|(rows, known)| (rows.within(&known).count(), known.end - known.start));
            if asked.is_some_and(|(wanted, _)| wanted == 0) {
                continue;
            }
            let reads_on = self.is_held(block)
                && self.scan.limit.is_none()
                && asked.is_none_or(|(wanted, rows)| is_most(wanted, rows));
            // A header that its body follows is not fetched for itself.
            let may_leave = self.leaves_bodies && self.fits(block);
            let headers = self.bodies.as_ref().filter(|_| reads_on && !may_leave);
            let headers = headers.unwrap_or(&self.headers);
            let (plan, header) = table.layout.plan(headers, block)?;
            let rows = first_row..first_row + plan.rows as u64;
            self.row = rows.end;
            let mut wanted = match &self.scan.rows {
                Some(wanted) => wanted.within(&rows).counted_from(first_row),
                None => Rows::all(plan.rows as u64),
            };
            if self.scan.filter.is_none() {
                wanted = wanted.first(self.left);
            }
            if wanted.is_empty() {
                continue;
            }
            let header = header.filter(|_| wanted.count() == plan.rows as u64);
            if may_leave && let Some(header) = &header {
                if plan.holds_of_any_body(table.layout.schema.fields())? {
                    let start = block.start + block.head_bytes;
                    self.left -= plan.rows as u64;
                    self.lying = Some(Lying {
                        header: header.clone(),
                        body: start..start + block.body_bytes,
                        rows: plan.rows as u64,
                        first_row,
                    });
                    return Ok(true);
                }
                self.leaves_bodies = false;
            }
            let (read, dictionaries) = &mut self.dictionaries;
            if *read < block.dictionaries {
                table
                    .layout
                    .read_dictionaries(&self.headers, *read..block.dictionaries, dictionaries)?;
                *read = block.dictionaries;
            }
            let mut windows = self.windows(plan, block, first_row, &wanted)?;
            windows.header = header;
            self.windows = Some(windows);
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether a message is large, and no larger than a batch may be.
    fn fits(&self, block: &Block) -> bool {
        let bytes = block.head_bytes + block.body_bytes;
        block.body_bytes >= BODY_BYTES_LEFT_MIN && bytes <= self.scan.batch_bytes as u64
    }

    /// Whether a body is small enough to be held.
    fn is_held(&self, block: &Block) -> bool {
        block.body_bytes <= BODY_BYTES_HELD.max(self.scan.batch_bytes as u64)
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
        let is_most = plan.is_compressed() || is_most(wanted.count(), plan.rows as u64);
        let body = match &self.bodies {
            Some(bodies) if is_most && self.is_held(block) => {
                Body::Held(Held::gather(bodies, body_start..body_start + block.body_bytes)?)
            }
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
                let parts = parts.filter(|part| !part.is_empty()).collect();
                Body::Fetched(Box::new(Source::of_parts(place, parts, runs)), body_start)
            }
        };
        Ok(Windows {
            plan,
            first_row,
            rows: cut.into_iter(),
            body,
            header: None,
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
        self.headers.check_cancelled()?;
        let fields = self.table.layout.schema.fields();
        let wanted = |column| columns.contains(&column);
        let (_, dictionaries) = &self.dictionaries;
        let mut decoded = windows
            .plan
            .decode(fields, wanted, rows.clone(), &windows.body, dictionaries)?;
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
