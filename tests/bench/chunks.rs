//! Content in chunks of 64 KiB beside content in chunks of 1 MiB, by way of a stock
//! client: what chunks cost, and not what our client makes of them.

use std::time::{Duration, Instant};

use artifactd_domain::crc32c;
use artifactd_tests::{
    Calls,
    calls::{by_uid, keyed, saved},
    pb::{self, read_content_response, save_artifact_request::Message},
};
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{
    Wanted,
    cases::{self, GIB},
    machine,
    rounds::Both,
    server::Server,
};

const ROUNDS: u64 = 5;
const SMALL_BYTES: usize = 64 << 10;
const LARGE_BYTES: usize = 1 << 20;

pub(crate) async fn run(wanted: &Wanted) {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    let calls = server.calls().await;
    if wanted.has(&cases::CHUNKS_UP) {
        let mut both = Both::default();
        for number in 0..ROUNDS {
            let (small, large) = (
                save(&calls, 2 * number, SMALL_BYTES),
                save(&calls, 2 * number + 1, LARGE_BYTES),
            );
            both.round(number, small, large).await;
        }
        cases::CHUNKS_UP.report(&both.ours, &both.other);
    }
    if wanted.has(&cases::CHUNKS_DOWN) {
        let answer = calls.save_stream(messages(u64::MAX, LARGE_BYTES)).await.expect("save");
        let uid = saved(answer).uid;
        // The first one reads the file into the page cache, where every round finds it.
        read(&calls, &uid, LARGE_BYTES).await;
        let mut both = Both::default();
        for number in 0..ROUNDS {
            let (small, large) = (read(&calls, &uid, SMALL_BYTES), read(&calls, &uid, LARGE_BYTES));
            both.round(number, small, large).await;
        }
        cases::CHUNKS_DOWN.report(&both.ours, &both.other);
    }
    server.stop().await;
}

/// How long it takes to save a content that is new, and destroyed afterwards.
async fn save(calls: &Calls, number: u64, chunk_bytes: usize) -> Duration {
    let began = Instant::now();
    let answer = calls.save_stream(messages(number, chunk_bytes)).await.expect("save");
    let took = began.elapsed();
    let uid = saved(answer).uid;
    calls.destroy(by_uid(&uid)).await.expect("destroy");
    took
}

/// 1 GiB, of which the first bytes differ with the number.
fn messages(number: u64, chunk_bytes: usize) -> impl futures::Stream<Item = Message> {
    let first = Bytes::from([&number.to_le_bytes()[..], &vec![7; chunk_bytes - 8]].concat());
    let next = Bytes::from(vec![7; chunk_bytes]);
    let header = Message::Header(keyed(&format!("chunks/{chunk_bytes}")));
    let chunks = (0..GIB / chunk_bytes as u64).map(move |place| {
        let data = if place == 0 { first.clone() } else { next.clone() };
        Message::Chunk(pb::ContentChunk {
            crc32c: Some(crc32c(&data)),
            offset: Some((place * chunk_bytes as u64) as i64),
            data,
        })
    });
    let trailer = Message::Trailer(pb::ContentTrailer {
        size: Some(GIB as i64),
        sha256: None,
    });
    stream::iter([header].into_iter().chain(chunks).chain([trailer]))
}

/// How long it takes to read it, checking each chunk.
async fn read(calls: &Calls, uid: &str, chunk_bytes: usize) -> Duration {
    let began = Instant::now();
    let request = pb::ReadContentRequest {
        artifact: Some(by_uid(uid)),
        chunk_bytes: chunk_bytes as i32,
        ..Default::default()
    };
    let mut answer = calls.contents().read_content(request).await.expect("read").into_inner();
    let mut bytes = 0;
    while let Some(message) = answer.next().await {
        if let Some(read_content_response::Message::Chunk(chunk)) = message.expect("read on").message {
            assert_eq!(chunk.crc32c, Some(crc32c(&chunk.data)));
            bytes += chunk.data.len() as u64;
        }
    }
    assert_eq!(bytes, GIB);
    began.elapsed()
}
