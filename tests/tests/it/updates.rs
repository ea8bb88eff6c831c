//! Changing fields of a record.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_stem, by_uid, described, keyed, saved},
    pb::{self, ArtifactUpdate, ErrorReason, UpdateArtifactRequest, Visibility},
    refusal,
};

fn change(artifact: &pb::Artifact, paths: &[&str], update: ArtifactUpdate) -> UpdateArtifactRequest {
    UpdateArtifactRequest {
        artifact: Some(by_uid(&artifact.uid)),
        update: Some(update),
        update_mask: Some(mask(paths)),
        etag: None,
        request_id: None,
    }
}

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn only_fields_in_the_mask_change() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let before = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
        let update = ArtifactUpdate {
            description: some("new"),
            kind: pb::ArtifactKind::Model.into(),
            media_type: some("text/other"),
            key: some("y.csv"),
            visibility: Visibility::Hidden.into(),
        };
        let after = calls
            .update(change(&before, &["description"], update.clone()))
            .await
            .unwrap();
        assert_ne!(after.etag, before.etag);
        assert!(after.updated_at.unwrap().seconds >= before.updated_at.unwrap().seconds);
        let expected = pb::Artifact {
            description: some("new"),
            etag: after.etag.clone(),
            updated_at: after.updated_at,
            ..before.clone()
        };
        assert_eq!(after, expected, "{backend:?}");
        let every = ["key", "description", "kind", "media_type", "visibility"];
        let all = calls.update(change(&before, &every, update)).await.unwrap();
        assert_eq!(all.key.as_deref(), Some("y.csv"));
        assert_eq!(all.kind(), pb::ArtifactKind::Model);
        assert_eq!(all.media_type, "text/other");
        assert_eq!(all.visibility(), Visibility::Hidden);
        assert_eq!(all.content_etag, before.content_etag);
        assert_eq!(calls.get(by_uid(&before.uid)).await.unwrap(), all);
        assert_eq!(calls.read(by_uid(&before.uid)).await.unwrap(), b"1");
    }
}

#[tokio::test]
async fn a_key_moves_to_a_free_name_of_the_same_suffix() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
        calls.save(keyed("taken.csv"), b"2").await.unwrap();
        for (key, reason) in [
            (some("taken.csv"), ErrorReason::KeyTaken),
            (some("x.parquet"), ErrorReason::SuffixMismatch),
            (some("../x.csv"), ErrorReason::KeyInvalid),
            (None, ErrorReason::FieldRequired),
        ] {
            let update = ArtifactUpdate {
                key: key.clone(),
                ..Default::default()
            };
            let refused = refusal(calls.update(change(&artifact, &["key"], update)).await);
            let unset = key.is_none() && refused == ErrorReason::FieldInvalid;
            assert!(refused == reason || unset, "{key:?} on {backend:?}: {refused:?}");
        }
        let update = ArtifactUpdate {
            key: some("moved/x.csv"),
            ..Default::default()
        };
        calls.update(change(&artifact, &["key"], update)).await.unwrap();
        assert_eq!(calls.get(by_key("moved/x.csv")).await.unwrap().uid, artifact.uid);
        assert_eq!(refusal(calls.get(by_key("x.csv")).await), ErrorReason::ArtifactNotFound);
        calls.save(keyed("x.csv"), b"3").await.unwrap();
    }
}

#[tokio::test]
async fn a_description_goes_only_where_a_key_remains() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let unset = ArtifactUpdate::default();
    let with_key = pb::SaveHeader {
        key: some("x.txt"),
        ..described("notes")
    };
    let with_key = saved(calls.save(with_key, b"1").await.unwrap());
    let cleared = calls
        .update(change(&with_key, &["description"], unset.clone()))
        .await
        .unwrap();
    assert_eq!(cleared.description, None);
    let without = saved(calls.save(described("notes"), b"2").await.unwrap());
    let reason = refusal(calls.update(change(&without, &["description"], unset)).await);
    assert_eq!(reason, ErrorReason::NameRequired);
}

#[tokio::test]
async fn a_media_type_that_is_unset_is_guessed_again() {
    let server = TestServer::start().await;
    let header = pb::SaveHeader {
        media_type: some("text/other"),
        ..keyed("x.csv")
    };
    let artifact = saved(server.calls().save(header, b"1").await.unwrap());
    let guessed = server
        .calls()
        .update(change(&artifact, &["media_type"], ArtifactUpdate::default()))
        .await
        .unwrap();
    assert_eq!(guessed.media_type, "text/csv");
}

#[tokio::test]
async fn hidden_artifacts_leave_lists_and_come_back() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
    let set = |visibility: Visibility| {
        change(
            &artifact,
            &["visibility"],
            ArtifactUpdate {
                visibility: visibility.into(),
                ..Default::default()
            },
        )
    };
    calls.update(set(Visibility::Hidden)).await.unwrap();
    assert_eq!(refusal(calls.get(by_key("x.txt")).await), ErrorReason::ArtifactNotFound);
    calls.update(set(Visibility::Default)).await.unwrap();
    assert_eq!(calls.get(by_key("x.txt")).await.unwrap().uid, artifact.uid);
    assert_eq!(
        refusal(calls.update(set(Visibility::Trash)).await),
        ErrorReason::FieldInvalid
    );
}

#[tokio::test]
async fn fields_of_the_server_cannot_be_set() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
    for path in [
        "uid",
        "created_by",
        "size",
        "hash",
        "version",
        "etag",
        "is_latest",
        "path",
        "no_such_field",
        "",
        "*",
    ] {
        let refused = refusal(
            calls
                .update(change(&artifact, &[path], ArtifactUpdate::default()))
                .await,
        );
        assert_eq!(refused, ErrorReason::FieldNotUpdatable, "path {path:?}");
    }
    assert_eq!(calls.get(by_uid(&artifact.uid)).await.unwrap(), artifact);
}

#[tokio::test]
async fn an_update_without_mask_or_values_is_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
    let good = change(&artifact, &["description"], ArtifactUpdate::default());
    for request in [
        UpdateArtifactRequest {
            update_mask: None,
            ..good.clone()
        },
        UpdateArtifactRequest {
            update_mask: Some(mask(&[])),
            ..good.clone()
        },
        UpdateArtifactRequest {
            update: None,
            ..good.clone()
        },
        UpdateArtifactRequest {
            artifact: None,
            ..good.clone()
        },
    ] {
        assert_eq!(
            artifactd_tests::refusal_of(&request, calls.update(request.clone()).await),
            ErrorReason::FieldRequired,
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn an_etag_lets_only_the_first_of_two_writers_through() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
        let say = |text: &str| UpdateArtifactRequest {
            etag: Some(artifact.etag.clone()),
            ..change(
                &artifact,
                &["description"],
                ArtifactUpdate {
                    description: some(text),
                    ..Default::default()
                },
            )
        };
        let (one, two) = tokio::join!(calls.update(say("one")), calls.update(say("two")));
        let losers = [one, two].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert_eq!(losers.len(), 1, "{backend:?}");
        assert_eq!(losers[0].reason, Some(ErrorReason::EtagMismatch));
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for artifact in [
        by_uid("0123456789abcdef0000"),
        by_stem("0123456789abcdef"),
        by_key("x.txt"),
    ] {
        let request = UpdateArtifactRequest {
            artifact: Some(artifact),
            update: Some(ArtifactUpdate::default()),
            update_mask: Some(mask(&["description"])),
            ..Default::default()
        };
        assert_eq!(refusal(calls.update(request).await), ErrorReason::ArtifactNotFound);
    }
}
