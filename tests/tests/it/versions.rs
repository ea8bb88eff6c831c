//! Families: numbers, labels, heads, and what a new version inherits.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_stem, by_uid, by_version, described, keyed, saved},
    pb::{self, ErrorReason, SaveOutcome},
    refusal,
};

fn labelled(key: &str, label: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        version: Some(label.to_owned()),
        ..keyed(key)
    }
}

fn revising(reference: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        revises: Some(reference.to_owned()),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_b_a_under_one_key_makes_three_versions_on_two_blobs() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for (content, outcome) in [
            (b"a", SaveOutcome::Created),
            (b"b", SaveOutcome::NewVersion),
            (b"a", SaveOutcome::NewVersion),
        ] {
            assert_eq!(
                calls.save(keyed("x.txt"), content).await.unwrap().outcome(),
                outcome,
                "{backend:?}"
            );
        }
        let family = calls.family(by_key("x.txt")).await.unwrap();
        let numbers: Vec<_> = family
            .iter()
            .map(|version| (version.version_number, version.is_latest))
            .collect();
        assert_eq!(numbers, [(3, true), (2, false), (1, false)], "{backend:?}");
        let suffixes: Vec<_> = family.iter().map(|version| &version.uid[16..]).collect();
        assert_eq!(suffixes, ["0002", "0001", "0000"]);
        for (version, content) in [("1", b"a"), ("2", b"b"), ("3", b"a"), ("latest", b"a")] {
            assert_eq!(calls.read(by_version("x.txt", version)).await.unwrap(), content);
        }
        assert_eq!(
            server.query_integer("SELECT count(*) FROM blobs").await,
            2,
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn a_version_is_made_by_stem_or_uid_and_an_old_uid_means_the_family() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
    let second = saved(calls.save(revising(&first.stem), b"2").await.unwrap());
    let third = saved(calls.save(revising(&first.uid), b"3").await.unwrap());
    assert_eq!([second.version_number, third.version_number], [2, 3]);
    assert_eq!(third.stem, first.stem);
    assert_eq!(third.key.as_deref(), Some("x.txt"), "the key is inherited");
    assert!(!calls.get(by_uid(&second.uid)).await.unwrap().is_latest);
}

#[tokio::test]
async fn a_family_without_a_key_is_revised_by_its_stem() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(described("notes"), b"1").await.unwrap());
    let second = saved(calls.save(revising(&first.stem), b"2").await.unwrap());
    assert_eq!(second.stem, first.stem);
    assert_eq!(second.key, None);
    assert_eq!(
        second.description.as_deref(),
        Some("notes"),
        "the description is inherited"
    );
}

#[tokio::test]
async fn a_key_that_is_given_on_revision_moves_the_family() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(described("notes"), b"1").await.unwrap());
    let second = pb::SaveHeader {
        key: Some("notes.txt".to_owned()),
        ..revising(&first.stem)
    };
    let second = saved(calls.save(second, b"2").await.unwrap());
    assert_eq!(calls.get(by_key("notes.txt")).await.unwrap().uid, second.uid);
}

#[tokio::test]
async fn descriptions_are_inherited_unless_given_and_old_records_do_not_change() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let with = |text: &str| pb::SaveHeader {
        description: Some(text.to_owned()),
        ..keyed("x.txt")
    };
    let first = saved(calls.save(with("first"), b"1").await.unwrap());
    let second = saved(calls.save(keyed("x.txt"), b"2").await.unwrap());
    assert_eq!(second.description.as_deref(), Some("first"));
    let third = saved(calls.save(with("third"), b"3").await.unwrap());
    assert_eq!(third.description.as_deref(), Some("third"));
    let first_now = calls.get(by_uid(&first.uid)).await.unwrap();
    assert_eq!(
        first_now,
        pb::Artifact {
            is_latest: false,
            etag: first_now.etag.clone(),
            ..first
        }
    );
}

#[tokio::test]
async fn labels_name_versions_and_never_lie() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(labelled("x.txt", "2024-01"), b"1").await.unwrap());
        assert_eq!((first.version.as_str(), first.version_number), ("2024-01", 1));
        assert_eq!(
            saved(calls.save(labelled("x.txt", "2"), b"2").await.unwrap()).version,
            "2"
        );
        assert_eq!(calls.read(by_version("x.txt", "2024-01")).await.unwrap(), b"1");
        for (label, reason) in [
            ("2024-01", ErrorReason::VersionTaken),
            ("2", ErrorReason::VersionInvalid),
            ("7", ErrorReason::VersionInvalid),
            ("latest", ErrorReason::VersionInvalid),
            ("", ErrorReason::VersionInvalid),
            ("a b\n", ErrorReason::VersionInvalid),
            (&"x".repeat(65), ErrorReason::VersionInvalid),
        ] {
            let refused = refusal(calls.save(labelled("x.txt", label), b"3").await);
            assert_eq!(refused, reason, "label {label:?} on {backend:?}");
        }
        assert_eq!(
            calls.family(by_key("x.txt")).await.unwrap().len(),
            2,
            "refused labels leave nothing"
        );
        let third = saved(calls.save(keyed("x.txt"), b"3").await.unwrap());
        assert_eq!((third.version.as_str(), third.version_number), ("3", 3));
    }
}

#[tokio::test]
async fn labels_may_be_any_visible_characters_up_to_sixty_four() {
    let server = TestServer::start().await;
    for label in ["1.0.0", "β", "🧬", &"x".repeat(64)] {
        let key = format!("{}.txt", label.len());
        assert_eq!(
            saved(
                server
                    .calls()
                    .save(labelled(&key, label), label.as_bytes())
                    .await
                    .unwrap()
            )
            .version,
            label
        );
        assert_eq!(
            server.calls().get(by_version(&key, label)).await.unwrap().version,
            label
        );
    }
}

#[tokio::test]
async fn a_key_of_another_family_cannot_be_taken_by_a_revision() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(keyed("a.txt"), b"1").await.unwrap());
    calls.save(keyed("b.txt"), b"2").await.unwrap();
    let thief = pb::SaveHeader {
        key: Some("b.txt".to_owned()),
        ..revising(&first.stem)
    };
    assert_eq!(refusal(calls.save(thief, b"3").await), ErrorReason::KeyTaken);
    assert_eq!(calls.family(by_stem(&first.stem)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_revised_is_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let trashed = saved(calls.save(keyed("a.txt"), b"1").await.unwrap());
    calls.trash(by_uid(&trashed.uid)).await.unwrap();
    for (reference, reasons) in [
        ("0123456789abcdef", &[ErrorReason::ArtifactNotFound][..]),
        ("0123456789abcdef0000", &[ErrorReason::ArtifactNotFound]),
        (
            &trashed.stem,
            &[ErrorReason::ArtifactNotFound, ErrorReason::ArtifactInTrash],
        ),
        (
            &trashed.uid,
            &[ErrorReason::ArtifactNotFound, ErrorReason::ArtifactInTrash],
        ),
        ("a.txt", &[ErrorReason::ReferenceInvalid, ErrorReason::FieldInvalid]),
        ("", &[ErrorReason::ReferenceInvalid, ErrorReason::FieldInvalid]),
    ] {
        let reason = refusal(calls.save(revising(reference), b"2").await);
        assert!(reasons.contains(&reason), "revises {reference:?}: {reason:?}");
    }
}

#[tokio::test]
async fn something_must_name_an_artifact() {
    let server = TestServer::start().await;
    let nameless = pb::SaveHeader {
        file_name: Some("x.csv".to_owned()),
        ..Default::default()
    };
    for header in [pb::SaveHeader::default(), nameless] {
        assert_eq!(
            refusal(server.calls().save(header.clone(), b"1").await),
            ErrorReason::NameRequired
        );
        assert_eq!(
            refusal(server.calls().save_small(header, b"1").await),
            ErrorReason::NameRequired
        );
    }
}

#[tokio::test]
async fn a_trashed_version_keeps_its_number_and_label() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("x.txt"), b"1").await.unwrap();
        let second = saved(calls.save(labelled("x.txt", "beta"), b"2").await.unwrap());
        calls.trash(by_uid(&second.uid)).await.unwrap();
        let head = calls.get(by_key("x.txt")).await.unwrap();
        assert_eq!(
            (head.version_number, head.is_latest),
            (1, true),
            "the newest remaining one is latest"
        );
        assert_eq!(
            refusal(calls.save(labelled("x.txt", "beta"), b"3").await),
            ErrorReason::VersionTaken
        );
        assert_eq!(saved(calls.save(keyed("x.txt"), b"3").await.unwrap()).version_number, 3);
        calls.destroy(by_uid(&second.uid)).await.unwrap();
        let fourth = saved(calls.save(keyed("x.txt"), b"4").await.unwrap());
        assert_eq!(
            (fourth.version_number, &fourth.uid[16..]),
            (4, "0003"),
            "numbers are issued once"
        );
    }
}

#[tokio::test]
async fn numbers_and_suffixes_are_not_issued_again_when_the_highest_was_destroyed() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("x.txt"), b"1").await.unwrap();
        let second = saved(calls.save(keyed("x.txt"), b"2").await.unwrap());
        calls.destroy(by_uid(&second.uid)).await.unwrap();
        let third = saved(calls.save(keyed("x.txt"), b"3").await.unwrap());
        assert_eq!((third.version_number, &third.uid[16..]), (3, "0002"), "{backend:?}");
    }
}
