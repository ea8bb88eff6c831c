//! Files that were made to do harm, one test for each kind of harm: what they are told,
//! and that they are told it before much is read, unpacked or kept.

use std::{sync::Arc, time::Instant};

use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::{
    CompressionType,
    writer::{FileWriter, IpcWriteOptions},
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::{
        metadata::{ColumnChunkMetaDataBuilder, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter},
        properties::WriterProperties,
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    error::{ArrayError, Result},
    measure,
    mutated::{TIME_MAX, read_all},
    open,
    source::Place,
    summary,
    table::Scan,
};
use ArrayError as E;

const MIB: usize = 1024 * 1024;

/// What reading a file is told, which must not take long.
fn told(name: &str, file: &[u8]) -> ArrayError {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let told = read_all(name, file).expect_err("it is refused");
    assert!(began.elapsed() < TIME_MAX, "{told}: {:?}", began.elapsed());
    // What a look says when it is saved is no table either.
    let found = summary::look_into(Place::here(Bytes::copy_from_slice(file)), suffix(name));
    assert!(found.accessor.is_none() || matches!(told, E::UnitTooLarge { .. } | E::Malformed { .. } | E::Bomb(_)));
    told
}

fn suffix(name: &str) -> &str {
    &name[name.find('.').expect("it has one")..]
}

fn one_column(column: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

fn integers(count: i64) -> RecordBatch {
    one_column(Arc::new(Int64Array::from_iter_values(0..count)))
}

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

/// Puts other bytes in the place of the only ones that look so.
fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places = file
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from);
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    assert_eq!(places.len(), 1, "{from:?} is there once");
    let (before, behind) = (&file[..places[0]], &file[places[0] + from.len()..]);
    [before, to, behind].concat()
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
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new()
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
        for part in measure::cut(&batch, BATCH_BYTES).unwrap() {
            let settled = super::settle::settle(&part.batch, &schema).unwrap();
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

fn ipc(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn little(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// C06.
#[test]
fn arrow_whose_offsets_lie_is_refused() {
    let file = ipc(
        &one_column(Arc::new(StringArray::from(vec!["abc", "defg", "hijkl"]))),
        None,
    );
    for lie in [
        [0, 7, 3, 12],
        [0, -1, 7, 12],
        [0, 3, 7, 1 << 30],
        [1 << 20, 1 << 20, 1 << 20, 1 << 20],
        [0, 3, 7, i32::MAX],
    ] {
        let told = told("x.arrow", &replaced(&file, &little(&[0, 3, 7, 12]), &little(&lie)));
        assert!(matches!(told, E::Malformed { .. }), "{lie:?}: {told}");
    }
    // Texts that are none.
    let told = told("x.arrow", &replaced(&file, b"abcdefghijkl", b"abcdefg\xffijkl"));
    assert!(matches!(told, E::Malformed { .. }), "{told}");
}

/// C06.
#[test]
fn arrow_whose_lengths_or_places_lie_is_refused() {
    let file = ipc(&integers(1000), None);
    // The length of the batch, of its only column, and of the values of that.
    let (rows, bytes) = (1000_i64.to_le_bytes(), 8000_i64.to_le_bytes());
    for (from, lies) in [(rows, [-1, 1 << 40, i64::MAX]), (bytes, [-8, 1 << 40, i64::MAX])] {
        for lie in lies {
            let places = file.windows(8).enumerate().filter(|(_, window)| *window == from);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            for place in places {
                let mut file = file.clone();
                file[place..place + 8].copy_from_slice(&lie.to_le_bytes());
                // What nobody asks may say anything: the length of a body stands in two places.
                match read_all("x.arrow", &file) {
                    Ok(rows) => assert_eq!(rows, 1000, "{lie} at {place}"),
                    Err(told) => assert!(
                        matches!(told, E::Malformed { .. } | E::UnitTooLarge { .. }),
                        "{lie}: {told}"
                    ),
                }
            }
        }
    }
}

/// C06.
#[test]
fn arrow_that_unpacks_into_far_more_is_not_unpacked() {
    let file = ipc(&integers(1000), Some(CompressionType::ZSTD));
    for lie in [1_i64 << 40, i64::MAX, 1 << 31] {
        let told = told("x.arrow", &replaced(&file, &8000_i64.to_le_bytes(), &lie.to_le_bytes()));
        assert!(
            matches!(told, E::Malformed { .. } | E::UnitTooLarge { .. }),
            "{lie}: {told}"
        );
    }
    let zeros = one_column(Arc::new(Int64Array::from(vec![0; 9 * MIB])));
    let told = told("x.arrow", &ipc(&zeros, Some(CompressionType::ZSTD)));
    assert!(matches!(told, E::UnitTooLarge { .. }), "{told}");
}

/// C06.
#[test]
fn arrow_whose_types_are_nested_without_end_is_refused() {
    let mut nested = DataType::Int8;
    for _ in 0..300 {
        nested = DataType::Struct(vec![Field::new("f", nested, true)].into());
    }
    let schema = Schema::new(vec![Field::new("c", nested, true)]);
    let file = FileWriter::try_new(Vec::new(), &schema).unwrap().into_inner().unwrap();
    let told = told("x.arrow", &file);
    assert!(matches!(told, E::Malformed { .. }), "{told}");
}

fn message_of(told: &ArrayError) -> String {
    told.to_string()
}

/// C07.
#[test]
fn text_that_is_no_table_is_told_where() {
    let utf16: Vec<u8> = "\u{feff}a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (what, text, line) in [
        ("a quote that is never closed", b"a,b\n1,\"2\n3,4\n".to_vec(), "2"),
        ("Latin-1", b"a,b\n1,2\ncaf\xe9,3\n".to_vec(), "3"),
        ("too few", b"a,b\n1,2\n3\n".to_vec(), "3"),
        ("too many", b"a,b\n1,2\n3,4,5\n".to_vec(), "3"),
        ("UTF-16", utf16, ""),
        ("a NUL", b"a,b\n1,2\n\0y,3\n".to_vec(), "3"),
        ("nothing", Vec::new(), ""),
    ] {
        for name in ["x.csv", "x.tsv"] {
            let text: Vec<u8> = match name {
                "x.tsv" => text
                    .iter()
                    .map(|byte| if *byte == b',' { b'\t' } else { *byte })
                    .collect(),
                _ => text.clone(),
            };
            let told = told(name, &text);
            assert!(
                matches!(told, E::Malformed { .. } | E::Unsupported { .. }),
                "{what}: {told}"
            );
            let said = message_of(&told);
            assert!(
                line.is_empty() || said.contains(&format!("line {line}")),
                "{what}: {said}"
            );
        }
    }
}

/// C07.
#[test]
fn text_without_end_is_not_kept() {
    let line = [b"a,b\n1,".to_vec(), vec![b'x'; 40 * MIB]].concat();
    let quoted = [b"a,b\n1,\"".to_vec(), b"x\n".repeat(20 * MIB)].concat();
    let header = vec![b'a'; 40 * MIB];
    for (what, text) in [("a line", line), ("a quote", quoted), ("a header", header)] {
        let told = told("x.csv", &text);
        assert!(
            matches!(told, E::UnitTooLarge { .. } | E::Malformed { .. }),
            "{what}: {told}"
        );
    }
    let names: Vec<String> = (0..1_000_000).map(|number| number.to_string()).collect();
    let told = told("x.csv", names.join(",").as_bytes());
    assert!(matches!(told, E::OverBudget(_)), "{told}");
    let json = [b"{\"a\":\"".to_vec(), vec![b'x'; 40 * MIB]].concat();
    let told = self::told("x.jsonl", &json);
    assert!(matches!(told, E::UnitTooLarge { .. } | E::Malformed { .. }), "{told}");
}

/// C07.
#[test]
fn what_a_spreadsheet_would_run_is_a_text() {
    let text = b"a,b\n=cmd|' /C calc'!A0,+1+1\n@SUM(1),-2+3\n\"=1+1\",\"\"\n";
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let table = open::open(Place::here(Bytes::from_static(text)), ".csv", None).unwrap();
    let scan = Scan {
        columns: Arc::new([0, 1]),
        rows: None,
        filter: None,
        limit: None,
        batch_bytes: MIB,
        cancel: CancellationToken::new(),
    };
    let batches: Result<Vec<_>> = table.scan(scan).unwrap().collect();
    let batch = &batches.unwrap()[0].batch;
    let texts = |column: usize| -> Vec<String> {
        let column = arrow_cast::cast(batch.column(column), &DataType::Utf8).unwrap();
        let column = arrow_array::cast::as_string_array(&column);
        column.iter().map(|text| text.unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(texts(0), ["=cmd|' /C calc'!A0", "@SUM(1)", "=1+1"]);
    assert_eq!(texts(1), ["+1+1", "-2+3", ""]);
}

/// C14.
#[test]
fn packed_text_that_unpacks_into_far_more_is_left() {
    let line = [vec![b'x'; 16 * 1024], b"\n".to_vec()].concat();
    let line = [b"a\n".to_vec(), line.repeat(5_000)].concat();
    let packed = zstd::encode_all(&line[..], 19).unwrap();
    assert!(packed.len() * 10_000 < line.len(), "{} bytes", packed.len());
    let refused = told("x.csv.zst", &packed);
    assert!(matches!(refused, E::Bomb(_)), "{refused}");
    // A frame that says that it repeats itself over 2 GiB: magic, no size, that window, one byte.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0x00, 0x00, b'a'];
    let refused = told("x.csv.zst", &window);
    assert!(matches!(refused, E::Malformed { .. }), "{refused}");
    for (name, packed) in [
        ("x.csv.gz", &b"\x1f\x8b\x08\x00broken"[..]),
        ("x.csv.zst", b"broken"),
        ("x.csv.gz", b""),
    ] {
        let refused = told(name, packed);
        assert!(matches!(refused, E::Malformed { .. }), "{name}: {refused}");
    }
}
