//! Many callers at once, more than the server reads at a time.

use std::time::Duration;

use artifactd_tests::{
    Backend, Calls, Failure, Outcome, TestServer,
    calls::{by_key, keyed, save_messages},
    content::content,
    pb::{self, ErrorReason, save_artifact_request::Message},
    refusal,
};
use futures::{
    StreamExt,
    future::{join_all, select_all},
    stream,
};

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

/// Contents that may be on their way to one key.
const OF_KEY_MAX: usize = 64;

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

fn upload_to(key: &str) -> pb::CreateUploadRequest {
    pb::CreateUploadRequest {
        save: Some(keyed(key)),
        ..Default::default()
    }
}

fn assert_key_is_busy(failure: &Failure) {
    assert_eq!(failure.reason, Some(ErrorReason::KeyBusy), "{failure}");
    assert!(failure.says_when_to_retry, "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_takes_sixty_four_uploads_at_once_and_another_one_for_each_that_ends() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let connections = [server.calls(), server.calls()];
        let begun = join_all((0..OF_KEY_MAX + 8).map(|number| {
            let calls = connections[number % 2].clone();
            tokio::spawn(async move { calls.create_upload(upload_to("crowd.bin")).await })
        }));
        let begun = begun.await.into_iter().map(|begun| begun.unwrap());
        let (mut uids, mut refusals) = (Vec::new(), 0);
        for begun in begun {
            match begun {
                Ok(upload) => uids.push(upload.uid),
                Err(failure) => {
                    assert_key_is_busy(&failure);
                    refusals += 1;
                }
            }
        }
        assert_eq!((uids.len(), refusals), (OF_KEY_MAX, 8), "{backend:?}");
        let [calls, _] = &connections;
        calls.create_upload(upload_to("other.bin")).await.unwrap();
        let without_key = pb::SaveHeader {
            description: Some("without a key".to_owned()),
            ..Default::default()
        };
        let without_key = pb::CreateUploadRequest {
            save: Some(without_key),
            ..Default::default()
        };
        calls.create_upload(without_key).await.unwrap();

        calls.abort_upload(&uids[0]).await.unwrap();
        calls.write_rest(&uids[1], b"saved", 0, true).await.unwrap();
        calls.complete_upload(&uids[1]).await.unwrap();
        for _ in 0..2 {
            calls.create_upload(upload_to("crowd.bin")).await.unwrap();
        }
        let refused = calls.create_upload(upload_to("crowd.bin")).await;
        assert_key_is_busy(&refused.unwrap_err());
        server.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_takes_sixty_four_streams_at_once_and_another_one_when_they_end() {
    let server = TestServer::setup()
        .env("ARTIFACTD_LIMITS__CONTENT_STREAMS_MAX", "128")
        .start()
        .await;
    let calls = server.calls();
    let silent = (0..=OF_KEY_MAX).map(|_| {
        let calls = calls.clone();
        let header = stream::iter([Message::Header(keyed("crowd.bin"))]).chain(stream::pending());
        tokio::spawn(async move { calls.save_stream(header).await })
    });
    let (refused, _, others) = select_all(silent).await;
    assert_key_is_busy(&refused.unwrap().unwrap_err());
    let other = save_messages(keyed("other.bin"), b"of another key");
    calls.save_stream(stream::iter(other)).await.unwrap();
    for silent in others {
        silent.abort();
        let _ = silent.await;
    }
    let one_more = || {
        let messages = save_messages(keyed("crowd.bin"), b"one more");
        calls.save_stream(stream::iter(messages))
    };
    // The server finds out a little later that they are gone.
    while let Err(failure) = one_more().await {
        assert_key_is_busy(&failure);
    }
    server.assert_clean();
}
