//! Batches on their way into a file.
//!
//! Batches come in whatever sizes their sender likes. They are put together and cut
//! anew by rows and by how much these hold, so that the same rows give the same file.

use std::{mem, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, cast::AsArray, make_array};
use arrow_data::{ArrayData, transform::MutableArrayData};
use arrow_schema::{DataType, SchemaRef};
use artifactd_domain::{TableFormat, TextPacking};
use bytes::Bytes;

use super::{
    error::{ArrayError, Result},
    ipc::IpcSink,
    parquet::ParquetSink,
};

/// Rows that stay together, however many more there are.
const STEP_ROWS: usize = 1024;

/// Rows of a piece at most; a multiple of a step.
const PIECE_ROWS_MAX: usize = 64 * STEP_ROWS;

/// A piece ends behind the step that reaches it.
const PIECE_BITS: u64 = 8 * 8 * 1024 * 1024;

/// Writes batches of one schema as a file.
pub(crate) struct TableWriter {
    schema: SchemaRef,
    sink: Box<dyn Sink>,
    /// What is not written yet, and how many rows and bits it has.
    waiting: Vec<RecordBatch>,
    rows: usize,
    bits: u64,
    written_rows: u64,
}

/// A format that is written.
pub(super) trait Sink: Send {
    /// Takes a piece; answers what of the file is ready.
    fn write(&mut self, piece: &RecordBatch) -> Result<Vec<Bytes>>;

    /// Ends the file; answers the rest.
    fn finish(&mut self) -> Result<Vec<Bytes>>;
}

impl TableWriter {
    /// A writer of the format that a suffix names.
    pub(crate) fn new(suffix: &str, schema: SchemaRef) -> Result<Self> {
        let sink: Box<dyn Sink> = match TableFormat::of_suffix(suffix) {
            Some((TableFormat::Parquet, _)) => Box::new(ParquetSink::new(&schema)?),
            Some((TableFormat::ArrowIpc, TextPacking::Plain)) => Box::new(IpcSink::new(&schema, suffix)),
            _ => {
                let rule =
                    format!("ends in `{suffix}`, and tables are written as .parquet, .arrow, .feather or .arrows");
                return Err(ArrayError::selection("save.key", rule));
            }
        };
        Ok(Self {
            schema,
            sink,
            waiting: Vec::new(),
            rows: 0,
            bits: 0,
            written_rows: 0,
        })
    }

    /// Rows that came.
    pub(crate) fn rows(&self) -> u64 {
        self.written_rows + self.rows as u64
    }

    /// Takes a batch; answers what of the file is ready.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Vec<Bytes>> {
        let (mut ready, mut start) = (Vec::new(), 0);
        while start < batch.num_rows() {
            let in_step = STEP_ROWS - self.rows % STEP_ROWS;
            let end = batch.num_rows().min(start + in_step);
            let part = batch.slice(start, end - start);
            self.bits += part.columns().iter().map(bits_of).sum::<u64>();
            self.rows += part.num_rows();
            self.keep(part);
            start = end;
            let step_is_full = self.rows.is_multiple_of(STEP_ROWS);
            if step_is_full && (self.rows >= PIECE_ROWS_MAX || self.bits >= PIECE_BITS) {
                ready.extend(self.write_piece()?);
            }
        }
        Ok(ready)
    }

    /// Neighbours of one batch stay one.
    fn keep(&mut self, part: RecordBatch) {
        self.waiting.push(part);
    }

    fn write_piece(&mut self) -> Result<Vec<Bytes>> {
        let parts = mem::take(&mut self.waiting);
        let piece = joined(&self.schema, &parts, mem::take(&mut self.rows))?;
        self.bits = 0;
        self.written_rows += piece.num_rows() as u64;
        self.sink.write(&piece)
    }

    /// Ends the file; answers the rest of it.
    pub(crate) fn finish(&mut self) -> Result<Vec<Bytes>> {
        let mut ready = match self.rows {
            0 => Vec::new(),
            _ => self.write_piece()?,
        };
        ready.extend(self.sink.finish()?);
        Ok(ready)
    }
}

/// Batches as one, whose arrays hold nothing else.
fn joined(schema: &SchemaRef, parts: &[RecordBatch], rows: usize) -> Result<RecordBatch> {
    let columns = (0..schema.fields().len()).map(|column| {
        let parts: Vec<ArrayRef> = parts.iter().map(|part| Arc::clone(part.column(column))).collect();
        joined_column(&parts, rows)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| ArrayError::from_arrow("arrow", error))
}

fn joined_column(parts: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let first = parts
        .first()
        .ok_or_else(|| ArrayError::Internal("a piece without parts".to_owned()))?;
    let same_values = |other: &ArrayRef| {
        let (one, other) = (first.as_any_dictionary().values(), other.as_any_dictionary().values());
        one.to_data().ptr_eq(&other.to_data()) || one.as_ref() == other.as_ref()
    };
    if let DataType::Dictionary(..) = first.data_type()
        && !parts.iter().skip(1).all(same_values)
    {
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        return arrow_select::concat::concat(&parts).map_err(|error| ArrayError::from_arrow("arrow", error));
    }
    let data: Vec<ArrayData> = parts.iter().map(|part| part.to_data()).collect();
    let mut joined = MutableArrayData::new(data.iter().collect(), false, rows);
    for (number, part) in data.iter().enumerate() {
        let added = joined.try_extend(number, 0, part.len());
        added.map_err(|error| ArrayError::from_arrow("arrow", error))?;
    }
    Ok(make_array(joined.freeze()))
}

/// How much an array holds, such that parts of it hold as much together.
fn bits_of(array: &ArrayRef) -> u64 {
    use DataType as D;
    let rows = array.len() as u64;
    let texts = |bytes: usize| 8 * bytes as u64 + 32 * rows;
    match array.data_type() {
        D::Null => 0,
        D::Boolean => rows,
        D::Utf8 => texts(span(array.as_string::<i32>().value_offsets())),
        D::LargeUtf8 => texts(span(array.as_string::<i64>().value_offsets())),
        D::Binary => texts(span(array.as_binary::<i32>().value_offsets())),
        D::LargeBinary => texts(span(array.as_binary::<i64>().value_offsets())),
        D::Utf8View | D::BinaryView => texts(super::measure::long_view_bytes(array)) + 96 * rows,
        D::List(_) => {
            let lists = array.as_list::<i32>();
            32 * rows + bits_of(&spanned(lists.value_offsets(), lists.values()))
        }
        D::LargeList(_) => {
            let lists = array.as_list::<i64>();
            64 * rows + bits_of(&spanned(lists.value_offsets(), lists.values()))
        }
        D::FixedSizeList(_, size) => {
            let lists = array.as_fixed_size_list();
            let start = usize::try_from(lists.value_offset(0)).unwrap_or(0);
            bits_of(
                &lists
                    .values()
                    .slice(start, array.len() * usize::try_from(*size).unwrap_or(0)),
            )
        }
        D::Struct(_) => array.as_struct().columns().iter().map(bits_of).sum(),
        D::Map(..) => {
            let map = array.as_map();
            let (start, bytes) = (map.value_offsets()[0] as usize, span(map.value_offsets()));
            32 * rows
                + map
                    .entries()
                    .columns()
                    .iter()
                    .map(|column| bits_of(&column.slice(start, bytes)))
                    .sum::<u64>()
        }
        D::FixedSizeBinary(size) => 8 * size.unsigned_abs() as u64 * rows,
        // Of what is rare, rows alone count.
        other => 8 * other.primitive_width().unwrap_or(16) as u64 * rows,
    }
}

fn span<O: arrow_array::OffsetSizeTrait>(offsets: &[O]) -> usize {
    (offsets[offsets.len() - 1] - offsets[0]).as_usize()
}

fn spanned<O: arrow_array::OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> ArrayRef {
    values.slice(offsets[0].as_usize(), span(offsets))
}
