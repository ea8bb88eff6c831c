//! The footer of a parquet file: read once, checked, then trusted.

use std::{ops::Range, sync::Arc};

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};

use super::{FORMAT, guarded, pages::PageFile, thrift};
use crate::arrays::{
    budget::COLUMNS_MAX,
    error::{ArrayError, Result},
    source::Source,
};

/// Length and magic at the end.
const TAIL_BYTES: u64 = 8;

/// Most footers lie in it, so that they take one request.
const FIRST_READ_BYTES: u64 = 64 * 1024;

/// Largest footer.
const FOOTER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Columns of all row groups.
const CHUNKS_MAX: usize = 500_000;

/// Largest index of pages.
const INDEX_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a footer says.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) metadata: Arc<ParquetMetaData>,
    /// The schema as other readers see it.
    pub(super) schema: SchemaRef,
    /// The first row of each row group, and the end of the last.
    pub(super) starts: Vec<u64>,
    /// For each column of the schema, its first leaf, and the end of the last.
    pub(super) leaves: Vec<usize>,
}

impl Footer {
    /// Reads the footer of a file.
    pub(super) fn read(source: &Source) -> Result<Self> {
        let bytes = footer_bytes(source)?;
        let sizes = thrift::check_footer(&bytes)?;
        if sizes.schema_elements > COLUMNS_MAX {
            return Err(ArrayError::OverBudget("100,000 columns"));
        }
        if sizes.row_groups.saturating_mul(sizes.schema_elements) > CHUNKS_MAX {
            return Err(ArrayError::OverBudget("500,000 columns in all of its row groups"));
        }
        guarded(|| {
            let metadata = ParquetMetaDataReader::decode_metadata(&bytes).map_err(ArrayError::from_parquet)?;
            Self::of_metadata(metadata, source.size_bytes())
        })
    }

    fn of_metadata(metadata: ParquetMetaData, size_bytes: u64) -> Result<Self> {
        let mut starts = vec![0u64];
        for row_group in metadata.row_groups() {
            let rows = u64::try_from(row_group.num_rows()).map_err(|_| lie("a row group of negative size"))?;
            let end = starts.last().and_then(|start| start.checked_add(rows));
            starts.push(
                end.filter(|end| *end <= i64::MAX as u64)
                    .ok_or_else(|| lie("too many rows"))?,
            );
            if row_group.columns().len() != metadata.file_metadata().schema_descr().num_columns() {
                return Err(lie("a row group without all columns"));
            }
            for chunk in row_group.columns() {
                check_chunk(chunk, row_group.num_rows(), size_bytes)?;
            }
        }
        let metadata = Arc::new(metadata);
        let options = ArrowReaderOptions::new();
        let read = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(ArrayError::from_parquet)?;
        let schema = Arc::clone(read.schema());
        let leaves = first_leaves(&metadata, &schema)?;
        Ok(Self {
            metadata,
            schema,
            starts,
            leaves,
        })
    }

    /// Rows of the file.
    pub(super) fn n_rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The rows of a row group.
    pub(super) fn rows_of(&self, row_group: usize) -> Range<u64> {
        self.starts[row_group]..self.starts[row_group + 1]
    }

    /// The leaves of a column of the schema.
    pub(super) fn leaves_of(&self, column: usize) -> Range<usize> {
        self.leaves[column]..self.leaves[column + 1]
    }

    /// The same with the indexes of pages, where the file has them and they are of use.
    pub(super) fn with_page_index(&self, source: &Source) -> Result<Arc<ParquetMetaData>> {
        let Some(range) = self.index_range(source)? else {
            return Ok(Arc::clone(&self.metadata));
        };
        let bytes = source.read(range.clone())?;
        for chunk in self
            .metadata
            .row_groups()
            .iter()
            .flat_map(|row_group| row_group.columns())
        {
            for index in index_ranges(chunk).into_iter().flatten() {
                let part = (index.start - range.start) as usize..(index.end - range.start) as usize;
                thrift::check_structs(&bytes[part])?;
            }
        }
        guarded(|| {
            let mut reader = ParquetMetaDataReader::new_with_metadata((*self.metadata).clone())
                .with_page_index_policy(PageIndexPolicy::Optional);
            let file = PageFile::new(Source::sparse(source.place().clone()), Vec::new(), false);
            let read = reader.read_page_indexes(&file);
            read.map_err(|error| file.failure(ArrayError::from_parquet(error)))?;
            let metadata = reader.finish().map_err(ArrayError::from_parquet)?;
            self.check_page_index(&metadata)?;
            Ok(Arc::new(metadata))
        })
    }

    /// Where all indexes lie; `None` where some are missing or they are too large.
    fn index_range(&self, source: &Source) -> Result<Option<Range<u64>>> {
        let mut all: Option<Range<u64>> = None;
        for chunk in self
            .metadata
            .row_groups()
            .iter()
            .flat_map(|row_group| row_group.columns())
        {
            let [offsets, bounds] = index_ranges(chunk);
            let Some(offsets) = offsets else { return Ok(None) };
            for index in [Some(offsets), bounds].into_iter().flatten() {
                if index.end > source.size_bytes() {
                    return Err(lie("an index behind the end"));
                }
                let range = all.get_or_insert(index.clone());
                *range = range.start.min(index.start)..range.end.max(index.end);
            }
        }
        Ok(all.filter(|range| range.end - range.start <= INDEX_BYTES_MAX))
    }

    /// Pages are skipped by what the index says, so it must agree with the row groups.
    fn check_page_index(&self, metadata: &ParquetMetaData) -> Result<()> {
        let Some(index) = metadata.offset_index() else {
            return Ok(());
        };
        for (row_group, columns) in metadata.row_groups().iter().zip(index) {
            for (chunk, pages) in row_group.columns().iter().zip(columns) {
                let chunk_range = chunk_range(chunk);
                let mut last = None;
                for page in pages.page_locations() {
                    let start = u64::try_from(page.offset).map_err(|_| lie("a page before the beginning"))?;
                    let bytes = u64::try_from(page.compressed_page_size).map_err(|_| lie("a page of negative size"))?;
                    let inside = chunk_range.start <= start && start + bytes <= chunk_range.end;
                    let in_order = last.is_none_or(|last| last < page.first_row_index);
                    if !inside || !in_order || !(0..row_group.num_rows().max(1)).contains(&page.first_row_index) {
                        return Err(lie("an index of other pages"));
                    }
                    last = Some(page.first_row_index);
                }
                let first = pages.page_locations().first().map(|page| page.first_row_index);
                if row_group.num_rows() > 0 && first != Some(0) {
                    return Err(lie("an index that does not begin with the first row"));
                }
            }
        }
        Ok(())
    }
}

fn lie(what: &str) -> ArrayError {
    ArrayError::malformed(FORMAT, format!("its metadata holds {what}"))
}

fn footer_bytes(source: &Source) -> Result<bytes::Bytes> {
    let size = source.size_bytes();
    if size < TAIL_BYTES + 4 {
        return Err(ArrayError::malformed(FORMAT, "it is too short"));
    }
    let last = source.read(size.saturating_sub(FIRST_READ_BYTES)..size)?;
    let tail = &last[last.len() - TAIL_BYTES as usize..];
    match &tail[4..] {
        b"PAR1" => {}
        b"PARE" => return Err(ArrayError::unsupported(FORMAT, "encryption")),
        _ => return Err(ArrayError::malformed(FORMAT, "it does not end as such a file does")),
    }
    let footer_bytes = u64::from(u32::from_le_bytes(tail[..4].try_into().expect("four bytes")));
    if footer_bytes > FOOTER_BYTES_MAX {
        return Err(ArrayError::too_large("the footer", footer_bytes, FOOTER_BYTES_MAX));
    }
    let end = size - TAIL_BYTES;
    let start = end
        .checked_sub(footer_bytes)
        .ok_or_else(|| lie("a footer longer than the file"))?;
    source.read(start..end)
}

/// The bytes of a chunk. Must have been checked.
pub(super) fn chunk_range(chunk: &ColumnChunkMetaData) -> Range<u64> {
    let (start, bytes) = chunk.byte_range();
    start..start + bytes
}

fn check_chunk(chunk: &ColumnChunkMetaData, rows: i64, size_bytes: u64) -> Result<()> {
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let range = u64::try_from(start)
        .ok()
        .zip(u64::try_from(chunk.compressed_size()).ok());
    let end = range.and_then(|(start, bytes)| start.checked_add(bytes));
    // A column without values may have no page but an empty dictionary.
    let lies_before = chunk.data_page_offset() < start && chunk.num_values() != 0;
    if lies_before || end.is_none_or(|end| end > size_bytes) {
        return Err(lie("a column outside the file"));
    }
    if chunk.file_path().is_some() {
        return Err(ArrayError::unsupported(FORMAT, "columns in other files"));
    }
    let flat = chunk.column_descr().max_rep_level() == 0;
    if chunk.num_values() < 0 || chunk.uncompressed_size() < 0 || (flat && chunk.num_values() != rows) {
        return Err(lie("a column of another size than its row group"));
    }
    Ok(())
}

/// Where the index of offsets and that of bounds lie.
fn index_ranges(chunk: &ColumnChunkMetaData) -> [Option<Range<u64>>; 2] {
    let range = |start: Option<i64>, bytes: Option<i32>| {
        let (start, bytes) = (u64::try_from(start?).ok()?, u64::try_from(bytes?).ok()?);
        Some(start..start.checked_add(bytes)?)
    };
    [
        range(chunk.offset_index_offset(), chunk.offset_index_length()),
        range(chunk.column_index_offset(), chunk.column_index_length()),
    ]
}

/// For each column, the first of the leaves that it is made of.
fn first_leaves(metadata: &ParquetMetaData, schema: &Schema) -> Result<Vec<usize>> {
    let descriptor = metadata.file_metadata().schema_descr();
    let mut leaves = vec![0; schema.fields().len() + 1];
    for leaf in 0..descriptor.num_columns() {
        let column = descriptor.get_column_root_idx(leaf);
        *leaves
            .get_mut(column + 1)
            .ok_or_else(|| lie("a column that the schema does not have"))? = leaf + 1;
    }
    for column in 1..leaves.len() {
        leaves[column] = leaves[column].max(leaves[column - 1]);
    }
    Ok(leaves)
}

/// The schema with which columns are read: texts as views, which share what is equal,
/// so that a short page cannot become a long batch.
pub(super) fn with_views(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(viewed).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn viewed(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(items) => DataType::List(viewed(items)),
        DataType::LargeList(items) => DataType::LargeList(viewed(items)),
        DataType::FixedSizeList(items, size) => DataType::FixedSizeList(viewed(items), *size),
        DataType::Map(entries, sorted) => DataType::Map(viewed(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}
