//! Repeatable mutations: one request id, one effect, one answer.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_stem, by_uid, honest_chunks, keyed, saved},
    content::content,
    pb::{self, ErrorReason, save_artifact_request::Message},
    refusal,
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn repeatable(id: &str, key: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        request_id: some(id),
        ..keyed(key)
    }
}

#[tokio::test]
async fn a_repeated_save_has_one_effect_and_one_answer() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let bytes = content(1, 600_000);
        let first = server.calls().save(repeatable("r-1", "x.bin"), &bytes).await.unwrap();
        let again = server.calls().save(repeatable("r-1", "x.bin"), &bytes).await.unwrap();
        assert_eq!(again, first, "{backend:?}");
        server.calls().save(keyed("x.bin"), b"newer").await.unwrap();
        server.kill();
        server.start_again().await;
        let later = server.calls().save(repeatable("r-1", "x.bin"), &bytes).await.unwrap();
        assert_eq!(later, first, "after a restart and a newer version on {backend:?}");
        assert_eq!(server.calls().family(by_key("x.bin")).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_repeated_save_in_one_message_has_one_effect() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let first = server
            .calls()
            .save_small(repeatable("r-1", "x.txt"), b"1")
            .await
            .unwrap();
        let again = server
            .calls()
            .save_small(repeatable("r-1", "x.txt"), b"1")
            .await
            .unwrap();
        assert_eq!(again, first, "{backend:?}");
    }
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(repeatable("r-1", "x.txt"), b"1").await.unwrap());
        let other_header = pb::SaveHeader {
            description: some("other"),
            ..repeatable("r-1", "x.txt")
        };
        assert_eq!(
            refusal(calls.save(other_header, b"1").await),
            ErrorReason::RequestIdReused
        );
        assert_eq!(
            refusal(calls.save(repeatable("r-1", "y.txt"), b"1").await),
            ErrorReason::RequestIdReused
        );
        assert_eq!(
            refusal(calls.save(repeatable("r-1", "x.txt"), b"2").await),
            ErrorReason::RequestIdReused
        );
        assert_eq!(
            refusal(calls.save_small(repeatable("r-1", "x.txt"), b"2").await),
            ErrorReason::RequestIdReused
        );
        let delete = pb::DeleteArtifactRequest {
            artifact: Some(by_uid(&artifact.uid)),
            request_id: some("r-1"),
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.delete(delete).await),
            ErrorReason::RequestIdReused,
            "{backend:?}"
        );
        assert_eq!(calls.family(by_key("x.txt")).await.unwrap().len(), 1);
        assert_eq!(refusal(calls.get(by_key("y.txt")).await), ErrorReason::ArtifactNotFound);
    }
}

#[tokio::test]
async fn content_that_was_not_declared_is_compared() {
    let server = TestServer::start().await;
    let undeclared = |content: &[u8]| {
        let mut messages = vec![Message::Header(repeatable("r-1", "x.bin"))];
        messages.extend(honest_chunks(content).into_iter().map(Message::Chunk));
        messages.push(Message::Trailer(pb::ContentTrailer::default()));
        futures::stream::iter(messages)
    };
    let bytes = content(1, 3_000_000);
    let first = server.calls().save_stream(undeclared(&bytes)).await.unwrap();
    assert_eq!(server.calls().save_stream(undeclared(&bytes)).await.unwrap(), first);
    let other = content(2, 3_000_000);
    assert_eq!(
        refusal(server.calls().save_stream(undeclared(&other)).await),
        ErrorReason::RequestIdReused
    );
}

#[tokio::test]
async fn a_refused_request_may_be_sent_again_once_its_reason_is_gone() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let fail = pb::SaveHeader {
            if_content_exists: pb::IfContentExists::Fail.into(),
            ..repeatable("r-1", "x.txt")
        };
        let blocking = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
        assert_eq!(
            refusal(calls.save(fail.clone(), b"1").await),
            ErrorReason::ContentExists
        );
        calls.destroy(by_uid(&blocking.uid)).await.unwrap();
        assert_eq!(
            calls.save(fail, b"1").await.unwrap().outcome(),
            pb::SaveOutcome::Created,
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn sixteen_copies_of_one_request_at_once_have_one_effect() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let sends = (0..16).map(|_| {
            let calls = server.calls();
            async move { calls.save(repeatable("r-1", "x.txt"), b"once").await }
        });
        let mut uids: Vec<String> = Vec::new();
        for outcome in futures::future::join_all(sends).await {
            match outcome {
                Ok(answer) => uids.push(saved(answer).uid),
                Err(failure) => assert_eq!(failure.reason, Some(ErrorReason::Conflict), "{failure}"),
            }
        }
        uids.dedup();
        assert_eq!(uids.len(), 1, "{backend:?}");
        assert_eq!(
            server.calls().family(by_key("x.txt")).await.unwrap().len(),
            1,
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn every_other_mutation_is_repeatable_too() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("x.txt"), b"1").await.unwrap());
        let reference = || Some(by_uid(&artifact.uid));

        let replace = || pb::ReplaceHeader {
            request_id: some("replace"),
            artifact: reference(),
            ..Default::default()
        };
        let first = calls.replace(replace(), b"2").await.unwrap();
        assert_eq!(calls.replace(replace(), b"2").await.unwrap(), first, "{backend:?}");
        assert!(first.changed);

        let update = || pb::UpdateArtifactRequest {
            artifact: reference(),
            update: Some(pb::ArtifactUpdate {
                description: some("d"),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["description".to_owned()],
            }),
            etag: Some(first.artifact.clone().unwrap().etag),
            request_id: some("update"),
        };
        let updated = calls.update(update()).await.unwrap();
        assert_eq!(
            calls.update(update()).await.unwrap(),
            updated,
            "the etag was right for the first, {backend:?}"
        );

        assert_eq!(
            calls.replace(replace(), b"2").await.unwrap(),
            first,
            "the first answer, although the record has changed since, {backend:?}"
        );

        let trash = || pb::DeleteArtifactRequest {
            artifact: reference(),
            request_id: some("trash"),
            ..Default::default()
        };
        let trashed = calls.delete(trash()).await.unwrap();
        let restore = || pb::RestoreArtifactRequest {
            artifact: Some(by_stem(&artifact.stem)),
            request_id: some("restore"),
            ..Default::default()
        };
        let restored = calls.restore_raw(restore()).await.unwrap();
        assert_eq!(
            calls.delete(trash()).await.unwrap(),
            trashed,
            "a late copy of a delete does nothing"
        );
        assert_eq!(
            calls.get(by_uid(&artifact.uid)).await.unwrap().visibility(),
            pb::Visibility::Default
        );
        assert_eq!(calls.restore_raw(restore()).await.unwrap(), restored);

        let destroy = || pb::DeleteArtifactRequest {
            permanent: true,
            force: true,
            request_id: some("destroy"),
            ..trash()
        };
        let destroyed = calls.delete(destroy()).await.unwrap();
        assert_eq!(calls.delete(destroy()).await.unwrap(), destroyed);
        assert_eq!(
            calls.update(update()).await.unwrap(),
            updated,
            "the first answer, although the record is gone, {backend:?}"
        );
    }
}

#[tokio::test]
async fn request_ids_have_a_form() {
    let server = TestServer::start().await;
    for id in ["", "a b", "é", "a\n", &"x".repeat(129)] {
        let refused = refusal(server.calls().save(repeatable(id, "x.txt"), b"1").await);
        assert_eq!(refused, ErrorReason::FieldInvalid, "{id:?}");
    }
    server
        .calls()
        .save(repeatable(&"x".repeat(128), "x.txt"), b"1")
        .await
        .unwrap();
}
