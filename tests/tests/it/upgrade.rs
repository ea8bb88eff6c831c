//! Data folders that earlier versions wrote: each must open and be whole.

use std::{fs, path::Path};

use artifactd_tests::{
    TestServer,
    calls::{by_key, by_text},
};

/// The version that knew only files.
const BEFORE_FOLDERS: &str = "0.1.0-spine";

/// Those of which no upload was under way.
const WITHOUT_UPLOADS: [&str; 2] = [BEFORE_FOLDERS, "0.1.0-bulk"];

/// What their uploads are of.
const UPLOADED_BYTES: usize = 300 << 10;

/// Bytes of the first of their two parts: one of them has come.
const PART_BYTES: usize = 256 << 10;

const PACKED_FILES: usize = 20;

const FOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/upgrade");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A folder of two versions, and small files that share an object.
async fn folders_are_whole(server: &TestServer) {
    let client = server.client().await;
    let diff = client.diff_folders("islands@@1", "islands").await.unwrap();
    assert_eq!(diff.differences.len(), 1, "{diff:?}");
    let read = client.read_member("islands", "biscoe/gentoo.csv").await.unwrap();
    assert_eq!(read, &b"body_mass_g\n4500\n5700\n"[..]);
    for number in 0..PACKED_FILES {
        let read = client.read(format!("packed/{number}.txt").as_str()).await.unwrap();
        assert_eq!(read, number.to_string().as_bytes());
    }
}

/// What the upload for a key is of: its key, again and again.
fn uploaded(key: &str) -> Vec<u8> {
    key.bytes().cycle().take(UPLOADED_BYTES).collect()
}

/// Uploads go on after the part that came last, and one that was completed keeps its answer.
async fn uploads_go_on(server: &TestServer) {
    let calls = server.calls();
    let request = artifactd_tests::pb::ListUploadsRequest::default();
    let listed = calls
        .uploads()
        .list_uploads(request)
        .await
        .unwrap()
        .into_inner()
        .uploads;
    assert_eq!(listed.len(), 3);
    for upload in listed {
        let key = upload.save.as_ref().unwrap().key();
        let bytes = uploaded(key);
        match key {
            "in-order.txt" => {
                assert_eq!(upload.durable_bytes as usize, PART_BYTES);
                let rest = &bytes[PART_BYTES..];
                calls.upload_part(&upload.uid, PART_BYTES, rest, true).await.unwrap();
            }
            "at-once.txt" => {
                let came: Vec<_> = upload.parts.iter().map(|range| (range.first, range.last)).collect();
                assert_eq!(came, [(1, 1)]);
                let first = &bytes[..PART_BYTES];
                calls.upload_part(&upload.uid, 0, first, false).await.unwrap();
            }
            _ => {
                let saved = upload.saved.expect("it is complete").artifact.unwrap();
                assert_eq!(saved.uid, calls.get(by_key("complete.txt")).await.unwrap().uid);
            }
        }
        let saved = calls.complete_upload(&upload.uid).await.unwrap().artifact.unwrap();
        assert_eq!((saved.key(), saved.version_number), (key, 1));
        assert!(calls.read(by_key(key)).await.unwrap() == bytes, "{key}");
    }
}

#[tokio::test]
async fn folders_of_every_earlier_version_open_and_are_whole() {
    let mut opened = 0;
    for entry in fs::read_dir(FOLDERS).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let mut server = TestServer::setup().prepare().await;
        copy(&folder, &server.data_dir());
        let has_uploads = !WITHOUT_UPLOADS.iter().any(|name| folder.ends_with(name));
        if has_uploads {
            // Where the folder lies, time does not pass for what expires.
            let later = "UPDATE uploads SET expires_at_us = 9000000000000000";
            server.database().await.run(later).await;
        }
        server.start_again().await;
        let calls = server.calls();
        let latest = calls.get(by_text("penguins/size.csv")).await.unwrap();
        assert_eq!(
            (latest.version_number, latest.is_latest),
            (2, true),
            "{}",
            folder.display()
        );
        let first = calls.read(by_text("penguins/size.csv@@1")).await.unwrap();
        assert!(first.starts_with(b"species,island"), "{}", folder.display());
        let again = server.client().await.save(first, "penguins/size.csv").await.unwrap();
        assert_eq!(again.artifact.version_number.get(), 3, "{}", folder.display());
        if !folder.ends_with(BEFORE_FOLDERS) {
            folders_are_whole(&server).await;
        }
        if has_uploads {
            uploads_go_on(&server).await;
        }
        server.assert_clean();
        opened += 1;
    }
    assert!(opened > 0, "there are folders of earlier versions");
}
