//! Roots below which nothing is ever written or removed.

use std::fs;

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_text, by_uid, saved},
    command::Ctl,
    pb::{ErrorReason, RegisterStorageRequest},
    refusal,
    storages::{managed, removing, root},
    web::FileHost,
};

#[tokio::test]
async fn a_root_that_is_only_read_loses_neither_files_nor_records() {
    for backend in Backend::DATABASES {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let (archive, lab) = (real.join("archive"), real.join("lab"));
        for place in [&archive, &lab] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("a.csv"), b"a").unwrap();
        }
        let setup = TestServer::setup().on(backend);
        let mut server = setup
            .env("ARTIFACTD_STORAGE__REGISTER_FROM", real.to_str().unwrap())
            .start()
            .await;
        let calls = server.calls();
        let only_read = RegisterStorageRequest {
            read_only: true,
            ..root("archive", &archive)
        };
        let failure = calls.register(managed(only_read.clone())).await.unwrap_err();
        assert_eq!(
            (failure.reason, failure.fields.as_slice()),
            (Some(ErrorReason::FieldInvalid), &["read_only".to_owned()][..])
        );
        assert!(calls.register(only_read).await.unwrap().read_only, "{backend:?}");
        assert!(
            !calls.register(root("lab", &lab)).await.unwrap().read_only,
            "{backend:?}"
        );
        for place in [&archive, &lab] {
            assert_eq!(fs::read_dir(place).unwrap().count(), 1, "to register writes nothing");
        }
        for place in [&archive, &lab] {
            let uri = place.join("a.csv").display().to_string();
            calls.register_file(&uri).await.unwrap();
        }
        server.stop().await;
        server.start_again().await;
        let calls = server.calls();
        assert!(calls.get_storage("archive").await.unwrap().read_only, "{backend:?}");
        let by_key = calls.delete(removing(by_text("archive::a.csv"))).await.unwrap_err();
        assert_eq!(by_key.reason, Some(ErrorReason::StorageReadOnly), "{by_key}");
        assert!(by_key.status.message().contains("archive"), "{by_key}");
        assert_eq!(calls.read(by_text("archive::a.csv")).await.unwrap(), b"a");
        calls.delete(removing(by_text("lab::a.csv"))).await.unwrap();
        assert!(archive.join("a.csv").exists() && !lab.join("a.csv").exists());
        // Nothing is moved there, and what is there is taken in without a change.
        let moved = calls.move_artifact(by_text("archive::a.csv"), "lab", None).await;
        assert_eq!(refusal(moved), ErrorReason::StorageReadOnly);
        calls
            .move_artifact(by_text("archive::a.csv"), "default", None)
            .await
            .unwrap();
        assert_eq!(fs::read(archive.join("a.csv")).unwrap(), b"a");
    }
}

#[tokio::test]
async fn a_host_is_only_read_whatever_is_said() {
    let host = FileHost::start();
    host.put("/a.csv", b"x\n1\n");
    let setup = TestServer::setup().env("ARTIFACTD_STORAGE__REGISTER_FROM", &host.url());
    let server = setup.start().await;
    let calls = server.calls();
    assert!(calls.register(root("web", host.url())).await.unwrap().read_only);
    let made = saved(calls.register_file(&format!("{}/a.csv", host.url())).await.unwrap());
    let failure = calls.delete(removing(by_uid(&made.uid))).await.unwrap_err();
    assert_eq!(failure.reason, Some(ErrorReason::StorageReadOnly), "{failure}");
    assert!(host.asked().iter().all(|asked| !asked.starts_with("DELETE")));
    assert_eq!(calls.read(by_uid(&made.uid)).await.unwrap(), b"x\n1\n");
    // The record alone may go.
    calls.destroy(by_uid(&made.uid)).await.unwrap();
}

#[tokio::test]
async fn the_command_line_registers_roots_that_are_only_read_and_removes_files_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    for place in ["archive", "lab"] {
        fs::create_dir(real.join(place)).unwrap();
        fs::write(real.join(place).join("a.csv"), b"a").unwrap();
    }
    let setup = TestServer::setup().env("ARTIFACTD_STORAGE__REGISTER_FROM", real.to_str().unwrap());
    let server = setup.start().await;
    let ctl = Ctl::of(server.url());
    let path = |path: &str| real.join(path).display().to_string();
    let shown = ctl
        .run(&["storage", "register", "archive", &path("archive"), "--read-only"])
        .ok();
    assert!(shown.ends_with("  read-only\n"), "{shown}");
    ctl.run(&["storage", "register", "lab", &path("lab")]).ok();
    let shown = ctl.run(&["--json", "storage", "show", "archive"]).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["readOnly"], true, "{shown}");
    let both = ["storage", "register", "x", &path("lab"), "--read-only", "--managed"];
    ctl.run(&both).failed(2);
    for place in ["archive/a.csv", "lab/a.csv"] {
        ctl.run(&["storage", "add", &path(place)]).ok();
    }
    let remove = |key| ["rm", "--permanent", "--force", "--delete-files", "-y", key];
    ctl.run(&remove("archive::a.csv")).failed(4);
    ctl.run(&remove("lab::a.csv")).ok();
    assert!(real.join("archive/a.csv").exists() && !real.join("lab/a.csv").exists());
}
