//! Aliases: names of a family that point to one of its versions.

use artifactd_client::AliasIs;
use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, by_stem, by_text, by_uid, by_version, described, keyed, saved},
    pb::{
        self, AliasPrecondition, Artifact, ArtifactRef, DeleteAliasRequest, DeleteArtifactRequest, ErrorReason,
        ListAliasChangesRequest, ListAliasesRequest, SaveHeader, SetAliasRequest, alias_precondition::Precondition,
    },
    refusal, refusal_of,
};

fn set(to: ArtifactRef, name: &str, precondition: Option<Precondition>) -> SetAliasRequest {
    SetAliasRequest {
        artifact: Some(to),
        name: name.to_owned(),
        r#if: precondition.map(|precondition| AliasPrecondition {
            precondition: Some(precondition),
        }),
        request_id: None,
    }
}

fn delete(of: ArtifactRef, name: &str, precondition: Option<Precondition>) -> DeleteAliasRequest {
    let SetAliasRequest {
        artifact,
        name,
        r#if,
        request_id,
    } = set(of, name, precondition);
    DeleteAliasRequest {
        artifact,
        name,
        r#if,
        request_id,
    }
}

/// Versions of one key, the first one first.
async fn versions(calls: &Calls, key: &str, count: u8) -> Vec<Artifact> {
    let mut versions = Vec::new();
    for number in 0..count {
        versions.push(saved(calls.save(keyed(key), &[number, 1]).await.unwrap()));
    }
    versions
}

async fn aliases(calls: &Calls, of: ArtifactRef) -> Vec<(String, String)> {
    let request = ListAliasesRequest {
        artifact: Some(of),
        ..Default::default()
    };
    let aliases = calls.aliases(request).await.unwrap().aliases;
    aliases.into_iter().map(|alias| (alias.name, alias.uid)).collect()
}

/// What happened, oldest first: name, from, to.
async fn history(calls: &Calls, of: ArtifactRef) -> Vec<(String, Option<String>, Option<String>)> {
    let request = ListAliasChangesRequest {
        artifact: Some(of),
        page_size: 1_000,
        ..Default::default()
    };
    let changes = calls.alias_changes(request).await.unwrap().changes.into_iter().rev();
    changes
        .map(|change| (change.name, change.from_uid, change.to_uid))
        .collect()
}

async fn uid_of(calls: &Calls, reference: ArtifactRef) -> Outcome<String> {
    calls.get(reference).await.map(|artifact| artifact.uid)
}

#[tokio::test]
async fn an_alias_stands_wherever_a_version_does() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let versions = versions(&calls, "cells.csv", 3).await;
        let [one, two, three] = [0, 1, 2].map(|place| versions[place].uid.clone());
        let stem = versions[0].stem.clone();
        let first = calls.set_alias(set(by_uid(&two), "prod", None)).await.unwrap();
        let alias = first.alias.unwrap();
        assert_eq!(first.previous_uid, None);
        assert_eq!(
            (
                alias.name.as_str(),
                &alias.stem,
                &alias.uid,
                alias.version.as_str(),
                alias.version_number
            ),
            ("prod", &stem, &two, "2", 2)
        );
        assert_eq!((alias.set_by.as_str(), alias.created_at), ("admin", alias.updated_at));
        let with_version = ArtifactRef {
            r#ref: Some(pb::artifact_ref::Ref::StemVersion(pb::StemRef {
                stem: stem.clone(),
                version: Some("prod".to_owned()),
            })),
        };
        for reference in [
            by_version("cells.csv", "prod"),
            by_text("cells.csv@@prod"),
            by_text("default::cells.csv@@prod"),
            by_text(&format!("{stem}@@prod")),
            with_version,
        ] {
            assert_eq!(
                uid_of(&calls, reference.clone()).await.unwrap(),
                two,
                "{reference:?} on {backend:?}"
            );
            let read = calls.read(reference.clone()).await.unwrap();
            assert_eq!(read, [1, 1], "{reference:?}");
            let many = pb::BatchGetArtifactsRequest {
                artifacts: vec![by_uid(&one), reference],
                ..Default::default()
            };
            assert_eq!(calls.batch_get(many).await.unwrap().artifacts[1].uid, two);
        }
        for (version, uid) in [("1", &one), ("3", &three), ("latest", &three)] {
            assert_eq!(
                uid_of(&calls, by_text(&format!("{stem}@@{version}"))).await.unwrap(),
                *uid
            );
        }
        assert_eq!(
            refusal(calls.get(by_version("cells.csv", "Prod")).await),
            ErrorReason::ArtifactNotFound
        );

        // A new version moves no alias; a move does, also to where another one points.
        let moved = calls.set_alias(set(by_key("cells.csv"), "prod", None)).await.unwrap();
        assert_eq!(
            (moved.previous_uid.unwrap(), moved.alias.clone().unwrap().uid),
            (two.clone(), three.clone())
        );
        assert_ne!(moved.alias.unwrap().etag, alias.etag);
        calls.set_alias(set(by_uid(&one), "a/b@c", None)).await.unwrap();
        calls
            .set_alias(set(by_version("cells.csv", "prod"), "a/b@c", None))
            .await
            .unwrap();
        let again = calls.set_alias(set(by_uid(&three), "a/b@c", None)).await.unwrap();
        assert_eq!(again.previous_uid, Some(three.clone()), "nothing changes");
        let pair = |name: &str, uid: &String| (name.to_owned(), uid.clone());
        assert_eq!(
            aliases(&calls, by_uid(&one)).await,
            [pair("a/b@c", &three), pair("prod", &three)]
        );

        let trashed = calls.trash(by_text("cells.csv@@prod")).await.unwrap().trashed;
        assert_eq!(trashed.len(), 1);
        assert_eq!(trashed[0].uid, three, "only the version that the alias names");

        let deleted = calls
            .delete_alias(delete(by_key("cells.csv"), "a/b@c", None))
            .await
            .unwrap();
        assert_eq!(deleted.alias.unwrap().uid, three);
        let gone = calls.delete_alias(delete(by_key("cells.csv"), "a/b@c", None)).await;
        assert_eq!(refusal(gone), ErrorReason::AliasNotFound);
        let step =
            |name: &str, from: Option<&String>, to: Option<&String>| (name.to_owned(), from.cloned(), to.cloned());
        assert_eq!(
            history(&calls, by_stem(&stem)).await,
            [
                step("prod", None, Some(&two)),
                step("prod", Some(&two), Some(&three)),
                step("a/b@c", None, Some(&one)),
                step("a/b@c", Some(&one), Some(&three)),
                step("a/b@c", Some(&three), None),
            ],
            "{backend:?}"
        );
        let events = "SELECT count(*) FROM events WHERE kind IN ('alias_set', 'alias_deleted')";
        assert_eq!(server.query_integer(events).await, 5);
    }
}

#[tokio::test]
async fn aliases_and_labels_share_their_names() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let labelled = |label: &str| SaveHeader {
            version: Some(label.to_owned()),
            ..keyed("x.csv")
        };
        let one = saved(calls.save(labelled("draft"), b"1").await.unwrap());
        for name in [
            "",
            "latest",
            "1",
            "7",
            "007",
            "\u{ff12}",
            "a b",
            "@x",
            "a@@b",
            &"x".repeat(65),
        ] {
            let outcome = calls.set_alias(set(by_uid(&one.uid), name, None)).await;
            assert_eq!(refusal_of(name, outcome), ErrorReason::AliasInvalid);
        }
        let taken = calls.set_alias(set(by_uid(&one.uid), "draft", None)).await;
        assert_eq!(refusal(taken), ErrorReason::AliasTaken);
        calls.set_alias(set(by_uid(&one.uid), "prod", None)).await.unwrap();
        assert_eq!(
            refusal(calls.save(labelled("prod"), b"2").await),
            ErrorReason::AliasTaken,
            "{backend:?}"
        );
        assert_eq!(
            refusal(calls.save_small(labelled("prod"), b"2").await),
            ErrorReason::AliasTaken
        );
        let batched = calls.save_batch(vec![(labelled("prod"), b"2".to_vec())]).await.unwrap();
        assert_eq!(refusal(batched.into_iter().next().unwrap()), ErrorReason::AliasTaken);
        // Also the label of a version in trash is taken.
        let two = saved(calls.save(labelled("old"), b"2").await.unwrap());
        calls.trash(by_uid(&two.uid)).await.unwrap();
        let taken = calls.set_alias(set(by_uid(&one.uid), "old", None)).await;
        assert_eq!(refusal(taken), ErrorReason::AliasTaken);
        calls
            .delete_alias(delete(by_uid(&one.uid), "prod", None))
            .await
            .unwrap();
        calls.save(labelled("prod"), b"3").await.unwrap();
        // Another family is another name space.
        let other = saved(calls.save(described("no key"), b"other").await.unwrap());
        calls.set_alias(set(by_uid(&other.uid), "prod", None)).await.unwrap();
        let by_alias = by_text(&format!("{}@@prod", other.stem));
        assert_eq!(
            uid_of(&calls, by_alias).await.unwrap(),
            other.uid,
            "a family without a key has aliases too"
        );
    }
}

#[tokio::test]
async fn an_alias_moves_only_from_where_it_is_taken_to_be() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let versions = versions(&calls, "x.csv", 2).await;
        let [one, two] = [0, 1].map(|place| versions[place].uid.clone());
        let is = |uid: &str| Some(Precondition::Uid(uid.to_owned()));
        let absent = Some(Precondition::Absent(true));
        let moved = calls.set_alias(set(by_uid(&one), "prod", is(&one))).await;
        assert_eq!(refusal(moved), ErrorReason::AliasMoved, "there is none yet");
        let first = calls
            .set_alias(set(by_uid(&one), "prod", absent.clone()))
            .await
            .unwrap();
        let etag = Some(Precondition::Etag(first.alias.unwrap().etag));
        let failure = calls
            .set_alias(set(by_uid(&two), "prod", absent.clone()))
            .await
            .unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::AliasMoved));
        assert!(
            failure.status.message().contains(&one),
            "it says where it points: {failure}"
        );
        assert_eq!(
            refusal(calls.set_alias(set(by_uid(&two), "prod", is(&two))).await),
            ErrorReason::AliasMoved
        );
        calls.set_alias(set(by_uid(&two), "prod", is(&one))).await.unwrap();
        calls.set_alias(set(by_uid(&one), "prod", is(&two))).await.unwrap();
        let stale = calls.set_alias(set(by_uid(&two), "prod", etag.clone())).await;
        assert_eq!(
            refusal(stale),
            ErrorReason::AliasMoved,
            "it points there again, but was moved"
        );
        let stale = calls.delete_alias(delete(by_uid(&two), "prod", etag)).await;
        assert_eq!(refusal(stale), ErrorReason::AliasMoved);
        calls
            .delete_alias(delete(by_uid(&two), "prod", is(&one)))
            .await
            .unwrap();
        calls.set_alias(set(by_uid(&two), "prod", absent)).await.unwrap();
        for (request, reason) in [
            (set(by_uid(&one), "prod", is("x")), ErrorReason::ReferenceInvalid),
            (set(by_key("nothing.csv"), "prod", None), ErrorReason::ArtifactNotFound),
            (
                set(by_version("x.csv", "9"), "prod", None),
                ErrorReason::ArtifactNotFound,
            ),
            (
                set(ArtifactRef { r#ref: None }, "prod", None),
                ErrorReason::FieldRequired,
            ),
        ] {
            assert_eq!(
                refusal_of(request.clone(), calls.set_alias(request).await),
                reason,
                "{backend:?}"
            );
        }
        // A request is answered once, whatever came since.
        let request = SetAliasRequest {
            request_id: Some("move-1".to_owned()),
            ..set(by_uid(&one), "prod", is(&two))
        };
        let answer = calls.set_alias(request.clone()).await.unwrap();
        calls.set_alias(set(by_uid(&two), "prod", None)).await.unwrap();
        assert_eq!(calls.set_alias(request.clone()).await.unwrap(), answer, "{backend:?}");
        let other = SetAliasRequest {
            name: "stage".to_owned(),
            ..request
        };
        assert_eq!(refusal(calls.set_alias(other).await), ErrorReason::RequestIdReused);
        let request = DeleteAliasRequest {
            request_id: Some("delete-1".to_owned()),
            ..delete(by_uid(&one), "prod", None)
        };
        let answer = calls.delete_alias(request.clone()).await.unwrap();
        assert_eq!(calls.delete_alias(request).await.unwrap(), answer);
    }
}

#[tokio::test]
async fn an_alias_waits_in_trash_and_goes_with_its_version() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let versions = versions(&calls, "x.csv", 2).await;
        let [one, two] = [0, 1].map(|place| versions[place].uid.clone());
        let stem = versions[0].stem.clone();
        for name in ["prod", "stage"] {
            calls.set_alias(set(by_uid(&one), name, None)).await.unwrap();
        }
        calls.set_alias(set(by_uid(&two), "test", None)).await.unwrap();
        calls.trash(by_uid(&one)).await.unwrap();
        assert_eq!(
            refusal(calls.get(by_version("x.csv", "prod")).await),
            ErrorReason::ArtifactNotFound
        );
        assert_eq!(aliases(&calls, by_key("x.csv")).await.len(), 3, "they wait");
        assert_eq!(
            refusal(calls.set_alias(set(by_uid(&one), "new", None)).await),
            ErrorReason::ArtifactInTrash
        );
        calls.restore(by_uid(&one)).await.unwrap();
        assert_eq!(uid_of(&calls, by_version("x.csv", "prod")).await.unwrap(), one);
        calls.trash(by_stem(&stem)).await.unwrap();
        assert_eq!(
            aliases(&calls, by_stem(&stem)).await.len(),
            3,
            "also when all of the family is in trash"
        );
        let destroy = DeleteArtifactRequest {
            artifact: Some(by_uid(&one)),
            permanent: true,
            ..Default::default()
        };
        calls.delete(destroy).await.unwrap();
        let left = [("test".to_owned(), two.clone())];
        assert_eq!(aliases(&calls, by_stem(&stem)).await, left, "{backend:?}");
        let gone: Vec<_> = history(&calls, by_stem(&stem)).await.into_iter().skip(3).collect();
        let step = |name: &str| (name.to_owned(), Some(one.clone()), None);
        assert_eq!(gone, [step("prod"), step("stage")], "the history tells it");
        server.assert_clean();
    }
}

#[tokio::test]
async fn aliases_and_their_history_come_in_pages() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let version = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
    let names: Vec<String> = (0..7).map(|number| format!("a{number}")).collect();
    for name in names.iter().rev() {
        calls.set_alias(set(by_uid(&version.uid), name, None)).await.unwrap();
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAliasesRequest {
            artifact: Some(by_key("x.csv")),
            page_size: 3,
            page_token,
        };
        let page = calls.aliases(request).await.unwrap();
        assert!(page.aliases.len() <= 3);
        listed.extend(page.aliases.into_iter().map(|alias| alias.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names);
    let (mut changed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAliasChangesRequest {
            artifact: Some(by_key("x.csv")),
            page_size: 2,
            page_token: page_token.clone(),
            name: None,
        };
        let page = calls.alias_changes(request.clone()).await.unwrap();
        changed.extend(page.changes.into_iter().map(|change| change.name));
        if !page_token.is_empty() {
            let other = ListAliasChangesRequest {
                name: Some("a1".to_owned()),
                ..request
            };
            assert_eq!(
                refusal(calls.alias_changes(other).await),
                ErrorReason::PageTokenMismatch
            );
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(changed, names, "the newest change first");
    let one = ListAliasChangesRequest {
        artifact: Some(by_key("x.csv")),
        name: Some("a3".to_owned()),
        ..Default::default()
    };
    assert_eq!(calls.alias_changes(one).await.unwrap().changes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_move_an_alias_at_once_each_hears_of_the_one_before() {
    const CLIENTS: usize = 32;
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let versions = versions(&calls, "x.csv", 3).await;
        calls
            .set_alias(set(by_uid(&versions[0].uid), "prod", None))
            .await
            .unwrap();
        let racers = (0..CLIENTS).map(|client| {
            let (calls, uids) = (
                server.calls(),
                versions.iter().map(|v| v.uid.clone()).collect::<Vec<_>>(),
            );
            tokio::spawn(async move {
                // Moves it on to the next version, from where it is, once.
                loop {
                    let at = uid_of(&calls, by_version("x.csv", "prod")).await.unwrap();
                    let place = uids.iter().position(|uid| *uid == at).unwrap();
                    let to = by_uid(&uids[(place + 1) % uids.len()]);
                    match calls.set_alias(set(to, "prod", Some(Precondition::Uid(at)))).await {
                        Ok(moved) => return (client, moved.previous_uid.unwrap(), moved.alias.unwrap().uid),
                        Err(failure) => assert_eq!(failure.reason, Some(ErrorReason::AliasMoved), "{failure}"),
                    }
                }
            })
        });
        let moves = futures::future::join_all(racers).await;
        assert_eq!(moves.into_iter().map(Result::unwrap).count(), CLIENTS);
        let history = history(&calls, by_key("x.csv")).await;
        assert_eq!(history.len(), CLIENTS + 1, "{backend:?}");
        for pair in history.windows(2) {
            assert_eq!(pair[0].2, pair[1].1, "each begins where the one before ended");
        }
        let end = &versions[CLIENTS % 3].uid;
        assert_eq!(uid_of(&calls, by_version("x.csv", "prod")).await.unwrap(), *end);
    }
}

#[tokio::test]
async fn the_rust_client_moves_aliases() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let one = client.save(&b"1"[..], "x.csv").await.unwrap().artifact;
    let two = client.save(&b"2"[..], "x.csv").await.unwrap().artifact;
    let alias = client.set_alias(one.uid, "prod", AliasIs::Absent).await.unwrap();
    assert_eq!((alias.uid, alias.name.as_str()), (one.uid, "prod"));
    let refused = client.set_alias(two.uid, "prod", AliasIs::Absent).await.unwrap_err();
    assert_eq!(refused.reason(), Some(ErrorReason::AliasMoved));
    let moved = client
        .set_alias("x.csv", "prod", AliasIs::Etag(alias.etag))
        .await
        .unwrap();
    assert_eq!(client.get("x.csv@@prod").await.unwrap().uid, two.uid);
    assert_eq!(client.aliases(&one).await.unwrap(), [moved]);
    client
        .delete_alias("x.csv", "prod", AliasIs::Uid(two.uid))
        .await
        .unwrap();
    let changes = client.alias_changes("x.csv", Some("prod"), 2).await.unwrap();
    let steps: Vec<_> = changes.iter().map(|change| (change.from, change.to)).collect();
    assert_eq!(steps, [(Some(two.uid), None), (Some(one.uid), Some(two.uid))]);
    let all = client.get_all([one.uid.into(), two.uid.into()]).await.unwrap();
    assert_eq!(
        all.iter().map(|artifact| artifact.uid).collect::<Vec<_>>(),
        [one.uid, two.uid]
    );
    assert_eq!(client.count("key = 'x*'", &[]).await.unwrap().count, 2);
}
