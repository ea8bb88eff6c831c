//! Folders of parquet files: one table, whose paths say what some of its columns hold.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, cast::AsArray, types::Int32Type};
use arrow_schema::{DataType, Field, Schema};
use artifactd_proto::flight::v1::{self as flight, RowRange};
use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, keyed},
    flight::{all_of, numbered, read_command, refused},
    folders::{Files, FolderCall, change_of, entry, folder, removal},
    pb::{self, ErrorReason as R},
    python,
};
use bytes::Bytes;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};

/// A parquet file with some rows, as the server writes it.
async fn parquet(calls: &Calls, batch: &RecordBatch) -> Bytes {
    let write = flight::WriteTable {
        save: Some(keyed("file.parquet")),
        ..Default::default()
    };
    calls.do_put(&write, std::slice::from_ref(batch)).await.unwrap();
    calls.read(by_key("file.parquet")).await.unwrap().into()
}

/// Three years of 1,000 rows each, in two files a year.
async fn years(calls: &Calls) -> Files {
    let mut files = Files::new();
    for (number, year) in [2020, 2021, 2022].into_iter().enumerate() {
        let first = number as i64 * 1000;
        for (part, rows) in [(0, first..first + 400), (1, first + 400..first + 1000)] {
            let file = parquet(calls, &numbered(rows)).await;
            files.insert(format!("year={year}/part-{part}.parquet"), file);
        }
    }
    files.insert("_SUCCESS".to_owned(), Bytes::new());
    files
}

async fn save(calls: &Calls, key: &str, files: &Files) -> pb::Artifact {
    calls.save_folder(folder(key), files).await.unwrap().artifact.unwrap()
}

fn years_of(batches: &[RecordBatch]) -> Vec<i32> {
    let of_batch = |batch: &RecordBatch| {
        let column = batch.column_by_name("year").expect("the column is there");
        column.as_primitive::<Int32Type>().values().to_vec()
    };
    batches.iter().flat_map(of_batch).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_of_pyarrow_and_polars_are_what_pyarrow_reads() {
    for (backend, seed, folders) in [(Backend::EMBEDDED, "1", "5"), (Backend::CLUSTER, "2", "1")] {
        let server = TestServer::on(backend).await;
        let out = python::run("table_folders.py", &[&server.address().to_string(), seed, folders]);
        assert!(out.contains("are the same"), "{backend:?}:\n{out}");
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_folder_is_a_table_of_all_its_files_and_a_change_of_it_too() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let saved = save(&calls, "years", &years(&calls).await).await;
        assert_eq!(saved.accessor(), pb::Accessor::DataFrame);
        assert_eq!(saved.n_observations, Some(3000));
        let info = calls.flight_info(read_command(&all_of(&saved.uid))).await.unwrap();
        assert_eq!((info.total_records, info.ordered), (3000, true));
        let described = flight::TableInfo::decode(info.app_metadata).unwrap();
        let columns: Vec<_> = described
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.null_count, column.min(), column.max()))
            .collect();
        assert_eq!(columns[0], ("id", Some(0), "0", "2999"));
        assert_eq!(columns[1], ("half", Some(1000), "0.5", "1499.5"));
        assert_eq!(columns[3], ("year", Some(0), "2020", "2022"));
        let got = calls.read_table(&all_of(&saved.uid)).await.unwrap();
        assert_eq!(got.integers("id"), (0..3000).collect::<Vec<_>>());
        assert_eq!(years_of(&got.batches)[999..=1000], [2020, 2021]);

        // A year more and one file less: only what changes is looked for, all of it is looked at.
        let more = parquet(&calls, &numbered(3000..3010)).await;
        let mut change = FolderCall::begin(&calls, change_of(&saved.uid)).await.unwrap();
        let entries = vec![
            removal("year=2020/part-0.parquet"),
            entry("year=2023/part-0.parquet", &more),
        ];
        assert!(change.list(entries).await.unwrap().is_empty(), "its content is held");
        let changed = change.commit().await.unwrap().artifact.unwrap();
        assert_eq!(
            (changed.accessor(), changed.n_observations),
            (pb::Accessor::DataFrame, Some(2610))
        );
        let got = calls.read_table(&all_of(&changed.uid)).await.unwrap();
        assert_eq!(got.integers("id"), (400..3010).collect::<Vec<_>>());
        assert_eq!(calls.read_table(&all_of(&saved.uid)).await.unwrap().rows(), 3000);

        // One of its files is a table by itself, without what its path says.
        let one = flight::ReadArray {
            element: vec!["year=2021".into(), "part-1.parquet".into()],
            ..all_of(&saved.uid)
        };
        let got = calls.read_table(&one).await.unwrap();
        assert_eq!((got.rows(), got.batches[0].num_columns()), (600, 3));
        let criteria = arrow_flight::Criteria {
            expression: "key = 'years'".into(),
        };
        let listed = calls.flight().list_flights(criteria).await.unwrap().into_inner();
        let listed: Vec<_> = futures::TryStreamExt::try_collect(listed).await.unwrap();
        assert_eq!(listed.len(), 2, "both versions");
        server.assert_clean();
    }
}

#[tokio::test]
async fn only_files_are_read_that_a_selection_needs() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let mut files = years(&calls).await;
    // Large, so that it shows whether it was read.
    let large = parquet(&calls, &numbered(10_000..150_000)).await;
    let large_bytes = large.len() as u64;
    files.insert("year=2030/part-0.parquet".to_owned(), large);
    let saved = save(&calls, "years", &files).await;
    let ids = |year: i64| (year - 2020) * 1000..(year - 2019) * 1000;
    for (read, expected) in [
        (
            flight::ReadArray {
                filter: "year = 2021".into(),
                ..all_of(&saved.uid)
            },
            ids(2021).collect::<Vec<_>>(),
        ),
        (
            flight::ReadArray {
                filter: "year < 2022 AND id >= 995 AND id < 1005".into(),
                ..all_of(&saved.uid)
            },
            (995..1005).collect(),
        ),
        (
            flight::ReadArray {
                rows: vec![RowRange {
                    start: 1500,
                    end: Some(1501),
                }],
                ..all_of(&saved.uid)
            },
            vec![1500],
        ),
        (
            flight::ReadArray {
                limit: Some(401),
                ..all_of(&saved.uid)
            },
            (0..401).collect(),
        ),
        (
            flight::ReadArray {
                filter: "year > 2030".into(),
                ..all_of(&saved.uid)
            },
            Vec::new(),
        ),
    ] {
        let got = calls.read_table(&read).await.unwrap();
        assert_eq!(got.integers("id"), expected, "{read:?}");
        let (bytes, requests) = got.cost;
        assert!(bytes < large_bytes / 2, "{read:?}: {bytes} of {large_bytes} bytes");
        assert!(requests <= 16, "{read:?}: {requests} requests");
    }
    // What paths say takes a look at no file but its footer.
    let years_only = flight::ReadArray {
        columns: vec!["year".into()],
        ..all_of(&saved.uid)
    };
    let got = calls.read_table(&years_only).await.unwrap();
    assert_eq!((got.rows(), years_of(&got.batches)[3000]), (143_000, 2030));
    server.assert_clean();
}

#[tokio::test]
async fn a_stream_of_a_folder_goes_on_behind_any_batch_without_what_lies_before() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let saved = save(&calls, "years", &years(&calls).await).await;
    for read in [
        all_of(&saved.uid),
        flight::ReadArray {
            filter: "half > 300 AND year <= 2021".into(),
            limit: Some(700),
            ..all_of(&saved.uid)
        },
    ] {
        let ticket = calls.ticket(&read).await.unwrap();
        let whole = calls.do_get(ticket.clone()).await.unwrap();
        let (ids, mut before) = (whole.integers("id"), 0);
        assert!(whole.batches.len() >= 3, "{} batches", whole.batches.len());
        for (number, info) in whole.infos.iter().enumerate() {
            before += whole.batches[number].num_rows();
            let mut headers = MetadataMap::new();
            headers.insert_bin("artifactd-resume-bin", MetadataValue::from_bytes(&info.encode_to_vec()));
            let rest = calls.do_get_with(ticket.clone(), headers).await.unwrap();
            assert_eq!(rest.integers("id"), ids[before..], "behind batch {number} of {read:?}");
            if read.filter.is_empty() {
                assert!(rest.cost.0 <= whole.cost.0, "behind batch {number}");
            }
        }
        assert_eq!(before, ids.len());
    }
    server.assert_clean();
}

#[tokio::test]
async fn a_large_folder_has_several_endpoints_in_order() {
    const WIDTH: i32 = 8192;
    const ROWS: i64 = 2_000;
    const FILES: i64 = 9;
    let server = TestServer::start().await;
    let calls = server.calls();
    // One value over and over: little to keep, and much in memory.
    let values = vec![[7_u8; WIDTH as usize]; ROWS as usize];
    let columns: [ArrayRef; 2] = [
        Arc::new(Int64Array::from_iter_values(0..ROWS)),
        Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()),
    ];
    let fields = [("id", DataType::Int64), ("bytes", DataType::FixedSizeBinary(WIDTH))];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, false));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec()).unwrap();
    let file = parquet(&calls, &batch).await;
    let files = (0..FILES).map(|number| (format!("n={number}/f.parquet"), file.clone()));
    let saved = save(&calls, "large", &files.collect()).await;
    let info = calls.flight_info(read_command(&all_of(&saved.uid))).await.unwrap();
    assert_eq!(info.endpoint.len(), 2);
    let got = calls.read_table(&all_of(&saved.uid)).await.unwrap();
    let expected: Vec<i64> = (0..FILES).flat_map(|_| 0..ROWS).collect();
    assert_eq!(got.integers("id"), expected);
    let numbers: Vec<i32> = got
        .batches
        .iter()
        .flat_map(|batch| batch.column(2).as_primitive::<Int32Type>().values().to_vec())
        .collect();
    assert!(numbers.is_sorted() && numbers.len() as i64 == ROWS * FILES);
    server.assert_clean();
}

#[tokio::test]
async fn files_that_are_no_table_together_say_which_one_and_why() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let file = parquet(&calls, &numbered(0..10)).await;
    let fewer = parquet(&calls, &numbered(0..10).project(&[0, 1]).unwrap()).await;
    let other = {
        let batch = numbered(0..10);
        let ids: ArrayRef = Arc::new(
            batch
                .column(0)
                .as_primitive::<arrow_array::types::Int64Type>()
                .unary::<_, Int32Type>(|id| id as i32),
        );
        let mut columns = batch.columns().to_vec();
        columns[0] = ids;
        let mut fields = batch.schema().fields().to_vec();
        fields[0] = Arc::new(Field::new("id", DataType::Int32, false));
        parquet(
            &calls,
            &RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(),
        )
        .await
    };
    let renamed = {
        let batch = numbered(0..10);
        let mut fields = batch.schema().fields().to_vec();
        fields[2] = Arc::new(Field::new("text", DataType::Utf8, true));
        parquet(
            &calls,
            &RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap(),
        )
        .await
    };
    for (number, (path, content, reason, says)) in [
        ("b/x.parquet", fewer.clone(), R::MemberSchemasDiffer, "no column `word`"),
        (
            "b/x.parquet",
            other,
            R::MemberSchemasDiffer,
            "`id` is Int32 instead of Int64",
        ),
        (
            "b/x.parquet",
            renamed,
            R::MemberSchemasDiffer,
            "`text` instead of `word`",
        ),
        (
            "b/x.parquet",
            Bytes::from_static(b"PAR1PAR1"),
            R::TableMalformed,
            "b/x.parquet",
        ),
        ("b/x.parquet", Bytes::new(), R::TableMalformed, "b/x.parquet"),
        ("b/x.csv", Bytes::from_static(b"a,b\n1,2\n"), R::NotATable, "b/x.csv"),
        ("README.md", Bytes::from_static(b"text"), R::NotATable, "README.md"),
        ("k=%FF/x.parquet", file.clone(), R::TableMalformed, "k=%FF/x.parquet"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut files: Files = ["a/1.parquet", "a/2.parquet", "c/3.parquet"]
            .map(|path| (path.to_owned(), file.clone()))
            .into();
        files.insert(path.to_owned(), content);
        let header = |key: &str| {
            let mut header = folder(key);
            header.save.as_mut().unwrap().expect_accessor = pb::Accessor::DataFrame.into();
            header
        };
        let key = format!("folder-{number}");
        let failure = refused(calls.save_folder(header(&key), &files).await);
        assert_eq!(failure.reason, Some(R::AccessorMismatch), "{says}: {failure:?}");
        assert_eq!(refused(calls.get(by_key(&key)).await).reason, Some(R::ArtifactNotFound));
        let saved = save(&calls, &key, &files).await;
        assert_eq!(
            (saved.accessor(), saved.n_observations),
            (pb::Accessor::Unspecified, None),
            "{says}"
        );
        let failure = refused(calls.flight_info(read_command(&all_of(&saved.uid))).await);
        assert_eq!(failure.reason, Some(reason), "{says}: {failure:?}");
        let message = failure.status.message();
        assert!(message.contains(says) && message.contains(path), "{says}: {message}");
    }
    // One column more than the first file has.
    let mut files: Files = [("a.parquet".to_owned(), fewer), ("b.parquet".to_owned(), file.clone())].into();
    let saved = save(&calls, "more", &files).await;
    let failure = refused(calls.flight_info(read_command(&all_of(&saved.uid))).await);
    assert_eq!(failure.reason, Some(R::MemberSchemasDiffer));
    assert!(failure.status.message().contains("a column `word` more"), "{failure:?}");
    files.remove("a.parquet");
    files.insert("_a.parquet".to_owned(), Bytes::from_static(b"beside the rows"));
    assert_eq!(save(&calls, "sound", &files).await.n_observations, Some(10));
    server.assert_clean();
}

#[tokio::test]
async fn a_damaged_file_of_a_folder_is_met_by_reads_of_it_alone_and_is_wanted_again() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let mut files = Files::new();
    for (year, rows) in [(1, 0..1000), (2, 1000..2000)] {
        files.insert(format!("year={year}/f.parquet"), parquet(&calls, &numbered(rows)).await);
        calls.destroy(by_key("file.parquet")).await.unwrap();
    }
    let saved = save(&calls, "years", &files).await;
    let sound = files["year=1/f.parquet"].len();
    // Both lie in one pack, in the order of their paths.
    let needle = files["year=2/f.parquet"].slice(4..sound.min(200));
    let is_pack = |path: &std::path::PathBuf| path.to_string_lossy().contains("/packs/");
    let pack = server
        .stored_files()
        .into_iter()
        .find(is_pack)
        .expect("there is a pack");
    let mut stored = std::fs::read(&pack).unwrap();
    let found = stored.windows(needle.len()).position(|window| window == needle);
    stored[found.expect("it lies there")] ^= 1;
    std::fs::write(&pack, stored).unwrap();
    let of_year = |year: i32| flight::ReadArray {
        filter: format!("year = {year}"),
        ..all_of(&saved.uid)
    };
    assert_eq!(calls.read_table(&of_year(1)).await.unwrap().rows(), 1000);
    let failure = refused(calls.read_table(&of_year(2)).await);
    assert_eq!(failure.reason, Some(R::ContentCorrupt), "{failure:?}");
    let mut again = FolderCall::begin(&calls, folder("again")).await.unwrap();
    let entries = files.iter().map(|(path, content)| entry(path, content)).collect();
    let wanted = again.list(entries).await.unwrap();
    assert_eq!(wanted, [1], "the damaged one alone");
}
