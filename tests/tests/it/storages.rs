//! Storages that are registered, and what may be one.

use std::path::Path;

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_text, by_uid, keyed, saved},
    pb::{self, ErrorReason, RegisterStorageRequest, StorageType},
    refusal,
    s3::S3Server,
    storages::root,
    web::FileHost,
};

async fn refused(calls: &Calls, request: RegisterStorageRequest) -> (ErrorReason, String) {
    let failure = calls.register(request).await.unwrap_err();
    (failure.reason.unwrap(), failure.status.message().to_owned())
}

#[tokio::test]
async fn a_storage_is_registered_found_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    for backend in Backend::DATABASES {
        let place = folder.path().join(format!("{backend:?}"));
        std::fs::create_dir(&place).unwrap();
        let setup = TestServer::setup().on(backend);
        let allowed = folder.path().display().to_string();
        let mut server = setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &allowed).start().await;
        let calls = server.calls();
        let request = RegisterStorageRequest {
            description: Some("of the lab".to_owned()),
            request_id: Some("once".to_owned()),
            ..root("lab", &place)
        };
        let storage = calls.register(request.clone()).await.unwrap();
        assert_eq!(storage.r#type(), StorageType::Local);
        assert!(storage.open && !storage.managed && !storage.default, "{storage:?}");
        assert_eq!(
            calls.register(request).await.unwrap(),
            storage,
            "once under its request id"
        );
        assert_eq!(
            refusal(calls.register(root("lab", &place)).await),
            ErrorReason::FieldInvalid,
            "it meets itself"
        );
        assert_eq!(calls.get_storage("lab").await.unwrap(), storage);
        let names = |storages: Vec<pb::Storage>| storages.into_iter().map(|of| of.name).collect::<Vec<_>>();
        assert_eq!(names(calls.list_storages().await.unwrap()), ["default", "lab"]);
        let update = pb::UpdateStorageRequest {
            name: "lab".to_owned(),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["description".to_owned()],
            }),
            etag: Some(storage.etag.clone()),
            ..Default::default()
        };
        let updated = calls.update_storage(update.clone()).await.unwrap();
        assert_eq!(updated.description, None);
        assert_eq!(refusal(calls.update_storage(update).await), ErrorReason::EtagMismatch);
        // It is there after a start, and takes no saves.
        server.stop().await;
        server.start_again().await;
        let calls = server.calls();
        assert!(calls.get_storage("lab").await.unwrap().open, "{backend:?}");
        let there = pb::SaveHeader {
            storage: Some("lab".to_owned()),
            ..keyed("a.csv")
        };
        assert_eq!(refusal(calls.save(there, b"a").await), ErrorReason::StorageReadOnly);
        assert_eq!(refusal(calls.delete_storage("default").await), ErrorReason::InUse);
        std::fs::write(place.join("a.csv"), b"a").unwrap();
        calls
            .register_file(&place.join("a.csv").display().to_string())
            .await
            .unwrap();
        assert_eq!(refusal(calls.delete_storage("lab").await), ErrorReason::InUse);
        let empty = folder.path().join(format!("{backend:?}-empty"));
        std::fs::create_dir(&empty).unwrap();
        calls.register(root("empty", &empty)).await.unwrap();
        calls.delete_storage("empty").await.unwrap();
        assert_eq!(refusal(calls.get_storage("empty").await), ErrorReason::StorageNotFound);
        calls.register(root("empty", &empty)).await.unwrap();
        // A root that is gone takes no other down.
        std::fs::rename(&empty, folder.path().join(format!("{backend:?}-gone"))).unwrap();
        server.stop().await;
        server.start_again().await;
        assert!(!server.calls().get_storage("empty").await.unwrap().open);
        let lost = format!("file://{}/a.csv", empty.display());
        assert!(server.calls().register_file(&lost).await.is_err());
    }
}

#[tokio::test]
async fn a_managed_storage_takes_saves() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().display().to_string();
    let server = TestServer::setup()
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", &allowed)
        .start()
        .await;
    let calls = server.calls();
    let place = folder.path().join("more");
    std::fs::create_dir(&place).unwrap();
    let request = RegisterStorageRequest {
        managed: true,
        ..root("more", &place)
    };
    assert!(calls.register(request).await.unwrap().managed);
    let header = pb::SaveHeader {
        storage: Some("more".to_owned()),
        ..keyed("a.csv")
    };
    let made = saved(calls.save(header, b"there").await.unwrap());
    assert_eq!(made.storage, "more");
    assert!(
        made.path
            .unwrap()
            .starts_with(&format!("file://{}/", place.canonicalize().unwrap().display()))
    );
    assert_eq!(calls.read(by_text("more::a.csv")).await.unwrap(), b"there");
    assert_eq!(refusal(calls.delete_storage("more").await), ErrorReason::InUse);
    server.assert_clean();
}

#[tokio::test]
async fn folders_that_are_no_roots_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    let allowed = real.join("allowed");
    std::fs::create_dir_all(allowed.join("inner")).unwrap();
    std::fs::create_dir(real.join("other")).unwrap();
    std::os::unix::fs::symlink("/", allowed.join("to-root")).unwrap();
    std::os::unix::fs::symlink(real.join("other"), allowed.join("to-other")).unwrap();
    std::fs::write(allowed.join("file"), b"x").unwrap();
    let nowhere = TestServer::start().await;
    let (reason, _) = refused(&nowhere.calls(), root("lab", &allowed)).await;
    assert_eq!(
        reason,
        ErrorReason::StorageForbidden,
        "nothing is allowed that nobody allowed"
    );
    let setup = TestServer::setup().env("ARTIFACTD_STORAGE__REGISTER_FROM", &allowed.display().to_string());
    let server = setup.start().await;
    let calls = server.calls();
    use ErrorReason::{FieldInvalid, StorageForbidden};
    for (place, reason) in [
        ("", FieldInvalid),
        ("relative/path", FieldInvalid),
        ("file:///", StorageForbidden),
        ("/", StorageForbidden),
        ("/etc", StorageForbidden),
        ("ftp://host/x", FieldInvalid),
        (allowed.join("../other").to_str().unwrap(), FieldInvalid),
        (real.join("other").to_str().unwrap(), StorageForbidden),
        (allowed.join("to-root").to_str().unwrap(), FieldInvalid),
        (allowed.join("to-other").to_str().unwrap(), StorageForbidden),
        (allowed.join("file").to_str().unwrap(), FieldInvalid),
        (allowed.join("missing").to_str().unwrap(), FieldInvalid),
    ] {
        assert_eq!(refused(&calls, root("lab", place)).await.0, reason, "{place}");
    }
    // Who writes to Azure as others do is told how it is done here.
    let (url, instead) = ("abfs://container/set", "a container of Azure is az://container");
    let (reason, message) = refused(&calls, root("lab", url)).await;
    assert!(reason == FieldInvalid && message.contains(instead), "{url}: {message}");
    let failure = calls.register_file(url).await.unwrap_err();
    assert_eq!(
        (failure.reason, failure.fields.as_slice()),
        (Some(FieldInvalid), &["uri".to_owned()][..])
    );
    assert!(failure.status.message().contains(instead), "{failure}");
    for url in ["gs://bucket/set", "az://container/set"] {
        assert_eq!(refused(&calls, root("lab", url)).await.0, StorageForbidden, "{url}");
        let unknown = calls.register_file(url).await;
        assert_eq!(refusal(unknown), ErrorReason::StorageNotRegistered, "{url}");
    }
    calls.register(root("lab", allowed.join("inner"))).await.unwrap();
    let (reason, message) = refused(&calls, root("lab2", &allowed)).await;
    assert_eq!(reason, FieldInvalid);
    assert!(message.contains("storage lab"), "{message}");
    // What is the server's own.
    let own = TestServer::setup()
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", "/")
        .start()
        .await;
    for place in [own.data_dir(), own.data_dir().join("storage"), own.folder().to_owned()] {
        let (reason, message) = refused(&own.calls(), root("lab", &place)).await;
        assert_eq!(reason, FieldInvalid, "{message}");
        assert!(message.contains("meets"), "{message}");
    }
    for path in ["/etc/passwd", "/proc/self"] {
        let reason = refused(&own.calls(), root("lab", Path::new(path))).await.0;
        assert!(
            matches!(reason, FieldInvalid | ErrorReason::StorageUnusable),
            "{path}: {reason:?}"
        );
    }
}

#[tokio::test]
async fn hosts_that_are_not_public_are_refused_unless_they_are_named() {
    let host = FileHost::start();
    host.put("/sets/a.csv", b"x,y\n1,2\n");
    let server = TestServer::setup()
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", "https://*, http://*, s3://*")
        .start()
        .await;
    let calls = server.calls();
    let port = host.port();
    for url in [
        format!("http://127.0.0.1:{port}/sets"),
        format!("http://127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest".to_owned(),
        "http://10.0.0.1/".to_owned(),
    ] {
        assert_eq!(
            refused(&calls, root("near", &url)).await.0,
            ErrorReason::StorageForbidden,
            "{url}"
        );
    }
    // A name is looked up when the connection is made, and goes nowhere either.
    for url in [
        format!("http://localhost:{port}/"),
        format!("http://localhost.:{port}/"),
    ] {
        assert_eq!(
            refused(&calls, root("near", &url)).await.0,
            ErrorReason::StorageUnusable,
            "{url}"
        );
    }
    let endpoint = RegisterStorageRequest {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        ..root("near", "s3://bucket")
    };
    assert_eq!(refused(&calls, endpoint).await.0, ErrorReason::StorageForbidden);
    assert!(host.asked().is_empty(), "nobody came: {:?}", host.asked());
    let named = TestServer::setup()
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", &host.url())
        .start()
        .await;
    let calls = named.calls();
    let storage = calls
        .register(root("web", format!("{}/sets", host.url())))
        .await
        .unwrap();
    assert_eq!((storage.r#type(), storage.managed), (StorageType::Http, false));
    let made = saved(
        calls
            .register_file(&format!("{}/sets/a.csv", host.url()))
            .await
            .unwrap(),
    );
    assert_eq!(made.path, Some(format!("{}/sets/a.csv", host.url())));
    assert_eq!(calls.read(by_uid(&made.uid)).await.unwrap(), b"x,y\n1,2\n");
    // An answer that leads somewhere else is not followed.
    host.redirect("/sets/b.csv", "http://169.254.169.254/latest");
    let led = calls.register_file(&format!("{}/sets/b.csv", host.url())).await;
    assert!(led.is_err(), "{led:?}");
    let managed = RegisterStorageRequest {
        managed: true,
        ..root("written", host.url())
    };
    assert_eq!(refused(&calls, managed).await.0, ErrorReason::FieldInvalid);
    assert_eq!(
        refusal(calls.register_files(&format!("{}/sets/c", host.url())).await),
        ErrorReason::FieldInvalid,
        "hosts cannot be listed"
    );
}

#[tokio::test]
async fn urls_with_credentials_are_refused_and_told_nowhere() {
    let server = TestServer::setup()
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", "https://*, s3://*")
        .start()
        .await;
    let calls = server.calls();
    for url in [
        "https://user:hunter2@example.org/",
        "https://example.org/?token=hunter2",
        "s3://user:hunter2@bucket/",
        "s3://bucket/?key=hunter2",
    ] {
        let (reason, message) = refused(&calls, root("lab", url)).await;
        assert_eq!(reason, ErrorReason::FieldInvalid, "{url}");
        assert!(!message.contains("hunter2"), "{message}");
        let missing = calls.register_file(&url.replace("/?", "/a?")).await.unwrap_err();
        assert!(
            !missing.status.message().contains("hunter2"),
            "{}",
            missing.status.message()
        );
    }
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}

#[tokio::test]
async fn buckets_that_cannot_be_used_are_refused() {
    let server = TestServer::setup()
        .on(Backend::S3)
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", "s3://*")
        .start()
        .await;
    let calls = server.calls();
    let managed = |name: &str, bucket: &str| RegisterStorageRequest {
        managed: true,
        ..root(name, format!("s3://{bucket}/below"))
    };
    for request in [root("none", "s3://no-such-bucket"), managed("none", "no-such-bucket")] {
        assert_eq!(refused(&calls, request).await.0, ErrorReason::StorageUnusable);
    }
    let bucket = S3Server::shared().create_bucket();
    assert!(calls.register(managed("more", &bucket.name)).await.unwrap().managed);
    assert!(bucket.list().is_empty(), "the probe cleaned up: {:?}", bucket.list());
    let header = pb::SaveHeader {
        storage: Some("more".to_owned()),
        ..keyed("a.csv")
    };
    calls.save(header, b"there").await.unwrap();
    assert_eq!(bucket.list().len(), 1);
}
