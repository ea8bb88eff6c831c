//! What nothing needs goes, and nothing else.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::content,
    folders::{Files, files, folder},
    pb::{self, GarbageReason},
};

async fn without_grace(backend: Backend) -> TestServer {
    TestServer::setup().on(backend).without_grace().start().await
}

/// Objects by reason.
fn objects(amounts: &[pb::GarbageAmount]) -> BTreeMap<GarbageReason, i64> {
    amounts.iter().map(|amount| (amount.reason(), amount.objects)).collect()
}

async fn collect(server: &TestServer, dry_run: bool) -> pb::StorageGarbage {
    let mut report = server.calls().collect_garbage(dry_run).await.unwrap();
    assert_eq!(report.storages.len(), 1);
    assert_eq!(report.storages[0].failed, 0);
    report.storages.remove(0)
}

/// Puts bytes under a name of the server's form that no record has.
fn put_orphan(server: &TestServer, name: &str) {
    let some = server.stored_objects().remove(0);
    match &server.bucket {
        Some(bucket) => {
            let prefix = some.split("/objects/").next().unwrap();
            bucket.overwrite(&format!("{prefix}/objects/{name}"), b"orphan");
        }
        None => {
            let prefix = some.split("/objects/").next().unwrap();
            fs::write(format!("{prefix}/objects/{name}"), b"orphan").unwrap();
        }
    }
}

const ORPHAN: &str = "ab/abababababababababababababababab.csv";

#[tokio::test]
async fn destroyed_bytes_go_after_the_grace_and_a_dry_run_says_so() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let calls = server.calls();
        let kept = saved(calls.save(keyed("kept.bin"), &content(1, 700_000)).await.unwrap());
        let gone = saved(calls.save(keyed("gone.bin"), &content(2, 600_000)).await.unwrap());
        calls.destroy(by_uid(&gone.uid)).await.unwrap();
        put_orphan(&server, ORPHAN);
        for dry_run in [true, false] {
            let found = collect(&server, dry_run).await;
            assert_eq!(found.collected, [], "{backend:?}");
            let waiting = objects(&found.waiting);
            assert_eq!(waiting, [(GarbageReason::Unused, 1), (GarbageReason::Orphan, 1)].into());
        }
        assert_eq!(server.stored_objects().len(), 3);
        server.stop().await;
        server.start_again_with(&[("ARTIFACTD_GC__GRACE", "0s")]).await;
        let found = collect(&server, true).await;
        let bytes: i64 = found.collected.iter().map(|amount| amount.bytes).sum();
        assert_eq!((bytes, found.waiting.len()), (600_006, 0));
        assert_eq!(server.stored_objects().len(), 3, "a dry run changes nothing");
        let found = collect(&server, false).await;
        assert_eq!(objects(&found.collected), [(GarbageReason::Unused, 2)].into());
        assert_eq!(server.stored_objects().len(), 1, "{backend:?}");
        assert!(server.calls().read(by_uid(&kept.uid)).await.unwrap() == content(1, 700_000));
        assert_eq!(collect(&server, false).await.collected, []);
        server.assert_clean();
    }
}

#[tokio::test]
async fn what_the_server_did_not_make_stays() {
    let server = without_grace(Backend::EMBEDDED).await;
    server.calls().save(keyed("x.bin"), &content(1, 500)).await.unwrap();
    let object = server.stored_objects().remove(0);
    let beside = PathBuf::from(&object).with_file_name("README.txt");
    fs::write(&beside, b"not ours").unwrap();
    collect(&server, false).await;
    assert!(beside.exists());
}

#[tokio::test]
async fn bytes_that_are_missing_are_counted() {
    for backend in Backend::ALL {
        let server = without_grace(backend).await;
        let calls = server.calls();
        let gone = saved(calls.save(keyed("gone.bin"), &content(1, 700_000)).await.unwrap());
        let before = server.stored_objects();
        calls.save(keyed("kept.bin"), &content(2, 700_000)).await.unwrap();
        for dry_run in [true, false] {
            assert_eq!(collect(&server, dry_run).await.missing, 0, "{backend:?}");
        }
        match &server.bucket {
            Some(bucket) => bucket.remove(&before[0]),
            None => fs::remove_file(&before[0]).unwrap(),
        }
        for dry_run in [true, false] {
            let found = collect(&server, dry_run).await;
            assert_eq!((found.missing, found.collected), (1, vec![]), "{backend:?}");
        }
        // Its record stays, and says what is wrong.
        let read = calls.read(by_uid(&gone.uid)).await;
        assert_eq!(artifactd_tests::refusal(read), pb::ErrorReason::ContentCorrupt);
        calls.destroy(by_uid(&gone.uid)).await.unwrap();
        assert_eq!(collect(&server, false).await.missing, 0);
        server.assert_clean();
    }
}

#[tokio::test]
async fn what_a_killed_server_left_behind_goes() {
    for backend in Backend::ALL {
        let mut server = TestServer::setup().on(backend).prepare().await;
        let point = if backend.storage == artifactd_tests::Storage::S3 {
            "cloud.before_complete"
        } else {
            "local.before_fsync"
        };
        server.start_again_armed(point).await;
        let large = content(3, 20_000_000);
        server.calls().save(keyed("x.bin"), &large).await.unwrap_err();
        for _ in 0..2_000 {
            if server.has_crashed() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.staged().len(), 1, "{backend:?}");
        server.start_again_with(&[("ARTIFACTD_GC__GRACE", "0s")]).await;
        let found = collect(&server, false).await;
        let unfinished = objects(&found.collected).get(&GarbageReason::Unfinished).copied();
        // A start removes staging files of processes that ended, when they are old enough.
        assert!(unfinished == Some(1) || backend.storage != artifactd_tests::Storage::S3);
        assert_eq!(server.staged(), [""; 0], "{backend:?}");
        server.calls().save(keyed("x.bin"), &large).await.unwrap();
        server.assert_clean();
    }
}

async fn save_small(server: &TestServer, count: u64) -> Vec<pb::Artifact> {
    let files = (0..count).map(|number| (keyed(&format!("{number}.bin")), content(number, 9_000).to_vec()));
    let results = server.calls().save_batch(files.collect()).await.unwrap();
    results.into_iter().map(|result| saved(result.unwrap())).collect()
}

#[tokio::test]
async fn packs_of_which_little_is_needed_are_compacted_under_their_readers() {
    for backend in Backend::ALL {
        let server = without_grace(backend).await;
        let artifacts = save_small(&server, 200).await;
        let before = server.stored_objects();
        for artifact in artifacts.iter().filter(|artifact| !artifact.key().starts_with('2')) {
            server.calls().destroy(by_uid(&artifact.uid)).await.unwrap();
        }
        let found = collect(&server, true).await;
        assert_eq!(
            objects(&found.collected),
            [(GarbageReason::Sparse, 1)].into(),
            "{backend:?}"
        );
        let live: Vec<_> = artifacts
            .iter()
            .filter(|artifact| artifact.key().starts_with('2'))
            .collect();
        assert_eq!(live.len(), 11);
        let stop = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn({
            let (calls, stop) = (server.calls(), Arc::clone(&stop));
            let live: Vec<String> = live.iter().map(|artifact| artifact.uid.clone()).collect();
            async move {
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    for uid in &live {
                        calls.read(by_uid(uid)).await.unwrap();
                        reads += 1;
                    }
                }
                reads
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        collect(&server, false).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.store(true, Ordering::Relaxed);
        assert!(reading.await.unwrap() > 0);
        let after = server.stored_objects();
        assert_eq!(after.len(), 1, "{backend:?}");
        assert_ne!(after, before);
        for artifact in live {
            let number = artifact.key().trim_end_matches(".bin").parse().unwrap();
            assert!(server.calls().read(by_uid(&artifact.uid)).await.unwrap() == content(number, 9_000));
        }
        assert_eq!(collect(&server, false).await.collected, []);
        server.assert_clean();
    }
}

#[tokio::test]
async fn packs_of_tiny_files_are_not_compacted_again_and_again() {
    let server = without_grace(Backend::EMBEDDED).await;
    let tiny: Files = files(500, &[3, 4, 5]);
    server.calls().save_folder(folder("f"), &tiny).await.unwrap();
    assert_eq!(collect(&server, false).await.collected, []);
}

#[tokio::test]
async fn a_damaged_content_keeps_its_pack() {
    let server = without_grace(Backend::EMBEDDED).await;
    let artifacts = save_small(&server, 20).await;
    for artifact in &artifacts[2..] {
        server.calls().destroy(by_uid(&artifact.uid)).await.unwrap();
    }
    server.overwrite_only_object(|stored| stored[100] ^= 1);
    collect(&server, false).await;
    let first = server.calls().read(by_uid(&artifacts[0].uid)).await;
    assert_eq!(artifactd_tests::refusal(first), pb::ErrorReason::ContentCorrupt);
    assert!(server.calls().read(by_uid(&artifacts[1].uid)).await.unwrap() == content(1, 9_000));
    assert_eq!(
        server.stored_objects().len(),
        2,
        "the damaged one stays to be looked at"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_destroy_at_once_goes() {
    for backend in Backend::DATABASES {
        let server = without_grace(backend).await;
        for round in 0..20 {
            let calls = server.calls();
            let bytes = content(round, 2_000);
            let one = saved(calls.save(keyed("one.bin"), &bytes).await.unwrap());
            let two = saved(calls.save(keyed("two.bin"), &bytes).await.unwrap());
            let (left, right) = tokio::join!(
                tokio::spawn({
                    let calls = server.calls();
                    async move { calls.destroy(by_uid(&one.uid)).await }
                }),
                tokio::spawn({
                    let calls = server.calls();
                    async move { calls.destroy(by_uid(&two.uid)).await }
                }),
            );
            left.unwrap().unwrap();
            right.unwrap().unwrap();
        }
        collect(&server, false).await;
        assert_eq!(
            server.query_integer("SELECT count(*) FROM blobs").await,
            0,
            "{backend:?}"
        );
        assert_eq!(server.stored_objects(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_beside_saves_and_destructions_of_the_same_content_lose_nothing() {
    for backend in Backend::ALL {
        let server = without_grace(backend).await;
        let stop = Arc::new(AtomicBool::new(false));
        let collectors: Vec<_> = (0..2)
            .map(|_| {
                let (calls, stop) = (server.calls(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut rounds = 0;
                    while !stop.load(Ordering::Relaxed) {
                        match calls.collect_garbage(false).await {
                            Ok(_) => rounds += 1,
                            // Its note was taken for an orphan's by the other, as there is no grace.
                            Err(failure) => assert!(failure.says_when_to_retry, "{failure:?}"),
                        }
                    }
                    rounds
                })
            })
            .collect();
        let savers: Vec<_> = (0..4u64)
            .map(|saver| {
                let calls = server.calls();
                tokio::spawn(async move {
                    let mut kept = Vec::new();
                    for round in 0..25u64 {
                        // The same four contents come and go, alone and in packs.
                        let bytes = content(round % 4, 5_000);
                        let key = format!("{saver}-{round}.bin");
                        let one = loop {
                            match calls.save(keyed(&key), &bytes).await {
                                Ok(answer) => break saved(answer),
                                // Its bytes were taken for an orphan's, as there is no grace.
                                Err(failure) => assert!(failure.says_when_to_retry, "{failure:?}"),
                            }
                        };
                        let key = format!("pack-{saver}-{round}.bin");
                        let mut results = calls.save_batch(vec![(keyed(&key), bytes.to_vec())]).await.unwrap();
                        if let Ok(answer) = results.remove(0) {
                            kept.push((saved(answer).uid, round % 4));
                        }
                        if round % 3 == 0 {
                            kept.push((one.uid, round % 4));
                        } else {
                            calls.destroy(by_uid(&one.uid)).await.unwrap();
                        }
                        if round % 5 == 4 {
                            let (uid, _) = kept.remove(0);
                            calls.destroy(by_uid(&uid)).await.unwrap();
                        }
                    }
                    kept
                })
            })
            .collect();
        let mut kept = Vec::new();
        for saver in savers {
            kept.extend(saver.await.unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        for collector in collectors {
            assert!(collector.await.unwrap() > 0);
        }
        for (uid, seed) in &kept {
            assert!(
                server.calls().read(by_uid(uid)).await.unwrap() == content(*seed, 5_000),
                "{backend:?}"
            );
        }
        collect(&server, false).await;
        collect(&server, false).await;
        let blobs = server.query_integer("SELECT count(*) FROM blobs").await;
        assert!(
            blobs <= 4 && server.stored_objects().len() as i64 <= blobs,
            "{backend:?}"
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn old_requests_are_forgotten_and_young_ones_are_not() {
    for backend in Backend::DATABASES {
        let server = without_grace(backend).await;
        let header = |id: &str| pb::SaveHeader {
            request_id: Some(id.to_owned()),
            ..keyed(&format!("{id}.bin"))
        };
        for id in ["old-1", "old-2", "young"] {
            server.calls().save(header(id), b"x").await.unwrap();
        }
        let aged = "UPDATE requests SET created_at_us = 5 WHERE request_id LIKE 'old%'";
        server.database().await.run(aged).await;
        let report = server.calls().collect_garbage(false).await.unwrap();
        assert_eq!(report.old_requests, 2, "{backend:?}");
        assert_eq!(server.query_integer("SELECT count(*) FROM requests").await, 1);
    }
}

#[tokio::test]
async fn the_command_collects_and_leaves_a_served_folder_alone() {
    let mut server = without_grace(Backend::EMBEDDED).await;
    let gone = saved(server.calls().save(keyed("x.bin"), &content(1, 500)).await.unwrap());
    server.calls().destroy(by_uid(&gone.uid)).await.unwrap();
    let data_dir = server.data_dir().display().to_string();
    let run =
        |server: &TestServer, more: &[&str]| server.run(&[&["gc", "--json", "--data-dir", &data_dir], more].concat());
    let refused = run(&server, &[]);
    assert_eq!(refused.status.code(), Some(3), "a server runs on this folder");
    server.stop().await;
    for more in [&["--dry-run"][..], &[]] {
        let done = run(&server, more);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["storages"][0]["collected"]["unused"]["objects"], 1, "{report:#}");
    }
    assert_eq!(server.stored_objects(), [""; 0]);
    let words = server.run(&["gc", "--data-dir", &data_dir]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("removed 0 records"));
}

#[tokio::test]
async fn a_server_collects_by_itself() {
    for backend in Backend::DATABASES {
        let setup = TestServer::setup().on(backend).without_grace();
        let server = setup.env("ARTIFACTD_GC__INTERVAL", "1s").start().await;
        let gone = saved(server.calls().save(keyed("x.bin"), &content(1, 500)).await.unwrap());
        server.calls().destroy(by_uid(&gone.uid)).await.unwrap();
        for _ in 0..300 {
            if server.stored_objects().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(server.stored_objects(), [""; 0], "{backend:?}");
    }
}

#[tokio::test]
async fn a_read_that_began_goes_on_in_the_new_place() {
    let server = without_grace(Backend::EMBEDDED).await;
    let all: Files = (0..60)
        .map(|number| (format!("{number:03}.bin"), content(number, 300_000)))
        .collect();
    server.calls().save_folder(folder("f"), &all).await.unwrap();
    let some: Files = all
        .iter()
        .take(20)
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect();
    server.calls().save_folder(folder("some"), &some).await.unwrap();
    let request = pb::ReadMembersRequest {
        artifact: Some(by_key("some")),
        ..Default::default()
    };
    let mut stream = server
        .calls()
        .contents()
        .read_members(request)
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    let whole = server.calls().get(by_key("f")).await.unwrap();
    server.calls().destroy(by_uid(&whole.uid)).await.unwrap();
    let before = server.stored_objects();
    collect(&server, false).await;
    assert_ne!(server.stored_objects(), before);
    let mut bytes = 0;
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(pb::read_members_response::Message::Chunk(chunk)) = message.message {
            bytes += chunk.data.len();
        }
    }
    assert_eq!(bytes, 20 * 300_000);
}
