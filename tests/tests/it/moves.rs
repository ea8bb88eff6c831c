//! Artifacts that move to another storage, with all their versions.

use std::fs;

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::content,
    pb::{self, ErrorReason, SaveHeader},
    refusal,
    storages::{Places, far},
};

#[tokio::test]
async fn all_versions_move_and_old_bytes_go_when_nothing_needs_them() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (server, calls) = (&places.server, places.server.calls());
        let large = vec![7; 3_000_000];
        for content in [b"first".as_slice(), &large, b"first"] {
            calls.save(keyed("a/x.csv"), content).await.unwrap();
        }
        let before = calls.family(by_key("a/x.csv")).await.unwrap();
        calls.trash(by_uid(&before[1].uid)).await.unwrap();
        let sharing = saved(calls.save(keyed("sharing.csv"), b"first").await.unwrap());
        let alias = pb::SetAliasRequest {
            artifact: Some(by_uid(&before[0].uid)),
            name: "good".to_owned(),
            ..Default::default()
        };
        calls.set_alias(alias).await.unwrap();

        let moved = calls
            .move_artifact(by_key("a/x.csv"), "far", Some("once"))
            .await
            .unwrap();
        assert_eq!((moved.versions, moved.copied_bytes), (3, 3_000_005), "{backend:?}");
        let newest = moved.artifact.clone().unwrap();
        assert_eq!((&newest.uid, newest.storage.as_str()), (&before[0].uid, "far"));
        assert_eq!(
            refusal(calls.get(by_key("a/x.csv")).await),
            ErrorReason::ArtifactNotFound,
            "its key is one of the other storage"
        );
        assert_eq!(calls.get(far("a/x.csv@@good")).await.unwrap().uid, newest.uid);
        for (version, content) in [(0, b"first".as_slice()), (2, b"first")] {
            assert_eq!(calls.read(by_uid(&before[version].uid)).await.unwrap(), content);
        }
        calls.restore(by_uid(&before[1].uid)).await.unwrap();
        assert!(calls.read(by_uid(&before[1].uid)).await.unwrap() == large);
        assert_eq!(
            calls.read(by_uid(&sharing.uid)).await.unwrap(),
            b"first",
            "its bytes stayed"
        );
        assert_eq!(places.far_objects(), 2, "what two versions hold was copied once");

        // The same request again, and the same move, copy nothing.
        let again = calls
            .move_artifact(by_key("a/x.csv"), "far", Some("once"))
            .await
            .unwrap();
        assert_eq!(again, moved);
        let there = calls.move_artifact(far("a/x.csv"), "far", None).await.unwrap();
        assert_eq!((there.versions, there.copied_bytes), (3, 0));

        assert_eq!(server.stored_objects().len(), 2, "old bytes stay for their grace");
        calls.collect_garbage(false).await.unwrap();
        assert_eq!(server.stored_objects().len(), 1, "those that nothing needs are gone");
        assert_eq!(calls.read(by_uid(&sharing.uid)).await.unwrap(), b"first");
        // And back: what is held there is not copied again.
        let storage = sharing.storage.as_str();
        let back = calls.move_artifact(far("a/x.csv"), storage, None).await.unwrap();
        assert_eq!((back.versions, back.copied_bytes), (3, 3_000_000), "{backend:?}");
        assert!(calls.read(by_uid(&before[1].uid)).await.unwrap() == large);
        calls.collect_garbage(false).await.unwrap();
        assert_eq!(places.far_objects(), 0);
        const MOVED: &str = "SELECT count(*) FROM events WHERE kind = 'moved'";
        assert_eq!(
            server.query_integer(MOVED).await,
            6,
            "one for each version of each move"
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_file_in_place_is_taken_in_and_stays_where_it_lies() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let calls = places.server.calls();
        let file = places.lab.join("raw.csv");
        fs::write(&file, b"a,b\n1,2\n").unwrap();
        let made = saved(calls.register_file(file.to_str().unwrap()).await.unwrap());
        let moved = calls.move_artifact(by_uid(&made.uid), "far", None).await.unwrap();
        let moved = moved.artifact.unwrap();
        assert!(moved.key_is_virtual && moved.storage == "far", "{backend:?}");
        assert_eq!((&moved.hash, &moved.key), (&made.hash, &made.key));
        fs::write(&file, b"changed since").unwrap();
        calls.collect_garbage(false).await.unwrap();
        assert_eq!(calls.read(far("raw.csv")).await.unwrap(), b"a,b\n1,2\n");
        assert_eq!(fs::read(&file).unwrap(), b"changed since");
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn what_cannot_be_moved_stays_as_it_is() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let calls = places.server.calls();
        let one = saved(calls.save(keyed("one.csv"), b"one").await.unwrap());
        let taken = SaveHeader {
            storage: Some("far".to_owned()),
            ..keyed("one.csv")
        };
        calls.save(taken, b"another").await.unwrap();
        let file = places.lab.join("drifts.csv");
        fs::write(&file, b"before").unwrap();
        let drifted = saved(calls.register_file(file.to_str().unwrap()).await.unwrap());
        fs::write(&file, b"after!").unwrap();
        for (reason, artifact, storage) in [
            (ErrorReason::KeyTaken, by_key("one.csv"), "far"),
            (ErrorReason::StorageReadOnly, by_key("one.csv"), "lab"),
            (ErrorReason::StorageNotFound, by_key("one.csv"), "nowhere"),
            (ErrorReason::ArtifactNotFound, by_key("nothing.csv"), "far"),
            (ErrorReason::ContentCorrupt, by_uid(&drifted.uid), "far"),
        ] {
            let refused = refusal(calls.move_artifact(artifact.clone(), storage, None).await);
            assert_eq!(refused, reason, "{artifact:?} to {storage} on {backend:?}");
        }
        assert_eq!(calls.get(by_uid(&one.uid)).await.unwrap().storage, one.storage);
        assert_eq!(calls.read(by_uid(&one.uid)).await.unwrap(), b"one");
        assert_eq!(places.far_objects(), 1, "nothing is left of what was copied in vain");
    }
}

#[tokio::test]
async fn old_bytes_are_garbage_once_their_copy_is_verified() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (server, calls) = (&places.server, places.server.calls());
        let bytes = content(1, 1_000);
        let one = saved(calls.save(keyed("one.bin"), &bytes).await.unwrap());
        let moving = || calls.move_artifact(by_uid(&one.uid), "far", None);
        server.overwrite_only_object(|stored| stored[5] ^= 1);
        assert_eq!(refusal(moving().await), ErrorReason::ContentCorrupt, "{backend:?}");
        // Damage that keeps to its checksum is none of what a read notices.
        let mut damaged = bytes.to_vec();
        damaged[5] ^= 1;
        let sum = |bytes: &[u8]| format!("UPDATE blobs SET crc32c = {}", artifactd_domain::crc32c(bytes));
        server.database().await.run(&sum(&damaged)).await;
        assert_eq!(refusal(moving().await), ErrorReason::ContentCorrupt, "{backend:?}");
        assert_eq!(places.near_contents().await, 1, "what could not be copied stays");
        assert_eq!((places.garbage().await, places.far_objects()), (0, 0));
        assert_eq!(calls.get(by_uid(&one.uid)).await.unwrap().storage, one.storage);

        server.overwrite_only_object(|stored| stored[5] ^= 1);
        server.database().await.run(&sum(&bytes)).await;
        let moved = moving().await.unwrap();
        assert_eq!((moved.versions, moved.copied_bytes), (1, 1_000));
        assert_eq!(places.near_contents().await, 0, "nothing names the old bytes");
        assert_eq!(places.garbage().await, 1, "so they are garbage");
        assert_eq!(server.stored_objects().len(), 1, "which waits to be collected");
        assert_eq!(calls.read(by_uid(&one.uid)).await.unwrap(), bytes);
        server.assert_clean();
    }
}

#[tokio::test]
async fn contents_that_share_a_pack_are_copied_out_of_it() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (server, calls) = (&places.server, places.server.calls());
        let files = (0..3).map(|number| (keyed(&format!("{number}.bin")), content(number, 100_000).to_vec()));
        let made = calls.save_batch(files.collect()).await.unwrap();
        let uids: Vec<_> = made.into_iter().map(|made| saved(made.unwrap()).uid).collect();
        let all_are_whole = async || {
            for (number, uid) in (0..).zip(&uids) {
                assert!(
                    calls.read(by_uid(uid)).await.unwrap() == content(number, 100_000),
                    "{number}"
                );
            }
        };
        assert_eq!(server.stored_objects().len(), 1, "they came into one pack");
        let moved = calls.move_artifact(by_uid(&uids[1]), "far", None).await.unwrap();
        assert_eq!((moved.copied_bytes, places.far_objects()), (100_000, 1), "{backend:?}");
        assert_eq!((places.near_contents().await, places.garbage().await), (2, 0));
        all_are_whole().await;
        // Of the pack one third is needed then, which goes into another one.
        calls.move_artifact(by_uid(&uids[0]), "far", None).await.unwrap();
        let before = server.stored_objects();
        calls.collect_garbage(false).await.unwrap();
        calls.collect_garbage(false).await.unwrap();
        let after = server.stored_objects();
        assert!(after.len() == 1 && after != before, "{before:?} became {after:?}");
        all_are_whole().await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_version_that_comes_during_a_move_moves_too() {
    for backend in Backend::DATABASES {
        let places = Places::of(TestServer::setup().on(backend).with_pauses()).await;
        let calls = places.server.calls();
        let first = saved(calls.save(keyed("busy.csv"), b"first").await.unwrap());
        let mut pauses = places.server.pauses();
        pauses.arm("move.contents_durable");
        let moving = {
            let (calls, uid) = (places.server.calls(), first.uid.clone());
            tokio::spawn(async move { calls.move_artifact(by_uid(&uid), "far", None).await })
        };
        assert!(pauses.met("move.contents_durable", std::future::pending()).await);
        let next = saved(calls.save(keyed("busy.csv"), b"the next").await.unwrap());
        pauses.release();
        let moved = moving.await.unwrap().unwrap();
        assert_eq!((moved.versions, moved.copied_bytes), (2, 13), "{backend:?}");
        assert_eq!(calls.get(far("busy.csv")).await.unwrap().uid, next.uid);
        assert_eq!(calls.read(far("busy.csv@@1")).await.unwrap(), b"first");
        assert_eq!(calls.read(far("busy.csv")).await.unwrap(), b"the next");
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn a_key_that_says_where_a_file_lies_is_free_once_it_has_moved() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let calls = places.server.calls();
        let file = places.lab.join("raw.csv");
        fs::write(&file, b"a\n1\n").unwrap();
        let made = saved(calls.register_file(file.to_str().unwrap()).await.unwrap());
        let rename = pb::UpdateArtifactRequest {
            artifact: Some(by_uid(&made.uid)),
            update: Some(pb::ArtifactUpdate {
                key: Some("named/better.csv".to_owned()),
                ..Default::default()
            }),
            update_mask: artifactd_tests::records::mask(&["key"]),
            ..Default::default()
        };
        let failure = calls.update(rename.clone()).await.unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::RealKeyUnsupported), "{backend:?}");
        let says = failure.status.message();
        assert!(says.contains("MoveArtifact"), "it says what to do: {says}");
        calls.move_artifact(by_uid(&made.uid), "far", None).await.unwrap();
        let renamed = calls.update(rename).await.unwrap();
        assert_eq!((renamed.key(), renamed.key_is_virtual), ("named/better.csv", true));
        assert_eq!(calls.read(far("named/better.csv")).await.unwrap(), b"a\n1\n");
        assert_eq!(fs::read(&file).unwrap(), b"a\n1\n", "it stays where it lies");
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn an_artifact_is_moved_while_others_save_its_next_versions() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let calls = places.server.calls();
        let first = saved(calls.save(keyed("busy.csv"), b"0").await.unwrap());
        let saving = {
            let (calls, first) = (places.server.calls(), first.clone());
            async move {
                for number in 1..20u8 {
                    let header = SaveHeader {
                        revises: Some(first.uid.clone()),
                        ..SaveHeader::default()
                    };
                    // Its bytes may have been sent to where the family was.
                    match calls.save(header, &[number]).await {
                        Ok(_) => {}
                        Err(failure) => assert!(failure.reason.is_some(), "{failure}"),
                    }
                }
            }
        };
        let moving = async {
            for storage in ["far", first.storage.as_str(), "far"] {
                match calls.move_artifact(by_uid(&first.uid), storage, None).await {
                    Ok(_) => {}
                    Err(failure) => assert!(failure.reason.is_some(), "{failure}"),
                }
            }
        };
        futures::join!(saving, moving);
        let versions = calls.family(by_uid(&first.uid)).await.unwrap();
        let storages: std::collections::BTreeSet<_> = versions.iter().map(|version| &version.storage).collect();
        assert_eq!(storages.len(), 1, "all lie in one storage on {backend:?}");
        for version in &versions {
            assert_eq!(calls.read(by_uid(&version.uid)).await.unwrap().len(), 1);
        }
        places.server.assert_clean();
    }
}
