//! Trash, restore, and destruction in all its modes.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_stem, by_uid, described, keyed, saved},
    content::content,
    pb::{self, ErrorReason, Visibility},
    refusal,
};

async fn two_versions(calls: &Calls, key: &str) -> [pb::Artifact; 2] {
    let first = saved(calls.save(keyed(key), format!("{key} 1").as_bytes()).await.unwrap());
    let second = saved(calls.save(keyed(key), format!("{key} 2").as_bytes()).await.unwrap());
    [first, second]
}

fn destroying(artifact: pb::ArtifactRef) -> pb::DeleteArtifactRequest {
    pb::DeleteArtifactRequest {
        artifact: Some(artifact),
        permanent: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_uid_trashes_one_version_and_the_one_before_becomes_latest() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        let answer = calls.trash(by_uid(&second.uid)).await.unwrap();
        assert_eq!(answer.trashed.len(), 1);
        assert_eq!(answer.destroyed_uids, [""; 0]);
        let trashed = &answer.trashed[0];
        assert_eq!((trashed.visibility(), trashed.is_latest), (Visibility::Trash, false));
        assert!(trashed.deleted_at.is_some());
        assert_ne!(trashed.etag, second.etag);
        assert_eq!(calls.get(by_uid(&second.uid)).await.unwrap(), *trashed);
        assert_eq!(
            refusal(calls.read(by_uid(&second.uid)).await),
            ErrorReason::ArtifactInTrash
        );
        let head = calls.get(by_key("x.txt")).await.unwrap();
        assert_eq!((head.uid, head.is_latest), (first.uid, true), "{backend:?}");
    }
}

#[tokio::test]
async fn a_key_or_stem_trashes_the_whole_family_and_frees_the_key() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for by in [
            |artifact: &pb::Artifact| by_key(artifact.key.as_deref().unwrap()),
            |artifact: &pb::Artifact| by_stem(&artifact.stem),
        ] {
            let [first, second] = two_versions(&calls, "x.txt").await;
            let answer = calls.trash(by(&first)).await.unwrap();
            let mut uids: Vec<_> = answer.trashed.iter().map(|artifact| artifact.uid.clone()).collect();
            uids.sort();
            assert_eq!(uids, [first.uid.clone(), second.uid.clone()]);
            for reference in [by_key("x.txt"), by_stem(&first.stem)] {
                assert_eq!(
                    refusal(calls.get(reference).await),
                    ErrorReason::ArtifactNotFound,
                    "{backend:?}"
                );
            }
            let successor = saved(calls.save(keyed("x.txt"), b"new").await.unwrap());
            assert_ne!(successor.stem, first.stem);
            assert_eq!(successor.version_number, 1);
            calls.destroy(by_uid(&successor.uid)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_key_destroys_what_it_shows_and_no_version_in_trash() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        calls.trash(by_uid(&first.uid)).await.unwrap();
        let by_force = pb::DeleteArtifactRequest {
            force: true,
            ..destroying(by_key("x.txt"))
        };
        let answer = calls.delete(by_force).await.unwrap();
        assert_eq!(answer.destroyed_uids, [second.uid], "{backend:?}");
        let kept = calls.get(by_uid(&first.uid)).await.unwrap();
        assert_eq!(kept.visibility(), Visibility::Trash, "{backend:?}");
    }
}

#[tokio::test]
async fn deleting_again_destroys_nothing() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        let once = calls.trash(by_uid(&second.uid)).await.unwrap();
        let twice = calls.trash(by_uid(&second.uid)).await.unwrap();
        assert_eq!(once.trashed, twice.trashed);
        assert_eq!(
            calls.get(by_key("x.txt")).await.unwrap().uid,
            first.uid,
            "a repeat never reaches an older one"
        );
        calls.trash(by_stem(&first.stem)).await.unwrap();
        let repeat = calls.trash(by_stem(&first.stem)).await.unwrap();
        assert_eq!(repeat.destroyed_uids, [""; 0]);
        assert_eq!(
            calls.get(by_uid(&first.uid)).await.unwrap().visibility(),
            Visibility::Trash
        );
    }
}

#[tokio::test]
async fn a_restored_version_is_latest_again_when_it_is_the_highest() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        calls.trash(by_uid(&second.uid)).await.unwrap();
        let restored = calls.restore(by_uid(&second.uid)).await.unwrap();
        assert_eq!(restored.artifacts.len(), 1);
        assert!(restored.artifacts[0].is_latest);
        assert_eq!(restored.artifacts[0].visibility(), Visibility::Default);
        assert_eq!(restored.artifacts[0].deleted_at, None);
        assert!(!calls.get(by_uid(&first.uid)).await.unwrap().is_latest);
        calls.trash(by_uid(&first.uid)).await.unwrap();
        let restored = calls.restore(by_uid(&first.uid)).await.unwrap();
        assert!(
            !restored.artifacts[0].is_latest,
            "an old version comes back as an old version on {backend:?}"
        );
        assert_eq!(calls.read(by_key("x.txt")).await.unwrap(), b"x.txt 2");
    }
}

#[tokio::test]
async fn a_stem_restores_what_one_delete_trashed_and_nothing_else() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        let third = saved(calls.save(keyed("x.txt"), b"3").await.unwrap());
        calls.trash(by_uid(&first.uid)).await.unwrap();
        calls.trash(by_key("x.txt")).await.unwrap();
        let restored = calls.restore(by_stem(&second.stem)).await.unwrap();
        let mut uids: Vec<_> = restored.artifacts.iter().map(|artifact| artifact.uid.clone()).collect();
        uids.sort();
        assert_eq!(uids, [second.uid, third.uid.clone()], "{backend:?}");
        assert_eq!(
            calls.get(by_uid(&first.uid)).await.unwrap().visibility(),
            Visibility::Trash
        );
        assert_eq!(calls.get(by_key("x.txt")).await.unwrap().uid, third.uid);
    }
}

#[tokio::test]
async fn restoring_what_is_live_changes_nothing() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
    for reference in [by_uid(&artifact.uid), by_stem(&artifact.stem)] {
        let answer = calls.restore(reference).await.unwrap();
        assert!(
            answer.artifacts.is_empty() || answer.artifacts == [artifact.clone()],
            "{answer:?}"
        );
    }
    assert_eq!(calls.get(by_uid(&artifact.uid)).await.unwrap(), artifact);
}

#[tokio::test]
async fn a_hidden_artifact_comes_back_hidden() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let hidden = pb::SaveHeader {
        visibility: Visibility::Hidden.into(),
        ..keyed("x.txt")
    };
    let hidden = saved(calls.save(hidden, b"1").await.unwrap());
    calls.trash(by_uid(&hidden.uid)).await.unwrap();
    let restored = calls.restore(by_uid(&hidden.uid)).await.unwrap();
    assert_eq!(restored.artifacts[0].visibility(), Visibility::Hidden);
}

#[tokio::test]
async fn a_key_that_was_taken_meanwhile_needs_another() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let old = saved(calls.save(keyed("x.txt"), b"old").await.unwrap());
        calls.trash(by_uid(&old.uid)).await.unwrap();
        calls.save(keyed("x.txt"), b"new").await.unwrap();
        for reference in [by_uid(&old.uid), by_stem(&old.stem)] {
            assert_eq!(
                refusal(calls.restore(reference).await),
                ErrorReason::KeyTaken,
                "{backend:?}"
            );
        }
        let elsewhere = pb::RestoreArtifactRequest {
            artifact: Some(by_uid(&old.uid)),
            key: Some("old.txt".to_owned()),
            ..Default::default()
        };
        calls.restore_raw(elsewhere).await.unwrap();
        assert_eq!(calls.read(by_key("old.txt")).await.unwrap(), b"old");
        assert_eq!(calls.read(by_key("x.txt")).await.unwrap(), b"new");
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_deleted_or_restored() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for reference in [
        by_uid("0123456789abcdef0000"),
        by_stem("0123456789abcdef"),
        by_key("x.txt"),
    ] {
        assert_eq!(
            refusal(calls.trash(reference.clone()).await),
            ErrorReason::ArtifactNotFound
        );
        assert_eq!(refusal(calls.destroy(reference).await), ErrorReason::ArtifactNotFound);
    }
    for reference in [by_uid("0123456789abcdef0000"), by_stem("0123456789abcdef")] {
        assert_eq!(refusal(calls.restore(reference).await), ErrorReason::ArtifactNotFound);
    }
    calls.save(keyed("x.txt"), b"1").await.unwrap();
    let by_name = refusal(calls.restore(by_key("x.txt")).await);
    assert!(
        matches!(by_name, ErrorReason::ReferenceInvalid | ErrorReason::FieldInvalid),
        "{by_name:?}"
    );
}

#[tokio::test]
async fn destroying_needs_trash_or_force() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        let refused = refusal(calls.delete(destroying(by_uid(&second.uid))).await);
        assert_eq!(refused, ErrorReason::ArtifactNotInTrash);
        calls.trash(by_uid(&second.uid)).await.unwrap();
        let answer = calls.delete(destroying(by_uid(&second.uid))).await.unwrap();
        assert_eq!(answer.destroyed_uids, [second.uid.as_str()]);
        assert!(answer.trashed.is_empty());
        assert_eq!(
            refusal(calls.get(by_uid(&second.uid)).await),
            ErrorReason::ArtifactNotFound
        );
        assert_eq!(
            refusal(calls.restore(by_uid(&second.uid)).await),
            ErrorReason::ArtifactNotFound
        );
        let answer = calls.destroy(by_uid(&first.uid)).await.unwrap();
        assert_eq!(answer.destroyed_uids, [first.uid.as_str()]);
        assert_eq!(
            refusal(calls.get(by_key("x.txt")).await),
            ErrorReason::ArtifactNotFound,
            "{backend:?}"
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_stem_destroys_the_whole_family() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let [first, second] = two_versions(&calls, "x.txt").await;
        calls.trash(by_stem(&first.stem)).await.unwrap();
        let mut destroyed = calls
            .delete(destroying(by_stem(&first.stem)))
            .await
            .unwrap()
            .destroyed_uids;
        destroyed.sort();
        assert_eq!(destroyed, [first.uid, second.uid], "{backend:?}");
        server.assert_clean();
    }
}

#[tokio::test]
async fn kept_bytes_can_be_claimed_again_and_others_cannot() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for (storage, held) in [(pb::DeleteStorage::Keep, true), (pb::DeleteStorage::Unspecified, false)] {
            let bytes = content(11 + storage as u64, 300_000);
            let artifact = saved(calls.save(keyed("x.bin"), &bytes).await.unwrap());
            let request = pb::DeleteArtifactRequest {
                force: true,
                storage: storage.into(),
                ..destroying(by_uid(&artifact.uid))
            };
            calls.delete(request).await.unwrap();
            let claim = pb::SaveHeader {
                claim: true,
                sha256: Some(artifact.hash),
                ..keyed("again.bin")
            };
            let claimed = calls.save_small(claim, b"").await;
            if held {
                assert!(
                    calls.read(by_uid(&saved(claimed.unwrap()).uid)).await.unwrap() == bytes,
                    "{backend:?}"
                );
                calls.destroy(by_key("again.bin")).await.unwrap();
            } else {
                assert_eq!(refusal(claimed), ErrorReason::ContentNotHeld, "{backend:?}");
            }
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_family_without_a_key_is_trashed_and_restored_by_stem() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(described("notes"), b"1").await.unwrap());
    calls.trash(by_stem(&artifact.stem)).await.unwrap();
    let restored = calls.restore(by_stem(&artifact.stem)).await.unwrap();
    assert_eq!(restored.artifacts.len(), 1);
    assert_eq!(calls.read(by_uid(&artifact.uid)).await.unwrap(), b"1");
}

#[tokio::test]
async fn an_etag_guards_delete_and_restore() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
        let delete = |etag: &str| pb::DeleteArtifactRequest {
            artifact: Some(by_uid(&artifact.uid)),
            etag: Some(etag.to_owned()),
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.delete(delete("\"other\"")).await),
            ErrorReason::EtagMismatch
        );
        assert_eq!(
            calls.get(by_uid(&artifact.uid)).await.unwrap(),
            artifact,
            "a refused delete changes nothing"
        );
        let trashed = calls.delete(delete(&artifact.etag)).await.unwrap().trashed.remove(0);
        let restore = |etag: &str| pb::RestoreArtifactRequest {
            artifact: Some(by_uid(&artifact.uid)),
            etag: Some(etag.to_owned()),
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.restore_raw(restore(&artifact.etag)).await),
            ErrorReason::EtagMismatch
        );
        calls.restore_raw(restore(&trashed.etag)).await.unwrap();
        let by_name = pb::DeleteArtifactRequest {
            artifact: Some(by_key("x.txt")),
            ..delete(&artifact.etag)
        };
        assert_eq!(
            refusal(calls.delete(by_name).await),
            ErrorReason::FieldInvalid,
            "an etag belongs to one record"
        );
    }
}
