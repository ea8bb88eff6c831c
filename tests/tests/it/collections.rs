//! Ordered sets of artifacts.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_stem, by_uid, keyed, saved},
    collections::{ReadContents, following, key_ref, pinned, stem_ref, uid_ref},
    content::{content, digest},
    folders::{Files, folder},
    pb::{self, ErrorReason},
    refusal,
};

async fn save(calls: &Calls, key: &str, content: &[u8]) -> pb::Artifact {
    saved(calls.save(keyed(key), content).await.unwrap())
}

fn new(key: &str, members: Vec<pb::NewCollectionMember>) -> pb::CreateCollectionRequest {
    pb::CreateCollectionRequest {
        key: key.to_owned(),
        members,
        ..Default::default()
    }
}

async fn uids(calls: &Calls, collection: pb::CollectionRef) -> Vec<String> {
    let members = calls.all_members(collection).await.unwrap();
    members
        .into_iter()
        .map(|member| member.artifact.map_or(String::from("-"), |artifact| artifact.uid))
        .collect()
}

#[tokio::test]
async fn a_collection_is_ordered_and_has_versions_and_a_digest() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let (a, b) = (save(&calls, "a.csv", b"a").await, save(&calls, "b.csv", b"b").await);
        let made = calls
            .create_collection(new("train", vec![pinned(by_key("b.csv")), pinned(by_uid(&a.uid))]))
            .await
            .unwrap();
        let first = made.collection.unwrap();
        assert!(made.created);
        assert_eq!(
            (first.version.as_str(), first.n_members, first.is_latest),
            ("1", 2, true),
            "{backend:?}"
        );
        let lines = format!("sha256:{}\nsha256:{}\n", digest(b"b"), digest(b"a"));
        assert_eq!(first.hash, digest(lines.as_bytes()));
        assert_eq!(uids(&calls, key_ref("train")).await, [b.uid.clone(), a.uid.clone()]);
        let same = calls
            .create_collection(new("train", vec![pinned(by_key("b.csv")), pinned(by_key("a.csv"))]))
            .await
            .unwrap();
        assert_eq!((same.created, same.collection.unwrap()), (false, first.clone()));
        let turned = calls
            .create_collection(new("train", vec![pinned(by_key("a.csv")), pinned(by_key("b.csv"))]))
            .await
            .unwrap();
        let second = turned.collection.unwrap();
        assert_eq!(
            (second.version_number, second.stem.as_str()),
            (2, first.stem.as_str()),
            "order counts"
        );
        assert_ne!(second.hash, first.hash);
        let third = calls
            .append(key_ref("train"), vec![pinned(by_key("a.csv"))])
            .await
            .unwrap();
        assert_eq!((third.version_number, third.n_members), (3, 3));
        let all = [b"a", b"b", b"a"].map(|bytes| format!("sha256:{}\n", digest(bytes)));
        assert_eq!(third.hash, digest(all.concat().as_bytes()), "of all members");
        assert_eq!(
            uids(&calls, stem_ref(&first.stem)).await,
            [&a.uid, &b.uid, &a.uid].map(Clone::clone)
        );
        assert_eq!(
            uids(&calls, uid_ref(&first.uid)).await,
            [b.uid.clone(), a.uid.clone()],
            "versions never change"
        );
        let of_version = pb::CollectionRef {
            version: Some("2".to_owned()),
            ..key_ref("train")
        };
        assert_eq!(calls.get_collection(of_version).await.unwrap().uid, second.uid);
        calls.delete_collection(uid_ref(&third.uid)).await.unwrap();
        let latest = calls.get_collection(key_ref("train")).await.unwrap();
        assert_eq!((latest.uid.as_str(), latest.is_latest), (second.uid.as_str(), true));
        let next = calls
            .append(key_ref("train"), vec![pinned(by_key("a.csv"))])
            .await
            .unwrap();
        assert_eq!(next.version_number, 4, "numbers are issued once");
    }
}

#[tokio::test]
async fn a_member_is_pinned_or_follows_the_latest() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let old = save(&calls, "a.csv", b"1").await;
        let members = vec![pinned(by_key("a.csv")), following(by_key("a.csv"))];
        let made = calls
            .create_collection(new("both", members))
            .await
            .unwrap()
            .collection
            .unwrap();
        let latest = save(&calls, "a.csv", b"2").await;
        assert_eq!(
            uids(&calls, key_ref("both")).await,
            [old.uid.clone(), latest.uid.clone()],
            "{backend:?}"
        );
        let lines = format!("sha256:{}\nstem:{}\n", digest(b"1"), old.stem);
        assert_eq!(made.hash, digest(lines.as_bytes()));
        assert_eq!(refusal(calls.destroy(by_uid(&old.uid)).await), ErrorReason::InUse);
        let forced = pb::DeleteArtifactRequest {
            artifact: Some(by_uid(&old.uid)),
            permanent: true,
            force: true,
            if_used: pb::IfUsed::Allow.into(),
            ..Default::default()
        };
        calls.delete(forced).await.unwrap();
        let members = calls.all_members(key_ref("both")).await.unwrap();
        assert_eq!((&members[0].artifact, &members[0].uid_or_stem), (&None, &old.uid));
        assert_eq!(members[1].uid_or_stem, old.stem);
        calls.trash(by_stem(&old.stem)).await.unwrap();
        assert_eq!(uids(&calls, key_ref("both")).await, ["-", "-"]);
        assert_eq!(calls.get_collection(key_ref("both")).await.unwrap().hash, made.hash);
    }
}

#[tokio::test]
async fn members_and_collections_come_in_pages() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut expected = Vec::new();
        for number in 0..7 {
            expected.push(save(&calls, &format!("{number}.csv"), &[number]).await.uid);
        }
        let members = expected.iter().map(|uid| pinned(by_uid(uid))).collect();
        calls.create_collection(new("all", members)).await.unwrap();
        calls
            .create_collection(new("some", vec![pinned(by_uid(&expected[0]))]))
            .await
            .unwrap();
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = calls
                .list_collection_members(key_ref("all"), 3, &page_token)
                .await
                .unwrap();
            found.extend(page.members.into_iter().map(|member| member.artifact.unwrap().uid));
            page_token = page.next_page_token;
            if found.len() == 3 {
                // A newer version does not mix into a walk.
                calls
                    .append(key_ref("all"), vec![pinned(by_uid(&expected[0]))])
                    .await
                    .unwrap();
            }
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{backend:?}");
        let keys = async |request: pb::ListCollectionsRequest| -> Vec<(String, i32)> {
            let page = calls.list_collections(request).await.unwrap();
            page.collections
                .into_iter()
                .map(|found| (found.key, found.version_number))
                .collect()
        };
        let all = pb::ListCollectionsRequest {
            all_versions: true,
            ..Default::default()
        };
        let expected_keys = [("all", 2), ("all", 1), ("some", 1)].map(|(key, number)| (key.to_owned(), number));
        assert_eq!(keys(all).await, expected_keys);
        let with_member = pb::ListCollectionsRequest {
            member: Some(by_uid(&expected[6])),
            ..Default::default()
        };
        assert_eq!(keys(with_member).await, [("all".to_owned(), 2)]);
    }
}

#[tokio::test]
async fn all_contents_come_in_one_stream_that_goes_on_anywhere() {
    for backend in [Backend::EMBEDDED, Backend::CLUSTER] {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let large = content(1, 3_000_000);
        save(&calls, "large.bin", &large).await;
        save(&calls, "empty.txt", b"").await;
        let mut all: Files = (0..5u8)
            .map(|number| (format!("f{number}"), vec![number; 10].into()))
            .collect();
        all.insert("big".to_owned(), content(2, 2_000_000));
        all.insert("none".to_owned(), Vec::new().into());
        calls.save_folder(folder("folder"), &all).await.unwrap();
        let members = ["large.bin", "empty.txt", "folder"].map(|key| pinned(by_key(key)));
        let made = calls
            .create_collection(new("all", members.to_vec()))
            .await
            .unwrap()
            .collection
            .unwrap();
        let read = calls.read_collection(key_ref("all"), None).await.unwrap();
        let mut expected = vec![ReadContents::new(0, None, &large), ReadContents::new(1, None, b"")];
        expected.extend(all.iter().map(|(path, bytes)| ReadContents::new(2, Some(path), bytes)));
        assert!(read == expected, "{backend:?}");
        let start = pb::CollectionStart {
            place: 0,
            offset: 2_999_990,
            ..Default::default()
        };
        let rest = calls.read_collection(uid_ref(&made.uid), Some(start)).await.unwrap();
        assert_eq!(rest[0].bytes, large[2_999_990..]);
        assert!(rest[1..] == expected[1..]);
        let start = pb::CollectionStart {
            place: 2,
            path: Some("f3".to_owned()),
            offset: 4,
            if_match: None,
        };
        let rest = calls
            .read_collection(key_ref("all"), Some(start.clone()))
            .await
            .unwrap();
        let paths: Vec<_> = rest.iter().filter_map(|read| read.path.as_deref()).collect();
        assert_eq!(paths, ["f3", "f4", "none"]);
        assert_eq!(rest[0].bytes.len(), 6);
        let changed = pb::CollectionStart {
            if_match: Some("\"x\"".to_owned()),
            ..start
        };
        let outcome = calls.read_collection(key_ref("all"), Some(changed)).await;
        assert_eq!(refusal(outcome), ErrorReason::ContentChanged);
        let run = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        calls
            .under(&run.uid)
            .read_collection(key_ref("all"), None)
            .await
            .unwrap();
        assert_eq!(
            server.query_integer("SELECT count(*) FROM run_inputs").await,
            3,
            "all members are inputs"
        );
        calls.trash(by_key("empty.txt")).await.unwrap();
        let outcome = calls.read_collection(key_ref("all"), None).await;
        assert_eq!(refusal(outcome), ErrorReason::ArtifactInTrash);
    }
}

#[tokio::test]
async fn of_many_who_append_none_is_lost() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        save(&calls, "a.csv", b"a").await;
        calls.create_collection(new("crowd", vec![])).await.unwrap();
        let clients: Vec<Calls> = (0..12).map(|_| server.calls()).collect();
        let all = clients
            .iter()
            .map(|calls| calls.append(key_ref("crowd"), vec![pinned(by_key("a.csv"))]));
        let done = futures::future::join_all(all).await;
        let mut numbers: Vec<i32> = done.into_iter().map(|done| done.unwrap().version_number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (2..=13).collect::<Vec<_>>(), "{backend:?}");
        assert_eq!(calls.get_collection(key_ref("crowd")).await.unwrap().n_members, 12);
    }
}

#[tokio::test]
async fn bad_collections_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = save(&calls, "a.csv", b"a").await;
    let made = calls
        .create_collection(new("c", vec![]))
        .await
        .unwrap()
        .collection
        .unwrap();
    for (key, reason) in [("", ErrorReason::KeyInvalid), ("../x", ErrorReason::KeyInvalid)] {
        assert_eq!(refusal(calls.create_collection(new(key, vec![])).await), reason);
    }
    for (members, reason) in [
        (vec![pinned(by_key("nothing"))], ErrorReason::ArtifactNotFound),
        (vec![pb::NewCollectionMember::default()], ErrorReason::FieldRequired),
        (vec![pinned(by_key("a.csv")); 10_001], ErrorReason::FieldInvalid),
    ] {
        assert_eq!(refusal(calls.create_collection(new("c", members)).await), reason);
    }
    for (collection, members, reason) in [
        (key_ref("c"), vec![], ErrorReason::FieldRequired),
        (
            key_ref("x"),
            vec![pinned(by_key("a.csv"))],
            ErrorReason::CollectionNotFound,
        ),
        (
            uid_ref(&made.uid),
            vec![pinned(by_key("a.csv"))],
            ErrorReason::FieldInvalid,
        ),
    ] {
        assert_eq!(refusal(calls.append(collection, members).await), reason);
    }
    calls.trash(by_uid(&artifact.uid)).await.unwrap();
    let trashed = calls.append(key_ref("c"), vec![pinned(by_uid(&artifact.uid))]).await;
    assert_eq!(refusal(trashed), ErrorReason::ArtifactInTrash);
    assert_eq!(
        refusal(calls.get_collection(key_ref("x")).await),
        ErrorReason::CollectionNotFound
    );
    assert_eq!(
        refusal(calls.delete_collection(key_ref("c")).await),
        ErrorReason::FieldInvalid
    );
}
