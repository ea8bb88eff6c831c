//! Saving by digest what the storage already holds.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, honest_chunks, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason, SaveOutcome, save_artifact_request::Message},
    refusal,
};

fn claim(key: &str, content: &[u8]) -> pb::SaveHeader {
    pb::SaveHeader {
        claim: true,
        sha256: Some(digest(content)),
        ..keyed(key)
    }
}

#[tokio::test]
async fn held_content_is_claimed_without_sending_it() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(1, 500_000);
        let held = saved(calls.save(keyed("held.bin"), &bytes).await.unwrap());
        let answer = calls.save_small(claim("small.bin", &bytes), b"").await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Created);
        let stream = futures::stream::iter([Message::Header(claim("stream.bin", &bytes))]);
        assert_eq!(calls.save_stream(stream).await.unwrap().outcome(), SaveOutcome::Created);
        for key in ["small.bin", "stream.bin"] {
            assert!(calls.read(by_key(key)).await.unwrap() == bytes, "{key} on {backend:?}");
            assert_eq!(calls.get(by_key(key)).await.unwrap().content_etag, held.content_etag);
        }
        let again = calls.save_small(claim("held.bin", &bytes), b"").await.unwrap();
        assert_eq!((again.outcome(), saved(again).uid), (SaveOutcome::Existing, held.uid));
        assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 1);
    }
}

#[tokio::test]
async fn content_that_is_not_held_cannot_be_claimed() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        assert_eq!(
            refusal(calls.save_small(claim("x.bin", b"unknown"), b"").await),
            ErrorReason::ContentNotHeld
        );
        let stream = futures::stream::iter([Message::Header(claim("x.bin", b"unknown"))]);
        assert_eq!(
            refusal(calls.save_stream(stream).await),
            ErrorReason::ContentNotHeld,
            "{backend:?}"
        );
        calls.save(keyed("held.bin"), b"held").await.unwrap();
        let lying = pb::SaveHeader {
            size: Some(5),
            ..claim("x.bin", b"held")
        };
        let reason = refusal(calls.save_small(lying, b"").await);
        assert!(
            matches!(reason, ErrorReason::ContentNotHeld | ErrorReason::SizeMismatch),
            "{reason:?}"
        );
        assert_eq!(refusal(calls.get(by_key("x.bin")).await), ErrorReason::ArtifactNotFound);
    }
}

#[tokio::test]
async fn a_claim_needs_a_digest_and_no_content() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("held.bin"), b"held").await.unwrap();
    let without = pb::SaveHeader {
        sha256: None,
        ..claim("x.bin", b"held")
    };
    assert_eq!(
        refusal(calls.save_small(without, b"").await),
        ErrorReason::FieldRequired
    );
    let with_content = refusal(calls.save_small(claim("x.bin", b"held"), b"held").await);
    assert_eq!(with_content, ErrorReason::FieldInvalid);
    let mut messages = vec![Message::Header(claim("x.bin", b"held"))];
    messages.extend(honest_chunks(b"held").into_iter().map(Message::Chunk));
    let reason = refusal(calls.save_stream(futures::stream::iter(messages)).await);
    assert_eq!(reason, ErrorReason::StreamOutOfOrder);
    assert_eq!(refusal(calls.get(by_key("x.bin")).await), ErrorReason::ArtifactNotFound);
}

#[tokio::test]
async fn a_trashed_artifacts_content_is_still_held() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("x.bin"), b"held").await.unwrap());
    calls.trash(by_uid(&artifact.uid)).await.unwrap();
    let answer = calls.save_small(claim("y.bin", b"held"), b"").await.unwrap();
    assert_eq!(answer.outcome(), SaveOutcome::Created);
    calls.destroy(by_uid(&artifact.uid)).await.unwrap();
    assert_eq!(calls.read(by_key("y.bin")).await.unwrap(), b"held");
}
