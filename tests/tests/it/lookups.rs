//! Finding one artifact: by uid, stem, key, version and text.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_stem, by_text, by_uid, by_version, keyed, saved},
    pb::{self, ErrorReason, artifact_ref::Ref},
    refusal,
};

#[tokio::test]
async fn every_form_of_reference_finds_the_same_artifact() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(keyed("a/x.txt"), b"1").await.unwrap());
        let second = saved(calls.save(keyed("a/x.txt"), b"2").await.unwrap());
        let storage = calls.info().await.unwrap().default_storage;
        for reference in [
            by_uid(&second.uid),
            by_stem(&second.stem),
            by_key("a/x.txt"),
            by_version("a/x.txt", "2"),
            by_version("a/x.txt", "latest"),
            by_text(&second.uid),
            by_text(&second.stem),
            by_text("a/x.txt"),
            by_text("a/x.txt@@2"),
            by_text("a/x.txt@@latest"),
            by_text(&format!("{storage}::a/x.txt")),
            by_text(&format!("{storage}::a/x.txt@@2")),
        ] {
            assert_eq!(
                calls.get(reference.clone()).await.unwrap().uid,
                second.uid,
                "{reference:?}"
            );
        }
        for reference in [by_uid(&first.uid), by_version("a/x.txt", "1"), by_text("a/x.txt@@1")] {
            assert_eq!(
                calls.get(reference.clone()).await.unwrap().uid,
                first.uid,
                "{reference:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
    for reference in [
        by_uid("0123456789abcdef0000"),
        by_uid(&format!("{}0001", artifact.stem)),
        by_stem("0123456789abcdef"),
        by_key("y.txt"),
        by_key("X.txt"),
        by_key("x.txt "),
        by_version("x.txt", "2"),
        by_version("x.txt", "beta"),
        by_text("x.txt@@2"),
    ] {
        assert_eq!(
            refusal(calls.get(reference.clone()).await),
            ErrorReason::ArtifactNotFound,
            "{reference:?}"
        );
        assert_eq!(
            refusal(calls.read(reference.clone()).await),
            ErrorReason::ArtifactNotFound,
            "{reference:?}"
        );
    }
    let elsewhere = Ref::Key(pb::KeyRef {
        key: "x.txt".to_owned(),
        version: None,
        storage: Some("elsewhere".to_owned()),
    });
    let reason = refusal(calls.get(pb::ArtifactRef { r#ref: Some(elsewhere) }).await);
    assert_eq!(reason, ErrorReason::StorageNotFound);
    assert_eq!(
        refusal(calls.get(by_text("elsewhere::x.txt")).await),
        ErrorReason::StorageNotFound
    );
}

#[tokio::test]
async fn what_cannot_be_a_reference_is_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let nothing = pb::ArtifactRef { r#ref: None };
    assert_eq!(refusal(calls.get(nothing).await), ErrorReason::FieldRequired);
    let missing = pb::GetArtifactRequest {
        artifact: None,
        include_hidden: false,
        ..Default::default()
    };
    assert_eq!(refusal(calls.get_raw(missing).await), ErrorReason::FieldRequired);
    for uid in [
        "",
        "short",
        "0123456789abcdef000!",
        "0123456789abcdef00000",
        "0123456789abcdef",
        "é123456789abcdef000",
    ] {
        assert_eq!(
            refusal(calls.get(by_uid(uid)).await),
            ErrorReason::ReferenceInvalid,
            "uid {uid:?}"
        );
    }
    for stem in ["", "short", "0123456789abcde!", "0123456789abcdef0000"] {
        assert_eq!(
            refusal(calls.get(by_stem(stem)).await),
            ErrorReason::ReferenceInvalid,
            "stem {stem:?}"
        );
    }
    for text in ["", "a::", "::a", "a/../b", "a@@", "x.txt@@a@@b", "../../etc/passwd"] {
        let reason = refusal(calls.get(by_text(text)).await);
        assert!(
            matches!(reason, ErrorReason::ReferenceInvalid | ErrorReason::KeyInvalid),
            "{text:?}: {reason:?}"
        );
    }
    for key in ["", "../x", "a//b", "a\0b"] {
        let reason = refusal(calls.get(by_key(key)).await);
        assert!(
            matches!(reason, ErrorReason::ReferenceInvalid | ErrorReason::KeyInvalid),
            "{key:?}: {reason:?}"
        );
    }
    for version in ["", "a b\n", &"x".repeat(65)] {
        let reason = refusal(calls.get(by_version("x.txt", version)).await);
        let right = [ErrorReason::ReferenceInvalid, ErrorReason::VersionInvalid];
        assert!(right.contains(&reason), "{version:?}: {reason:?}");
    }
}

#[tokio::test]
async fn a_hidden_head_is_found_by_uid_or_when_asked_for() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("x.txt"), b"1").await.unwrap();
        let hidden = pb::SaveHeader {
            visibility: pb::Visibility::Hidden.into(),
            ..keyed("x.txt")
        };
        let hidden = saved(calls.save(hidden, b"2").await.unwrap());
        assert_eq!(hidden.visibility(), pb::Visibility::Hidden);
        assert!(hidden.is_latest);
        assert_eq!(calls.get(by_uid(&hidden.uid)).await.unwrap(), hidden);
        assert_eq!(calls.read(by_uid(&hidden.uid)).await.unwrap(), b"2");
        for reference in [by_key("x.txt"), by_stem(&hidden.stem), by_text("x.txt")] {
            let refused = refusal(calls.get(reference.clone()).await);
            assert_eq!(refused, ErrorReason::ArtifactNotFound, "{reference:?} on {backend:?}");
            assert_eq!(
                refusal(calls.read(reference.clone()).await),
                ErrorReason::ArtifactNotFound
            );
            assert_eq!(calls.get_hidden(reference.clone()).await.unwrap().uid, hidden.uid);
            let asking = pb::ReadContentRequest {
                artifact: Some(reference),
                include_hidden: true,
                ..Default::default()
            };
            assert_eq!(calls.read_raw(asking).await.unwrap().bytes, b"2");
        }
        let third = saved(calls.save(keyed("x.txt"), b"3").await.unwrap());
        assert_eq!(
            (third.stem, third.version_number),
            (hidden.stem, 3),
            "a hidden head keeps its key"
        );
    }
}
