//! Text with delimiters: csv and tsv, plain or packed.
//!
//! The first record names the columns. What the cells are is found by looking at them,
//! in the order of pyarrow; a cell further on that does not fit ends the read with its
//! line. Text in which no places are known is read from the start.

mod kind;
mod parse;

use std::{collections::VecDeque, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use artifactd_domain::TextPacking;

use self::{
    kind::{Kind, Kinds},
    parse::{Cells, Read, read_record},
};
use super::{
    budget::{COLUMNS_MAX, Deadline},
    error::{ArrayError, Result},
    filter::{columns_of, mask},
    source::Place,
    table::{Batch, Batches, ColumnFacts, Numbers, Part, ReadOn, Scan, Table, ended_by_errors},
    text::{MARK_BYTES, Mark, Text, mark_bytes},
};

/// Rows of a batch at most.
const BATCH_ROWS_MAX: usize = 64 * 1024;

/// Cells that are looked at together.
const LOOK_BYTES: usize = 1024 * 1024;

/// A csv or tsv file.
#[derive(Debug)]
pub(crate) struct CsvTable {
    place: Place,
    dialect: Dialect,
    schema: SchemaRef,
    n_rows: Option<u64>,
    /// Where rows begin, ascending; the first row is always there.
    marks: Vec<Mark>,
}

/// How the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// What stands between cells.
    pub(crate) delimiter: u8,
    /// How the text is packed.
    pub(crate) packing: TextPacking,
}

impl Dialect {
    fn format(self) -> &'static str {
        match self.delimiter {
            b'\t' => "tsv",
            _ => "csv",
        }
    }
}

/// What a look through a text found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) schema: SchemaRef,
    /// How many rows, when all were seen.
    pub(crate) n_rows: Option<u64>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) facts: Vec<ColumnFacts>,
}

impl CsvTable {
    /// A table of which everything is known from an earlier look.
    pub(crate) fn of_found(
        place: Place,
        dialect: Dialect,
        schema: SchemaRef,
        n_rows: Option<u64>,
        marks: Vec<Mark>,
    ) -> Self {
        Self {
            place,
            dialect,
            schema,
            n_rows,
            marks,
        }
    }
}

/// Looks through a text, as far as `bytes_max` of it. Must be called where waiting is allowed.
pub(crate) fn look(place: Place, dialect: Dialect, bytes_max: u64, deadline: Deadline) -> Result<Found> {
    let mut records = Records::new(place, dialect, None)?;
    let names = records.header()?;
    let mut kinds = vec![(Kinds::ANY, 0u64); names.len()];
    let mut marks = vec![records.mark()];
    let mut complete = false;
    while records.text.byte() < bytes_max {
        deadline.check()?;
        let read = records.read(BATCH_ROWS_MAX, LOOK_BYTES)?;
        for (column, (kinds, nulls)) in kinds.iter_mut().enumerate() {
            for cell in records.cells.column(column) {
                kinds.see(cell);
                *nulls += u64::from(kind::is_null(cell));
            }
        }
        if read == 0 {
            complete = true;
            break;
        }
        if records.text.byte() >= marks[marks.len() - 1].byte + MARK_BYTES {
            marks.push(records.mark());
        }
    }
    let fields = names
        .into_iter()
        .zip(&kinds)
        .map(|(name, (kinds, _))| Field::new(name, kinds.narrowest().data_type(), true));
    let fields: Vec<Field> = fields.collect();
    let facts = kinds.iter().map(|(kinds, nulls)| ColumnFacts {
        // A text that is empty is no null.
        nulls: complete.then_some(if kinds.narrowest() == Kind::Text { 0 } else { *nulls }),
        ..ColumnFacts::default()
    });
    Ok(Found {
        n_rows: complete.then_some(records.row),
        facts: facts.collect(),
        schema: Arc::new(Schema::new(fields)),
        marks,
    })
}

impl Table for CsvTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn n_rows(&self) -> Option<u64> {
        self.n_rows
    }

    fn parts(&self) -> Vec<Part> {
        let (Some(n_rows), TextPacking::Plain) = (self.n_rows, self.dialect.packing) else {
            return Vec::new();
        };
        let end = Mark {
            row: n_rows,
            byte: self.place.size_bytes,
            line: 0,
        };
        let ends = self.marks.iter().skip(1).chain([&end]);
        let parts = self.marks.iter().zip(ends).map(|(mark, end)| Part {
            rows: mark.row..end.row,
            bytes: end.byte - mark.byte,
        });
        parts.filter(|part| !part.rows.is_empty()).collect()
    }

    fn column_facts(&self) -> Vec<ColumnFacts> {
        vec![ColumnFacts::default(); self.schema.fields().len()]
    }

    fn scan(self: Arc<Self>, scan: Scan) -> Result<Batches> {
        let kinds = self
            .schema
            .fields()
            .iter()
            .map(|field| Kind::of_data_type(field.data_type()));
        let kinds =
            kinds.map(|kind| kind.ok_or_else(|| ArrayError::Internal("a csv column of another kind".to_owned())));
        let first = scan
            .rows
            .as_ref()
            .map_or(Some(0), |rows| rows.ranges().first().map(|rows| rows.start));
        let Some(first) = first else {
            return Ok(Box::new(std::iter::empty()));
        };
        let known = match self.dialect.packing {
            TextPacking::Plain => self.marks.iter().rev().find(|mark| mark.row <= first).copied(),
            _ => None,
        };
        let mut records = Records::new(self.place.until(&scan.cancel), self.dialect, known)?;
        match known {
            Some(_) => records.set_columns(self.schema.fields().len()),
            None => {
                records.header()?;
            }
        }
        let asked = scan
            .filter
            .as_ref()
            .map(|filter| columns_of(filter))
            .unwrap_or_default();
        let reading = Reading {
            kinds: kinds.collect::<Result<_>>()?,
            schema: scan.schema(&self.schema),
            left: scan.limit.unwrap_or(u64::MAX),
            waiting: VecDeque::new(),
            table: self,
            scan,
            records,
            asked,
        };
        Ok(ended_by_errors(reading))
    }
}

/// Records on their way.
struct Records {
    text: Text,
    dialect: Dialect,
    cells: Cells,
    columns: usize,
    /// Where each record in `cells` begins.
    lines: Vec<u64>,
    /// The next row, and the line after the last one.
    row: u64,
    line: u64,
}

impl Records {
    fn new(place: Place, dialect: Dialect, known: Option<Mark>) -> Result<Self> {
        let from = known.map_or(0, |mark| mark.byte);
        let mut text = Text::new(place, dialect.packing, dialect.format(), from)?;
        text.take_in()?;
        if known.is_none() {
            let skipped = mark_bytes(text.here(), dialect.format())?;
            text.give(skipped);
        }
        Ok(Self {
            text,
            dialect,
            cells: Cells::default(),
            columns: 0,
            lines: Vec::new(),
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

    fn malformed(&self, line: u64, what: &str) -> ArrayError {
        ArrayError::malformed(self.dialect.format(), format!("line {line} {what}"))
    }

    /// Reads the names of the columns.
    fn header(&mut self) -> Result<Vec<String>> {
        let mut cells = Cells::default();
        let Some((line, count)) = self.record(&mut cells)? else {
            return Err(ArrayError::malformed(self.dialect.format(), "it is empty"));
        };
        if count > COLUMNS_MAX {
            return Err(ArrayError::OverBudget("100,000 columns"));
        }
        cells.set_columns(count);
        let names = cells.last_record().map(|cell| String::from_utf8(cell.to_vec()));
        let names: std::result::Result<Vec<String>, _> = names.collect();
        self.set_columns(count);
        names.map_err(|_| self.malformed(line, "is not UTF-8"))
    }

    fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
        self.cells = Cells::of_columns(columns);
    }

    /// Reads one record; its line and how many cells it has, nothing at the end.
    fn record(&mut self, cells: &mut Cells) -> Result<Option<(u64, usize)>> {
        loop {
            match read_record(self.text.here(), self.text.is_last(), self.dialect.delimiter, cells) {
                Read::Record {
                    bytes,
                    lines,
                    empty_lines,
                    cells,
                } => {
                    let line = self.line + empty_lines;
                    self.text.give(bytes);
                    self.line += lines;
                    return Ok(Some((line, cells)));
                }
                Read::Unfinished => self.text.take_in()?,
                Read::End => return Ok(None),
                Read::OpenQuote => {
                    return Err(self.malformed(self.line, "begins a record with a quote that is never closed"));
                }
                Read::Nul => return Err(self.malformed(self.line, "begins a record with a NUL")),
            }
        }
    }

    /// Reads records until there are as many, or so much text; how many were read.
    fn read(&mut self, rows: usize, bytes: usize) -> Result<usize> {
        let mut cells = std::mem::take(&mut self.cells);
        cells.clear();
        self.lines.clear();
        while self.lines.len() < rows && cells.bytes() < bytes {
            let Some((line, count)) = self.record(&mut cells)? else {
                break;
            };
            if count != self.columns {
                let what = format!("has {count} cells, the first record has {}", self.columns);
                return Err(self.malformed(line, &what));
            }
            self.lines.push(line);
        }
        self.row += self.lines.len() as u64;
        self.cells = cells;
        Ok(self.lines.len())
    }

    /// Goes past records.
    fn skip(&mut self, rows: u64) -> Result<u64> {
        let (mut skipped, mut cells) = (0, Cells::of_columns(self.columns));
        while skipped < rows && self.record(&mut cells)?.is_some() {
            cells.clear();
            skipped += 1;
        }
        self.row += skipped;
        Ok(skipped)
    }
}

struct Reading {
    table: Arc<CsvTable>,
    kinds: Vec<Kind>,
    scan: Scan,
    schema: SchemaRef,
    records: Records,
    asked: Vec<usize>,
    left: u64,
    waiting: VecDeque<Batch>,
}

impl ReadOn for Reading {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while self.left > 0 {
            if let Some(batch) = self.waiting.pop_front() {
                let rows = batch
                    .batch
                    .num_rows()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= rows as u64;
                return Ok(Some(batch.slice(0..rows)));
            }
            if !self.read()? {
                break;
            }
        }
        Ok(None)
    }
}

impl Reading {
    /// Reads some records and keeps what is wanted of them; false at the end.
    fn read(&mut self) -> Result<bool> {
        let mut rows = BATCH_ROWS_MAX;
        if let Some(wanted) = &self.scan.rows {
            let rest = wanted.within(&(self.records.row..u64::MAX));
            let Some(next) = rest.ranges().first().cloned() else {
                return Ok(false);
            };
            self.records.skip(next.start - self.records.row)?;
            rows = rows.min(usize::try_from(next.end - next.start).unwrap_or(usize::MAX));
        }
        let first = self.records.row;
        let rows = self.records.read(rows, self.scan.batch_bytes)?;
        if rows == 0 {
            return match self.table.n_rows {
                Some(n_rows) if self.records.row < n_rows && self.scan.rows.is_none() => {
                    Err(ArrayError::Internal("a csv file that became shorter".to_owned()))
                }
                _ => Ok(false),
            };
        }
        let numbers = Numbers::From(first);
        let batch = match &self.scan.filter {
            None => Batch {
                batch: self.batch(&self.scan.columns, Arc::clone(&self.schema), rows)?,
                numbers,
            },
            Some(filter) => {
                let fields: Vec<_> = self
                    .asked
                    .iter()
                    .map(|column| Arc::clone(&self.table.schema.fields()[*column]))
                    .collect();
                let asked = self.batch(&self.asked, Arc::new(Schema::new(fields)), rows)?;
                let mask = mask(filter, &asked, &self.asked)?;
                if mask.count_set_bits() == 0 {
                    return Ok(true);
                }
                let batch = self.batch(&self.scan.columns, Arc::clone(&self.schema), rows)?;
                let whole = Batch { batch, numbers };
                whole
                    .filter(&mask)
                    .map_err(|error| ArrayError::from_arrow(self.records.dialect.format(), error))?
            }
        };
        self.waiting.push_back(batch);
        Ok(true)
    }

    fn batch(&self, columns: &[usize], schema: SchemaRef, rows: usize) -> Result<RecordBatch> {
        let arrays = columns.iter().map(|column| self.column(*column, rows));
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options);
        batch.map_err(|error| ArrayError::from_arrow(self.records.dialect.format(), error))
    }

    fn column(&self, column: usize, rows: usize) -> Result<ArrayRef> {
        let cells = self.records.cells.column(column);
        kind::array(self.kinds[column], cells, rows).map_err(|misfit| {
            let field = self.table.schema.field(column);
            let (name, wanted) = (field.name(), field.data_type());
            let what = match self.kinds[column] {
                Kind::Text => format!("holds text in the column {name} that is not UTF-8"),
                _ => format!("holds something in the column {name} that is no {wanted}"),
            };
            let line = self.records.lines[misfit.row];
            self.records.malformed(line, &what)
        })
    }
}
