//! The Rust client against a real server.

use artifactd_client::{
    Client, DeleteOptions, Error, ListOptions, Reason, ReplaceOptions, RestoreOptions, SaveOptions, ToMessage, Update,
    domain::{Kind, SaveOutcome, Visibility},
};
use artifactd_tests::{
    Backend, TestServer,
    calls::by_uid,
    content::{EDGE_SIZES, content},
};
use futures::TryStreamExt;

#[tokio::test]
async fn the_main_job_works_on_every_backend() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        let first = client.save(&b"a,b\n1,2\n"[..], "t/x.csv").await.unwrap();
        assert_eq!(first.outcome, SaveOutcome::Created);
        let second = client.save(&b"a,b\n3,4\n"[..], "t/x.csv").await.unwrap();
        assert_eq!(second.outcome, SaveOutcome::NewVersion);
        assert_eq!(
            client.save(&b"a,b\n3,4\n"[..], "t/x.csv").await.unwrap().outcome,
            SaveOutcome::Existing
        );
        assert_eq!(&client.read("t/x.csv").await.unwrap()[..], b"a,b\n3,4\n");
        assert_eq!(&client.read("t/x.csv@@1").await.unwrap()[..], b"a,b\n1,2\n");
        assert_eq!(&client.read_range(second.artifact.uid, 4, 3).await.unwrap()[..], b"3,4");
        assert_eq!(client.versions("t/x.csv").await.unwrap().len(), 2);
        let trashed = client.delete("t/x.csv").await.unwrap();
        assert_eq!(trashed.len(), 2, "{backend:?}");
        assert_eq!(
            client.get("t/x.csv").await.unwrap_err().reason(),
            Some(Reason::ArtifactNotFound)
        );
        client
            .restore(first.artifact.stem(), RestoreOptions::default())
            .await
            .unwrap();
        assert_eq!(client.get("t/x.csv").await.unwrap().uid, second.artifact.uid);
        let options = DeleteOptions {
            permanent: true,
            force: true,
            ..DeleteOptions::default()
        };
        client.delete_with(second.artifact.uid, options).await.unwrap();
        assert_eq!(&client.read("t/x.csv").await.unwrap()[..], b"a,b\n1,2\n");
        server.assert_clean();
    }
}

#[tokio::test]
async fn files_of_every_size_go_up_and_come_down() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let folder = tempfile::tempdir().unwrap();
    for size in EDGE_SIZES {
        let bytes = content(size as u64, size);
        let path = folder.path().join(format!("{size}.bin"));
        std::fs::write(&path, &bytes).unwrap();
        let saved = client
            .save_file(&path, SaveOptions::key(format!("files/{size}.bin")))
            .await
            .unwrap();
        assert_eq!(saved.artifact.size_bytes, size as u64);
        let down = folder.path().join("down.bin");
        client.download(saved.artifact.uid, &down).await.unwrap();
        assert!(std::fs::read(&down).unwrap() == bytes, "{size} bytes");
    }
}

#[tokio::test]
async fn held_content_is_claimed_and_records_are_changed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let bytes = content(1, 400_000);
    let saved = client.save(bytes.clone(), "x.bin").await.unwrap().artifact;
    let claimed = client
        .claim(saved.sha256, SaveOptions::key("y.bin"))
        .await
        .unwrap()
        .artifact;
    assert!(client.read(claimed.uid).await.unwrap() == bytes);
    let update = Update {
        description: Some(Some("new".to_owned())),
        ..Update::default()
    };
    assert_eq!(
        client.update(saved.uid, update).await.unwrap().description.as_deref(),
        Some("new")
    );
    let replaced = client
        .replace_bytes(saved.uid, &b"other"[..], ReplaceOptions::default())
        .await;
    replaced.unwrap();
    assert_eq!(&client.read("x.bin").await.unwrap()[..], b"other");
}

#[tokio::test]
async fn what_the_client_says_of_an_artifact_is_what_the_server_said() {
    let server = TestServer::start().await;
    let (client, calls) = (server.client().await, server.calls());
    let options = SaveOptions {
        file_name: Some("mine.csv".to_owned()),
        media_type: Some("text/x".to_owned()),
        kind: Some(Kind::Model),
        ..SaveOptions::key("a/b.csv").with_description("words").with_version("v1")
    };
    client.save_bytes(content(1, 300_000), options).await.unwrap();
    client
        .save_bytes(&b"small"[..], SaveOptions::described("d"))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), b"x").unwrap();
    client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
    client.delete("f").await.unwrap();
    let options = ListOptions {
        visibilities: vec![Visibility::Default, Visibility::Trash],
        ..ListOptions::default()
    };
    let all: Vec<_> = client.list(options).try_collect().await.unwrap();
    assert_eq!(all.len(), 3);
    for artifact in all {
        let said = calls.get(by_uid(&artifact.uid.to_string())).await.unwrap();
        assert_eq!(artifact.to_message(), said);
    }
}

#[tokio::test]
async fn lists_go_over_all_pages() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for number in 0..25 {
        client.save(format!("{number}"), format!("{number}.txt")).await.unwrap();
    }
    let options = ListOptions {
        page_size: 4,
        ..ListOptions::default()
    };
    let all: Vec<_> = client.list(options).try_collect().await.unwrap();
    assert_eq!(all.len(), 25);
    assert!(all.iter().all(|artifact| artifact.visibility == Visibility::Default));
}

#[tokio::test]
async fn errors_are_typed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let refused = client.get("missing.txt").await.unwrap_err();
    let Error::Refused { reason, request_id, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(*reason, Reason::ArtifactNotFound);
    assert!(!request_id.is_empty());
    assert!(client.save(&b"x"[..], "../x").await.is_err());
    let nobody = Client::connect(format!("http://127.0.0.1:{}", artifactd_tests::server::free_port())).await;
    assert!(matches!(nobody, Err(Error::Transport(_))));
}

#[tokio::test]
async fn damaged_content_is_never_handed_out() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.save(content(1, 700_000), "x.bin").await.unwrap();
    server.overwrite_only_object(|stored| stored[300_000] ^= 1);
    assert_eq!(
        client.read("x.bin").await.unwrap_err().reason(),
        Some(Reason::ContentCorrupt)
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    assert!(client.download("x.bin", &path).await.is_err());
    assert!(!path.exists(), "a damaged download leaves no file");
}

#[tokio::test]
async fn a_client_finds_its_server_again_after_a_restart() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    client.save(&b"1"[..], "x.txt").await.unwrap();
    server.kill();
    server.start_again_in_place().await;
    assert_eq!(&client.read("x.txt").await.unwrap()[..], b"1");
}
