//! Storages that are neither folders nor buckets of S3: containers of Azure, buckets of Google.

use artifactd_tests::{
    Backend, TestServer,
    azure::{Azurite, Container},
    calls::{by_text, by_uid, keyed, saved},
    content::{content, digest},
    folders::{files, folder},
    pb::{self, ErrorReason, SaveOutcome, StorageType},
    refusal,
    s3::S3Server,
    server::{Depth, Setup},
    storages::root,
};

const PART: usize = 5 << 20;

/// A server that keeps its bytes in a container.
fn in_container(container: &Container) -> Setup {
    let settings = container.settings();
    settings
        .iter()
        .fold(TestServer::setup(), |setup, (name, value)| setup.env(name, value))
}

#[tokio::test]
async fn a_container_of_azure_keeps_files_folders_and_uploads_that_are_cut() {
    let container = Azurite::shared().create_container();
    let mut server = in_container(&container).without_grace().start().await;
    let calls = server.calls();
    let mut made = Vec::new();
    for (key, size) in [("empty.bin", 0), ("small.csv", 1_000), ("large.bin", (20 << 20) + 7)] {
        let bytes = content(size as u64, size);
        let artifact = saved(calls.save(keyed(key), &bytes).await.unwrap());
        assert_eq!(artifact.hash, digest(&bytes));
        assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes, "{key}");
        if size > 0 {
            assert!(artifact.path.unwrap().starts_with("az://"), "{key}");
        }
        made.push(artifact.uid);
    }
    let (first, again) = (by_text("large.bin"), content(20, 1_000_003));
    let range = calls.read_range(first, 10_000_000, 1_000).await.unwrap();
    assert_eq!(range, &content((20 << 20) + 7, (20 << 20) + 7)[10_000_000..][..1_000]);
    let version = calls.save(keyed("large.bin"), &again).await.unwrap();
    assert_eq!(version.outcome(), SaveOutcome::NewVersion);
    made.push(saved(version).uid);
    let all = files(40, &[10, 300_000]);
    made.push(saved(calls.save_folder(folder("set"), &all).await.unwrap()).uid);

    // What is durable of an upload outlives its server, here and as blocks.
    let bytes = content(9, 2 * PART + 77);
    let wanted = pb::CreateUploadRequest {
        save: Some(pb::SaveHeader {
            size: Some(bytes.len() as i64),
            ..keyed("uploaded.bin")
        }),
        parallel: true,
        part_bytes: PART as i64,
    };
    let upload = calls.create_upload(wanted).await.unwrap().uid;
    calls
        .upload_part(&upload, PART, &bytes[PART..2 * PART], false)
        .await
        .unwrap();
    server.kill();
    server.start_again().await;
    let calls = server.calls();
    calls
        .upload_part(&upload, 2 * PART, &bytes[2 * PART..], true)
        .await
        .unwrap();
    calls.upload_part(&upload, 0, &bytes[..PART], false).await.unwrap();
    let artifact = saved(calls.complete_upload(&upload).await.unwrap());
    assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes);
    made.push(artifact.uid);

    assert_eq!(server.verify(Depth::Deep).exit_code, Some(0));
    for uid in made {
        calls.destroy(by_uid(&uid)).await.unwrap();
    }
    calls.collect_garbage(false).await.unwrap();
    let left: Vec<String> = container
        .list()
        .into_iter()
        .filter(|name| !name.ends_with("/epoch"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn files_of_a_container_are_registered_where_they_lie() {
    let (own, lake) = (
        Azurite::shared().create_container(),
        Azurite::shared().create_container(),
    );
    let from = format!("az://{}, az://missing", lake.name);
    let server = in_container(&own)
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", &from)
        .start()
        .await;
    let calls = server.calls();
    lake.overwrite("my-file.csv", "a,b\n1,2\n");
    lake.overwrite("sets/one.csv", "1");
    lake.overwrite("sets/two.csv", "2");
    lake.overwrite("whole/two.csv", "2");
    let uri = format!("az://{}/my-file.csv", lake.name);
    assert_eq!(
        refusal(calls.register_file(&uri).await),
        ErrorReason::StorageNotRegistered
    );
    let storage = calls
        .register(root("lake", format!("az://{}", lake.name)))
        .await
        .unwrap();
    assert_eq!((storage.r#type(), storage.managed), (StorageType::Azure, false));
    let before = lake.list();
    let made = saved(calls.register_file(&uri).await.unwrap());
    assert_eq!(
        (made.key.as_deref(), made.path),
        (Some("my-file.csv"), Some(uri.clone()))
    );
    assert_eq!((made.size, made.n_observations), (8, Some(1)));
    let set = format!("az://{}/sets", lake.name);
    assert_eq!(calls.register_files(&set).await.unwrap().len(), 2);
    let whole = format!("az://{}/whole", lake.name);
    let whole = saved(calls.register_folder(&whole).await.unwrap());
    assert_eq!(whole.n_objects, Some(1));
    assert_eq!(calls.read_member(by_uid(&whole.uid), "two.csv").await.unwrap(), b"2");
    assert_eq!(lake.list(), before, "nothing was written");
    assert_eq!(server.verify(Depth::Quick).exit_code, Some(0));
    // Of the same size, under another ETag.
    lake.overwrite("my-file.csv", "a,b\n1,3\n");
    assert_eq!(
        refusal(calls.read(by_uid(&made.uid)).await),
        ErrorReason::ContentCorrupt
    );
    assert_eq!(server.verify(Depth::Quick).exit_code, Some(2));
    assert_eq!(saved(calls.register_file(&uri).await.unwrap()).version, "2");

    let with = |name: &str, endpoint: Option<&str>, region: Option<&str>| pb::RegisterStorageRequest {
        endpoint: endpoint.map(str::to_owned),
        region: region.map(str::to_owned),
        ..root("more", format!("az://{name}"))
    };
    for (request, reason) in [
        (with("missing", None, None), ErrorReason::StorageUnusable),
        (with("other", None, None), ErrorReason::StorageForbidden),
        (
            with("missing", Some("https://lab.blob.core.windows.net"), None),
            ErrorReason::StorageForbidden,
        ),
        (with("missing", None, Some("x")), ErrorReason::FieldInvalid),
    ] {
        assert_eq!(refusal(calls.register(request).await), reason);
    }
}

/// Whoever is no host of Google is shown no token, so that this one, which lets nobody read
/// without one, cannot be used.
#[tokio::test]
async fn a_bucket_of_google_at_another_host_is_read_as_anybody_may() {
    let bucket = S3Server::shared().create_bucket();
    let endpoint = S3Server::shared().endpoint();
    let from = format!("gs://{}, {endpoint}", bucket.name);
    let setup = TestServer::setup().on(Backend::EMBEDDED);
    let server = setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &from).start().await;
    let calls = server.calls();
    let at = |endpoint: &str| pb::RegisterStorageRequest {
        endpoint: Some(endpoint.to_owned()),
        ..root("lake", format!("gs://{}/sets", bucket.name))
    };
    assert_eq!(
        refusal(calls.register(at(&endpoint)).await),
        ErrorReason::StorageUnusable
    );
    let elsewhere = at("http://127.0.0.1:1");
    assert_eq!(refusal(calls.register(elsewhere).await), ErrorReason::StorageForbidden);
}
