//! Tables as parquet files: zstd, statistics, indexes of pages, and all metadata of the
//! schema, so that pandas finds its own again.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves},
    },
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
};

use super::{FORMAT, guarded};
use crate::arrays::{
    error::{ArrayError, Result},
    threads::threads_max,
    write::Sink,
};

/// Rows of a row group at most.
const ROW_GROUP_ROWS_MAX: usize = 1024 * 1024;

/// A row group ends behind the piece that reaches it: all of it is held until then.
const ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;

/// Rows of a page at most, so that few are read for one.
const PAGE_ROWS_MAX: usize = 20_000;

/// Writes pieces as a parquet file.
pub(crate) struct ParquetSink {
    schema: SchemaRef,
    written: Written,
    file: Option<SerializedFileWriter<Written>>,
    factory: ArrowRowGroupWriterFactory,
    row_group: Option<RowGroup>,
    row_groups: usize,
}

/// A row group that is being filled: for each column, the writers of its leaves.
struct RowGroup {
    columns: Vec<Vec<ArrowColumnWriter>>,
    rows: usize,
}

/// The writers of a column, what it is, and what is to be written.
type Job<'w> = ((&'w mut Vec<ArrowColumnWriter>, &'w Arc<Field>), &'w ArrayRef);

/// What was written and not taken yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<Bytes> {
        let written = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match written.is_empty() {
            true => Vec::new(),
            false => vec![written.into()],
        }
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refused(error: parquet::errors::ParquetError) -> ArrayError {
    match ArrayError::from_parquet(error) {
        ArrayError::Unsupported { what, .. } | ArrayError::Malformed { what, .. } => {
            ArrayError::selection("schema", format!("cannot be written as parquet: {what}"))
        }
        other => other,
    }
}

fn properties(schema: &Schema) -> WriterProperties {
    let level = ZstdLevel::try_new(1).expect("zstd has such a level");
    // Readers look for what pandas wrote among the metadata of the file.
    let mut metadata: Vec<KeyValue> = schema
        .metadata()
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    metadata.sort_by(|one, other| one.key.cmp(&other.key));
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_key_value_metadata((!metadata.is_empty()).then_some(metadata))
        .build()
}

impl ParquetSink {
    /// A file of batches of a schema. Fails for types that parquet does not have.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        for field in schema.fields() {
            check_type(field)?;
        }
        let written = Written::default();
        let options = ArrowWriterOptions::new().with_properties(properties(schema));
        let made = guarded(|| {
            let writer = ArrowWriter::try_new_with_options(written.clone(), Arc::clone(schema), options);
            writer.and_then(ArrowWriter::into_serialized_writer).map_err(refused)
        });
        let (file, factory) = made?;
        Ok(Self {
            schema: Arc::clone(schema),
            written,
            file: Some(file),
            factory,
            row_group: None,
            row_groups: 0,
        })
    }

    fn open(&mut self) -> Result<RowGroup> {
        let writers = self.factory.create_column_writers(self.row_groups).map_err(refused)?;
        let mut writers = writers.into_iter();
        let columns = self.schema.fields().iter().map(|field| {
            let leaves = leaves_in(field.data_type());
            writers.by_ref().take(leaves).collect()
        });
        Ok(RowGroup {
            columns: columns.collect(),
            rows: 0,
        })
    }

    fn close(&mut self, row_group: RowGroup) -> Result<()> {
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| ArrayError::Internal("a file that has ended".to_owned()))?;
        let mut group = file.next_row_group().map_err(refused)?;
        for writer in row_group.columns.into_iter().flatten() {
            let chunk = writer.close().map_err(refused)?;
            chunk.append_to_row_group(&mut group).map_err(refused)?;
        }
        group.close().map_err(refused)?;
        self.row_groups += 1;
        Ok(())
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, piece: &RecordBatch) -> Result<Vec<Bytes>> {
        guarded(|| {
            let mut row_group = match self.row_group.take() {
                Some(row_group) => row_group,
                None => self.open()?,
            };
            row_group.write(&self.schema, piece)?;
            match row_group.rows >= ROW_GROUP_ROWS_MAX || row_group.bytes() >= ROW_GROUP_BYTES {
                true => self.close(row_group)?,
                false => self.row_group = Some(row_group),
            }
            Ok(self.written.take())
        })
    }

    fn finish(&mut self) -> Result<Vec<Bytes>> {
        guarded(|| {
            if let Some(row_group) = self.row_group.take() {
                self.close(row_group)?;
            }
            if let Some(file) = self.file.take() {
                file.close().map_err(refused)?;
            }
            Ok(self.written.take())
        })
    }
}

impl RowGroup {
    fn bytes(&self) -> usize {
        self.columns
            .iter()
            .flatten()
            .map(ArrowColumnWriter::get_estimated_total_bytes)
            .sum()
    }

    /// Packs the columns of a piece, several at once.
    fn write(&mut self, schema: &Schema, piece: &RecordBatch) -> Result<()> {
        self.rows += piece.num_rows();
        let mut jobs: Vec<_> = self
            .columns
            .iter_mut()
            .zip(schema.fields())
            .zip(piece.columns())
            .collect();
        jobs.sort_by_key(|(_, column)| column.get_buffer_memory_size());
        let threads = threads_max().min(jobs.len()).max(1);
        let mut sets: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, job) in jobs.into_iter().rev().enumerate() {
            sets[number % threads].push(job);
        }
        let work = |set: Vec<Job<'_>>| {
            set.into_iter()
                .try_for_each(|((writers, field), column)| write_column(writers, field, column))
        };
        thread::scope(|scope| {
            let mine = sets.pop();
            let others: Vec<_> = sets
                .into_iter()
                .map(|set| scope.spawn(|| guarded(|| work(set))))
                .collect();
            let mut done = work(mine.unwrap_or_default());
            for other in others {
                let other = other
                    .join()
                    .unwrap_or_else(|_| Err(ArrayError::malformed(FORMAT, "its encoder gave up")));
                done = done.and(other);
            }
            done
        })
    }
}

fn write_column(writers: &mut [ArrowColumnWriter], field: &Field, column: &ArrayRef) -> Result<()> {
    let leaves = compute_leaves(field, column).map_err(refused)?;
    if leaves.len() != writers.len() {
        return Err(ArrayError::Internal(format!(
            "the column {} has other leaves",
            field.name()
        )));
    }
    for (writer, leaf) in writers.iter_mut().zip(&leaves) {
        writer.write(leaf).map_err(refused)?;
    }
    Ok(())
}

fn check_type(field: &Field) -> Result<()> {
    use DataType as D;
    let unsupported = |data_type: &DataType| {
        let rule = format!(
            "has the column {} of the type {data_type}, which parquet does not have",
            field.name()
        );
        Err(ArrayError::selection("schema", rule))
    };
    match field.data_type() {
        data_type @ (D::Union(..) | D::RunEndEncoded(..) | D::ListView(_) | D::LargeListView(_)) => {
            unsupported(data_type)
        }
        D::Struct(fields) if fields.is_empty() => unsupported(field.data_type()),
        D::Struct(fields) => fields.iter().try_for_each(|field| check_type(field)),
        D::List(items) | D::LargeList(items) | D::FixedSizeList(items, _) | D::Map(items, _) => check_type(items),
        D::Dictionary(_, values) if values.is_nested() => unsupported(field.data_type()),
        _ => Ok(()),
    }
}

fn leaves_in(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves_in(field.data_type())).sum(),
        DataType::List(items)
        | DataType::LargeList(items)
        | DataType::FixedSizeList(items, _)
        | DataType::Map(items, _) => leaves_in(items.data_type()),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow_schema::DataType;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    /// Readers that do not know of Arrow's own schema find there what pandas wrote.
    #[test]
    fn metadata_of_the_schema_is_metadata_of_the_file() {
        let field = Field::new("id", DataType::Int64, true);
        let metadata = HashMap::from([("pandas".to_owned(), "{}".to_owned())]);
        let schema = Arc::new(Schema::new_with_metadata(vec![field], metadata));
        let file = ParquetSink::new(&schema).unwrap().finish().unwrap().concat();
        let file = SerializedFileReader::new(Bytes::from(file)).unwrap();
        let found = file.metadata().file_metadata().key_value_metadata().unwrap();
        let pandas: Vec<_> = found.iter().filter(|pair| pair.key == "pandas").collect();
        assert_eq!(pandas.len(), 1, "{found:?}");
        assert_eq!(pandas[0].value.as_deref(), Some("{}"));
    }
}
