//! Tables that are read slowly, not to their end, or not at all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow_flight::Ticket;
use arrow_schema::{DataType, Field, Schema};
use artifactd_proto::flight::v1 as flight;
use artifactd_tests::{
    Calls, TestServer,
    calls::{by_key, by_uid, keyed},
    flight::numbered,
    folders::{Files, folder},
    wire::{END_HEADERS, END_STREAM, Frames, Kind, frame, framed, header_block_with},
};
use bytes::Bytes;
use prost::Message;
use tonic::Request;

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";

/// A table of 1 GiB in memory, in a folder of some KiB: a value of 16 KiB over and over.
async fn huge(calls: &Calls) -> String {
    const WIDTH: usize = 16 * 1024;
    const ROWS: usize = 1_000;
    let values = vec![[7_u8; WIDTH]; ROWS];
    let columns: [ArrayRef; 2] = [
        Arc::new(Int64Array::from_iter_values(0..ROWS as i64)),
        Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()),
    ];
    let fields = [
        ("id", DataType::Int64),
        ("bytes", DataType::FixedSizeBinary(WIDTH as i32)),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, false));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec()).unwrap();
    many_times(calls, "huge", &batch).await
}

/// A table of millions of texts, as small.
async fn long(calls: &Calls) -> String {
    many_times(calls, "long", &numbered(0..50_000)).await
}

/// An Arrow file of batches of 8 MiB, each of which can go out as it is.
async fn wide(calls: &Calls) -> String {
    const WIDTH: usize = 128;
    const ROWS: usize = 64 * 1024;
    const BATCHES: usize = 6;
    let values = vec![[7_u8; WIDTH]; ROWS];
    let column: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap());
    let field = Field::new("bytes", column.data_type().clone(), false);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
    let write = flight::WriteTable {
        save: Some(keyed("wide.arrow")),
        ..Default::default()
    };
    let saved = calls.do_put(&write, &vec![batch; BATCHES]).await.unwrap();
    saved.artifact.unwrap().uid
}

/// A folder that has the same file over and over.
async fn many_times(calls: &Calls, key: &str, batch: &RecordBatch) -> String {
    const FILES: usize = 64;
    put(calls, "one.parquet", batch).await;
    let file: Bytes = calls.read(by_key("one.parquet")).await.unwrap().into();
    let files: Files = (0..FILES)
        .map(|number| (format!("n={number}/f.parquet"), file.clone()))
        .collect();
    let saved = calls.save_folder(folder(key), &files).await.unwrap();
    saved.artifact.unwrap().uid
}

async fn put(calls: &Calls, key: &str, batch: &RecordBatch) {
    let write = flight::WriteTable {
        save: Some(keyed(key)),
        ..Default::default()
    };
    calls.do_put(&write, std::slice::from_ref(batch)).await.unwrap();
}

fn read_of(uid: &str, filter: &str) -> flight::ReadArray {
    flight::ReadArray {
        artifact: Some(by_uid(uid)),
        filter: filter.to_owned(),
        max_endpoints: 1,
        ..Default::default()
    }
}

/// A read by somebody who takes the largest messages.
fn call(ticket: &Ticket) -> Vec<u8> {
    let block = header_block_with(DO_GET, "artifactd-max-message-bytes", "16777216");
    let mut frames = frame(Kind::Headers, END_HEADERS, 1, &block);
    frames.extend(frame(Kind::Data, END_STREAM, 1, &framed(&ticket.encode_to_vec())));
    frames
}

/// F09.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_cost_little_and_are_cut_while_others_are_served() {
    const READERS: usize = 16;
    const ONE_BYTES_MAX: u64 = 128 << 20;
    const ALL_BYTES_MAX: u64 = 512 << 20;
    let setup = TestServer::setup().env("ARTIFACTD_LIMITS__TABLE_STREAMS_MAX", "17");
    let mut server = setup.start().await;
    let calls = server.calls();
    let tables = [huge(&calls).await, wide(&calls).await];
    put(&calls, "small.parquet", &numbered(0..1_000)).await;
    server.stop().await;
    let impatient = ("ARTIFACTD_LIMITS__STREAM_IDLE_TIMEOUT_MS", "1000");
    server.start_again_with(&[impatient]).await;
    let calls = server.calls();
    let small = flight::ReadArray {
        artifact: Some(by_key("small.parquet")),
        ..Default::default()
    };
    let before = server.resident_bytes();
    let crowds = [(1, ONE_BYTES_MAX), (READERS, ALL_BYTES_MAX)];
    for (uid, (readers, bytes_max)) in tables.iter().flat_map(|uid| crowds.map(|crowd| (uid, crowd))) {
        let ticket = calls.ticket(&read_of(uid, "")).await.unwrap();
        let mut stopped = Vec::new();
        for _ in 0..readers {
            let mut frames = Frames::connect(server.address()).await;
            // As it is: a window of 64 KiB, which is never opened again.
            frames.send(&call(&ticket)).await.unwrap();
            stopped.push(frames);
        }
        assert_eq!(calls.read_table(&small).await.unwrap().rows(), 1_000);
        let mut grown = 0;
        for mut frames in stopped {
            grown = grown.max(server.resident_bytes().saturating_sub(before));
            assert!(frames.is_reset(1, Duration::from_secs(20)).await, "a read goes on");
        }
        assert!(grown < bytes_max, "{readers} readers: the server grew by {grown} bytes");
    }
    server.assert_clean();
}

/// A turn is over when the threads of a read have ended: with one turn, the next read
/// begins when they have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_given_up_ends_within_a_second() {
    let setup = TestServer::setup()
        .env("ARTIFACTD_LIMITS__TABLE_STREAMS_MAX", "1")
        .env("ARTIFACTD_LIMITS__CONTENT_WAIT_MS", "1000");
    let server = setup.start().await;
    let calls = server.calls();
    let (huge, long) = (huge(&calls).await, long(&calls).await);
    put(&calls, "small.parquet", &numbered(0..10)).await;
    let small = flight::ReadArray {
        artifact: Some(by_key("small.parquet")),
        ..Default::default()
    };
    // One gives rows all the time, the other looks through all of them for none.
    // Each row is held against each of them, which takes its time.
    let none: Vec<String> = (0..100).map(|number| format!("word = \"*nothing {number}\"")).collect();
    for (uid, filter) in [(&huge, String::new()), (&long, none.join(" OR "))] {
        let ticket = calls.ticket(&read_of(uid, &filter)).await.unwrap();
        let mut reading = calls
            .flight()
            .do_get(Request::new(ticket.clone()))
            .await
            .unwrap()
            .into_inner();
        reading.message().await.unwrap().expect("the schema");
        // Nobody else is served meanwhile.
        let refused = calls.read_table(&small).await.expect_err("the only turn is taken");
        assert_eq!(
            refused.reason,
            Some(artifactd_tests::pb::ErrorReason::ServerBusy),
            "{refused:?}"
        );
        drop(reading);
        let given_up = Instant::now();
        assert_eq!(calls.read_table(&small).await.unwrap().rows(), 10, "{filter}");
        assert!(given_up.elapsed() < Duration::from_secs(2), "{:?}", given_up.elapsed());
    }
    server.assert_clean();
}
