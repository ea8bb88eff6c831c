//! Tables that move to another storage while somebody reads them.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch};
use artifactd_proto::flight::v1 as flight;
use artifactd_tests::{
    Backend,
    calls::{by_uid, keyed},
    content::content,
    flight::{all_of, got},
    storages::Places,
};
use tonic::{Request, metadata::MetadataValue};

const BATCHES: usize = 24;
const BATCH_ROWS: usize = 32 * 1024;
const WIDTH: usize = 64;

/// Batches of 2.25 MiB that nothing makes smaller.
fn batch(number: usize) -> RecordBatch {
    let ids = (number * BATCH_ROWS..(number + 1) * BATCH_ROWS).map(|id| id as i64);
    let values = content(number as u64, BATCH_ROWS * WIDTH);
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        (
            "bytes",
            Arc::new(FixedSizeBinaryArray::try_from_iter(values.chunks(WIDTH)).unwrap()),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn a_table_that_moves_while_it_is_read_is_read_to_its_end() {
    let batches: Vec<RecordBatch> = (0..BATCHES).map(batch).collect();
    for key in ["t.parquet", "t.arrow"] {
        let places = Places::on(Backend::EMBEDDED).await;
        let calls = places.server.calls();
        let write = flight::WriteTable {
            save: Some(keyed(key)),
            ..Default::default()
        };
        let made = calls.do_put(&write, &batches).await.unwrap().artifact.unwrap();
        let mut request = Request::new(calls.ticket(&all_of(&made.uid)).await.unwrap());
        let largest = MetadataValue::from_static("3000000");
        request.metadata_mut().insert("artifactd-max-message-bytes", largest);
        let begun = calls.flight().do_get(request).await.unwrap();
        let moved = calls.move_artifact(by_uid(&made.uid), "far", None).await.unwrap();
        assert_eq!(moved.copied_bytes, made.size, "{key}");
        calls.collect_garbage(false).await.unwrap();
        assert!(
            places.server.stored_objects().is_empty(),
            "{key}: its old bytes are gone"
        );
        let read = got(begun).await.unwrap();
        let rows = (BATCHES * BATCH_ROWS) as i64;
        assert!(
            read.integers("id").into_iter().eq(0..rows),
            "{key}: {} rows",
            read.rows()
        );
        assert_eq!(read.infos.last().unwrap().rows, rows, "{key}");
        let last = read.batches.last().unwrap();
        let end = batches.last().unwrap();
        let length = last.num_rows().min(end.num_rows());
        assert_eq!(
            last.slice(last.num_rows() - length, length),
            end.slice(end.num_rows() - length, length),
            "{key}"
        );
        places.server.assert_clean();
    }
}
