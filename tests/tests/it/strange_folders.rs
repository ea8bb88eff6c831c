//! Folders with more in them than plain files.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

use artifactd_client::{Client, Error, FolderProgress, SaveOptions, SavedAsFolder, Skipped, domain::Sha256};
use artifactd_tests::{TestServer, content::content};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const SPARSE_BYTES: u64 = 64 << 20;

/// Not small, so that it is read again after it was hashed.
const HASHED_BYTES: usize = 3 << 20;

/// What is left out of a folder that holds everything that a folder can hold.
fn make(folder: &Path) -> Vec<(PathBuf, Skipped)> {
    fs::write(folder.join("a.txt"), b"lower").unwrap();
    fs::write(folder.join("A.txt"), b"upper").unwrap();
    fs::hard_link(folder.join("a.txt"), folder.join("hard link")).unwrap();
    let sparse = File::create(folder.join("sparse")).unwrap();
    sparse.set_len(SPARSE_BYTES).unwrap();
    mknodat(CWD, folder.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    drop(UnixListener::bind(folder.join("socket")).unwrap());
    symlink("/etc/hostname", folder.join("link out")).unwrap();
    symlink(".", folder.join("loop")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    let latin = Path::new(OsStr::from_bytes(b"\xe4.txt")).to_owned();
    fs::write(folder.join(&latin), b"latin").unwrap();
    let not_regular = ["dangling", "link out", "loop", "pipe", "socket"];
    let mut skipped: Vec<_> = not_regular
        .map(|name| (PathBuf::from(name), Skipped::NotRegular))
        .into();
    skipped.push((latin, Skipped::NotUnicode));
    skipped
}

async fn hash_of(client: &Client, path: &str) -> Sha256 {
    Sha256::of(&client.read_member("f", path).await.unwrap())
}

#[tokio::test]
async fn only_regular_files_are_taken_and_all_else_is_named() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let folder = tempfile::tempdir().unwrap();
    let skipped = make(folder.path());
    // Not every file system can hold this; whoever asks for it gets two files all the same.
    let refused = client
        .save_folder(folder.path(), SaveOptions::key("f"))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("`a.txt` differs only in case"),
        "{refused}"
    );
    assert!(client.get("f").await.is_err(), "all or nothing");
    let mut options = SaveOptions::key("f");
    options.allow_case_collisions = true;
    let saved = client.save_folder(folder.path(), options).await.unwrap();
    assert_eq!(saved.skipped, skipped);
    assert_eq!(saved.saved.artifact.n_objects, Some(4));
    // So are two names of one file.
    assert_eq!(hash_of(&client, "A.txt").await, Sha256::of(b"upper"));
    assert_eq!(hash_of(&client, "a.txt").await, Sha256::of(b"lower"));
    assert_eq!(hash_of(&client, "hard link").await, Sha256::of(b"lower"));
    let zeros = vec![0; SPARSE_BYTES as usize];
    assert_eq!(hash_of(&client, "sparse").await, Sha256::of(&zeros));
    let each = client.save_dir(folder.path(), SaveOptions::key("each")).await.unwrap();
    assert_eq!(each.skipped, skipped);
    assert_eq!(each.files.iter().filter(|(_, saved)| saved.is_ok()).count(), 4);
    server.assert_clean();
}

/// Saves a folder of one file, which gets another size once it was hashed and listed.
async fn save_while_resized(client: &Client, size: u64) -> Result<SavedAsFolder, Error> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.bin");
    fs::write(&file, content(1, HASHED_BYTES)).unwrap();
    let progress = |now: FolderProgress| {
        if now.listed_files > 0 {
            File::options().write(true).open(&file).unwrap().set_len(size).unwrap();
        }
    };
    client
        .save_folder_with(folder.path(), SaveOptions::key("f"), progress)
        .await
}

#[tokio::test]
async fn a_file_that_shrinks_meanwhile_ends_the_save_and_one_that_grows_is_saved_as_it_was() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for size in [0, 1 << 20] {
        let refused = save_while_resized(&client, size).await.unwrap_err();
        assert!(refused.to_string().contains("a.bin"), "{size}: {refused}");
        assert!(client.get("f").await.is_err(), "all or nothing");
    }
    save_while_resized(&client, 2 * HASHED_BYTES as u64).await.unwrap();
    assert_eq!(hash_of(&client, "a.bin").await, Sha256::of(&content(1, HASHED_BYTES)));
    server.assert_clean();
}
