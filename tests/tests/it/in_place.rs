//! Files that become artifacts where they lie.

use std::{fs, path::PathBuf};

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_text, by_uid, keyed, saved},
    content::digest,
    pb::{self, ErrorReason, SaveOutcome},
    proxy::Proxy,
    records::mask,
    refusal,
    s3::{Bucket, S3Server},
    server::{Depth, Setup},
    storages::root,
};

/// A server with a folder in which files lie in place.
async fn with_folder(backend: Backend) -> (TestServer, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    let setup = TestServer::setup().on(backend);
    let server = setup
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", real.to_str().unwrap())
        .start()
        .await;
    server.calls().register(root("lab", &real)).await.unwrap();
    (server, folder, real)
}

fn of_lab(key: &str) -> pb::ArtifactRef {
    by_text(&format!("lab::{key}"))
}

#[tokio::test]
async fn a_file_is_registered_without_a_copy() {
    for backend in Backend::DATABASES {
        let (server, _folder, real) = with_folder(backend).await;
        let calls = server.calls();
        fs::create_dir_all(real.join("raw")).unwrap();
        let content = vec![7; 5_000_000];
        fs::write(real.join("raw/a b.csv"), &content).unwrap();
        let uri = real.join("raw/a b.csv").display().to_string();
        let made = calls.register_file(&uri).await.unwrap();
        assert_eq!(made.outcome(), SaveOutcome::Created, "{backend:?}");
        let artifact = saved(made);
        assert_eq!(artifact.key.as_deref(), Some("raw/a b.csv"));
        assert!(!artifact.key_is_virtual);
        assert_eq!((artifact.size, artifact.hash.clone()), (5_000_000, digest(&content)));
        assert_eq!(artifact.path, Some(format!("file://{uri}")));
        assert_eq!(artifact.storage, "lab");
        assert_eq!(calls.read(of_lab("raw/a b.csv")).await.unwrap(), content);
        assert!(server.stored_objects().is_empty(), "nothing was copied");
        assert_eq!(fs::read_dir(&real).unwrap().count(), 1, "nothing was written beside it");
        // The same again is there already; a change is the next version.
        let again = calls.register_file(&format!("file://{uri}")).await.unwrap();
        assert_eq!(
            (again.outcome(), saved(again).uid),
            (SaveOutcome::Existing, artifact.uid.clone())
        );
        fs::write(real.join("raw/a b.csv"), b"other").unwrap();
        let next = calls.register_file(&uri).await.unwrap();
        assert_eq!(next.outcome(), SaveOutcome::NewVersion);
        let next = saved(next);
        assert_eq!((next.stem.clone(), next.version.as_str()), (artifact.stem.clone(), "2"));
        assert_eq!(calls.read(by_uid(&next.uid)).await.unwrap(), b"other");
        assert_eq!(
            refusal(calls.read(by_uid(&artifact.uid)).await),
            ErrorReason::ContentCorrupt
        );
        // Destroying a record leaves the file.
        calls.destroy(by_uid(&next.uid)).await.unwrap();
        assert_eq!(fs::read(real.join("raw/a b.csv")).unwrap(), b"other");
    }
}

#[tokio::test]
async fn a_file_that_drifted_is_lost_data_until_it_is_registered_again() {
    let (server, _folder, real) = with_folder(Backend::EMBEDDED).await;
    let calls = server.calls();
    let file = real.join("a.bin");
    let uri = file.display().to_string();
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    fs::write(&file, &content).unwrap();
    let first = saved(calls.register_file(&uri).await.unwrap());
    server.assert_clean();
    // Of the same size: checksums tell.
    let mut changed = content.clone();
    changed[2_500_000] ^= 1;
    fs::write(&file, &changed).unwrap();
    assert_eq!(
        refusal(calls.read(by_uid(&first.uid)).await),
        ErrorReason::ContentCorrupt
    );
    assert_eq!(server.verify(Depth::Deep).exit_code, Some(2));
    // Of another size: no byte has to be read.
    fs::write(&file, b"short").unwrap();
    assert_eq!(
        refusal(calls.read(by_uid(&first.uid)).await),
        ErrorReason::ContentCorrupt
    );
    assert_eq!(server.verify(Depth::Quick).exit_code, Some(2));
    fs::remove_file(&file).unwrap();
    assert_eq!(
        refusal(calls.read(by_uid(&first.uid)).await),
        ErrorReason::ContentCorrupt
    );
    assert_eq!(refusal(calls.register_file(&uri).await), ErrorReason::FieldInvalid);
    // What it held comes back as it was, what it holds now as a version.
    fs::write(&file, &content).unwrap();
    let back = calls.register_file(&uri).await.unwrap();
    assert_eq!(back.outcome(), SaveOutcome::Existing);
    assert_eq!(calls.read(by_uid(&first.uid)).await.unwrap(), content);
    server.assert_clean();
    fs::write(&file, &changed).unwrap();
    let next = saved(calls.register_file(&uri).await.unwrap());
    assert_eq!(next.version, "2");
    assert_eq!(calls.read(by_uid(&next.uid)).await.unwrap(), changed);
}

#[tokio::test]
async fn a_folder_and_the_files_below_a_prefix_are_registered() {
    for backend in Backend::DATABASES {
        let (server, _folder, real) = with_folder(backend).await;
        let calls = server.calls();
        for (path, content) in [
            ("set/a.csv", "a"),
            ("set/deep/b.csv", "b"),
            ("set/deep/same.csv", "a"),
            ("other/c.csv", "c"),
            ("other/d.csv", "d"),
        ] {
            fs::create_dir_all(real.join(path).parent().unwrap()).unwrap();
            fs::write(real.join(path), content).unwrap();
        }
        let folder = saved(
            calls
                .register_folder(&real.join("set").display().to_string())
                .await
                .unwrap(),
        );
        assert_eq!(
            (folder.key.as_deref(), folder.n_objects),
            (Some("set"), Some(3)),
            "{backend:?}"
        );
        assert!(!folder.key_is_virtual);
        assert_eq!(folder.path, Some(format!("file://{}", real.join("set").display())));
        let request = pb::ListMembersRequest {
            artifact: Some(by_uid(&folder.uid)),
            ..Default::default()
        };
        let members = calls.list_members(request).await.unwrap();
        let paths: Vec<&str> = members.iter().map(|member| member.path.as_str()).collect();
        assert_eq!(paths, ["a.csv", "deep/b.csv", "deep/same.csv"]);
        assert_eq!(
            calls.read_member(by_uid(&folder.uid), "deep/b.csv").await.unwrap(),
            b"b"
        );
        let again = calls
            .register_folder(&real.join("set").display().to_string())
            .await
            .unwrap();
        assert_eq!(again.outcome(), SaveOutcome::Existing);
        fs::write(real.join("set/a.csv"), "changed").unwrap();
        let next = calls
            .register_folder(&real.join("set").display().to_string())
            .await
            .unwrap();
        assert_eq!(next.outcome(), SaveOutcome::NewVersion);
        let files = calls
            .register_files(&real.join("other").display().to_string())
            .await
            .unwrap();
        let keys: Vec<&str> = files.iter().map(|file| file.key.as_str()).collect();
        assert_eq!(keys, ["other/c.csv", "other/d.csv"]);
        assert_eq!(calls.read(of_lab("other/d.csv")).await.unwrap(), b"d");
        assert!(server.stored_objects().is_empty());
        // A file that cannot be one is told, and the others go on.
        let files = calls
            .register_files(&real.join("set").display().to_string())
            .await
            .unwrap();
        assert_eq!(files.len(), 3);
        for file in files {
            assert!(
                matches!(file.result, Some(pb::register_files_response::Result::Error(_))),
                "it lies in a folder"
            );
        }
    }
}

#[tokio::test]
async fn what_cannot_lie_in_place_is_refused() {
    let (server, _folder, real) = with_folder(Backend::EMBEDDED).await;
    let calls = server.calls();
    let uri = |path: &str| real.join(path).display().to_string();
    fs::write(real.join("a.csv"), b"a").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", real.join("link.csv")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(real.join("pipe.csv")).status();
    assert!(pipe.unwrap().success());
    fs::create_dir(real.join("folder")).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let failure = calls.register_file(outside.path().to_str().unwrap()).await.unwrap_err();
    assert_eq!(failure.reason, Some(ErrorReason::StorageNotRegistered));
    let its_folder = outside.path().parent().unwrap().canonicalize().unwrap();
    assert!(
        failure.status.message().contains(its_folder.to_str().unwrap()),
        "{failure:?}"
    );
    let failure = calls.register_file("s3://somebodys/data.csv").await.unwrap_err();
    assert_eq!(failure.reason, Some(ErrorReason::StorageNotRegistered));
    assert!(
        failure.status.message().contains("register s3://somebodys"),
        "{failure:?}"
    );
    // Through the link it is another file, which lies nowhere that is registered.
    assert_eq!(
        refusal(calls.register_file(&uri("link.csv")).await),
        ErrorReason::StorageNotRegistered
    );
    for path in ["pipe.csv", "folder", "missing.csv"] {
        assert_eq!(
            refusal(calls.register_file(&uri(path)).await),
            ErrorReason::FieldInvalid,
            "{path}"
        );
    }
    let managed = server.data_dir().join("storage/.artifactd/lock");
    assert_eq!(
        refusal(calls.register_file(managed.to_str().unwrap()).await),
        ErrorReason::RealKeyUnsupported
    );
    let header = |change: &dyn Fn(&mut pb::SaveHeader)| {
        let mut header = pb::SaveHeader::default();
        change(&mut header);
        header
    };
    for (header, reason) in [
        (
            header(&|header| header.key = Some("b.csv".to_owned())),
            ErrorReason::FieldInvalid,
        ),
        (
            header(&|header| header.storage = Some("default".to_owned())),
            ErrorReason::FieldInvalid,
        ),
        (header(&|header| header.claim = true), ErrorReason::FieldInvalid),
        (header(&|header| header.size = Some(2)), ErrorReason::SizeMismatch),
        (
            header(&|header| header.sha256 = Some("0".repeat(64))),
            ErrorReason::DigestMismatch,
        ),
    ] {
        assert_eq!(refusal(calls.register_file_as(&uri("a.csv"), header).await), reason);
    }
    let right = header(&|header| {
        header.key = Some("a.csv".to_owned());
        header.storage = Some("lab".to_owned());
        header.sha256 = Some(digest(b"a"));
    });
    let made = saved(calls.register_file_as(&uri("a.csv"), right).await.unwrap());
    let replace = pb::ReplaceHeader {
        artifact: Some(by_uid(&made.uid)),
        ..Default::default()
    };
    assert_eq!(
        refusal(calls.replace(replace, b"b").await),
        ErrorReason::RealKeyUnsupported
    );
    let rename = pb::UpdateArtifactRequest {
        artifact: Some(by_uid(&made.uid)),
        update: Some(pb::ArtifactUpdate {
            key: Some("b.csv".to_owned()),
            ..Default::default()
        }),
        update_mask: mask(&["key"]),
        ..Default::default()
    };
    assert_eq!(refusal(calls.update(rename).await), ErrorReason::RealKeyUnsupported);
}

/// A server that may register what lies in a bucket.
fn beside(bucket: &Bucket) -> Setup {
    TestServer::setup()
        .on(Backend::S3)
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", &format!("s3://{}", bucket.name))
}

#[tokio::test]
async fn an_object_of_a_bucket_is_registered_as_in_the_example() {
    let bucket = S3Server::shared().create_bucket();
    let server = beside(&bucket).start().await;
    let calls = server.calls();
    bucket.overwrite("my-file.csv", b"a,b\n1,2\n");
    bucket.overwrite("sets/one.csv", b"1");
    bucket.overwrite("sets/two.csv", b"2");
    let uri = format!("s3://{}/my-file.csv", bucket.name);
    assert_eq!(
        refusal(calls.register_file(&uri).await),
        ErrorReason::StorageNotRegistered
    );
    calls
        .register(root("lake", format!("s3://{}", bucket.name)))
        .await
        .unwrap();
    let before = (bucket.list(), bucket.reads());
    let made = saved(calls.register_file(&uri).await.unwrap());
    assert_eq!(bucket.list(), before.0, "nothing was written");
    // Once to be hashed, and once to be looked into.
    assert_eq!(bucket.reads(), before.1 + 2);
    assert_eq!(
        (made.accessor(), made.n_observations),
        (pb::Accessor::DataFrame, Some(1))
    );
    assert_eq!(
        (made.key.as_deref(), made.path),
        (Some("my-file.csv"), Some(uri.clone()))
    );
    assert_eq!((made.size, made.hash), (8, digest(b"a,b\n1,2\n")));
    assert_eq!(calls.read(by_uid(&made.uid)).await.unwrap(), b"a,b\n1,2\n");
    let files = calls
        .register_files(&format!("s3://{}/sets", bucket.name))
        .await
        .unwrap();
    assert_eq!(files.len(), 2);
    // Of the same size, under another ETag.
    bucket.overwrite("my-file.csv", b"a,b\n1,3\n");
    assert_eq!(
        refusal(calls.read(by_uid(&made.uid)).await),
        ErrorReason::ContentCorrupt
    );
    let next = saved(calls.register_file(&uri).await.unwrap());
    assert_eq!(next.version, "2");
    assert_eq!(calls.read(by_uid(&next.uid)).await.unwrap(), b"a,b\n1,3\n");
    calls.destroy(by_uid(&next.uid)).await.unwrap();
    assert_eq!(bucket.read("my-file.csv"), b"a,b\n1,3\n", "what lies in place stays");
    calls.save(keyed("mine.csv"), b"mine").await.unwrap();
}

/// What a quick look at records and bytes finds.
fn found(server: &TestServer) -> Vec<String> {
    let verified = server.verify(Depth::Quick);
    let findings = verified.report["findings"].as_array().unwrap().iter();
    let faults = findings.filter(|finding| finding["fault"] == true);
    faults
        .map(|finding| {
            format!(
                "{} {}",
                finding["code"].as_str().unwrap(),
                finding["what"].as_str().unwrap()
            )
        })
        .collect()
}

/// Fails for a read of bytes that are as they were: only size or ETag tell.
async fn assert_drifted(calls: &artifactd_tests::Calls, artifact: &pb::Artifact, member: Option<&str>) {
    let beginning = pb::ReadContentRequest {
        artifact: Some(by_uid(&artifact.uid)),
        member: member.map(str::to_owned),
        length: Some(100),
        ..Default::default()
    };
    let failure = calls.read_raw(beginning).await.expect_err("it is another file by now");
    assert_eq!(failure.reason, Some(ErrorReason::ContentCorrupt), "{failure}");
}

#[tokio::test]
async fn drift_in_a_bucket_shows_by_etag_where_what_is_read_is_the_same() {
    let bucket = S3Server::shared().create_bucket();
    let server = beside(&bucket).start().await;
    let calls = server.calls();
    let url = format!("s3://{}", bucket.name);
    calls.register(root("lake", &url)).await.unwrap();
    let content = vec![7; 700_000];
    let mut member = vec![6; 700_000];
    bucket.overwrite("x.bin", &content);
    bucket.overwrite("set/a.bin", &member);
    let file = saved(calls.register_file(&format!("{url}/x.bin")).await.unwrap());
    let folder = saved(calls.register_folder(&format!("{url}/set")).await.unwrap());
    let read = calls.read_range(by_uid(&file.uid), 0, 100).await.unwrap();
    assert_eq!(read, content[..100]);
    assert_eq!(found(&server), [""; 0]);
    // The same bytes again are the same file, whenever they were written.
    bucket.overwrite("x.bin", &content);
    assert_eq!(
        calls.read_range(by_uid(&file.uid), 0, 100).await.unwrap(),
        content[..100]
    );
    assert_eq!(found(&server), [""; 0]);

    let mut changed = content.clone();
    changed[650_000] = 8;
    member[650_000] = 8;
    bucket.overwrite("x.bin", &changed);
    bucket.overwrite("set/a.bin", &member);
    assert_drifted(&calls, &file, None).await;
    assert_drifted(&calls, &folder, Some("a.bin")).await;
    let faults = found(&server);
    assert!(
        !faults.is_empty() && faults.iter().all(|fault| fault.starts_with("F13 its ETag")),
        "{faults:?}"
    );
    // Registered again, each is the next version.
    let next = calls.register_file(&format!("{url}/x.bin")).await.unwrap();
    assert_eq!(next.outcome(), SaveOutcome::NewVersion);
    assert_eq!(calls.read(by_uid(&saved(next).uid)).await.unwrap(), changed);
    let next = saved(calls.register_folder(&format!("{url}/set")).await.unwrap());
    assert_eq!(calls.read_member(by_uid(&next.uid), "a.bin").await.unwrap(), member);
    assert_drifted(&calls, &file, None).await;
    assert_drifted(&calls, &folder, Some("a.bin")).await;
    // Of another size.
    member.push(9);
    bucket.overwrite("set/a.bin", &member);
    assert_drifted(&calls, &folder, Some("a.bin")).await;
    let says = found(&server)
        .into_iter()
        .find(|fault| fault.contains("700001 bytes lie in place"));
    assert!(says.is_some_and(|fault| fault.starts_with("F13 ")));
}

#[tokio::test]
async fn drift_in_a_folder_shows_by_size_where_what_is_read_is_the_same() {
    for backend in Backend::DATABASES {
        let (server, _folder, real) = with_folder(backend).await;
        let calls = server.calls();
        fs::create_dir(real.join("set")).unwrap();
        for (path, byte) in [("x.bin", 7), ("set/a.bin", 6)] {
            fs::write(real.join(path), vec![byte; 700_000]).unwrap();
        }
        let uri = |path: &str| real.join(path).display().to_string();
        let file = saved(calls.register_file(&uri("x.bin")).await.unwrap());
        let folder = saved(calls.register_folder(&uri("set")).await.unwrap());
        assert_eq!(found(&server), [""; 0], "{backend:?}");
        // One that is written again as it was is as it was.
        fs::write(real.join("x.bin"), vec![7; 700_000]).unwrap();
        assert_eq!(calls.read(by_uid(&file.uid)).await.unwrap().len(), 700_000);
        for (path, byte) in [("x.bin", 7), ("set/a.bin", 6)] {
            fs::write(real.join(path), vec![byte; 700_001]).unwrap();
        }
        assert_drifted(&calls, &file, None).await;
        assert_drifted(&calls, &folder, Some("a.bin")).await;
        let faults = found(&server);
        let of_size = |fault: &String| fault.starts_with("F13 700001 bytes lie in place");
        assert!(
            !faults.is_empty() && faults.iter().all(of_size),
            "{backend:?}: {faults:?}"
        );
    }
}

#[tokio::test]
async fn an_object_in_place_costs_the_bytes_that_are_asked_for() {
    const LINE: &str = "1,2,3,4,5,6\n";
    const BLOCK: u64 = 256 << 10;
    let upstream = S3Server::shared().endpoint();
    let address = upstream.trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::start(address).await;
    let bucket = S3Server::shared().create_bucket();
    let content = format!("a,b,c,d,e,f\n{}", LINE.repeat(700_000)).into_bytes();
    let size = content.len() as u64;
    bucket.overwrite("my-file.csv", &content);
    let mut server = beside(&bucket).prepare().await;
    server
        .start_again_with(&[("ARTIFACTD_STORAGE__ENDPOINT", &proxy.through(&upstream))])
        .await;
    let calls = server.calls();
    calls
        .register(root("lake", format!("s3://{}", bucket.name)))
        .await
        .unwrap();
    let moved = |before: (u64, u64)| (proxy.sent_bytes() - before.0, proxy.received_bytes() - before.1);
    let now = || (proxy.sent_bytes(), proxy.received_bytes());

    let before = now();
    let uri = format!("s3://{}/my-file.csv", bucket.name);
    let made = saved(calls.register_file(&uri).await.unwrap());
    assert_eq!((made.size as u64, made.hash), (size, digest(&content)));
    let (sent, received) = moved(before);
    assert!(sent < BLOCK, "nothing is copied, and {sent} bytes were sent");
    assert!(
        (size..2 * size + BLOCK).contains(&received),
        "{received} of {size} bytes: once to be hashed, at most once to be looked into"
    );

    let before = now();
    let middle = (size / 2) as i64;
    let range = calls.read_range(by_uid(&made.uid), middle, 1_000).await.unwrap();
    assert_eq!(range, &content[middle as usize..][..1_000]);
    let (_, received) = moved(before);
    assert!(
        received < 2 * BLOCK + BLOCK / 2,
        "{received} bytes for a range of 1,000"
    );

    let before = now();
    assert_eq!(calls.get(by_uid(&made.uid)).await.unwrap().size as u64, size);
    assert_eq!(calls.read(by_uid(&made.uid)).await.unwrap().len() as u64, size);
    let (_, received) = moved(before);
    assert!(
        (size..size + size / 8).contains(&received),
        "{received} of {size} bytes"
    );
}
