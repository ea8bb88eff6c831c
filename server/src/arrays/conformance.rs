//! One suite that every format passes over the same table.

mod nested;

use std::{ops::Range, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type,
};
use arrow_ipc::{
    CompressionType,
    writer::{FileWriter, IpcWriteOptions, StreamWriter},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use artifactd_domain::{BLOCK_BYTES, Suffix, crc32c, filter::Filter};
use bytes::Bytes;
use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
use parquet::{
    arrow::ArrowWriter,
    file::properties::{EnabledStatistics, WriterProperties},
};
use tokio_util::sync::CancellationToken;

use super::{
    error::{ArrayError, Result},
    filter,
    ipc::{MessageReader, schema_message},
    measure, open,
    rows::Rows,
    settle,
    source::Place,
    summary::{self, Found},
    table::{Batch, Numbers, Portion, Scan, Table},
};
use crate::storage::{ArtifactView, BlobContent, BlockSums, Member, ObjectName};

const ROWS: usize = 20_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("tissue", DataType::Utf8, true),
        Field::new("is_old", DataType::Boolean, true),
    ]))
}

/// Rows of the small table.
pub(super) const SMALL_ROWS: usize = 60;

/// The table that all formats hold; ids are not the numbers of rows.
fn table() -> RecordBatch {
    table_of(ROWS)
}

fn table_of(rows: usize) -> RecordBatch {
    let tissues = ["lung", "liver", "blood, \"whole\"", "skin\nand more", "heart"];
    let rows = 0..rows as i64;
    let columns: [ArrayRef; 4] = [
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| 1000 + row))),
        Arc::new(Float64Array::from_iter(
            rows.clone().map(|row| (row % 7 != 0).then_some(row as f64 / 8.0)),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.clone().map(|row| tissues[row as usize % 5]),
        )),
        Arc::new(BooleanArray::from_iter(
            rows.map(|row| (row % 11 != 0).then_some(row % 2 == 0)),
        )),
    ];
    RecordBatch::try_new(schema(), columns.to_vec()).unwrap()
}

fn delimited(batch: &RecordBatch, delimiter: char) -> Vec<u8> {
    let mut text = format!("id{delimiter}score{delimiter}tissue{delimiter}is_old\n");
    let (ids, scores) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1));
    let (scores, tissues) = (
        scores.as_primitive::<arrow_array::types::Float64Type>(),
        batch.column(2).as_string::<i32>(),
    );
    let old = batch.column(3).as_boolean();
    for row in 0..batch.num_rows() {
        let score = if arrow_array::Array::is_null(scores, row) {
            String::new()
        } else {
            scores.value(row).to_string()
        };
        let is_old = if arrow_array::Array::is_null(old, row) {
            String::new()
        } else {
            old.value(row).to_string()
        };
        let tissue = tissues.value(row).replace('"', "\"\"");
        text += &format!(
            "{}{delimiter}{score}{delimiter}\"{tissue}\"{delimiter}{is_old}\n",
            ids.value(row)
        );
    }
    text.into_bytes()
}

fn json_lines(batch: &RecordBatch) -> Vec<u8> {
    let builder = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow_json::writer::LineDelimited>(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    // Members one after the other are one text.
    let (one, other) = bytes.split_at(bytes.len() / 3);
    let pack = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    [pack(one), pack(other)].concat()
}

fn parquet_file(batch: &RecordBatch) -> Vec<u8> {
    let rows = batch.num_rows();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows * 3 / 20))
        .set_data_page_row_count_limit(rows / 40)
        .set_write_batch_size((rows / 200).max(1))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn ipc_file(batch: &RecordBatch, rows: usize, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema(), options).unwrap();
    for start in (0..batch.num_rows()).step_by(rows) {
        let rows = rows.min(batch.num_rows() - start);
        writer.write(&batch.slice(start, rows)).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn ipc_stream(batch: &RecordBatch) -> Vec<u8> {
    let all = batch.num_rows();
    let rows = all * 777 / 20_000;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema()).unwrap();
    for start in (0..all).step_by(rows) {
        writer.write(&batch.slice(start, rows.min(all - start))).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// The table in every format.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    files_of(&table())
}

/// A small table in every format.
pub(super) fn small_files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = files_of(&table_of(SMALL_ROWS));
    files.extend(nested::files(SMALL_ROWS));
    files
}

fn files_of(batch: &RecordBatch) -> Vec<(&'static str, Vec<u8>)> {
    let rows = batch.num_rows();
    vec![
        ("t.csv", delimited(batch, ',')),
        ("t.tsv", delimited(batch, '\t')),
        ("t.csv.gz", gzip(&delimited(batch, ','))),
        ("t.tsv.zst", zstd::encode_all(&delimited(batch, '\t')[..], 1).unwrap()),
        ("t.jsonl", json_lines(batch)),
        ("t.ndjson.gz", gzip(&json_lines(batch))),
        ("t.parquet", parquet_file(batch)),
        ("t.arrow", ipc_file(batch, rows * 7 / 200, None)),
        ("one-batch.arrow", ipc_file(batch, rows, None)),
        (
            "zstd.feather",
            ipc_file(batch, rows * 3 / 20, Some(CompressionType::ZSTD)),
        ),
        (
            "lz4.feather",
            ipc_file(batch, rows * 3 / 20, Some(CompressionType::LZ4_FRAME)),
        ),
        ("t.arrows", ipc_stream(batch)),
        ("stream.ipc", ipc_stream(batch)),
    ]
}

/// A file behind a view that checks and counts.
struct Stored {
    view: ArtifactView,
    place: Place,
    suffix: Suffix,
    found: Found,
    size: u64,
}

async fn stored(name: &str, bytes: Vec<u8>) -> Stored {
    let store = Arc::new(InMemory::new());
    let suffix = Suffix::of_name(name);
    let object = ObjectName::new([7; 16], &suffix);
    let bytes = Bytes::from(bytes);
    store.put(&object.path(), bytes.clone().into()).await.unwrap();
    let path = Path::from("content");
    let member = Member {
        path: path.clone(),
        content: BlobContent {
            object,
            offset: 0,
            size_bytes: bytes.len() as u64,
            sums: BlockSums::Inline(bytes.chunks(BLOCK_BYTES).map(crc32c).collect()),
        },
    };
    let view = ArtifactView::new(store, vec![member]);
    let place = Place::stored(
        Arc::new(view.clone()),
        path,
        bytes.len() as u64,
        CancellationToken::new(),
    );
    let (for_look, text) = (place.clone(), suffix.to_string());
    let found = blocking(move || summary::look_into(for_look, &text)).await;
    let size = bytes.len() as u64;
    Stored {
        view,
        place,
        suffix,
        found,
        size,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[derive(Default, Clone)]
struct Wanted {
    columns: Option<Vec<usize>>,
    rows: Option<Rows>,
    filter: &'static str,
    limit: Option<u64>,
}

fn rows_of(range: Range<u64>) -> Rows {
    Rows::of_ranges(std::iter::once(range))
}

const BATCH_BYTES: usize = 32 * 1024;

impl Stored {
    async fn open(&self) -> Arc<dyn Table> {
        let (place, suffix, known) = (self.place.clone(), self.suffix.to_string(), self.found.table.clone());
        blocking(move || open::open(place, &suffix, known.as_deref()))
            .await
            .unwrap()
    }

    /// The table, what to read of it, and the schema of that.
    async fn opened(&self, wanted: &Wanted) -> (Arc<dyn Table>, Scan, SchemaRef) {
        let table = self.open().await;
        let schema = Arc::clone(table.schema());
        let filter = wanted.filter.parse::<Filter>().unwrap();
        let predicate = filter::check(&filter, &schema).unwrap();
        let columns = wanted
            .columns
            .clone()
            .unwrap_or_else(|| (0..schema.fields().len()).collect());
        let scan = Scan {
            columns: columns.into(),
            rows: wanted.rows.clone(),
            filter: (!predicate.is_always()).then(|| Arc::new(predicate)),
            limit: wanted.limit,
            batch_bytes: BATCH_BYTES,
            cancel: CancellationToken::new(),
        };
        let schema = scan.schema(&schema);
        (table, scan, schema)
    }

    async fn scan(&self, wanted: &Wanted) -> Result<(RecordBatch, Vec<u64>)> {
        let (table, scan, schema) = self.opened(wanted).await;
        blocking(move || joined(table.scan(scan)?, &schema)).await
    }

    /// The same as it is sent on, and whether any of it goes out as it is stored.
    async fn send(&self, wanted: &Wanted) -> Result<((RecordBatch, Vec<u64>), bool)> {
        let (table, scan, schema) = self.opened(wanted).await;
        blocking(move || {
            let portions = table.scan_to_send(scan)?.collect::<Result<Vec<_>>>()?;
            let as_stored = portions.iter().any(|portion| matches!(portion, Portion::Stored(_)));
            let batches = portions.into_iter().map(|portion| Ok(unpacked(portion, &schema)));
            Ok((joined(batches, &schema)?, as_stored))
        })
        .await
    }
}

/// All rows of some batches, and their numbers.
fn joined(batches: impl IntoIterator<Item = Result<Batch>>, schema: &SchemaRef) -> Result<(RecordBatch, Vec<u64>)> {
    let (mut settled, mut numbers) = (Vec::new(), Vec::new());
    for batch in batches {
        for part in measure::cut(&batch?, BATCH_BYTES, BATCH_BYTES)? {
            numbers.extend((0..part.batch.num_rows()).map(|row| part.number(row)));
            settled.push(settle::settle(&part.batch, schema)?);
        }
    }
    let all = arrow_select::concat::concat_batches(schema, &settled).unwrap();
    Ok((all, numbers))
}

/// The rows of what goes out, as whoever gets it reads them.
pub(super) fn unpacked(portion: Portion, schema: &SchemaRef) -> Batch {
    match portion {
        Portion::Unpacked(batch) => batch,
        Portion::Lying(lying) => panic!("{lying:?} is no larger than batches are here"),
        Portion::Stored(stored) => {
            assert!(stored.message.header.len() + stored.message.body_bytes <= BATCH_BYTES);
            let body = stored.message.body.concat();
            assert_eq!(body.len(), stored.message.body_bytes);
            let mut reader = MessageReader::new(&schema_message(schema).header).unwrap();
            let batch = reader.message(&stored.message.header, body.into());
            let batch = batch.expect("it can be read").expect("it is a batch");
            assert_eq!(batch.num_rows() as u64, stored.rows);
            Batch {
                batch,
                numbers: Numbers::From(stored.first_row),
            }
        }
    }
}

fn expected(rows: impl Iterator<Item = u64>, columns: &[usize]) -> (RecordBatch, Vec<u64>) {
    let rows: Vec<u64> = rows.collect();
    let indices = arrow_array::UInt64Array::from(rows.clone());
    let taken = arrow_select::take::take_record_batch(&table(), &indices).unwrap();
    (taken.project(columns).unwrap(), rows)
}

fn score_is_above(row: u64, bound: f64) -> bool {
    !row.is_multiple_of(7) && row as f64 / 8.0 > bound
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_gives_the_table_and_every_selection_of_it() {
    let all: Vec<usize> = vec![0, 1, 2, 3];
    for (name, bytes) in files() {
        let stored = stored(name, bytes).await;
        let found = &stored.found;
        assert_eq!(found.why_not, None, "{name}");
        assert_eq!(found.n_observations(), Some(ROWS as u64), "{name}");
        let types: Vec<_> = found
            .table
            .as_ref()
            .unwrap()
            .columns
            .iter()
            .map(|column| column.r#type.clone())
            .collect();
        assert_eq!(types, ["Int64", "Float64", "Utf8", "Boolean"], "{name}");
        let rows = || 0..ROWS as u64;
        let cases: Vec<(Wanted, (RecordBatch, Vec<u64>))> = vec![
            (Wanted::default(), expected(rows(), &all)),
            (
                Wanted {
                    columns: Some(vec![3, 0]),
                    ..Wanted::default()
                },
                expected(rows(), &[3, 0]),
            ),
            (
                Wanted {
                    rows: Some(Rows::of_ranges([5..6, 2_990..3_010, 19_999..20_000])),
                    ..Wanted::default()
                },
                expected([5].into_iter().chain(2_990..3_010).chain([19_999]), &all),
            ),
            (
                Wanted {
                    limit: Some(1_234),
                    columns: Some(vec![2]),
                    ..Wanted::default()
                },
                expected(0..1_234, &[2]),
            ),
            (
                Wanted {
                    filter: "score > 2000 AND tissue = \"lung\"",
                    columns: Some(vec![0, 2]),
                    ..Wanted::default()
                },
                expected(
                    rows().filter(|row| score_is_above(*row, 2000.0) && row.is_multiple_of(5)),
                    &[0, 2],
                ),
            ),
            (
                Wanted {
                    filter: "score > 2000 OR -score:*",
                    columns: Some(vec![1]),
                    ..Wanted::default()
                },
                expected(
                    rows().filter(|row| score_is_above(*row, 2000.0) || row.is_multiple_of(7)),
                    &[1],
                ),
            ),
            (
                Wanted {
                    filter: "is_old = true",
                    rows: Some(rows_of(100..900)),
                    limit: Some(50),
                    ..Wanted::default()
                },
                expected(
                    (100..900_u64)
                        .filter(|row| !row.is_multiple_of(11) && row.is_multiple_of(2))
                        .take(50),
                    &all,
                ),
            ),
            (
                Wanted {
                    filter: "id < 0",
                    ..Wanted::default()
                },
                expected([].into_iter(), &all),
            ),
            (
                Wanted {
                    rows: Some(Rows::default()),
                    ..Wanted::default()
                },
                expected([].into_iter(), &all),
            ),
        ];
        for (wanted, (table, numbers)) in cases {
            let what = format!(
                "{name} {:?} {:?} {:?} {:?}",
                wanted.columns, wanted.rows, wanted.filter, wanted.limit
            );
            let (read, read_numbers) = stored
                .scan(&wanted)
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(read_numbers, numbers, "{what}");
            assert_eq!(read.columns(), table.columns(), "{what}");
            let (sent, as_stored) = stored.send(&wanted).await.unwrap();
            assert_eq!(sent, (read, read_numbers), "{what}, as it is sent");
            // Of what is small enough and not packed, all goes out as it is.
            let is_small_arrow = ["t.arrow", "t.arrows", "stream.ipc"].contains(&name);
            let is_all = wanted.columns.is_none() && wanted.rows.is_none() && wanted.filter.is_empty();
            if is_all && wanted.limit.is_none() {
                assert_eq!(as_stored, is_small_arrow, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_format_with_places_reads_little_for_few_rows() {
    // Blocks of the view are large, so the table is larger.
    const ROWS: i64 = 500_000;
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let ids = Int64Array::from_iter_values((0..ROWS).map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids)]).unwrap();
    let mut text = String::from("id\n");
    for row in 0..ROWS {
        text += &format!("{}\n", batch.column(0).as_primitive::<Int64Type>().value(row as usize));
    }
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut parquet = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).unwrap();
    parquet.write(&batch).unwrap();
    let mut arrow = FileWriter::try_new(Vec::new(), &schema).unwrap();
    arrow.write(&batch).unwrap();
    arrow.finish().unwrap();
    for (name, bytes) in [
        ("t.parquet", parquet.into_inner().unwrap()),
        ("t.arrow", arrow.into_inner().unwrap()),
        ("t.csv", text.into_bytes()),
    ] {
        let stored = stored(name, bytes).await;
        let before = (stored.view.counter().bytes(), stored.view.counter().requests());
        let wanted = Wanted {
            rows: Some(rows_of(ROWS as u64 - 10..ROWS as u64)),
            ..Wanted::default()
        };
        let (read, _) = stored.scan(&wanted).await.unwrap();
        assert_eq!(read.num_rows(), 10);
        let bytes = stored.view.counter().bytes() - before.0;
        let requests = stored.view.counter().requests() - before.1;
        assert!(
            bytes <= stored.size / 2 && requests <= 5,
            "{name}: {bytes} of {} in {requests}",
            stored.size
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_is_not_what_its_suffix_says_is_no_table() {
    for (name, bytes) in files() {
        for other in ["x.parquet", "x.arrow", "x.csv.gz", "x.jsonl"] {
            let suffix = |name: &str| Suffix::of_name(name).to_string();
            let same = suffix(name) == suffix(other)
                || (other == "x.arrow"
                    && !name.starts_with("t.p")
                    && !name.contains("csv")
                    && !name.contains("tsv")
                    && !name.contains("json"))
                || (other == "x.jsonl" && name == "t.jsonl")
                || (other == "x.csv.gz" && name.ends_with(".gz"));
            if same {
                continue;
            }
            let found = stored(other, bytes.clone()).await.found;
            assert!(
                found.accessor.is_none() && found.why_not.is_some(),
                "{name} as {other}: {found:?}"
            );
        }
    }
    let nothing = stored("x.bin", b"whatever".to_vec()).await.found;
    assert!(nothing.accessor.is_none() && nothing.why_not.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_scan_ends_with_that() {
    let stored = stored("t.parquet", parquet_file(&table())).await;
    let table = stored.open().await;
    let cancel = CancellationToken::new();
    let scan = Scan {
        columns: Arc::new([0, 1, 2, 3]),
        rows: None,
        filter: None,
        limit: None,
        batch_bytes: BATCH_BYTES,
        cancel: cancel.clone(),
    };
    let outcome = blocking(move || {
        let mut batches = table.scan(scan).unwrap();
        batches.next().unwrap().unwrap();
        cancel.cancel();
        batches.find_map(std::result::Result::err)
    });
    assert!(matches!(outcome.await, Some(ArrayError::Cancelled)));
}

/// As files of pyarrow are, unless it is asked for an index of pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_groups_that_cannot_match_are_not_read_without_an_index_of_pages_either() {
    const ROWS: i64 = 500_000;
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let ids =
        Int64Array::from_iter_values((0..ROWS).map(|row| row << 32 | row.wrapping_mul(0x9e37_79b9) & 0xffff_ffff));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROWS as usize / 10))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    let mut parquet = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).unwrap();
    parquet.write(&batch).unwrap();
    let stored = stored("t.parquet", parquet.into_inner().unwrap()).await;
    let before = stored.view.counter().bytes();
    let wanted = Wanted {
        filter: "id < 42949672960",
        ..Wanted::default()
    };
    let (read, _) = stored.scan(&wanted).await.unwrap();
    assert_eq!(read.num_rows(), 10);
    let bytes = stored.view.counter().bytes() - before;
    assert!(bytes <= stored.size / 2, "{bytes} of {}", stored.size);
}
