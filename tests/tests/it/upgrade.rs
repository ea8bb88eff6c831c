//! Data folders that earlier versions wrote: each must open and be whole.

use std::{fs, path::Path};

use artifactd_tests::{TestServer, calls::by_text};

/// The version that knew only files.
const BEFORE_FOLDERS: &str = "0.1.0-spine";

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
        server.assert_clean();
        opened += 1;
    }
    assert!(opened > 0, "there are folders of earlier versions");
}
