//! Counts that come to their end: versions of a family, and names that point to them.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    collections::{key_ref, pinned},
    folders::{Files, folder},
    pb::{self, ErrorReason, SaveOutcome},
    refusal, refusal_of,
};

/// Leaves all families of a table one more version.
async fn leave_one(server: &TestServer, table: &str) {
    let last = format!("UPDATE {table} SET next_suffix = 'zzzz'");
    server.database().await.run(&last).await;
}

#[tokio::test]
async fn a_family_issues_its_last_suffix_once() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(keyed("x.txt"), b"first").await.unwrap());
        let files = |content: &'static [u8]| Files::from([("a.bin".to_owned(), content.into())]);
        calls.save_folder(folder("folder"), &files(b"1")).await.unwrap();
        leave_one(&server, "families").await;
        let last = saved(calls.save(keyed("x.txt"), b"last").await.unwrap());
        assert!(last.uid.ends_with("zzzz") && last.stem == first.stem, "{}", last.uid);
        calls.save_folder(folder("folder"), &files(b"2")).await.unwrap();
        let reason = ErrorReason::VersionsExhausted;
        let revising = pb::SaveHeader {
            revises: Some(first.uid.clone()),
            ..Default::default()
        };
        refusal_is(reason, "a stream", calls.save(keyed("x.txt"), b"more").await);
        refusal_is(reason, "a message", calls.save_small(keyed("x.txt"), b"more").await);
        refusal_is(reason, "a revision", calls.save(revising, b"more").await);
        let mut batch = calls
            .save_batch(vec![(keyed("x.txt"), b"more".to_vec())])
            .await
            .unwrap();
        refusal_is(reason, "a batch", batch.remove(0));
        refusal_is(
            reason,
            "a folder",
            calls.save_folder(folder("folder"), &files(b"3")).await,
        );
        // What is there stays as it is, and is found; nothing is left of what was refused.
        let same = calls.save(keyed("x.txt"), b"last").await.unwrap();
        assert_eq!(
            (same.outcome(), saved(same).uid),
            (SaveOutcome::Existing, last.uid.clone())
        );
        assert_eq!(calls.family(by_key("x.txt")).await.unwrap().len(), 2, "{backend:?}");
        // Also a version that was destroyed is not issued again; the key is free for another family.
        calls.destroy(by_uid(&last.uid)).await.unwrap();
        refusal_is(
            reason,
            "after the last has gone",
            calls.save(keyed("x.txt"), b"more").await,
        );
        calls.trash(by_key("x.txt")).await.unwrap();
        let other = calls.save(keyed("x.txt"), b"more").await.unwrap();
        assert_eq!(other.outcome(), SaveOutcome::Created);
        assert_ne!(saved(other).stem, first.stem);
        server.assert_clean();
    }
}

fn refusal_is<T: std::fmt::Debug>(reason: ErrorReason, by: &str, outcome: artifactd_tests::Outcome<T>) {
    assert_eq!(refusal_of(by, outcome), reason, "by {by}");
}

#[tokio::test]
async fn collections_and_transforms_issue_their_last_suffix_once() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for key in ["a.txt", "b.txt"] {
            calls.save(keyed(key), key.as_bytes()).await.unwrap();
        }
        let all = pb::CreateCollectionRequest {
            key: "all".to_owned(),
            members: vec![pinned(by_key("a.txt"))],
            ..Default::default()
        };
        let transform = |source: &str| pb::CreateTransformRequest {
            key: "t.py".to_owned(),
            source: Some(source.to_owned()),
            ..Default::default()
        };
        calls.create_collection(all).await.unwrap();
        calls.create_transform(transform("1")).await.unwrap();
        leave_one(&server, "collection_families").await;
        leave_one(&server, "transform_families").await;
        let append = || calls.append(key_ref("all"), vec![pinned(by_key("b.txt"))]);
        let last = append().await.unwrap();
        assert!(last.uid.ends_with("zzzz"), "{backend:?}: {}", last.uid);
        let last = calls.create_transform(transform("2")).await.unwrap().transform.unwrap();
        assert!(last.uid.ends_with("zzzz"), "{backend:?}: {}", last.uid);
        assert_eq!(refusal(append().await), ErrorReason::VersionsExhausted);
        let more = calls.create_transform(transform("3")).await;
        assert_eq!(refusal(more), ErrorReason::VersionsExhausted);
        let same = calls.create_transform(transform("2")).await.unwrap();
        assert_eq!((same.created, same.transform.unwrap().uid), (false, last.uid));
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_family_has_a_thousand_aliases_at_most() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(keyed("x.txt"), b"first").await.unwrap());
        let next = saved(calls.save(keyed("x.txt"), b"next").await.unwrap());
        let fill = format!(
            "INSERT INTO aliases (family_id, name, artifact_id, revision, set_by, created_at_us, updated_at_us) \
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999) \
             SELECT family_id, 'alias-' || n, id, 1, created_by, 0, 0 FROM numbers, artifacts WHERE uid = '{}'",
            first.uid
        );
        server.database().await.run(&fill).await;
        let set = |name: &str, uid: &str| {
            let request = pb::SetAliasRequest {
                artifact: Some(by_uid(uid)),
                name: name.to_owned(),
                ..Default::default()
            };
            calls.set_alias(request)
        };
        set("the-last", &first.uid).await.unwrap();
        let more = set("one-more", &first.uid).await;
        assert_eq!(refusal(more), ErrorReason::AliasesExhausted, "{backend:?}");
        // Those that are there can be moved, and one that goes makes room.
        set("alias-7", &next.uid).await.unwrap();
        let gone = pb::DeleteAliasRequest {
            artifact: Some(by_uid(&first.uid)),
            name: "alias-8".to_owned(),
            ..Default::default()
        };
        calls.delete_alias(gone).await.unwrap();
        set("one-more", &next.uid).await.unwrap();
        assert_eq!(refusal(set("another", &next.uid).await), ErrorReason::AliasesExhausted);
        // Another family has room of its own.
        let other = saved(calls.save(keyed("y.txt"), b"other").await.unwrap());
        set("another", &other.uid).await.unwrap();
        server.assert_clean();
    }
}
