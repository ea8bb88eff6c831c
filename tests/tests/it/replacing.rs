//! Other content for the same version.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, by_version, honest_chunks, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason, ReplaceHeader, replace_artifact_request::Message},
    refusal,
};

fn of(artifact: &pb::Artifact) -> ReplaceHeader {
    ReplaceHeader {
        artifact: Some(by_uid(&artifact.uid)),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_replaced_artifact_keeps_uid_version_and_key() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let old = saved(calls.save(keyed("x.csv"), b"old").await.unwrap());
        let bytes = content(1, 1_500_000);
        let answer = calls.replace(of(&old), &bytes).await.unwrap();
        assert!(answer.changed);
        let new = answer.artifact.unwrap();
        assert_eq!((&new.uid, &new.version, &new.key), (&old.uid, &old.version, &old.key));
        assert_eq!((new.size, &new.hash), (bytes.len() as i64, &digest(&bytes)));
        assert_ne!(new.etag, old.etag);
        assert_ne!(new.content_etag, old.content_etag);
        assert_eq!(new.created_at, old.created_at);
        assert!(calls.read(by_key("x.csv")).await.unwrap() == bytes, "{backend:?}");
        server.assert_clean();
    }
}

#[tokio::test]
async fn the_same_bytes_change_nothing() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let artifact = saved(server.calls().save(keyed("x.csv"), b"same").await.unwrap());
        let answer = server.calls().replace(of(&artifact), b"same").await.unwrap();
        assert!(!answer.changed, "{backend:?}");
        assert_eq!(answer.artifact.unwrap(), artifact);
    }
}

#[tokio::test]
async fn an_old_version_can_be_replaced_too() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
    calls.save(keyed("x.csv"), b"2").await.unwrap();
    let replaced = calls.replace(of(&first), b"other").await.unwrap().artifact.unwrap();
    assert!(!replaced.is_latest);
    assert_eq!(calls.read(by_version("x.csv", "1")).await.unwrap(), b"other");
    assert_eq!(calls.read(by_key("x.csv")).await.unwrap(), b"2");
}

#[tokio::test]
async fn another_suffix_changes_the_suffix_of_the_key() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("a/x.CSV"), b"1").await.unwrap());
        let header = ReplaceHeader {
            file_name: Some("y.parquet".to_owned()),
            ..of(&artifact)
        };
        let replaced = calls.replace(header, b"2").await.unwrap().artifact.unwrap();
        assert_eq!(replaced.key.as_deref(), Some("a/x.parquet"), "{backend:?}");
        assert_eq!((replaced.suffix.as_str(), replaced.uid), (".parquet", artifact.uid));
        assert_eq!(calls.read(by_key("a/x.parquet")).await.unwrap(), b"2");
        assert_eq!(
            refusal(calls.get(by_key("a/x.CSV")).await),
            ErrorReason::ArtifactNotFound
        );
    }
}

#[tokio::test]
async fn a_suffix_that_leads_to_a_taken_key_is_refused() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
        calls.save(keyed("x.parquet"), b"2").await.unwrap();
        let header = ReplaceHeader {
            file_name: Some("y.parquet".to_owned()),
            ..of(&artifact)
        };
        assert_eq!(
            refusal(calls.replace(header, b"3").await),
            ErrorReason::KeyTaken,
            "{backend:?}"
        );
        assert_eq!(calls.read(by_key("x.csv")).await.unwrap(), b"1");
    }
}

#[tokio::test]
async fn preconditions_and_declarations_are_checked() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
    for (header, reason) in [
        (
            ReplaceHeader {
                etag: Some("\"other\"".to_owned()),
                ..of(&artifact)
            },
            ErrorReason::EtagMismatch,
        ),
        (
            ReplaceHeader {
                size: Some(4),
                ..of(&artifact)
            },
            ErrorReason::SizeMismatch,
        ),
        (
            ReplaceHeader {
                size: Some(6),
                ..of(&artifact)
            },
            ErrorReason::SizeMismatch,
        ),
        (
            ReplaceHeader {
                size: Some(-1),
                ..of(&artifact)
            },
            ErrorReason::FieldInvalid,
        ),
        (
            ReplaceHeader {
                sha256: Some(digest(b"different")),
                ..of(&artifact)
            },
            ErrorReason::DigestMismatch,
        ),
        (
            ReplaceHeader {
                sha256: Some("abc".to_owned()),
                ..of(&artifact)
            },
            ErrorReason::DigestInvalid,
        ),
        (
            ReplaceHeader {
                artifact: None,
                ..of(&artifact)
            },
            ErrorReason::FieldRequired,
        ),
        (
            ReplaceHeader {
                artifact: Some(by_key("y.csv")),
                ..of(&artifact)
            },
            ErrorReason::ArtifactNotFound,
        ),
        (
            ReplaceHeader {
                file_name: Some("a/b.csv".to_owned()),
                ..of(&artifact)
            },
            ErrorReason::FieldInvalid,
        ),
        (
            ReplaceHeader {
                media_type: Some("nonsense".to_owned()),
                ..of(&artifact)
            },
            ErrorReason::FieldInvalid,
        ),
    ] {
        assert_eq!(
            artifactd_tests::refusal_of(&header, calls.replace(header.clone(), b"other").await),
            reason,
            "{header:?}"
        );
    }
    assert_eq!(calls.get(by_uid(&artifact.uid)).await.unwrap(), artifact);
    assert_eq!(calls.read(by_uid(&artifact.uid)).await.unwrap(), b"1");
}

#[tokio::test]
async fn what_lies_in_trash_cannot_be_replaced() {
    let server = TestServer::start().await;
    let artifact = saved(server.calls().save(keyed("x.csv"), b"1").await.unwrap());
    server.calls().trash(by_uid(&artifact.uid)).await.unwrap();
    assert_eq!(
        refusal(server.calls().replace(of(&artifact), b"2").await),
        ErrorReason::ArtifactInTrash
    );
}

#[tokio::test]
async fn a_broken_stream_replaces_nothing() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.csv"), b"1").await.unwrap());
    let chunks = || {
        honest_chunks(b"other")
            .into_iter()
            .map(Message::Chunk)
            .collect::<Vec<_>>()
    };
    let cut: Vec<_> = std::iter::once(Message::Header(of(&artifact)))
        .chain(chunks())
        .collect();
    assert_eq!(refusal(calls.replace_stream(cut).await), ErrorReason::StreamIncomplete);
    assert_eq!(
        refusal(calls.replace_stream(chunks()).await),
        ErrorReason::StreamOutOfOrder
    );
    assert_eq!(calls.read(by_uid(&artifact.uid)).await.unwrap(), b"1");
    server.assert_clean();
}

#[tokio::test]
async fn a_reader_gets_the_old_content_whole_or_learns_of_the_change() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let old = content(1, 8_000_000);
    let artifact = saved(calls.save(keyed("x.bin"), &old).await.unwrap());
    let request = pb::ReadContentRequest {
        artifact: Some(by_uid(&artifact.uid)),
        ..Default::default()
    };
    let mut stream = calls.contents().read_content(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    calls.replace(of(&artifact), b"new").await.unwrap();
    let mut bytes = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => {
                let Some(pb::read_content_response::Message::Chunk(chunk)) = message.message else {
                    panic!("a chunk")
                };
                bytes.extend_from_slice(&chunk.data);
            }
            Ok(None) => break assert!(bytes == old),
            Err(status) => {
                let failure = artifactd_tests::Failure::from(status);
                break assert_eq!(failure.reason, Some(ErrorReason::ContentChanged));
            }
        }
    }
    assert_eq!(calls.read(by_uid(&artifact.uid)).await.unwrap(), b"new");
}
