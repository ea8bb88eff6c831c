//! Disks that fail: writes, flushes, names and reads that the system answers with EIO.

use std::{fs, path::PathBuf, time::Duration};

use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, keyed},
    content::content,
    failing_calls::{Call, FLUSH, Failing, FailingCalls, OPEN, READ, RENAME, WRITE},
    pb::{self, ErrorReason},
    refusal_of,
};

/// How the server ends when its database cannot be flushed.
const FLUSH_FAILED: i32 = 70;

/// Keys of saves that are under way at once.
const CROWD: usize = 24;

fn requested(key: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        request_id: Some(key.to_owned()),
        ..keyed(key)
    }
}

/// Every folder that objects are named in.
fn object_folders(server: &TestServer) -> Vec<PathBuf> {
    let objects = server.data_dir().join("storage/.artifactd/objects");
    let folders: Vec<_> = fs::read_dir(objects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(folders.len(), 256);
    folders
}

fn database_file(server: &TestServer, ending: &str) -> Vec<PathBuf> {
    let file = server.data_dir().join(format!("artifactd.sqlite3{ending}"));
    assert!(file.is_file(), "{} is not there", file.display());
    vec![file]
}

/// A flush that failed says that pages are lost; the next one would say that all is well.
fn assert_no_flush_is_tried_again(seen: &[Call], what: &str) {
    let file = |call: &Call| {
        let name = call.line.split_once('<').map_or("", |(_, rest)| rest);
        name.split('>').next().unwrap_or_default().to_owned()
    };
    for (number, failed) in seen.iter().enumerate().filter(|(_, call)| call.failed) {
        let again = seen[number + 1..].iter().find(|call| file(call) == file(failed));
        assert!(again.is_none(), "{what}: {} was followed by {again:?}", failed.line);
    }
}

async fn assert_nothing_is_staged(server: &TestServer, what: &str) {
    // Tidying up follows the answer, and the storage is probed now and then.
    for _ in 0..200 {
        if server.staged().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} left {:?}", server.staged());
}

/// The ways in, each for content under a key.
async fn send(way: &str, calls: &Calls, key: &str, bytes: &[u8]) -> Outcome<()> {
    let header = requested(key);
    match way {
        "save" => calls.save(header, bytes).await.map(drop),
        "small save" => calls.save_small(header, bytes).await.map(drop),
        _ => {
            let header = pb::ReplaceHeader {
                artifact: Some(by_key("kept.bin")),
                request_id: header.request_id,
                ..Default::default()
            };
            calls.replace(header, bytes).await.map(drop)
        }
    }
}

#[tokio::test]
async fn content_that_the_disk_does_not_take_is_refused_and_leaves_nothing() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        let kept = content(1, 700_000);
        server.calls().save(keyed("kept.bin"), &kept).await.unwrap();
        let folders = object_folders(&server);
        let storage = [server.data_dir().join("storage/.artifactd")];
        let failing = [
            ("the file", Failing::all(OPEN).on(&storage)),
            ("the first write", Failing::all(WRITE)),
            ("a later write", Failing::all(WRITE).when("2+")),
            ("the flush of the file", Failing::all(FLUSH)),
            ("the name", Failing::all(RENAME)),
            ("the flush of the folder", Failing::all(FLUSH).on(&folders)),
        ];
        for (number, (place, failing)) in failing.iter().enumerate() {
            // Garbage is looked for after a minute: a flush of the database that fails ends the server.
            assert!(server.stop().await.success());
            server.start_again().await;
            let calls = server.calls();
            for (way, len) in [("save", 9_000_000), ("small save", 3_000), ("replace", 2_000_000)] {
                // A small file is written at once, under its own name.
                let is_small = way == "small save";
                if (*place == "a later write" && way != "save") || (*place == "the name" && is_small) {
                    continue;
                }
                let what = format!("{way}, {place}, {backend:?}");
                let key = format!("{number}-{}.bin", way.replace(' ', "-"));
                let bytes = content(2 + number as u64, len);
                let held = FailingCalls::of(&server, failing);
                let refused = refusal_of(&what, send(way, &calls, &key, &bytes).await);
                let seen = held.end();
                // Each thread counts for itself, so that the later write may be one of the database.
                let late = *place == "a later write" && refused == ErrorReason::DatabaseUnavailable;
                assert!(
                    late || refused == ErrorReason::StorageUnavailable,
                    "{what}: {refused:?}"
                );
                assert!(seen.iter().any(|call| call.failed), "{what}: nothing failed");
                if failing.calls == FLUSH {
                    assert_no_flush_is_tried_again(&seen, &what);
                }
                assert_eq!(
                    refusal_of(&what, calls.get(by_key(&key)).await),
                    ErrorReason::ArtifactNotFound
                );
                assert!(calls.read(by_key("kept.bin")).await.unwrap() == kept, "{what}");
                assert_nothing_is_staged(&server, &what).await;
                assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 1, "{what}");
            }
        }
        server.assert_clean();
        let calls = server.calls();
        calls
            .save(requested("0-save.bin"), &content(2, 9_000_000))
            .await
            .unwrap();
        assert!(calls.read(by_key("0-save.bin")).await.unwrap() == content(2, 9_000_000));
        server.assert_clean();
    }
}

#[tokio::test]
async fn records_that_the_disk_does_not_take_are_refused_and_work_again_later() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("kept.bin"), &content(1, 3_000)).await.unwrap();
    let log = database_file(&server, "-wal");
    for (number, when) in ["1+", "2+", "5+", "1"].into_iter().enumerate() {
        let (key, bytes) = (format!("{number}.bin"), content(2 + number as u64, 30_000));
        let held = FailingCalls::of(&server, &Failing::all(WRITE).on(&log).when(when));
        let outcome = calls.save(requested(&key), &bytes).await;
        let trashed = calls.trash(by_key("kept.bin")).await;
        let seen = held.end();
        assert!(seen.iter().any(|call| call.failed), "nothing failed");
        assert_eq!(refusal_of(when, outcome), ErrorReason::DatabaseUnavailable, "{when}");
        let looked_for = calls.get(by_key(&key)).await;
        assert_eq!(refusal_of(when, looked_for), ErrorReason::ArtifactNotFound, "{when}");
        if let Err(failure) = trashed {
            assert_eq!(
                failure.reason,
                Some(ErrorReason::DatabaseUnavailable),
                "{when}: {failure}"
            );
        } else {
            calls.restore(by_key_of_trash(&calls).await).await.unwrap();
        }
        calls.save(requested(&key), &bytes).await.unwrap();
        assert_eq!(calls.family(by_key(&key)).await.unwrap().len(), 1);
        assert!(calls.read(by_key("kept.bin")).await.unwrap() == content(1, 3_000));
        server.assert_clean();
    }
}

/// What was trashed, for it is no longer found by its key.
async fn by_key_of_trash(calls: &Calls) -> pb::ArtifactRef {
    let trashed = pb::ListArtifactsRequest {
        visibilities: vec![pb::Visibility::Trash.into()],
        ..Default::default()
    };
    let page = calls.list(trashed).await.unwrap();
    artifactd_tests::calls::by_uid(&page.artifacts[0].uid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_flushed_ends_the_server_and_loses_nothing_acknowledged() {
    let mut server = TestServer::start().await;
    server.calls().save(keyed("kept.bin"), b"kept").await.unwrap();
    for round in 0..4_usize {
        let when = ["1+", "1", "2+", "3+"][round];
        let bytes = |number: usize| content((round * CROWD + number) as u64, 5_000);
        let key = |number: usize| format!("{round}-{number}.bin");
        let log = database_file(&server, "-wal");
        let held = FailingCalls::of(&server, &Failing::all(FLUSH).on(&log).when(when));
        let saves = (0..CROWD).map(|number| {
            let calls = server.calls();
            async move { calls.save(requested(&key(number)), &bytes(number)).await.is_ok() }
        });
        let mut acknowledged = futures::future::join_all(saves).await;
        let mut more = 0;
        while acknowledged.iter().all(|acknowledged| *acknowledged) && more < 20 {
            // All were in one group, whose flush was not yet the one to fail.
            let number = acknowledged.len();
            acknowledged.push(
                server
                    .calls()
                    .save(requested(&key(number)), &bytes(number))
                    .await
                    .is_ok(),
            );
            more += 1;
        }
        let status = server.wait_for_end(Duration::from_secs(20)).await;
        let seen = held.end();
        assert_eq!(status.code(), Some(FLUSH_FAILED), "{when}: {}", server.log());
        assert!(seen.iter().any(|call| call.failed), "nothing failed");
        assert_no_flush_is_tried_again(&seen, when);
        server.start_again().await;
        let calls = server.calls();
        for (number, acknowledged) in acknowledged.into_iter().enumerate() {
            match calls.read(by_key(&key(number))).await {
                Ok(read) => assert!(read == bytes(number), "{when}: {} has other bytes", key(number)),
                Err(failure) => {
                    assert_eq!(failure.reason, Some(ErrorReason::ArtifactNotFound), "{failure}");
                    assert!(!acknowledged, "{when}: {} was acknowledged and is lost", key(number));
                }
            }
            calls.save(requested(&key(number)), &bytes(number)).await.unwrap();
            assert_eq!(calls.family(by_key(&key(number))).await.unwrap().len(), 1);
        }
        assert_eq!(calls.read(by_key("kept.bin")).await.unwrap(), b"kept");
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_folded_into_the_database_keeps_what_was_acknowledged() {
    for calls_that_fail in [WRITE, FLUSH] {
        let mut server = TestServer::start().await;
        let calls = server.calls();
        let file = database_file(&server, "");
        let held = FailingCalls::of(&server, &Failing::all(calls_that_fail).on(&file));
        let bytes = |number: u64| content(number, 2_000);
        for number in 0..200_u64 {
            // Long descriptions fill the log, which is folded after four thousand pages.
            let header = pb::SaveHeader {
                description: Some("x".repeat(60_000)),
                ..keyed(&format!("{number}.bin"))
            };
            calls.save(header, &bytes(number)).await.unwrap();
        }
        server.kill();
        let seen = held.end();
        assert!(seen.iter().any(|call| call.failed), "{calls_that_fail}: nothing failed");
        server.start_again().await;
        for number in 0..200_u64 {
            let read = server.calls().read(by_key(&format!("{number}.bin"))).await.unwrap();
            assert!(read == bytes(number), "{calls_that_fail}");
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn content_that_the_disk_does_not_give_back_is_lost_data_until_it_comes_again() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(1, 3_000_000);
        calls.save(keyed("x.bin"), &bytes).await.unwrap();
        let object: Vec<PathBuf> = server.stored_objects().into_iter().map(PathBuf::from).collect();
        let held = FailingCalls::of(&server, &Failing::all(READ).on(&object));
        let reason = refusal_of("a read", calls.read(by_key("x.bin")).await);
        assert!(held.end().iter().any(|call| call.failed), "nothing failed");
        assert_eq!(reason, ErrorReason::ContentCorrupt, "{backend:?}");
        calls.save(keyed("again.bin"), &bytes).await.unwrap();
        for key in ["x.bin", "again.bin"] {
            assert!(calls.read(by_key(key)).await.unwrap() == bytes, "{key} on {backend:?}");
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn records_that_the_disk_does_not_give_back_are_said_to_be_away() {
    let mut server = TestServer::start().await;
    for number in 0..20_u64 {
        server
            .calls()
            .save(keyed(&format!("{number}.bin")), &content(number, 100))
            .await
            .unwrap();
    }
    assert!(server.stop().await.success());
    server.start_again().await;
    let calls = server.calls();
    let files = [database_file(&server, ""), database_file(&server, "-wal")].concat();
    let held = FailingCalls::of(&server, &Failing::all(READ).on(&files));
    let mut refused = 0;
    for number in 0..20_u64 {
        if let Err(failure) = calls.get(by_key(&format!("{number}.bin"))).await {
            assert_eq!(failure.reason, Some(ErrorReason::DatabaseUnavailable), "{failure}");
            refused += 1;
        }
    }
    let seen = held.end();
    assert!(refused > 0, "every page was in memory: {seen:?}");
    for number in 0..20_u64 {
        let read = calls.read(by_key(&format!("{number}.bin"))).await.unwrap();
        assert!(read == content(number, 100), "{number}");
    }
    server.assert_clean();
}
