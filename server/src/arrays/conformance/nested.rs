//! Files with types that texts do not have: lists, structs, dictionaries, decimals.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
    types::{Int16Type, Int32Type},
};
use arrow_ipc::{
    CompressionType,
    writer::{FileWriter, IpcWriteOptions, StreamWriter},
};
use arrow_schema::{DataType, Field};
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{WriterProperties, WriterVersion},
};

const WORDS: [&str; 4] = ["lung", "liver", "", "heart"];

fn batch(rows: usize) -> RecordBatch {
    let set = |row: usize, value: usize| (!row.is_multiple_of(value)).then_some(row);
    let lists =
        (0..rows).map(|row| set(row, 7).map(|row| (0..row % 4).map(move |item| set(row + item, 5).map(|n| n as i32))));
    let words = (0..rows).map(|row| set(row, 11).map(|row| WORDS[row % 4]));
    let inner: ArrayRef = Arc::new(StringArray::from_iter(words.clone()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..rows).map(|row| set(row, 3).map(|row| row as i64)),
    ));
    let fields = [
        Field::new("word", DataType::Utf8, true),
        Field::new("number", DataType::Int64, true),
    ];
    let structs = StructArray::new(fields.to_vec().into(), vec![inner, numbers], None);
    let decimals = Decimal128Array::from_iter((0..rows).map(|row| set(row, 5).map(|row| row as i128 * 1_000_003)));
    let times =
        TimestampMicrosecondArray::from_iter((0..rows).map(|row| set(row, 9).map(|row| row as i64 * 86_400_000_000)));
    let bytes = (0..rows).map(|row| set(row, 6).map(|row| vec![row as u8; row % 9]));
    let columns: [(&str, ArrayRef); 6] = [
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        ),
        ("struct", Arc::new(structs)),
        ("dictionary", Arc::new(words.collect::<DictionaryArray<Int16Type>>())),
        ("decimal", Arc::new(decimals.with_precision_and_scale(20, 3).unwrap())),
        ("time", Arc::new(times.with_timezone("UTC"))),
        ("bytes", Arc::new(BinaryArray::from_iter(bytes))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn parquet(batch: &RecordBatch, version: WriterVersion, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_compression(compression)
        .set_max_row_group_row_count(Some(batch.num_rows() * 3 / 5))
        .set_data_page_row_count_limit(batch.num_rows() / 4)
        .set_write_batch_size(16);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// The files, by names whose suffixes say what they are.
pub(super) fn files(rows: usize) -> Vec<(&'static str, Vec<u8>)> {
    let batch = batch(rows);
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME));
    let mut file = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options.unwrap()).unwrap();
    file.write(&batch).unwrap();
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    vec![
        (
            "nested.parquet",
            parquet(
                &batch,
                WriterVersion::PARQUET_1_0,
                Compression::ZSTD(Default::default()),
            ),
        ),
        (
            "nested-2.parquet",
            parquet(&batch, WriterVersion::PARQUET_2_0, Compression::SNAPPY),
        ),
        ("nested.arrow", file.into_inner().unwrap()),
        ("nested.arrows", stream.into_inner().unwrap()),
    ]
}
