//! Columns of a row group as they are unpacked, by one thread or several.

use std::sync::{
    Arc,
    mpsc::{self, Receiver},
};

use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tokio::runtime::Handle;

use super::{FORMAT, guarded, pages::PageFile};
use crate::arrays::error::{ArrayError, Result};

/// Batches that one thread may be ahead of the others.
const BATCHES_AHEAD: usize = 1;

/// Unpacks some columns of a row group.
pub(super) struct Reader {
    /// The file that it reads.
    pub(super) file: PageFile,
    /// The decoder.
    pub(super) reader: ParquetRecordBatchReader,
}

impl Reader {
    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let next = guarded(|| {
            self.file.begin_batch()?;
            let next = self.reader.next().transpose();
            next.map_err(|error| self.file.failure(ArrayError::from_arrow(FORMAT, error)))
        });
        next.transpose()
    }

    /// The same, ahead of whoever takes the batches.
    pub(super) fn on_a_thread(mut self) -> Receiver<Result<RecordBatch>> {
        let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
        Handle::current().spawn_blocking(move || {
            while let Some(next) = self.next() {
                let failed = next.is_err();
                if sender.send(next).is_err() || failed {
                    break;
                }
            }
        });
        receiver
    }
}

/// Where columns are unpacked.
pub(super) enum Unpacked {
    /// By whoever takes the batches.
    Here(Reader),
    /// On a thread of their own.
    Elsewhere(Receiver<Result<RecordBatch>>),
}

/// Columns that several threads unpack, put together.
pub(super) struct Zipped {
    /// Who unpacks them.
    pub(super) readers: Vec<Unpacked>,
    /// For each column of a batch, its place among those of all readers.
    pub(super) places: Vec<usize>,
}

impl Iterator for Zipped {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.zip().transpose()
    }
}

impl Zipped {
    fn zip(&mut self) -> Result<Option<RecordBatch>> {
        // What is unpacked here is, before the others are waited for.
        let here = self.readers.iter_mut().rev().map(|reader| match reader {
            Unpacked::Here(reader) => reader.next(),
            Unpacked::Elsewhere(batches) => batches.recv().ok(),
        });
        let mut parts = here.map(Option::transpose).collect::<Result<Vec<_>>>()?;
        parts.reverse();
        let ended = parts.iter().filter(|part| part.is_none()).count();
        if ended == parts.len() {
            return Ok(None);
        }
        let parts: Vec<RecordBatch> = parts.into_iter().flatten().collect();
        let rows = parts.first().map_or(0, RecordBatch::num_rows);
        if ended > 0 || parts.iter().any(|part| part.num_rows() != rows) {
            return Err(ArrayError::malformed(FORMAT, "its columns have different lengths"));
        }
        let columns: Vec<(ArrayRef, Arc<arrow_schema::Field>)> = parts
            .iter()
            .flat_map(|part| {
                part.columns()
                    .iter()
                    .cloned()
                    .zip(part.schema_ref().fields().iter().cloned())
            })
            .collect();
        let (columns, fields): (Vec<_>, Vec<_>) = self.places.iter().map(|place| columns[*place].clone()).unzip();
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        let batch = RecordBatch::try_new(schema, columns);
        batch.map(Some).map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }
}
