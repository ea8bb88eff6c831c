//! Several who want something of one upload at the same time, on one server or on two.

use std::time::Duration;

use artifactd_tests::{
    Backend, Calls, Failure, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason, UploadState},
    refusal,
    uploads::UploadStream,
};
use futures::future::join_all;
use rustix::process::Signal;

const PART: usize = 5 << 20;

fn wanted(key: &str, size: Option<usize>, parallel: bool) -> pb::CreateUploadRequest {
    pb::CreateUploadRequest {
        save: Some(pb::SaveHeader {
            size: size.map(|size| size as i64),
            ..keyed(key)
        }),
        parallel,
        part_bytes: PART as i64,
    }
}

/// Every part of a parallel upload but one.
async fn all_but(calls: &Calls, uid: &str, bytes: &[u8], left_out: usize) {
    for (number, part) in bytes.chunks(PART).enumerate().filter(|(number, _)| *number != left_out) {
        calls.upload_part(uid, number * PART, part, false).await.unwrap();
    }
}

async fn assert_saved(calls: &Calls, uid: &str, bytes: &[u8]) -> pb::Artifact {
    let artifact = saved(calls.complete_upload(uid).await.unwrap());
    assert_eq!(artifact.hash, digest(bytes));
    assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes);
    artifact
}

/// The refusal with which a stream ends that another one has taken over.
async fn refused(mut stream: UploadStream) -> ErrorReason {
    loop {
        match stream.ack().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(failure) => return refusal(Err::<(), _>(failure)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_part_from_many_at_once_is_one_of_theirs_whole() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for round in 0..3u64 {
            let key = format!("{round}.bin");
            let first = content(10 * round, 2 * PART);
            let others: Vec<_> = (1..4).map(|other| content(10 * round + other, PART)).collect();
            let upload = calls.create_upload(wanted(&key, Some(2 * PART), true)).await.unwrap();
            all_but(&calls, &upload.uid, &first, 0).await;
            // Two send the same, the others each something else.
            let parts = [&first[..PART], &first[..PART]]
                .into_iter()
                .chain(others.iter().map(|other| &other[..]));
            let sends = parts.map(|part| {
                let (calls, uid, part) = (server.calls(), upload.uid.clone(), part.to_vec());
                tokio::spawn(async move { (calls.upload_part(&uid, 0, &part, false).await, part) })
            });
            let (mut won, mut lost) = (Vec::new(), 0);
            for sent in join_all(sends).await {
                match sent.unwrap() {
                    (Ok(end), part) => {
                        assert_eq!(end, PART as i64);
                        won.push(part);
                    }
                    (failed, _) => {
                        assert_eq!(refusal(failed), ErrorReason::PartConflict);
                        lost += 1;
                    }
                }
            }
            assert!(
                won.iter().all(|part| *part == won[0]),
                "{backend:?}: only one content can be the part"
            );
            assert!(won.len() + lost == 5 && (1..=2).contains(&won.len()));
            let whole = [&won[0][..], &first[PART..]].concat();
            assert_saved(&calls, &upload.uid, &whole).await;
        }
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_part_that_another_server_replaced_in_the_bucket_is_sent_again() {
    for parallel in [false, true] {
        let server = TestServer::on(Backend::CLUSTER).await;
        let calls = server.calls();
        let bytes = content(1, 3 * PART);
        let upload = calls
            .create_upload(wanted("x.bin", Some(bytes.len()), parallel))
            .await
            .unwrap();
        for (number, part) in bytes.chunks(PART).enumerate() {
            calls
                .upload_part(&upload.uid, number * PART, part, false)
                .await
                .unwrap();
        }
        // It was frozen while it sent the part, and woke up after it was sent by another one.
        let bucket = server.bucket.as_ref().unwrap();
        bucket.overwrite_part(2, &content(2, PART));
        let refused = calls.complete_upload(&upload.uid).await;
        assert_eq!(refusal(refused), ErrorReason::UploadIncomplete);
        assert_eq!(calls.upload(&upload.uid).await.unwrap().durable_bytes, PART as i64);
        calls.write_rest(&upload.uid, &bytes, PART, false).await.unwrap();
        assert_saved(&calls, &upload.uid, &bytes).await;
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_part_of_a_silent_stream_goes_to_the_next_one() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let bytes = content(1, 2 * PART);
    let upload = calls
        .create_upload(wanted("x.bin", Some(bytes.len()), true))
        .await
        .unwrap();
    let mut silent = calls.write_upload(&upload.uid, 0).await.unwrap();
    silent.write(0, &bytes[..PART / 2]).await;
    // It may be what a cut has left, of which the server does not know.
    let sent = calls.upload_part(&upload.uid, 0, &bytes[..PART], false).await;
    assert_eq!(sent.unwrap(), PART as i64);
    assert_eq!(refused(silent).await, ErrorReason::UploadFenced);
    all_but(&calls, &upload.uid, &bytes, 0).await;
    assert_saved(&calls, &upload.uid, &bytes).await;
    server.assert_clean();
}

#[tokio::test]
async fn what_is_saved_takes_no_part_in_any_way() {
    for parallel in [false, true] {
        let server = TestServer::start().await;
        let calls = server.calls();
        let bytes = content(2, 2 * PART);
        let upload = calls
            .create_upload(wanted("x.bin", Some(bytes.len()), parallel))
            .await
            .unwrap();
        let mut open = None;
        if parallel {
            open = Some(calls.write_upload(&upload.uid, 0).await.unwrap());
        }
        for (number, part) in bytes.chunks(PART).enumerate() {
            calls
                .upload_part(&upload.uid, number * PART, part, false)
                .await
                .unwrap();
        }
        let artifact = assert_saved(&calls, &upload.uid, &bytes).await;
        let other = content(3, PART);
        for offset in [0, PART] {
            let late = calls.upload_part(&upload.uid, offset, &other, false).await;
            assert_eq!(refusal(late), ErrorReason::UploadNotOpen);
            assert_eq!(
                refusal(calls.write_upload(&upload.uid, offset).await),
                ErrorReason::UploadNotOpen
            );
        }
        if let Some(mut open) = open {
            // A stream that was open already finds that its part is there, and is another.
            open.write(0, &other).await;
            assert_eq!(refused(open).await, ErrorReason::PartConflict);
        }
        assert_eq!(
            refusal(calls.abort_upload(&upload.uid).await),
            ErrorReason::UploadNotOpen
        );
        assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes);
        assert_eq!(server.stored_files_below("uploads"), 0);
        server.assert_clean();
    }
}

#[tokio::test]
async fn an_upload_of_somebody_else_does_not_exist() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let upload = calls.create_upload(wanted("x.bin", None, false)).await.unwrap();
        let own = calls.create_upload(wanted("y.bin", None, false)).await.unwrap();
        let database = server.database().await;
        let somebody = "INSERT INTO principals (id, uid, name, created_at_us) VALUES (777, 'somebody', 'somebody', 1)";
        database.run(somebody).await;
        let theirs = format!("UPDATE uploads SET principal_id = 777 WHERE uid = '{}'", upload.uid);
        database.run(&theirs).await;
        let uid = upload.uid.as_str();
        let reasons = [
            refusal(calls.upload(uid).await),
            refusal(calls.write_upload(uid, 0).await),
            refusal(calls.upload_part(uid, 0, b"x", true).await),
            refusal(calls.complete_upload(uid).await),
            refusal(calls.abort_upload(uid).await),
        ];
        assert_eq!(reasons, [ErrorReason::UploadNotFound; 5], "{backend:?}");
        let listed = calls
            .uploads()
            .list_uploads(pb::ListUploadsRequest::default())
            .await
            .unwrap();
        let listed: Vec<_> = listed
            .into_inner()
            .uploads
            .into_iter()
            .map(|upload| upload.uid)
            .collect();
        assert_eq!(listed, [own.uid]);
        assert_eq!(
            server.query_integer("SELECT count(*) FROM uploads").await,
            2,
            "it is still theirs"
        );
    }
}

/// Two servers of one database that share a bucket, or a folder.
async fn pair(storage: &std::path::Path) -> Vec<(TestServer, TestServer)> {
    let on_bucket = TestServer::on(Backend::CLUSTER).await;
    let setup = TestServer::setup().on(Backend::POSTGRES).storage_path(storage);
    let on_folder = setup.start().await;
    let mut pairs = Vec::new();
    for first in [on_bucket, on_folder] {
        let second = first.replica().await;
        pairs.push((first, second));
    }
    pairs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completions_on_two_servers_at_once_make_one_artifact() {
    let folder = tempfile::tempdir().unwrap();
    for (first, second) in pair(folder.path()).await {
        for parallel in [false, true] {
            let key = format!("{parallel}.bin");
            let bytes = content(4, 2 * PART + 99);
            let upload = first
                .calls()
                .create_upload(wanted(&key, Some(bytes.len()), parallel))
                .await
                .unwrap();
            // Each server takes some of the parts.
            for (number, part) in bytes.chunks(PART).enumerate() {
                let server = if number % 2 == 0 { &first } else { &second };
                let sent = server
                    .calls()
                    .upload_part(&upload.uid, number * PART, part, false)
                    .await;
                sent.unwrap();
            }
            let completions = (0..6).map(|number| {
                let calls = if number % 2 == 0 { first.calls() } else { second.calls() };
                let uid = upload.uid.clone();
                tokio::spawn(async move { calls.complete_upload(&uid).await })
            });
            let mut uids: Vec<_> = join_all(completions)
                .await
                .into_iter()
                .map(|done| saved(done.unwrap().unwrap()).uid)
                .collect();
            uids.dedup();
            assert_eq!(uids.len(), 1, "{:?}", first.backend());
            assert_eq!(first.calls().family(by_key(&key)).await.unwrap().len(), 1);
            assert!(second.calls().read(by_uid(&uids[0])).await.unwrap() == bytes);
        }
        assert_eq!(first.staged(), [""; 0]);
        first.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_frozen_finds_its_uploads_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    for (first, second) in pair(folder.path()).await {
        for parallel in [false, true] {
            let bytes = content(5, 3 * PART);
            let key = format!("{parallel}.bin");
            let upload = first
                .calls()
                .create_upload(wanted(&key, Some(bytes.len()), parallel))
                .await
                .unwrap();
            let mut stream = first.calls().write_upload(&upload.uid, 0).await.unwrap();
            stream.write(0, &bytes[..PART + PART / 2]).await;
            assert_eq!(stream.ack().await.unwrap(), Some(PART as i64));
            first.signal(Signal::STOP);
            let calls = second.calls();
            let durable = calls.upload(&upload.uid).await.unwrap().durable_bytes as usize;
            assert_eq!(durable, PART);
            calls.write_rest(&upload.uid, &bytes, durable, false).await.unwrap();
            let artifact = assert_saved(&calls, &upload.uid, &bytes).await;
            first.signal(Signal::CONT);
            // What it had in hand, and what comes now, is other than what the second one got.
            let other = content(6, PART);
            stream.write(PART + PART / 2, &other[PART / 2..]).await;
            stream.write(2 * PART, &other).await;
            let reason = refused(stream).await;
            let expected = [
                ErrorReason::UploadFenced,
                ErrorReason::UploadNotOpen,
                ErrorReason::PartConflict,
            ];
            assert!(expected.contains(&reason), "{:?}: {reason:?}", first.backend());
            assert_eq!(
                first.calls().upload(&upload.uid).await.unwrap().state(),
                UploadState::Saved
            );
            assert!(first.calls().read(by_uid(&artifact.uid)).await.unwrap() == bytes);
            first.assert_clean();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_that_stood_still_finds_the_upload_completed() {
    for point in ["uploads.closed", "uploads.before_object", "uploads.object_durable"] {
        let first = TestServer::setup().on(Backend::CLUSTER).with_pauses().start().await;
        let second = first.replica().await;
        let bytes = content(8, PART + 5);
        let upload = first.calls().create_upload(wanted("x.bin", None, false)).await.unwrap();
        first.calls().write_rest(&upload.uid, &bytes, 0, true).await.unwrap();
        let mut pauses = first.pauses();
        pauses.arm(point);
        let (calls, uid) = (first.calls(), upload.uid.clone());
        let stands_still = tokio::spawn(async move { calls.complete_upload(&uid).await });
        assert!(pauses.met(point, tokio::time::sleep(Duration::from_secs(30))).await);
        // As long as its lease lasts, others hear how far it is; then they go on.
        let request = pb::CompleteUploadRequest {
            uid: upload.uid.clone(),
            ..Default::default()
        };
        let busy = second
            .calls()
            .uploads()
            .complete_upload(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(busy.saved, None, "{point}");
        let lapse = format!("UPDATE uploads SET busy_until_us = 0 WHERE uid = '{}'", upload.uid);
        first.database().await.run(&lapse).await;
        let artifact = assert_saved(&second.calls(), &upload.uid, &bytes).await;
        pauses.release();
        match stands_still.await.unwrap() {
            Ok(late) => assert_eq!(saved(late).uid, artifact.uid),
            Err(failure) => assert_eq!(fenced(failure), ErrorReason::UploadFenced, "{point}"),
        }
        assert_eq!(
            saved(first.calls().complete_upload(&upload.uid).await.unwrap()).uid,
            artifact.uid
        );
        assert_eq!(first.calls().family(by_key("x.bin")).await.unwrap().len(), 1);
        assert!(first.calls().read(by_key("x.bin")).await.unwrap() == bytes);
        first.assert_clean();
    }
}

fn fenced(failure: Failure) -> ErrorReason {
    refusal(Err::<(), _>(failure))
}
