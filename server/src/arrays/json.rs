//! JSON lines: an object on each line, plain or packed.
//!
//! Columns are the names in the order in which they appear first. What their values are
//! is found by looking at them: whole numbers, numbers, booleans, text, lists, objects.
//! Text stays text, also where it looks like a time.

mod shape;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::{ReaderBuilder, reader::Decoder};
use arrow_schema::{Schema, SchemaRef};
use artifactd_domain::TextPacking;
use memchr::memchr;

use self::shape::Shape;
use super::{
    budget::Deadline,
    csv::Found,
    error::{ArrayError, Result},
    filter::mask,
    source::Place,
    table::{Batch, Batches, ColumnFacts, Numbers, Part, ReadOn, Scan, Table, ended_by_errors},
    text::{MARK_BYTES, Mark, Text, mark_bytes},
};

const FORMAT: &str = "jsonl";

/// Rows of a batch at most.
const BATCH_ROWS_MAX: usize = 16 * 1024;

/// A file of JSON lines.
#[derive(Debug)]
pub(crate) struct JsonTable {
    place: Place,
    packing: TextPacking,
    schema: SchemaRef,
    n_rows: Option<u64>,
    marks: Vec<Mark>,
}

impl JsonTable {
    /// A table of which everything is known from an earlier look.
    pub(crate) fn of_found(
        place: Place,
        packing: TextPacking,
        schema: SchemaRef,
        n_rows: Option<u64>,
        marks: Vec<Mark>,
    ) -> Self {
        Self {
            place,
            packing,
            schema,
            n_rows,
            marks,
        }
    }
}

/// Looks through a text, as far as `bytes_max` of it. Must be called where waiting is allowed.
pub(crate) fn look(place: Place, packing: TextPacking, bytes_max: u64, deadline: Deadline) -> Result<Found> {
    let mut lines = Lines::new(place, packing, None)?;
    let mut shape = Shape::object();
    let mut marks = vec![lines.mark()];
    let mut complete = false;
    while lines.text.byte() < bytes_max {
        if lines.row.is_multiple_of(1024) {
            deadline.check()?;
        }
        if lines.text.byte() >= marks[marks.len() - 1].byte + MARK_BYTES {
            marks.push(lines.mark());
        }
        let number = lines.line;
        let Some(line) = lines.next()? else {
            complete = true;
            break;
        };
        let found: std::result::Result<Shape, _> = serde_json::from_slice(&line);
        let found = found.map_err(|error| malformed(number, &error.to_string()))?;
        if !found.is_object() {
            return Err(malformed(number, "is not an object"));
        }
        shape
            .merge(found)
            .map_err(|name| malformed(number, &format!("gives {name} values of another kind")))?;
    }
    if lines.row == 0 {
        return Err(ArrayError::malformed(FORMAT, "it is empty"));
    }
    let fields = shape.into_fields();
    Ok(Found {
        facts: vec![ColumnFacts::default(); fields.len()],
        n_rows: complete.then_some(lines.row),
        schema: Arc::new(Schema::new(fields)),
        marks,
    })
}

fn malformed(line: u64, what: &str) -> ArrayError {
    ArrayError::malformed(FORMAT, format!("line {line}: {what}"))
}

impl Table for JsonTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn n_rows(&self) -> Option<u64> {
        self.n_rows
    }

    fn parts(&self) -> Vec<Part> {
        let (Some(n_rows), TextPacking::Plain) = (self.n_rows, self.packing) else {
            return Vec::new();
        };
        let ends = self.marks.iter().skip(1).map(|mark| (mark.row, mark.byte));
        let ends = ends.chain([(n_rows, self.place.size_bytes)]);
        let parts = self.marks.iter().zip(ends).map(|(mark, (row, byte))| Part {
            rows: mark.row..row,
            bytes: byte - mark.byte,
        });
        parts.filter(|part| !part.rows.is_empty()).collect()
    }

    fn column_facts(&self) -> Vec<ColumnFacts> {
        vec![ColumnFacts::default(); self.schema.fields().len()]
    }

    fn scan(self: Arc<Self>, scan: Scan) -> Result<Batches> {
        let first = scan
            .rows
            .as_ref()
            .map_or(Some(0), |rows| rows.ranges().first().map(|rows| rows.start));
        let Some(first) = first else {
            return Ok(Box::new(std::iter::empty()));
        };
        let known = match self.packing {
            TextPacking::Plain => self.marks.iter().rev().find(|mark| mark.row <= first).copied(),
            _ => None,
        };
        let lines = Lines::new(self.place.until(&scan.cancel), self.packing, known)?;
        let reading = Reading {
            left: scan.limit.unwrap_or(u64::MAX),
            table: self,
            scan,
            lines,
        };
        Ok(ended_by_errors(reading))
    }
}

/// Lines on their way; those that are empty count for nothing.
struct Lines {
    text: Text,
    row: u64,
    line: u64,
}

impl Lines {
    fn new(place: Place, packing: TextPacking, known: Option<Mark>) -> Result<Self> {
        let mut text = Text::new(place, packing, FORMAT, known.map_or(0, |mark| mark.byte))?;
        text.take_in()?;
        if known.is_none() {
            let skipped = mark_bytes(text.here(), FORMAT)?;
            text.give(skipped);
        }
        Ok(Self {
            text,
            row: known.map_or(0, |mark| mark.row),
            line: known.map_or(1, |mark| mark.line),
        })
    }

    fn mark(&self) -> Mark {
        Mark {
            row: self.row,
            byte: self.text.byte(),
            line: self.line,
        }
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        Ok(self.read(|found| line.extend_from_slice(found))?.then_some(line))
    }

    /// Gives the next line that is not empty; false at the end.
    fn read(&mut self, mut give: impl FnMut(&[u8])) -> Result<bool> {
        loop {
            let here = self.text.here();
            let (line, bytes) = match memchr(b'\n', here) {
                Some(end) => (&here[..end], end + 1),
                None if self.text.is_last() => (here, here.len()),
                None => {
                    self.text.take_in()?;
                    continue;
                }
            };
            if bytes == 0 {
                return Ok(false);
            }
            let is_empty = line.iter().all(u8::is_ascii_whitespace);
            if !is_empty {
                give(line);
                self.row += 1;
            }
            self.text.give(bytes);
            self.line += 1;
            if !is_empty {
                return Ok(true);
            }
        }
    }
}

struct Reading {
    table: Arc<JsonTable>,
    scan: Scan,
    lines: Lines,
    left: u64,
}

impl ReadOn for Reading {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while self.left > 0 {
            let Some(batch) = self.read()? else { break };
            let rows = batch
                .batch
                .num_rows()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if rows > 0 {
                self.left -= rows as u64;
                return Ok(Some(batch.slice(0..rows)));
            }
        }
        Ok(None)
    }
}

impl Reading {
    /// Reads some lines and keeps what is wanted of them.
    fn read(&mut self) -> Result<Option<Batch>> {
        let mut rows = BATCH_ROWS_MAX;
        if let Some(wanted) = &self.scan.rows {
            let rest = wanted.within(&(self.lines.row..u64::MAX));
            let Some(next) = rest.ranges().first().cloned() else {
                return Ok(None);
            };
            while self.lines.row < next.start {
                if !self.lines.read(|_| ())? {
                    return Ok(None);
                }
            }
            rows = rows.min(usize::try_from(next.end - next.start).unwrap_or(usize::MAX));
        }
        let first = self.lines.row;
        let Some(batch) = self.decode(rows)? else {
            return Ok(None);
        };
        let refused = |error| ArrayError::from_arrow(FORMAT, error);
        let mut batch = Batch {
            batch,
            numbers: Numbers::From(first),
        };
        if let Some(filter) = &self.scan.filter {
            let places: Vec<usize> = (0..self.table.schema.fields().len()).collect();
            let mask = mask(filter, &batch.batch, &places)?;
            batch = batch.filter(&mask).map_err(refused)?;
        }
        batch.batch = batch.batch.project(&self.scan.columns).map_err(refused)?;
        Ok(Some(batch))
    }

    fn decode(&mut self, rows: usize) -> Result<Option<RecordBatch>> {
        let (mut decoder, mut count, mut bytes) = (self.decoder(rows)?, 0, 0);
        while count < rows && bytes < self.scan.batch_bytes {
            let number = self.lines.line;
            let mut decoded = Ok(0);
            let mut length = 0;
            let found = self.lines.read(|line| {
                length = line.len();
                decoded = decoder.decode(line);
            })?;
            if !found {
                break;
            }
            count += 1;
            bytes += length;
            let taken = decoded.map_err(|error| malformed(number, &error.to_string()))?;
            if taken != length || decoder.has_partial_record() || decoder.len() != count {
                return Err(malformed(number, "is not one object"));
            }
        }
        if count == 0 {
            return Ok(None);
        }
        decoder.flush().map_err(|error| {
            // The decoder knows the value and not its line.
            let (last, first) = (self.lines.line - 1, self.lines.line - count as u64);
            ArrayError::malformed(FORMAT, format!("lines {first} to {last}: {error}"))
        })
    }

    fn decoder(&self, rows: usize) -> Result<Decoder> {
        let builder = ReaderBuilder::new(Arc::clone(&self.table.schema));
        let builder = builder.with_batch_size(rows).with_strict_mode(true);
        builder
            .build_decoder()
            .map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }
}
