//! What others do between the steps of a collection, at each of them.

use std::{future::Future, time::Duration};

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::content,
    crash::{self, garbage},
    folders::{Files, folder},
    pauses::Pauses,
    pb::{self, read_members_response::Message},
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::task::JoinHandle;
use tonic::Streaming;

/// How long others have while a collection stands still. Where it is inside a transaction,
/// writers wait for it.
const MEANWHILE: Duration = Duration::from_millis(150);

/// Files of a folder that goes, and of one that needs some of them.
const ALL_FILES: usize = 30;
const SOME_FILES: usize = 10;
const FILE_BYTES: usize = 200_000;

const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The points of a collection.
fn points() -> Vec<String> {
    let mut points = crash::crash_points();
    points.retain(|point| point.starts_with("gc."));
    assert!(points.len() > 8, "{points:?}");
    points
}

/// Saves a content until it is saved: what was saved before a collection took it for
/// garbage, there being no grace, has to be saved again.
async fn save_in_the_end(calls: Calls, key: String, bytes: Bytes, in_batch: bool) -> (String, Bytes) {
    loop {
        let answer = if in_batch {
            let mut results = calls.save_batch(vec![(keyed(&key), bytes.to_vec())]).await.unwrap();
            results.remove(0)
        } else {
            calls.save(keyed(&key), &bytes).await
        };
        match answer {
            Ok(answer) => return (saved(answer).uid, bytes),
            Err(failure) => {
                let passes = failure.says_when_to_retry || failure.reason == Some(pb::ErrorReason::Conflict);
                assert!(passes, "{key}: {failure:?}");
            }
        }
    }
}

async fn finish<T>(task: JoinHandle<T>) -> T {
    let finished = tokio::time::timeout(ANSWERED_WITHIN, task).await;
    finished.expect("everybody gets an answer").unwrap()
}

/// Begins to read files that are about to move, as the rest of their pack goes.
async fn begin_to_read(server: &TestServer, seed: u64) -> Streaming<pb::ReadMembersResponse> {
    let calls = server.calls();
    let file = |number: usize| {
        (
            format!("{number:02}.bin"),
            content(seed + 100 + number as u64, FILE_BYTES),
        )
    };
    let (all, some) = (format!("all-{seed}"), format!("some-{seed}"));
    let files: Files = (0..ALL_FILES).map(file).collect();
    let whole = saved(calls.save_folder(folder(&all), &files).await.unwrap());
    let files: Files = (0..SOME_FILES).map(file).collect();
    calls.save_folder(folder(&some), &files).await.unwrap();
    let request = pb::ReadMembersRequest {
        artifact: Some(by_key(&some)),
        ..Default::default()
    };
    let mut reading = calls.contents().read_members(request).await.unwrap().into_inner();
    reading.message().await.unwrap().expect("a head");
    calls.destroy(by_uid(&whole.uid)).await.unwrap();
    reading
}

/// Reads to the end; answers how many bytes came.
async fn rest_of(mut reading: Streaming<pb::ReadMembersResponse>) -> usize {
    let mut bytes = 0;
    while let Some(message) = reading.message().await.unwrap() {
        bytes += match message.message {
            Some(Message::Chunk(chunk)) => chunk.data.len(),
            Some(Message::Small(small)) => small.members.iter().map(|member| member.content.len()).sum(),
            _ => 0,
        };
    }
    bytes
}

/// Runs a call that comes by a point, and others while it waits there. Answers what both gave,
/// or nothing when it never came by.
async fn at<T, O, F>(pauses: &mut Pauses, point: &str, call: JoinHandle<T>, others: F) -> (T, Option<O>)
where
    F: Future<Output = O>,
{
    let mut call = call;
    let mut ended = None;
    let met = pauses.met(point, async { ended = Some((&mut call).await) }).await;
    if !met {
        pauses.release();
        let ended = ended.expect("it came by, or it ended");
        return (ended.unwrap(), None);
    }
    let others = others.await;
    tokio::time::sleep(MEANWHILE).await;
    pauses.release();
    (finish(call).await, Some(others))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_collection_beside_saves_reads_and_another_collection() {
    for backend in Backend::ALL {
        let setup = TestServer::setup().on(backend).without_grace().with_pauses();
        let server = setup.start().await;
        let (mut kept, mut missed) = (Vec::new(), Vec::new());
        for (round, point) in points().iter().enumerate() {
            let seed = 1_000 * (round as u64 + 1);
            garbage::make(&server, seed).await;
            let (needed_key, needed) = garbage::needed(seed);
            let reading = begin_to_read(&server, seed).await;

            let mut pauses = server.pauses();
            pauses.arm(point);
            let calls = server.calls();
            let collecting = tokio::spawn(async move { calls.collect_garbage(false).await });
            let others = async {
                let saves = garbage::contents(seed).into_iter().enumerate().map(|(number, bytes)| {
                    let key = format!("again-{seed}-{number}.bin");
                    tokio::spawn(save_in_the_end(server.calls(), key, bytes, number % 2 == 1))
                });
                let saves: Vec<_> = saves.collect();
                let calls = server.calls();
                let second = tokio::spawn(async move { calls.collect_garbage(false).await });
                let read = server.calls().read(by_key(&needed_key)).await.unwrap();
                assert!(read == needed, "{backend:?} {point}");
                (saves, second)
            };
            let (collected, others) = at(&mut pauses, point, collecting, others).await;
            collected.unwrap();
            let Some((saves, second)) = others else {
                missed.push(point.clone());
                continue;
            };
            kept.extend(join_all(saves.into_iter().map(finish)).await);
            finish(second).await.unwrap();
            assert_eq!(rest_of(reading).await, SOME_FILES * FILE_BYTES, "{backend:?} {point}");
            kept.push((server.calls().get(by_key(&needed_key)).await.unwrap().uid, needed));
        }
        assert_eq!(missed, [""; 0], "{backend:?}: a collection comes by each point");
        // What one collection marks, at the latest the next removes.
        for _ in 0..2 {
            server.calls().collect_garbage(false).await.unwrap();
        }
        for (uid, bytes) in &kept {
            assert!(server.calls().read(by_uid(uid)).await.unwrap() == *bytes, "{backend:?}");
        }
        let blobs = server.query_integer("SELECT count(*) FROM blobs").await;
        let used = "SELECT count(DISTINCT blob_id) FROM \
             (SELECT blob_id FROM artifacts UNION SELECT blob_id FROM manifest_page_blobs) AS used \
             WHERE blob_id IS NOT NULL";
        assert_eq!(blobs, server.query_integer(used).await, "{backend:?}");
        let garbage = "SELECT count(*) FROM objects WHERE garbage_since_us IS NOT NULL AND deleted_at_us IS NULL";
        assert_eq!(server.query_integer(garbage).await, 0, "{backend:?}");
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}
