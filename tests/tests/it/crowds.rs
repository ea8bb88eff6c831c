//! Many callers at once, more than the server reads at a time.

use std::time::Duration;

use artifactd_tests::{
    Calls, Outcome, TestServer,
    calls::{by_key, keyed, save_messages},
    content::content,
    pb::{self, ErrorReason, save_artifact_request::Message},
    refusal,
};
use futures::{StreamExt, future::join_all, stream};

const CONNECTIONS: usize = 4;
const SAVES: usize = 500;

/// Far more than a caller may send before its save has its turn.
const SAVE_BYTES: usize = 2_000_000;

/// Parts in one message each, of as much as a message may hold.
const PARTS: usize = 100;
const PART_BYTES: usize = 8 << 20;

/// Of each part that waits its window, of two what was read and what is written; far less
/// than all of them, which have 800 MiB.
const PARTS_GROWTH_BYTES_MAX: u64 = 250 << 20;

const COMES_BACK_AFTER: Duration = Duration::from_millis(500);
const ALL_SAVED_AFTER: Duration = Duration::from_secs(50);

/// How much memory all saves together may cost.
const GROWTH_BYTES_MAX: u64 = 300 << 20;

fn key_of(number: usize) -> String {
    format!("crowd/{number}.bin")
}

async fn save(calls: Calls, number: usize) -> Outcome<pb::SaveArtifactResponse> {
    let bytes = content(number as u64, SAVE_BYTES);
    let messages = save_messages(keyed(&key_of(number)), &bytes);
    calls.save_stream(stream::iter(messages)).await
}

/// Comes back as often as it is told to.
async fn save_in_the_end(calls: Calls, number: usize) -> pb::SaveArtifactResponse {
    loop {
        match save(calls.clone(), number).await {
            Ok(saved) => return saved,
            refused => assert_eq!(refusal(refused), ErrorReason::ServerBusy),
        }
        tokio::time::sleep(COMES_BACK_AFTER).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_saves_over_four_connections_all_succeed_in_little_memory() {
    let server = TestServer::start().await;
    let before = server.resident_bytes();
    let connections: Vec<Calls> = (0..CONNECTIONS).map(|_| server.calls()).collect();
    let saves = (0..SAVES).map(|number| {
        let calls = connections[number % CONNECTIONS].clone();
        tokio::spawn(save_in_the_end(calls, number))
    });
    // One that stalled would never come to its end.
    let saved = tokio::time::timeout(ALL_SAVED_AFTER, join_all(saves)).await;
    saved
        .expect("none stalls")
        .into_iter()
        .for_each(|saved| drop(saved.unwrap()));
    let grown = server.peak_resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the server grew by {grown} bytes");
    for number in [0, SAVES - 1] {
        let bytes = server.calls().read(by_key(&key_of(number))).await.unwrap();
        assert!(bytes == content(number as u64, SAVE_BYTES));
    }
    server.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_parts_at_once_cost_the_memory_of_those_that_are_read() {
    let server = TestServer::setup()
        .env("ARTIFACTD_LIMITS__CONTENT_STREAMS_MAX", "8")
        .start()
        .await;
    let part = content(1, PART_BYTES);
    let request = pb::CreateUploadRequest {
        save: Some(pb::SaveHeader {
            size: Some((PARTS * PART_BYTES) as i64),
            ..keyed("x.bin")
        }),
        parallel: true,
        part_bytes: PART_BYTES as i64,
    };
    let upload = server.calls().create_upload(request).await.unwrap();
    let before = server.resident_bytes();
    let connections: Vec<Calls> = (0..CONNECTIONS).map(|_| server.calls()).collect();
    let sends = (0..PARTS).map(|number| {
        let (calls, uid, part) = (
            connections[number % CONNECTIONS].clone(),
            upload.uid.clone(),
            part.clone(),
        );
        tokio::spawn(async move {
            loop {
                match calls.upload_part(&uid, number * PART_BYTES, &part, false).await {
                    Ok(_) => return,
                    refused => assert_eq!(refusal(refused), ErrorReason::ServerBusy),
                }
                tokio::time::sleep(COMES_BACK_AFTER).await;
            }
        })
    });
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    let grown = server.peak_resident_bytes().saturating_sub(before);
    assert!(grown < PARTS_GROWTH_BYTES_MAX, "the server grew by {grown} bytes");
    let saved = server.calls().complete_upload(&upload.uid).await.unwrap();
    assert_eq!(artifactd_tests::calls::saved(saved).size, (PARTS * PART_BYTES) as i64);
    server.assert_clean();
}

#[tokio::test]
async fn who_waits_too_long_for_a_turn_is_told_to_come_back() {
    let server = TestServer::setup()
        .env("ARTIFACTD_LIMITS__CONTENT_STREAMS_MAX", "8")
        .env("ARTIFACTD_LIMITS__CONTENT_WAIT_MS", "300")
        .start()
        .await;
    // Each has its turn, and neither sends nor ends.
    let silent: Vec<_> = (0..8)
        .map(|number| {
            let calls = server.calls();
            let header = stream::iter([Message::Header(keyed(&key_of(number)))]).chain(stream::pending());
            tokio::spawn(async move { calls.save_stream(header).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(refusal(save(server.calls(), 8).await), ErrorReason::ServerBusy);
    for silent in silent {
        silent.abort();
        let _ = silent.await;
    }
    save(server.calls(), 9).await.unwrap();
}
