//! What goes in comes out, byte for byte, on every backend.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{EDGE_SIZES, content, digest},
    pb,
};

async fn saves_and_reads_every_size(backend: Backend) {
    let server = TestServer::on(backend).await;
    let calls = server.calls();
    for size in EDGE_SIZES {
        let bytes = content(size as u64, size);
        let key = format!("sizes/{size}.bin");
        let artifact = saved(calls.save(keyed(&key), &bytes).await.unwrap());
        assert_eq!(artifact.size, size as i64, "{backend:?}");
        assert_eq!(artifact.hash, digest(&bytes), "{backend:?}");
        assert_eq!(calls.get(by_uid(&artifact.uid)).await.unwrap(), artifact);
        assert!(
            calls.read(by_key(&key)).await.unwrap() == bytes,
            "{size} bytes on {backend:?}"
        );
    }
    server.assert_clean();
}

#[tokio::test]
async fn every_size_comes_back_from_sqlite_and_a_folder() {
    saves_and_reads_every_size(Backend::EMBEDDED).await;
}

#[tokio::test]
async fn every_size_comes_back_from_postgres_and_a_folder() {
    saves_and_reads_every_size(Backend::POSTGRES).await;
}

#[tokio::test]
async fn every_size_comes_back_from_sqlite_and_a_bucket() {
    saves_and_reads_every_size(Backend::S3).await;
}

#[tokio::test]
async fn every_size_comes_back_from_postgres_and_a_bucket() {
    saves_and_reads_every_size(Backend::CLUSTER).await;
}

#[tokio::test]
async fn content_in_one_message_is_saved_up_to_one_mebibyte() {
    let server = TestServer::start().await;
    for size in EDGE_SIZES.into_iter().filter(|size| *size <= 1 << 20) {
        let bytes = content(7, size);
        let key = format!("small/{size}.bin");
        let response = server.calls().save_small(keyed(&key), &bytes).await.unwrap();
        assert_eq!(response.outcome(), pb::SaveOutcome::Created);
        assert!(
            server.calls().read(by_key(&key)).await.unwrap() == bytes,
            "{size} bytes"
        );
    }
    let too_large = server
        .calls()
        .save_small(keyed("small/over.bin"), &content(7, (1 << 20) + 1))
        .await;
    let reason = artifactd_tests::refusal(too_large);
    assert!(
        matches!(
            reason,
            pb::ErrorReason::ContentTooLarge | pb::ErrorReason::MessageTooLarge
        ),
        "{reason:?}"
    );
}

#[tokio::test]
async fn a_new_artifact_says_everything_about_itself() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let bytes = content(3, 1000);
        let header = pb::SaveHeader {
            description: Some("counts of cells".to_owned()),
            kind: pb::ArtifactKind::Model.into(),
            file_name: Some("counts.csv".to_owned()),
            ..keyed("cells/counts.csv")
        };
        let response = server.calls().save(header, &bytes).await.unwrap();
        assert_eq!(response.outcome(), pb::SaveOutcome::Created);
        let artifact = saved(response);
        assert_eq!(artifact.uid.len(), 20);
        assert_eq!(artifact.stem, artifact.uid[..16]);
        assert_eq!(&artifact.uid[16..], "0000");
        assert_eq!(artifact.key.as_deref(), Some("cells/counts.csv"));
        assert_eq!(artifact.description.as_deref(), Some("counts of cells"));
        assert_eq!(artifact.kind(), pb::ArtifactKind::Model);
        assert_eq!(artifact.suffix, ".csv");
        assert_eq!(artifact.file_name.as_deref(), Some("counts.csv"));
        assert_eq!(artifact.media_type, "text/csv");
        assert_eq!(artifact.hash_type(), pb::HashType::Sha256);
        assert_eq!(artifact.version, "1");
        assert_eq!(artifact.version_number, 1);
        assert!(artifact.is_latest);
        assert_eq!(artifact.visibility(), pb::Visibility::Default);
        assert_eq!(artifact.space, "default");
        assert!(artifact.key_is_virtual);
        assert!(
            artifact.path.as_deref().is_some_and(|path| path.ends_with(".csv")),
            "{:?}",
            artifact.path
        );
        assert!(!artifact.created_by.is_empty());
        assert!(artifact.created_at.is_some_and(|at| at.seconds > 1_600_000_000));
        assert_eq!(artifact.created_at, artifact.updated_at);
        assert_eq!(artifact.deleted_at, None);
        assert!(
            artifact.etag.starts_with('"') && artifact.etag.ends_with('"'),
            "{:?}",
            artifact.etag
        );
        assert_eq!(artifact.content_etag, format!("{}-1", &digest(&bytes)[..32]));
        assert!(artifact.id > 0);
    }
}

#[tokio::test]
async fn acknowledged_artifacts_outlive_a_kill() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let bytes = content(9, 700_000);
        let before = saved(server.calls().save(keyed("kept.bin"), &bytes).await.unwrap());
        server.kill();
        server.start_again().await;
        assert_eq!(server.calls().get(by_key("kept.bin")).await.unwrap(), before);
        assert!(
            server.calls().read(by_uid(&before.uid)).await.unwrap() == bytes,
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn every_change_leaves_an_event_with_a_position_in_order() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let artifact = saved(calls.save(keyed("a.bin"), b"one").await.unwrap());
        calls.save(keyed("a.bin"), b"two").await.unwrap();
        calls.trash(by_uid(&artifact.uid)).await.unwrap();
        calls.restore(by_uid(&artifact.uid)).await.unwrap();
        wait_for_positions(&server).await;
        let events = server.query_integer("SELECT count(*) FROM events").await;
        assert!(events >= 4, "{events} events on {backend:?}");
        let highest = server.query_integer("SELECT max(position) FROM events").await;
        let lowest = server.query_integer("SELECT min(position) FROM events").await;
        assert_eq!(highest - lowest + 1, events, "positions have gaps on {backend:?}");
    }
}

async fn wait_for_positions(server: &TestServer) {
    for _ in 0..200 {
        if server
            .query_integer("SELECT count(*) FROM events WHERE position IS NULL")
            .await
            == 0
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("events got no position within ten seconds on {:?}", server.backend());
}
