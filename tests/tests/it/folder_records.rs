//! Folders by the rules of records: keys that overlap, trash, destroying, wrong kinds of calls.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_stem, by_uid, by_version, keyed, saved},
    folders::{Files, files, folder},
    pb::{self, ErrorReason, SaveOutcome},
    refusal,
};
use bytes::Bytes;

fn small() -> Files {
    files(5, &[100])
}

async fn count(server: &TestServer, table: &str) -> i64 {
    server.query_integer(&format!("SELECT count(*) FROM {table}")).await
}

/// Waits until nothing is left of destroyed folders.
async fn swept(server: &TestServer) {
    for _ in 0..500 {
        if server
            .query_integer("SELECT count(*) FROM manifests WHERE garbage_since_us IS NOT NULL")
            .await
            == 0
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("destroyed folders stay");
}

#[tokio::test]
async fn keys_inside_live_folders_and_folders_above_live_keys_are_refused() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let overlaps = ErrorReason::KeyOverlaps;
        calls.save(keyed("files/x/a.txt"), b"a").await.unwrap();
        calls.save_folder(folder("data"), &small()).await.unwrap();
        for key in ["data/a", "data/b/c"] {
            assert_eq!(
                refusal(calls.save(keyed(key), b"b").await),
                overlaps,
                "{key} {backend:?}"
            );
            assert_eq!(
                refusal(calls.save_folder(folder(key), &small()).await),
                overlaps,
                "{key}"
            );
        }
        for key in ["files", "files/x", "files/x/a.txt/b"] {
            let outcome = calls.save_folder(folder(key), &small()).await;
            // Below a file lies nothing that could be listed, so that is allowed.
            assert_eq!(outcome.is_err(), key != "files/x/a.txt/b", "{key}");
        }
        for key in ["data0", "data.x/a", "dat/a", "fil/es"] {
            calls.save(keyed(key), b"b").await.unwrap();
        }
        let results = calls
            .save_batch(vec![(keyed("data/z"), b"z".to_vec()), (keyed("ok/z"), b"z".to_vec())])
            .await;
        let mut results = results.unwrap();
        assert!(results.remove(1).is_ok());
        assert_eq!(refusal(results.remove(0)), overlaps);
        // A new version of a file as a folder is a folder, too.
        calls.save(keyed("both"), b"b").await.unwrap();
        calls.save(keyed("both/below"), b"b").await.unwrap();
        assert_eq!(refusal(calls.save_folder(folder("both"), &small()).await), overlaps);
        let renamed = pb::UpdateArtifactRequest {
            artifact: Some(by_key("fil/es")),
            update: Some(pb::ArtifactUpdate {
                key: Some("data/es".to_owned()),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["key".to_owned()],
            }),
            ..Default::default()
        };
        assert_eq!(refusal(calls.update(renamed).await), overlaps);
        // Trash holds no key.
        let trashed = saved(calls.save_folder(folder("later"), &small()).await.unwrap());
        calls.trash(by_key("later")).await.unwrap();
        calls.save(keyed("later/a"), b"b").await.unwrap();
        assert_eq!(refusal(calls.restore(by_uid(&trashed.uid)).await), overlaps);
        server.assert_clean();
    }
}

#[tokio::test]
async fn calls_for_files_refuse_folders_and_the_other_way_round() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let a_folder = saved(calls.save_folder(folder("folder"), &small()).await.unwrap());
    calls.save(keyed("file"), b"x").await.unwrap();
    assert_eq!(
        refusal(calls.read(by_key("folder")).await),
        ErrorReason::ArtifactIsFolder
    );
    assert_eq!(
        refusal(calls.read_member(by_key("file"), "a").await),
        ErrorReason::ArtifactIsFile
    );
    assert_eq!(
        refusal(calls.read_member(by_key("folder"), "no").await),
        ErrorReason::MemberNotFound
    );
    assert_eq!(
        refusal(calls.read_member(by_key("folder"), "/").await),
        ErrorReason::FieldInvalid
    );
    let list = pb::ListMembersRequest {
        artifact: Some(by_key("file")),
        ..Default::default()
    };
    assert_eq!(refusal(calls.list_members(list).await), ErrorReason::ArtifactIsFile);
    let header = pb::ReplaceHeader {
        artifact: Some(by_uid(&a_folder.uid)),
        ..Default::default()
    };
    assert_eq!(
        refusal(calls.replace(header, b"bytes").await),
        ErrorReason::ArtifactIsFolder
    );
    let claim = pb::SaveHeader {
        claim: true,
        sha256: Some(a_folder.hash),
        ..keyed("claim")
    };
    assert_eq!(
        refusal(
            calls
                .save_stream(futures::stream::iter([pb::save_artifact_request::Message::Header(
                    claim
                ),]))
                .await
        ),
        ErrorReason::ContentNotHeld
    );
    server.assert_clean();
}

#[tokio::test]
async fn versions_of_one_key_may_be_files_and_folders() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let (all, mut other) = (small(), small());
        other.insert("x".to_owned(), Bytes::from_static(b"x"));
        saved(calls.save_folder(folder("k"), &all).await.unwrap());
        let second = calls.save(keyed("k"), b"a file").await.unwrap();
        assert_eq!(second.outcome(), SaveOutcome::NewVersion);
        calls.save_folder(folder("k"), &other).await.unwrap();
        // A, B, C, A: each get gives what was saved last.
        let fourth = saved(calls.save_folder(folder("k"), &all).await.unwrap());
        assert_eq!((fourth.version_number, fourth.n_objects), (4, Some(5)));
        assert!(calls.read(by_version("k", "2")).await.unwrap() == b"a file");
        assert!(calls.read_member(by_version("k", "3"), "x").await.unwrap() == b"x");
        assert_eq!(
            refusal(calls.read_member(by_key("k"), "x").await),
            ErrorReason::MemberNotFound
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_folder_goes_to_trash_and_comes_back() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save_folder(folder("f"), &small()).await.unwrap());
        calls.trash(by_key("f")).await.unwrap();
        let list = || pb::ListMembersRequest {
            artifact: Some(by_uid(&artifact.uid)),
            ..Default::default()
        };
        assert_eq!(refusal(calls.list_members(list()).await), ErrorReason::ArtifactInTrash);
        let read = calls.read_member(by_uid(&artifact.uid), "part 0/000000.bin").await;
        assert_eq!(refusal(read), ErrorReason::ArtifactInTrash);
        calls.restore(by_stem(&artifact.stem)).await.unwrap();
        assert_eq!(calls.list_members(list()).await.unwrap().len(), 5);
        server.assert_clean();
    }
}

#[tokio::test]
async fn destroying_a_folder_leaves_what_others_use() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = files(3_000, &[20]);
        let mut more = all.clone();
        more.insert("zz".to_owned(), Bytes::from_static(b"only here"));
        let first = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        let second = saved(calls.save_folder(folder("f"), &more).await.unwrap());
        let shared = calls
            .save(keyed("shared.bin"), &all["part 1/000001.bin"])
            .await
            .unwrap();
        calls.destroy(by_uid(&second.uid)).await.unwrap();
        swept(&server).await;
        assert_eq!(
            refusal(calls.get(by_uid(&second.uid)).await),
            ErrorReason::ArtifactNotFound
        );
        assert_eq!(
            (count(&server, "manifests").await, count(&server, "blobs").await),
            (1, 3_000)
        );
        for (path, content) in all.iter().step_by(500) {
            assert!(calls.read_member(by_uid(&first.uid), path).await.unwrap() == *content);
        }
        server.assert_clean();
        // Nobody looked after the old line meanwhile: if that took long, the server gave it up.
        server.calls().destroy(by_uid(&first.uid)).await.unwrap();
        swept(&server).await;
        for table in [
            "manifests",
            "manifest_pages",
            "manifest_page_places",
            "manifest_page_blobs",
        ] {
            assert_eq!(count(&server, table).await, 0, "{table} {backend:?}");
        }
        assert_eq!(count(&server, "blobs").await, 1);
        assert!(calls.read(by_uid(&saved(shared).uid)).await.unwrap() == all["part 1/000001.bin"]);
        server.assert_clean();
    }
}

#[tokio::test]
async fn kept_bytes_of_a_destroyed_folder_are_not_wanted_again() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save_folder(folder("f"), &small()).await.unwrap());
        let keep = pb::DeleteArtifactRequest {
            artifact: Some(by_uid(&artifact.uid)),
            permanent: true,
            force: true,
            storage: pb::DeleteStorage::Keep.into(),
            ..Default::default()
        };
        calls.delete(keep).await.unwrap();
        swept(&server).await;
        assert_eq!(server.query_integer("SELECT count(*) FROM blobs WHERE kept").await, 5);
        server.assert_clean();
        let mut call = artifactd_tests::folders::FolderCall::begin(&calls, folder("f"))
            .await
            .unwrap();
        call.send_all(&small()).await.unwrap();
        assert_eq!(call.wanted, [0; 0]);
        call.commit().await.unwrap();
        assert_eq!(server.query_integer("SELECT count(*) FROM blobs WHERE kept").await, 0);
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_sweep_that_was_cut_is_taken_up_by_the_next() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        let one = saved(
            server
                .calls()
                .save_folder(folder("one"), &files(6_000, &[5]))
                .await
                .unwrap(),
        );
        let two = saved(server.calls().save_folder(folder("two"), &small()).await.unwrap());
        server.stop().await;
        server.start_again_armed("sweep.in_transaction:2").await;
        // The answer may be lost, the change is not.
        let _ = server.calls().destroy(by_uid(&one.uid)).await;
        for _ in 0..1_000 {
            if server.has_crashed() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        server.start_again().await;
        server.assert_clean();
        server.calls().destroy(by_uid(&two.uid)).await.unwrap();
        swept(&server).await;
        assert_eq!(count(&server, "manifest_pages").await, 0, "{backend:?}");
        assert_eq!(count(&server, "blobs").await, 0);
        server.assert_clean();
    }
}
