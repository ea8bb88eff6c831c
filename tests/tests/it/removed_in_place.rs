//! Files in place that go with their records.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use artifactd_tests::{
    Backend, Calls, TestServer,
    azure::Azurite,
    calls::{by_text, by_uid, keyed, saved},
    pb::{self, ErrorReason},
    refusal,
    s3::S3Server,
    server::Depth,
    storages::{Places, removing, root},
};

/// Writes files whose content is what is given for each.
fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
}

fn uri(root: &Path, path: &str) -> String {
    root.join(path).display().to_string()
}

/// Registers a file of a root.
async fn file(calls: &Calls, root: &Path, path: &str) -> pb::Artifact {
    saved(calls.register_file(&uri(root, path)).await.unwrap())
}

/// Registers a folder of a root.
async fn folder(calls: &Calls, root: &Path, path: &str) -> pb::Artifact {
    saved(calls.register_folder(&uri(root, path)).await.unwrap())
}

/// The files and folders below a root, without its parts that the server has.
fn left(root: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let below = path.strip_prefix(root).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                left.push(format!("{below}/"));
                folders.push(path);
            } else {
                left.push(below);
            }
        }
    }
    left.sort();
    left
}

/// Nothing waits to be removed.
async fn assert_nothing_waits(server: &TestServer) {
    const WAITING: &str = "SELECT count(*) FROM removals WHERE committed_at_us IS NOT NULL";
    assert_eq!(server.query_integer(WAITING).await, 0);
}

#[tokio::test]
async fn a_file_goes_with_its_record() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (calls, lab) = (places.server.calls(), &places.lab);
        write(lab, &[("raw/a.csv", "a"), ("raw/b.csv", "b")]);
        let made = file(&calls, lab, "raw/a.csv").await;
        let request = pb::DeleteArtifactRequest {
            request_id: Some("once".to_owned()),
            ..removing(by_uid(&made.uid))
        };
        let deleted = calls.delete(request.clone()).await.unwrap();
        assert_eq!(deleted.destroyed_uids, [made.uid.as_str()], "{backend:?}");
        assert_eq!(left(lab), ["raw/", "raw/b.csv"], "{backend:?}");
        assert_eq!(
            refusal(calls.get(by_uid(&made.uid)).await),
            ErrorReason::ArtifactNotFound
        );
        // What comes to lie there afterwards is somebody else's, also for the same call again.
        write(lab, &[("raw/a.csv", "a")]);
        let again = calls.delete(request).await.unwrap();
        assert_eq!(again.destroyed_uids, deleted.destroyed_uids);
        let made = file(&calls, lab, "raw/a.csv").await;
        assert_eq!(calls.read(by_uid(&made.uid)).await.unwrap(), b"a");
        // Only what is in trash goes without force, and what is gone already is no fault.
        let gently = pb::DeleteArtifactRequest {
            force: false,
            ..removing(by_uid(&made.uid))
        };
        assert_eq!(
            refusal(calls.delete(gently.clone()).await),
            ErrorReason::ArtifactNotInTrash
        );
        calls.trash(by_uid(&made.uid)).await.unwrap();
        assert_eq!(left(lab).len(), 3);
        fs::remove_file(lab.join("raw/a.csv")).unwrap();
        calls.delete(gently).await.unwrap();
        // What the server writes goes as it always does.
        let kept = saved(calls.save(keyed("own.csv"), b"own").await.unwrap());
        calls.delete(removing(by_uid(&kept.uid))).await.unwrap();
        assert_nothing_waits(&places.server).await;
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn of_a_folder_go_the_files_that_it_lists_and_the_folders_that_they_leave_empty() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (calls, lab) = (places.server.calls(), &places.lab);
        write(
            lab,
            &[
                ("sets/one/a", "a"),
                ("sets/one/deep/b", "b"),
                ("sets/one/deep/same", "a"),
                ("sets/two/deep/er/c", "c"),
            ],
        );
        let one = folder(&calls, lab, "sets/one").await;
        let two = folder(&calls, lab, "sets/two").await;
        write(lab, &[("sets/one/later", "later"), ("sets/one/deep/b", "b")]);
        calls.delete(removing(by_uid(&one.uid))).await.unwrap();
        assert_eq!(
            left(lab),
            [
                "sets/",
                "sets/one/",
                "sets/one/later",
                "sets/two/",
                "sets/two/deep/",
                "sets/two/deep/er/",
                "sets/two/deep/er/c"
            ],
            "{backend:?}"
        );
        places.server.assert_clean();
        calls.delete(removing(by_uid(&two.uid))).await.unwrap();
        // The folder above was not registered.
        assert_eq!(left(lab), ["sets/", "sets/one/", "sets/one/later"], "{backend:?}");
        assert_nothing_waits(&places.server).await;
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn files_stay_that_other_records_need() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (calls, lab) = (places.server.calls(), &places.lab);
        let destroy = async |artifact: &pb::Artifact| calls.delete(removing(by_uid(&artifact.uid))).await.unwrap();
        // Another version at the same path, also one in trash.
        write(lab, &[("v.csv", "1")]);
        let first = file(&calls, lab, "v.csv").await;
        write(lab, &[("v.csv", "22")]);
        let second = file(&calls, lab, "v.csv").await;
        assert_eq!(second.version, "2");
        destroy(&first).await;
        assert_eq!(calls.read(by_uid(&second.uid)).await.unwrap(), b"22", "{backend:?}");
        write(lab, &[("v.csv", "333")]);
        let third = file(&calls, lab, "v.csv").await;
        calls.trash(by_uid(&second.uid)).await.unwrap();
        destroy(&third).await;
        assert!(lab.join("v.csv").exists(), "{backend:?}");
        // A folder that has it, in trash; and a file that a folder has.
        write(lab, &[("set/a", "a"), ("set/b", "b")]);
        let set = folder(&calls, lab, "set").await;
        calls.trash(by_uid(&set.uid)).await.unwrap();
        let a = file(&calls, lab, "set/a").await;
        destroy(&a).await;
        calls.restore(by_uid(&set.uid)).await.unwrap();
        assert_eq!(calls.read_member(by_uid(&set.uid), "a").await.unwrap(), b"a");
        calls.trash(by_uid(&set.uid)).await.unwrap();
        let b = file(&calls, lab, "set/b").await;
        destroy(&set).await;
        assert_eq!(calls.read(by_uid(&b.uid)).await.unwrap(), b"b", "{backend:?}");
        assert!(!lab.join("set/a").exists(), "{backend:?}");
        // The same bytes are read where they were found first.
        write(lab, &[("one.csv", "same"), ("two.csv", "same")]);
        let one = file(&calls, lab, "one.csv").await;
        let two = file(&calls, lab, "two.csv").await;
        destroy(&one).await;
        assert_eq!(calls.read(by_uid(&two.uid)).await.unwrap(), b"same", "{backend:?}");
        destroy(&two).await;
        assert!(!lab.join("two.csv").exists(), "{backend:?}");
        // All versions at once leave nothing.
        write(lab, &[("all.csv", "1")]);
        file(&calls, lab, "all.csv").await;
        write(lab, &[("all.csv", "22")]);
        file(&calls, lab, "all.csv").await;
        let all = calls.delete(removing(by_text("lab::all.csv"))).await.unwrap();
        assert_eq!(all.destroyed_uids.len(), 2);
        assert!(!lab.join("all.csv").exists(), "{backend:?}");
        assert_nothing_waits(&places.server).await;
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_was_registered_refuses_the_call_and_nothing_is_lost() {
    let places = Places::on(Backend::EMBEDDED).await;
    let (calls, lab) = (places.server.calls(), &places.lab);
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), &[("b", "bb")]);
    write(lab, &[("a.csv", "aaa"), ("set/a", "a"), ("set/deep/b", "bb")]);
    let one = file(&calls, lab, "a.csv").await;
    let set = folder(&calls, lab, "set").await;
    let refused = async |artifact: &pb::Artifact| {
        let before = left(lab);
        let failure = calls.delete(removing(by_uid(&artifact.uid))).await.unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::ContentCorrupt), "{failure}");
        assert_eq!(left(lab), before);
        calls.get(by_uid(&artifact.uid)).await.unwrap();
        assert_nothing_waits(&places.server).await;
    };
    // Of another size, and of the same.
    for content in ["longer", "bbb"] {
        write(lab, &[("a.csv", content)]);
        refused(&one).await;
    }
    write(lab, &[("set/deep/b", "cc")]);
    refused(&set).await;
    // What leads out of the root is not followed, whatever lies there.
    write(lab, &[("set/deep/b", "bb")]);
    fs::rename(lab.join("set/deep"), outside.path().join("moved")).unwrap();
    symlink(outside.path(), lab.join("set/deep")).unwrap();
    refused(&set).await;
    fs::remove_file(lab.join("set/deep")).unwrap();
    fs::create_dir(lab.join("set/deep")).unwrap();
    symlink(outside.path().join("b"), lab.join("set/deep/b")).unwrap();
    refused(&set).await;
    assert_eq!(fs::read(outside.path().join("b")).unwrap(), b"bb");
    // Written again as it was it may go, whenever that was.
    fs::remove_file(lab.join("set/deep/b")).unwrap();
    write(lab, &[("set/deep/b", "bb"), ("a.csv", "aaa")]);
    for artifact in [&one, &set] {
        calls.delete(removing(by_uid(&artifact.uid))).await.unwrap();
    }
    assert_eq!(left(lab), [""; 0]);
    places.server.assert_clean();
}

#[tokio::test]
async fn a_file_that_goes_is_registered_when_it_is_gone() {
    for backend in Backend::DATABASES {
        let places = Places::of(TestServer::setup().on(backend).with_pauses()).await;
        let (calls, lab) = (places.server.calls(), &places.lab);
        write(lab, &[("set/a", "a"), ("b", "b")]);
        let set = folder(&calls, lab, "set").await;
        let mut pauses = places.server.pauses();
        pauses.arm("remove.committed");
        let by = places.server.calls();
        let removal = tokio::spawn(async move { by.delete(removing(by_uid(&set.uid))).await });
        assert!(pauses.met("remove.committed", std::future::pending()).await);
        for going in [
            calls.register_file(&uri(lab, "set/a")).await,
            calls.register_folder(&uri(lab, "set")).await,
        ] {
            assert_eq!(refusal(going), ErrorReason::ContentChanged, "{backend:?}");
        }
        file(&calls, lab, "b").await;
        pauses.release();
        removal.await.unwrap().unwrap();
        assert_eq!(left(lab), ["b"]);
        write(lab, &[("set/a", "a")]);
        let again = folder(&calls, lab, "set").await;
        assert_eq!(calls.read_member(by_uid(&again.uid), "a").await.unwrap(), b"a");
    }
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_looked_at_stays() {
    let places = Places::of(TestServer::setup().with_pauses()).await;
    let (calls, lab) = (places.server.calls(), &places.lab);
    write(lab, &[("a", "a"), ("b", "b")]);
    let a = file(&calls, lab, "a").await;
    let mut pauses = places.server.pauses();
    pauses.arm("remove.committed");
    let by = places.server.calls();
    let removal = tokio::spawn(async move { by.delete(removing(by_uid(&a.uid))).await });
    assert!(pauses.met("remove.committed", std::future::pending()).await);
    write(lab, &[("a", "new")]);
    pauses.release();
    removal.await.unwrap().unwrap();
    assert_eq!(fs::read(lab.join("a")).unwrap(), b"new");
    assert_nothing_waits(&places.server).await;
    // A version that came after the look keeps everything.
    let a = file(&calls, lab, "a").await;
    pauses.arm("remove.planned");
    let (by, reference) = (places.server.calls(), by_text("lab::a"));
    let removal = tokio::spawn(async move { by.delete(removing(reference)).await });
    assert!(pauses.met("remove.planned", std::future::pending()).await);
    write(lab, &[("a", "newer")]);
    file(&calls, lab, "a").await;
    pauses.release();
    assert_eq!(refusal(removal.await.unwrap()), ErrorReason::ContentChanged);
    calls.get(by_uid(&a.uid)).await.unwrap();
    assert_eq!(calls.read(by_text("lab::a")).await.unwrap(), b"newer");
}

#[tokio::test]
async fn objects_in_place_go_with_their_records() {
    let bucket = S3Server::shared().create_bucket();
    let server = TestServer::setup()
        .on(Backend::S3)
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", &format!("s3://{}", bucket.name))
        .start()
        .await;
    let calls = server.calls();
    let url = format!("s3://{}/below", bucket.name);
    calls.register(root("lake", &url)).await.unwrap();
    for path in ["below/x.csv", "below/set/a-b", "below/set/deep/c", "outside"] {
        bucket.overwrite(path, path.as_bytes());
    }
    let one = saved(calls.register_file(&format!("{url}/x.csv")).await.unwrap());
    let set = saved(calls.register_folder(&format!("{url}/set")).await.unwrap());
    bucket.overwrite("below/set/later", b"later");
    bucket.overwrite("below/x.csv", b"below/y.csv");
    assert_eq!(
        refusal(calls.delete(removing(by_uid(&one.uid))).await),
        ErrorReason::ContentCorrupt
    );
    bucket.overwrite("below/x.csv", b"below/x.csv");
    for artifact in [&one, &set] {
        calls.delete(removing(by_uid(&artifact.uid))).await.unwrap();
    }
    assert_eq!(bucket.list(), ["below/set/later", "outside"]);
    assert_nothing_waits(&server).await;
    assert_eq!(server.verify(Depth::Quick).exit_code, Some(0));
}

#[tokio::test]
async fn blobs_of_a_container_go_with_their_records() {
    let lake = Azurite::shared().create_container();
    let settings = lake.settings();
    let setup = settings
        .iter()
        .fold(TestServer::setup(), |setup, (name, value)| setup.env(name, value));
    let more = Azurite::shared().create_container();
    let from = format!("az://{}", more.name);
    let server = setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &from).start().await;
    let calls = server.calls();
    calls.register(root("lake", &from)).await.unwrap();
    for path in ["x.csv", "set/a", "set/deep/b", "set/later"] {
        more.overwrite(path, path);
    }
    let one = saved(calls.register_file(&format!("{from}/x.csv")).await.unwrap());
    more.overwrite("x.csv", "y.csv");
    assert_eq!(
        refusal(calls.delete(removing(by_uid(&one.uid))).await),
        ErrorReason::ContentCorrupt
    );
    more.overwrite("x.csv", "x.csv");
    let set = saved(calls.register_folder(&format!("{from}/set")).await.unwrap());
    for artifact in [&one, &set] {
        calls.delete(removing(by_uid(&artifact.uid))).await.unwrap();
    }
    assert_eq!(more.list(), [""; 0]);
    assert_nothing_waits(&server).await;
}
