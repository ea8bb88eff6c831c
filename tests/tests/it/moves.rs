//! Artifacts that move to another storage, with all their versions.

use std::{fs, path::PathBuf};

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_text, by_uid, keyed, saved},
    folders::{Files, folder},
    pb::{self, ErrorReason, SaveHeader},
    refusal,
    storages::root,
};

/// A server with two managed storages, its own and `far`, and one where files lie in place.
struct Places {
    server: TestServer,
    _folder: tempfile::TempDir,
    lab: PathBuf,
    far: PathBuf,
}

impl Places {
    async fn on(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let (lab, far) = (real.join("lab"), real.join("far"));
        fs::create_dir(&lab).unwrap();
        fs::create_dir(&far).unwrap();
        let server = TestServer::setup()
            .on(backend)
            .without_grace()
            .env("ARTIFACTD_STORAGE__REGISTER_FROM", real.to_str().unwrap())
            .start()
            .await;
        server.calls().register(root("lab", &lab)).await.unwrap();
        let managed = pb::RegisterStorageRequest {
            managed: true,
            ..root("far", &far)
        };
        server.calls().register(managed).await.unwrap();
        Self {
            server,
            _folder: folder,
            lab,
            far,
        }
    }

    /// Objects in the storage called `far`.
    fn far_objects(&self) -> usize {
        let folders = fs::read_dir(self.far.join(".artifactd/objects")).unwrap();
        folders
            .map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count())
            .sum()
    }
}

fn far(key: &str) -> pb::ArtifactRef {
    by_text(&format!("far::{key}"))
}

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
        let files = Files::from([("a.bin".to_owned(), b"a".as_slice().into())]);
        calls.save_folder(folder("folder"), &files).await.unwrap();
        let file = places.lab.join("drifts.csv");
        fs::write(&file, b"before").unwrap();
        let drifted = saved(calls.register_file(file.to_str().unwrap()).await.unwrap());
        fs::write(&file, b"after!").unwrap();
        for (reason, artifact, storage) in [
            (ErrorReason::KeyTaken, by_key("one.csv"), "far"),
            (ErrorReason::StorageReadOnly, by_key("one.csv"), "lab"),
            (ErrorReason::StorageNotFound, by_key("one.csv"), "nowhere"),
            (ErrorReason::ArtifactNotFound, by_key("nothing.csv"), "far"),
            (ErrorReason::ArtifactIsFolder, by_key("folder"), "far"),
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
