//! A scan of a folder, file by file.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};

use super::{FORMAT, FolderTable, partitions::Asked};
use crate::arrays::{
    Rows,
    error::{ArrayError, Result},
    in_parts::{InParts, one_by_one},
    table::{Batch, Batches, Numbers, Scan, Table},
};

/// Largest file that is begun beside another.
const AHEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a selection of a folder.
pub(super) fn scan(table: Arc<FolderTable>, scan: Scan) -> Result<Batches> {
    let selected = match &scan.rows {
        Some(rows) => rows.clone(),
        None => Rows::all(table.n_rows().unwrap_or_default()),
    };
    let mut files = Vec::new();
    for file in 0..table.files.len() {
        if !selected.within(&table.rows_of(file)).is_empty() && table.asks(&scan, file)? != Asked::Settled(false) {
            files.push(file);
        }
    }
    let folder = Folder { table, scan, selected };
    Ok(one_by_one(Arc::new(folder), files))
}

/// What a scan reads of each file.
struct Folder {
    table: Arc<FolderTable>,
    scan: Scan,
    /// Rows that were asked for by number.
    selected: Rows,
}

impl InParts for Folder {
    fn scan(&self) -> &Scan {
        &self.scan
    }

    fn small_bytes(&self, file: usize) -> Option<u64> {
        Some(self.table.unpacked_bytes(file)).filter(|bytes| *bytes <= AHEAD_BYTES_MAX)
    }

    fn begin(self: Arc<Self>, file: usize, left: u64) -> Result<Batches> {
        let (table, scan) = (&self.table, &self.scan);
        let file_columns = table.layout.file_columns;
        let filter = match table.asks(scan, file)? {
            Asked::Settled(_) => None,
            Asked::Rest(rest) => Some(Arc::new(rest)),
        };
        let rows = table.rows_of(file);
        let of_file = Scan {
            columns: scan
                .columns
                .iter()
                .copied()
                .filter(|column| *column < file_columns)
                .collect(),
            rows: Some(self.selected.within(&rows).counted_from(rows.start)),
            filter,
            limit: scan.limit.map(|_| left),
            batch_bytes: scan.batch_bytes,
            cancel: scan.cancel.clone(),
        };
        let batches = table.opened(file, scan)?.scan(of_file)?;
        Ok(Box::new(batches.map(move |batch| {
            let path = &self.table.files[file].path;
            batch
                .and_then(|batch| self.complete(file, batch))
                .map_err(|error| error.in_member(path))
        })))
    }
}

impl Folder {
    /// A batch of a file with what its path says, and the numbers of its rows in the table.
    fn complete(&self, file: usize, batch: Batch) -> Result<Batch> {
        let start = self.table.rows_of(file).start;
        let numbers = match batch.numbers {
            Numbers::From(first) => Numbers::From(first + start),
            Numbers::Listed(numbers) => Numbers::Listed(numbers.iter().map(|number| number + start).collect()),
        };
        let rows = batch.batch.num_rows();
        let (mut of_file, mut columns) = (batch.batch.columns().iter(), Vec::new());
        for column in self.scan.columns.iter() {
            columns.push(match column.checked_sub(self.table.layout.file_columns) {
                Some(partition) => self.table.partitions.column(partition, file, rows)?,
                None => of_file.next().map(Arc::clone).ok_or_else(missing)?,
            });
        }
        let batch = with_columns(&self.table.schema, &self.scan.columns, columns, rows)?;
        Ok(Batch { batch, numbers })
    }
}

fn missing() -> ArrayError {
    ArrayError::Internal("a file gave too few columns".to_owned())
}

/// A batch of columns as they were unpacked, under the names of the table.
fn with_columns(schema: &Schema, places: &[usize], columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields = places.iter().zip(&columns).map(|(place, column)| {
        let field = schema.field(*place);
        Field::new(field.name(), column.data_type().clone(), true)
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
        .map_err(|error| ArrayError::from_arrow(FORMAT, error))
}
