//! Tables with the Rust client: opened, read in parts, loaded, put.

use std::sync::Arc;

use arrow_array::{Array, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use arrow_schema::{DataType, Field, Schema};
use artifactd_client::{Client, Error, Loaded, Reason, SaveOptions, domain::Accessor};
use artifactd_tests::{
    Backend, TestServer,
    flight::{numbered, numbered_schema},
};
use futures::{StreamExt, TryStreamExt, stream};

fn keyed(key: &str) -> SaveOptions {
    SaveOptions {
        key: Some(key.to_owned()),
        ..SaveOptions::default()
    }
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = batches.iter().map(|batch| {
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        ids.values().to_vec()
    });
    ids.flatten().collect()
}

async fn put(client: &Client, key: &str, rows: i64) {
    let saved = client
        .put_batches(numbered_schema(), numbered(0..rows), keyed(key))
        .await;
    let artifact = saved.unwrap().artifact;
    assert_eq!(artifact.accessor, Some(Accessor::DataFrame));
    assert_eq!(artifact.n_observations, Some(rows.unsigned_abs()));
}

#[tokio::test]
async fn what_is_put_is_opened_and_read_as_it_is_wanted() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        for key in ["t.parquet", "t.arrow", "t.arrows", "t.feather"] {
            put(&client, key, 5_000).await;
            let table = client.open(key).await.unwrap();
            assert_eq!(
                (table.n_rows(), table.schema()),
                (Some(5_000), &numbered_schema()),
                "{key}"
            );
            assert_eq!(table.column_facts().len(), 3);
            assert_eq!(ids(&table.collect().await.unwrap()), (0..5_000).collect::<Vec<_>>());
            let some = table.clone().columns(["word", "id"]).rows(10..20).rows(4_990..5_000);
            let some = some.filter("word = 'lung *'").collect().await.unwrap();
            assert_eq!(ids(&some), [12, 16, 4_992, 4_996], "{key}");
            assert_eq!(some[0].num_columns(), 2);
            let few = table.clone().row_ids([7, 3, 4_999]).collect().await.unwrap();
            assert_eq!(ids(&few), [3, 7, 4_999]);
            assert_eq!(ids(&table.clone().limit(3).collect().await.unwrap()), [0, 1, 2]);
            let none = table.clone().filter("id < 0").batches().await.unwrap();
            assert_eq!(none.schema(), &numbered_schema());
            assert_eq!(ids(&none.try_collect::<Vec<_>>().await.unwrap()), Vec::<i64>::new());
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_table_in_parts_comes_in_order() {
    let server = TestServer::start().await;
    let client = server.client().await;
    // Numbers that cannot be packed, so that there is enough for several parts.
    const ROWS: i64 = 200_000;
    const COLUMNS: i64 = 100;
    let odd = |row: i64, column: i64| (row * COLUMNS + column).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
    let fields = (0..COLUMNS).map(|column| Field::new(format!("c{column}"), DataType::Int64, false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches = (0..ROWS / 10_000).map({
        let schema = Arc::clone(&schema);
        move |number| {
            let rows = number * 10_000..(number + 1) * 10_000;
            let columns = (0..COLUMNS).map(|column| {
                let values = rows.clone().map(|row| odd(row, column));
                Arc::new(Int64Array::from_iter_values(values)) as _
            });
            Ok::<_, Error>(RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap())
        }
    });
    client
        .put_batches(Arc::clone(&schema), stream::iter(batches).boxed(), keyed("wide.arrow"))
        .await
        .unwrap();
    let table = client.open("wide.arrow").await.unwrap().columns(["c0", "c99"]);
    for streams in [1, 3] {
        let mut next = 0;
        let mut batches = table.clone().streams(streams).batches().await.unwrap();
        while let Some(batch) = batches.try_next().await.unwrap() {
            let (first, last) = (batch.column(0), batch.column(1));
            for row in 0..batch.num_rows() {
                let at = |column: &Arc<dyn Array>| column.as_primitive::<Int64Type>().value(row);
                assert_eq!((at(first), at(last)), (odd(next, 0), odd(next, 99)));
                next += 1;
            }
        }
        assert_eq!(next, ROWS);
    }
    server.assert_clean();
}

#[tokio::test]
async fn an_open_table_stays_what_it_was_or_says_that_it_is_not() {
    let server = TestServer::start().await;
    let client = server.client().await;
    put(&client, "t.parquet", 10).await;
    let table = client.open("t.parquet").await.unwrap();
    // A new version is another artifact; the open one stays.
    put(&client, "t.parquet", 20).await;
    assert_eq!(ids(&table.collect().await.unwrap()).len(), 10);
    assert_eq!(
        ids(&client.open("t.parquet").await.unwrap().collect().await.unwrap()).len(),
        20
    );
    let latest = client.open("t.parquet").await.unwrap();
    client.delete(latest.artifact().uid).await.unwrap();
    assert_eq!(
        latest.collect().await.unwrap_err().reason(),
        Some(Reason::ArtifactInTrash)
    );
    server.assert_clean();
}

#[tokio::test]
async fn load_gives_tables_and_copies_of_anything_else() {
    let server = TestServer::start().await;
    let cache = tempfile::tempdir().unwrap();
    let client = Client::builder(server.url()).cache_folder(cache.path());
    let client = client.connect().await.unwrap();
    client.save(&b"id,word\n1,lung\n2,liver\n"[..], "t.csv").await.unwrap();
    client.save(&b"no table"[..], "note.txt").await.unwrap();
    client.save(&b"id,word\n1\n"[..], "ragged.csv").await.unwrap();
    match client.load("t.csv").await.unwrap() {
        Loaded::Table { schema, batches } => {
            assert_eq!(schema.field(0).data_type(), &DataType::Int64);
            assert_eq!(ids(&batches), [1, 2]);
        }
        other => panic!("{other:?}"),
    }
    for (key, content) in [("note.txt", &b"no table"[..]), ("ragged.csv", b"id,word\n1\n")] {
        match client.load(key).await.unwrap() {
            Loaded::Copy(copy) => assert_eq!(std::fs::read(copy.path()).unwrap(), content),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        client.open("note.txt").await.unwrap_err().reason(),
        Some(Reason::NotATable)
    );
    server.assert_clean();
}

#[tokio::test]
async fn batches_that_break_off_save_nothing() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let broken = stream::iter([Ok(numbered(0..10)), Err(Error::Input("no more".to_owned()))]);
    let failed = client
        .put_batches(numbered_schema(), broken.boxed(), keyed("t.parquet"))
        .await;
    assert!(matches!(failed, Err(Error::Input(text)) if text == "no more"));
    assert_eq!(
        client.get("t.parquet").await.unwrap_err().reason(),
        Some(Reason::ArtifactNotFound)
    );
    let other = keyed("t.h5ad");
    let failed = client.put_batches(numbered_schema(), numbered(0..10), other).await;
    assert!(failed.unwrap_err().reason().is_some());
    server.assert_clean();
}
