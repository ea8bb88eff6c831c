//! Parquet, rows C01 to C05.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::Compression,
    file::{
        metadata::{ColumnChunkMetaDataBuilder, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter},
        properties::WriterProperties,
    },
};
use tokio_util::sync::CancellationToken;

use super::{E, MIB, integers, one_column, replaced, told};
use crate::arrays::{measure, mutated::read_all, open, settle, source::Place, table::Scan};

fn parquet_with(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let plain = WriterProperties::builder().set_dictionary_enabled(false);
    parquet_with(batch, plain.build())
}

/// A parquet file that is nothing but this footer.
fn footer_alone(footer: &[u8]) -> Vec<u8> {
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", footer, &length, b"PAR1"].concat()
}

/// The same file with a footer that says something else of its columns.
fn with_columns(file: &[u8], change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::copy_from_slice(file))
        .unwrap();
    let changed = metadata.row_groups().iter().map(|row_group| {
        let columns = row_group
            .columns()
            .iter()
            .map(|column| change(column.clone().into_builder()).build().unwrap());
        row_group
            .clone()
            .into_builder()
            .set_column_metadata(columns.collect())
            .build()
            .unwrap()
    });
    let metadata = ParquetMetaData::new(metadata.file_metadata().clone(), changed.collect());
    let tail = file.len() - 8;
    let length = u32::from_le_bytes(file[tail..tail + 4].try_into().unwrap()) as usize;
    let mut changed = file[..tail - length].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &metadata).finish().unwrap();
    changed
}

/// C01.
#[test]
fn a_parquet_file_without_a_footer_is_refused() {
    let file = parquet(&integers(10));
    let with_length = |length: i32| {
        let mut file = file.clone();
        let at = file.len() - 8;
        file[at..at + 4].copy_from_slice(&length.to_le_bytes());
        file
    };
    let beyond = with_length(file.len() as i32);
    for file in [
        Vec::new(),
        b"PAR1PAR1".to_vec(),
        b"PAR1".to_vec(),
        beyond,
        with_length(-1),
        with_length(i32::MIN),
        with_length(i32::MAX),
        with_length(0),
    ] {
        let told = told("x.parquet", &file);
        assert!(
            matches!(told, E::Malformed { .. } | E::OverBudget(_) | E::UnitTooLarge { .. }),
            "{told}"
        );
    }
}

/// C02.
#[test]
fn a_list_in_a_footer_that_says_that_it_is_endless_is_refused() {
    // Lists of structs, of texts, of numbers: each of 2^31 - 1, in five bytes.
    for kind in [0xfc, 0xf8, 0xf5] {
        let footer = [0x15, 2, 0x19, kind, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
        let told = told("x.parquet", &footer_alone(&footer));
        assert!(matches!(told, E::Malformed { .. }), "{told}");
    }
}

/// C03.
#[test]
fn a_parquet_page_that_says_that_it_is_huge_is_not_unpacked() {
    let packed = WriterProperties::builder().set_dictionary_enabled(false);
    let packed = packed.set_compression(Compression::ZSTD(Default::default()));
    let file = parquet_with(&integers(1000), packed.build());
    // The header: a data page (0x15, 0), of 8,000 bytes and some (0x15, …).
    assert_eq!(&file[4..7], [0x15, 0, 0x15]);
    let end = 7 + file[7..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let file = [&file[..7], &huge, &file[end..]].concat();
    let told = told("x.parquet", &file);
    assert!(
        matches!(told, E::UnitTooLarge { bytes, .. } if bytes == i32::MAX as u64),
        "{told}"
    );
}

/// C03 and C14: a text of 16 KiB that 50,000 rows repeat.
#[test]
fn a_dictionary_that_unpacks_into_far_more_comes_in_small_batches_and_ends_when_it_is_told() {
    const ROWS: usize = 50_000;
    const BATCH_BYTES: usize = MIB;
    let texts = StringArray::from(vec!["x".repeat(16 * 1024)]);
    let keys = Int32Array::from(vec![0; ROWS]);
    let column = DictionaryArray::try_new(keys, Arc::new(texts)).unwrap();
    let batch = one_column(Arc::new(column));
    let packed = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()));
    // The schema of Arrow is left out: then it is a column of texts.
    let options = ArrowWriterOptions::new()
        .with_properties(packed.build())
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    let file = writer.into_inner().unwrap();
    assert!(file.len() < 64 * 1024, "{} bytes", file.len());

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let table = open::open(Place::here(file.into()), ".parquet", None).unwrap();
    assert_eq!(table.schema().field(0).data_type(), &DataType::Utf8);
    let cancel = CancellationToken::new();
    let scan = Scan {
        columns: Arc::new([0]),
        rows: None,
        filter: None,
        limit: None,
        batch_bytes: BATCH_BYTES,
        cancel: cancel.clone(),
    };
    let schema = scan.schema(table.schema());
    let mut rows = 0;
    for (number, batch) in Arc::clone(&table).scan(scan).unwrap().enumerate() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                assert!(matches!(error, E::Cancelled), "{error}");
                break;
            }
        };
        for part in measure::cut(&batch, BATCH_BYTES, BATCH_BYTES).unwrap() {
            let settled = settle::settle(&part.batch, &schema).unwrap();
            assert!(settled.get_array_memory_size() <= 2 * BATCH_BYTES);
            rows += settled.num_rows();
            if number == 0 && rows > 100 {
                break;
            }
        }
        cancel.cancel();
    }
    assert!(rows < ROWS, "it went on to its end");
}

/// C04.
#[test]
fn footers_of_endless_columns_row_groups_or_depth_are_refused() {
    const MANY: usize = 1_000_000;
    let list = |field: u8, count: usize, element: &[u8]| {
        let mut bytes = vec![field, 0xfc];
        let mut left = count;
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes.extend(element.repeat(count));
        bytes
    };
    // An element is a name and the number of its children; the others have none.
    let leaf = [0x48, 0, 0];
    let many = list(0x29, MANY, &leaf);
    let parent = [0x48, 0, 0x15, 2, 0];
    let deep = list(0x29, 10_000, &parent);
    let row_groups = [list(0x29, 1, &leaf), vec![0x16, 0], list(0x19, MANY, &[0])].concat();
    for (what, footer) in [("columns", many), ("depth", deep), ("row groups", row_groups)] {
        let told = told("x.parquet", &footer_alone(&[&footer[..], &[0]].concat()));
        assert!(matches!(told, E::Malformed { .. } | E::OverBudget(_)), "{what}: {told}");
    }
}

/// C04.
#[test]
fn columns_that_lie_outside_the_file_are_refused() {
    let file = parquet(&integers(1000));
    let size = file.len() as i64;
    for (what, changed) in [
        ("before", with_columns(&file, |column| column.set_data_page_offset(-5))),
        (
            "behind",
            with_columns(&file, |column| column.set_data_page_offset(size)),
        ),
        (
            "far behind",
            with_columns(&file, |column| column.set_data_page_offset(i64::MAX)),
        ),
        (
            "too long",
            with_columns(&file, |column| column.set_total_compressed_size(size)),
        ),
        (
            "endless",
            with_columns(&file, |column| column.set_total_compressed_size(i64::MAX)),
        ),
        (
            "negative",
            with_columns(&file, |column| column.set_total_compressed_size(-1)),
        ),
        (
            "in a dictionary",
            with_columns(&file, |column| column.set_dictionary_page_offset(Some(-1))),
        ),
    ] {
        let told = told("x.parquet", &changed);
        assert!(matches!(told, E::Malformed { .. }), "{what}: {told}");
    }
    // Two columns in one place: what is there, or a refusal, and nothing else.
    let two = RecordBatch::try_from_iter([
        ("a", Arc::new(Int64Array::from(vec![1; 1000])) as ArrayRef),
        ("b", Arc::new(Int64Array::from(vec![2; 1000])) as ArrayRef),
    ]);
    let two = with_columns(&parquet(&two.unwrap()), |column| column.set_data_page_offset(4));
    assert!(read_all("x.parquet", &two).map_or_else(|error| error.is_about_content(), |rows| rows == 1000));
}

/// C05.
#[test]
fn parquet_that_is_encrypted_or_packed_in_an_unknown_way_is_told_so() {
    let file = parquet(&integers(1000));
    let mut encrypted = file.clone();
    let at = encrypted.len() - 4;
    encrypted[at..].copy_from_slice(b"PARE");
    let refused = told("x.parquet", &encrypted);
    assert!(
        matches!(&refused, E::Unsupported { what, .. } if what.contains("encrypt")),
        "{refused}"
    );
    // The names of the column, then what packs it: there are eight ways, none is 30.
    let unknown = replaced(&file, &[0x19, 0x18, 1, b'c', 0x15, 0], &[0x19, 0x18, 1, b'c', 0x15, 60]);
    let refused = told("x.parquet", &unknown);
    assert!(
        matches!(refused, E::Malformed { .. } | E::Unsupported { .. }),
        "{refused}"
    );
    // LZO is known and not read, the old LZ4 has frames of its own that these bytes are not.
    for packed in [6, 10] {
        let packed = replaced(
            &file,
            &[0x19, 0x18, 1, b'c', 0x15, 0],
            &[0x19, 0x18, 1, b'c', 0x15, packed],
        );
        let refused = told("x.parquet", &packed);
        assert!(
            matches!(refused, E::Malformed { .. } | E::Unsupported { .. }),
            "{refused}"
        );
    }
    // Nobody asks a bloom filter for anything.
    let bloom = with_columns(&file, |column| column.set_bloom_filter_offset(Some(i64::MAX)));
    assert_eq!(read_all("x.parquet", &bloom).unwrap(), 1000);
}
