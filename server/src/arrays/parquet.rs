//! A parquet file.
//!
//! Row groups and pages that cannot match are not read, columns that are not asked for
//! neither. Columns are unpacked on several threads and put together again, in rows.

mod columns;
mod footer;
mod pages;
mod prune;
mod scan;
mod thrift;
mod write;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use arrow_schema::{DataType, SchemaRef};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    file::metadata::ParquetMetaData,
};

use self::footer::Footer;
use super::{
    error::{ArrayError, Result},
    source::{Place, Source},
    table::{Batches, ColumnFacts, Part, Scan, Table},
};

pub(crate) use self::write::ParquetSink;

const FORMAT: &str = "parquet";

/// A parquet file.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    place: Place,
    footer: Footer,
    /// The footer with the indexes of pages, read when they are of use first.
    indexed: OnceLock<Arc<ParquetMetaData>>,
    /// How columns are unpacked.
    views: SchemaRef,
}

impl ParquetTable {
    /// Reads the footer of a file. Must be called where waiting is allowed.
    pub(crate) fn open(place: Place) -> Result<Self> {
        let footer = Footer::read(&Source::sparse(place.clone()))?;
        Ok(Self {
            views: footer::with_views(&footer.schema),
            place,
            footer,
            indexed: OnceLock::new(),
        })
    }

    /// About the memory of the footer.
    pub(crate) fn footer_bytes(&self) -> usize {
        self.footer.metadata.memory_size()
    }

    fn source(&self, scan: &Scan) -> Source {
        Source::sparse(self.place.until(&scan.cancel))
    }

    /// The footer for a scan that leaves rows out: with indexes, so that pages are left out too.
    fn indexed(&self, scan: &Scan) -> Result<Arc<ParquetMetaData>> {
        if let Some(indexed) = self.indexed.get() {
            return Ok(Arc::clone(indexed));
        }
        let indexed = self.footer.with_page_index(&self.source(scan))?;
        Ok(Arc::clone(self.indexed.get_or_init(|| indexed)))
    }

    /// How the decoder reads the file.
    fn reader_metadata(&self, metadata: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata> {
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&self.views));
        ArrowReaderMetadata::try_new(metadata, options).map_err(ArrayError::from_parquet)
    }

    /// Bytes of a column in a row group when it is unpacked.
    fn unpacked_bytes(&self, row_group: usize, column: usize) -> u64 {
        let row_group = self.footer.metadata.row_group(row_group);
        let fixed = width_of(self.footer.schema.field(column).data_type());
        match fixed {
            Some(width) => width * row_group.num_rows().unsigned_abs(),
            None => {
                let leaves = &row_group.columns()[self.footer.leaves_of(column)];
                leaves.iter().map(|leaf| leaf.uncompressed_size().unsigned_abs()).sum()
            }
        }
    }
}

impl Table for ParquetTable {
    fn schema(&self) -> &SchemaRef {
        &self.footer.schema
    }

    fn n_rows(&self) -> Option<u64> {
        Some(self.footer.n_rows())
    }

    fn parts(&self) -> Vec<Part> {
        let columns = self.footer.schema.fields().len();
        let row_groups = 0..self.footer.metadata.num_row_groups();
        row_groups
            .map(|row_group| Part {
                rows: self.footer.rows_of(row_group),
                bytes: (0..columns).map(|column| self.unpacked_bytes(row_group, column)).sum(),
            })
            .collect()
    }

    fn column_facts(&self) -> Vec<ColumnFacts> {
        guarded(|| Ok(prune::column_facts(&self.footer))).unwrap_or_default()
    }

    fn scan(self: Arc<Self>, scan: Scan) -> Result<Batches> {
        scan::scan(self, scan)
    }
}

/// Bytes of a value of a type that has one size.
fn width_of(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::FixedSizeBinary(size) => u64::try_from(*size).ok(),
        DataType::Boolean => Some(1),
        other => other.primitive_width().map(|width| width as u64),
    }
}

/// Runs a decoder that was not made for content of strangers: its panic is an error of
/// the content.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(_) => Err(ArrayError::malformed(FORMAT, "its decoder gave up")),
    }
}
