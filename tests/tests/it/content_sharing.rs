//! The same content again: bytes are always shared, records by the rules.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, described, keyed, saved},
    content::content,
    pb::{self, ErrorReason, IfContentExists, SaveOutcome},
    refusal,
};

fn wishing(header: pb::SaveHeader, wish: IfContentExists) -> pb::SaveHeader {
    pb::SaveHeader {
        if_content_exists: wish.into(),
        ..header
    }
}

#[tokio::test]
async fn the_same_bytes_under_two_keys_are_two_artifacts_on_one_object() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let one = saved(server.calls().save(keyed("one.csv"), b"a,b\n1,2\n").await.unwrap());
        let answer = server.calls().save(keyed("two.csv"), b"a,b\n1,2\n").await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Created);
        assert_eq!(answer.same_content_uids, [one.uid.as_str()]);
        let two = saved(answer);
        assert_ne!(two.uid, one.uid);
        assert_eq!(two, server.calls().get(by_uid(&two.uid)).await.unwrap());
        assert_eq!(server.calls().read(by_key("two.csv")).await.unwrap(), b"a,b\n1,2\n");
        assert_eq!(
            server.query_integer("SELECT count(*) FROM blobs").await,
            1,
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn the_head_with_the_same_content_is_answered_unchanged() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(keyed("x.txt"), b"same").await.unwrap());
        let again = pb::SaveHeader {
            description: Some("not applied".to_owned()),
            kind: pb::ArtifactKind::Model.into(),
            version: Some("v2".to_owned()),
            ..keyed("x.txt")
        };
        let answer = calls.save(again, b"same").await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Existing);
        for field in ["description", "kind", "version"] {
            assert!(
                answer.not_applied.iter().any(|name| name == field),
                "{field} in {:?}",
                answer.not_applied
            );
        }
        assert_eq!(saved(answer), first);
        assert_eq!(calls.family(by_key("x.txt")).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_wish_decides_when_the_head_has_the_same_content() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(keyed("x.txt"), b"same").await.unwrap());
    let fail = wishing(keyed("x.txt"), IfContentExists::Fail);
    assert_eq!(refusal(calls.save(fail, b"same").await), ErrorReason::ContentExists);
    let create = wishing(keyed("x.txt"), IfContentExists::Create);
    let answer = calls.save(create, b"same").await.unwrap();
    assert_eq!(answer.outcome(), SaveOutcome::NewVersion);
    let second = saved(answer);
    assert_eq!((second.stem.as_str(), second.version_number), (first.stem.as_str(), 2));
}

#[tokio::test]
async fn without_key_and_revision_the_newest_artifact_of_the_content_is_answered() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("one.txt"), b"same").await.unwrap();
        let newest = saved(calls.save(keyed("two.txt"), b"same").await.unwrap());
        let answer = calls.save(described("again"), b"same").await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Existing);
        assert_eq!(saved(answer).uid, newest.uid);
        let fail = wishing(described("again"), IfContentExists::Fail);
        assert_eq!(refusal(calls.save(fail, b"same").await), ErrorReason::ContentExists);
        let create = wishing(described("again"), IfContentExists::Create);
        let answer = calls.save(create, b"same").await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Created);
        assert_eq!(answer.same_content_uids.len(), 2);
    }
}

#[tokio::test]
async fn the_same_content_by_revision_is_the_head_itself() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(described("notes"), b"same").await.unwrap());
    let revising = pb::SaveHeader {
        revises: Some(first.stem.clone()),
        ..Default::default()
    };
    let answer = calls.save(revising, b"same").await.unwrap();
    assert_eq!(answer.outcome(), SaveOutcome::Existing);
    assert_eq!(saved(answer).uid, first.uid);
}

#[tokio::test]
async fn trash_never_matches_but_its_bytes_are_shared() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let trashed = saved(calls.save(keyed("x.txt"), b"same").await.unwrap());
        calls.trash(by_uid(&trashed.uid)).await.unwrap();
        let answer = calls.save(described("again"), b"same").await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Created, "{backend:?}");
        assert_eq!(answer.same_content_uids, [""; 0]);
        assert_ne!(saved(answer).uid, trashed.uid);
        assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 1);
    }
}

#[tokio::test]
async fn empty_content_never_matches() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(described("one"), b"").await.unwrap();
    assert_eq!(
        calls.save(described("two"), b"").await.unwrap().outcome(),
        SaveOutcome::Created
    );
    let fail = wishing(described("three"), IfContentExists::Fail);
    assert_eq!(calls.save(fail, b"").await.unwrap().outcome(), SaveOutcome::Created);
}

#[tokio::test]
async fn at_most_ten_others_with_the_same_content_are_named() {
    let server = TestServer::start().await;
    for number in 0..12 {
        server
            .calls()
            .save(keyed(&format!("{number}.txt")), b"same")
            .await
            .unwrap();
    }
    let answer = server.calls().save(keyed("last.txt"), b"same").await.unwrap();
    assert_eq!(answer.same_content_uids.len(), 10);
    assert!(!answer.same_content_uids.contains(&saved(answer.clone()).uid));
}

#[tokio::test]
async fn shared_bytes_stay_until_the_last_record_is_destroyed() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(5, 400_000);
        let one = saved(calls.save(keyed("one.bin"), &bytes).await.unwrap());
        calls.save(keyed("two.bin"), &bytes).await.unwrap();
        calls.destroy(by_uid(&one.uid)).await.unwrap();
        assert!(calls.read(by_key("two.bin")).await.unwrap() == bytes, "{backend:?}");
        server.assert_clean();
    }
}
