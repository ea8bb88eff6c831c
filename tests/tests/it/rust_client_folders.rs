//! Folders through the Rust client against a real server.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use artifactd_client::{
    Client, Error, FolderEdit, MemberRange, MembersOptions, ReadMembersOptions, Reason, SaveOptions, Skipped,
    domain::{
        SaveOutcome, Sha256,
        manifest::{Difference, Member},
    },
};
use artifactd_tests::{
    Backend, TestServer,
    content::content,
    proxy::{Line, Proxy},
};
use bytes::Bytes;
use futures::TryStreamExt;
use tempfile::TempDir;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Files by their paths.
type Files = BTreeMap<String, Bytes>;

/// Files around the sizes at which they travel in other ways.
fn files_of_many_sizes() -> Files {
    let sizes = [0, 1, 255 * KIB, MIB - 1, MIB, 3 * MIB];
    let paths = ["a/b", "a.b", "a0", "deep/er/file.bin", "ö/ä.bin", "z.bin"];
    paths
        .into_iter()
        .zip(sizes)
        .map(|(path, size)| (path.to_owned(), content(size as u64, size)))
        .collect()
}

fn write(files: &Files, folder: &Path) {
    for (path, content) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn on_disk(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(files, folder.path());
    folder
}

/// All files below a folder.
fn read(folder: &Path) -> Files {
    let (mut files, mut waiting) = (Files::new(), vec![folder.to_owned()]);
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(relative, std::fs::read(&path).unwrap().into());
            }
        }
    }
    files
}

fn bytes_of(files: &Files) -> u64 {
    files.values().map(|content| content.len() as u64).sum()
}

fn member(path: &str, content: &[u8]) -> Member {
    Member {
        path: path.parse().unwrap(),
        size_bytes: content.len() as u64,
        sha256: Sha256::of(content),
    }
}

fn members(files: &Files) -> Vec<Member> {
    files.iter().map(|(path, content)| member(path, content)).collect()
}

async fn listed(client: &Client, key: &str) -> Vec<Member> {
    let listed = client.list_members(key, MembersOptions::default());
    listed.try_collect().await.unwrap()
}

/// What a folder holds, as it is downloaded.
async fn downloaded(client: &Client, key: &str) -> Files {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("down");
    client.download_folder(key, &target).await.unwrap();
    assert_eq!(names(parent.path()), ["down"], "no part stays");
    read(&target)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[tokio::test]
async fn a_folder_goes_up_and_comes_down_on_every_backend() {
    let files = files_of_many_sizes();
    let folder = on_disk(&files);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    std::os::unix::fs::symlink("a.b", folder.path().join("link")).unwrap();
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        let first = client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
        assert_eq!(first.saved.outcome, SaveOutcome::Created, "{backend:?}");
        assert_eq!(first.saved.artifact.n_objects, Some(files.len() as u64));
        let skipped = [
            (PathBuf::from("empty"), Skipped::EmptyFolder),
            (PathBuf::from("link"), Skipped::NotRegular),
        ];
        assert_eq!(first.skipped, skipped);
        assert_eq!(first.sent_bytes, bytes_of(&files));
        assert_eq!(listed(&client, "f").await, members(&files));
        assert!(downloaded(&client, "f").await == files, "{backend:?}");

        let again = client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
        assert_eq!(again.saved.outcome, SaveOutcome::Existing);
        assert_eq!(again.sent_bytes, 0, "what is there does not travel");
        server.assert_clean();
    }
}

#[tokio::test]
async fn the_name_of_a_folder_is_its_key_and_a_save_can_be_spawned() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("measured");
    write(&files_of_many_sizes(), &folder);
    let saving = tokio::spawn(async move { client.save_folder(&folder, SaveOptions::default()).await });
    let saved = saving.await.unwrap().unwrap();
    assert_eq!(saved.saved.artifact.key.as_deref(), Some("measured"));
}

#[tokio::test]
async fn many_small_files_go_in_groups_and_progress_is_told() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut files: Files = (0..4_500u64)
        .map(|number| (format!("{:02}/{number}", number % 37), content(number, 40)))
        .collect();
    // Two groups end before 4,000 entries, since their contents are large.
    files.extend((0..20u64).map(|number| (format!("large/{number:02}"), content(90_000 + number, 900 * KIB))));
    let folder = on_disk(&files);
    let (told, sent) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |now: artifactd_client::FolderProgress| {
        assert_eq!((now.files, now.bytes), (4_520, bytes_of(&files)));
        assert!(told.swap(now.listed_files, Ordering::Relaxed) <= now.listed_files);
        sent.store(now.sent_bytes, Ordering::Relaxed);
    };
    let saved = client.save_folder_with(folder.path(), SaveOptions::key("f"), progress);
    assert_eq!(saved.await.unwrap().sent_bytes, bytes_of(&files));
    assert_eq!(told.into_inner(), 4_520);
    assert_eq!(sent.into_inner(), bytes_of(&files));
    assert_eq!(listed(&client, "f").await, members(&files));
    assert!(downloaded(&client, "f").await == files);
}

#[tokio::test]
async fn a_folder_with_a_file_that_cannot_be_saved_saves_nothing() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut files = files_of_many_sizes();
    files.insert("what\\ever".to_owned(), Bytes::from_static(b"x"));
    let folder = on_disk(&files);
    let refused = client
        .save_folder(folder.path(), SaveOptions::key("f"))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Input(what) if what.contains("what\\ever")),
        "{refused}"
    );
    let missing = client
        .save_folder(folder.path().join("no"), SaveOptions::key("f"))
        .await;
    assert!(matches!(missing, Err(Error::File { .. })));
    let nothing = tempfile::tempdir().unwrap();
    let empty = client.save_folder(nothing.path(), SaveOptions::key("f")).await;
    assert!(matches!(empty, Err(Error::Refused { .. })));
    let unknown = client.get("f").await.unwrap_err();
    assert_eq!(unknown.reason(), Some(Reason::ArtifactNotFound));
    server.assert_clean();
}

#[tokio::test]
async fn a_file_that_changes_under_way_ends_the_save_and_is_named() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let files = files_of_many_sizes();
    let folder = on_disk(&files);
    let large = folder.path().join("z.bin");
    // When entries were listed, all is hashed, and what is large is read again.
    let progress = |now: artifactd_client::FolderProgress| {
        if now.listed_files > 0 {
            std::fs::write(&large, content(77, 3 * MIB)).unwrap();
        }
    };
    let refused = client.save_folder_with(folder.path(), SaveOptions::key("f"), progress);
    let refused = refused.await.unwrap_err();
    assert!(refused.to_string().starts_with("z.bin: "), "{refused}");
    assert!(client.get("f").await.is_err(), "all or nothing");
}

#[tokio::test]
async fn a_change_sends_only_what_is_new_and_a_diff_finds_it() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut files = files_of_many_sizes();
    let folder = on_disk(&files);
    let base = client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
    let single = client.save(&b"single"[..], "single.txt").await.unwrap();
    std::fs::write(folder.path().join("new.bin"), content(50, 2 * MIB)).unwrap();
    let edits = vec![
        FolderEdit::Remove {
            path: "z.bin".to_owned(),
        },
        FolderEdit::PutFile {
            path: "new.bin".to_owned(),
            from: folder.path().join("new.bin"),
        },
        FolderEdit::PutBytes {
            path: "a.b".to_owned(),
            content: Bytes::from_static(b"other"),
        },
        FolderEdit::PutBytes {
            path: "large".to_owned(),
            content: content(51, 2 * MIB + 1),
        },
        FolderEdit::Copy {
            path: "moved.bin".to_owned(),
            artifact: base.saved.artifact.uid.into(),
            member: Some("z.bin".to_owned()),
        },
        FolderEdit::Copy {
            path: "single.txt".to_owned(),
            artifact: single.artifact.uid.into(),
            member: None,
        },
    ];
    let uid = base.saved.artifact.uid;
    let changed = client.change_folder(uid, edits, SaveOptions::default()).await.unwrap();
    assert_eq!(changed.saved.outcome, SaveOutcome::NewVersion);
    assert_eq!(changed.sent_bytes, 5 + (2 * MIB) as u64 + (2 * MIB + 1) as u64);
    let moved = files.remove("z.bin").unwrap();
    let before = files.insert("a.b".to_owned(), Bytes::from_static(b"other")).unwrap();
    files.insert("moved.bin".to_owned(), moved.clone());
    files.insert("new.bin".to_owned(), content(50, 2 * MIB));
    files.insert("large".to_owned(), content(51, 2 * MIB + 1));
    files.insert("single.txt".to_owned(), Bytes::from_static(b"single"));
    assert!(downloaded(&client, "f").await == files);

    let diff = client.diff_folders(uid, changed.saved.artifact.uid).await.unwrap();
    assert_eq!((diff.old.uid, diff.new.uid), (uid, changed.saved.artifact.uid));
    assert!(!diff.moves_may_be_missing);
    let expected = [
        Difference::Changed {
            before: member("a.b", &before),
            after: member("a.b", b"other"),
        },
        Difference::Added(member("new.bin", &files["new.bin"])),
        Difference::Added(member("large", &files["large"])),
        Difference::Added(member("single.txt", b"single")),
        Difference::Moved {
            from: "z.bin".parse().unwrap(),
            to: member("moved.bin", &moved),
        },
    ];
    assert_eq!(diff.differences.len(), expected.len(), "{:?}", diff.differences);
    assert!(expected.iter().all(|difference| diff.differences.contains(difference)));
    let same = client.diff_folders(uid, uid).await.unwrap();
    assert_eq!(same.differences, []);
}

#[tokio::test]
async fn impossible_changes_change_nothing() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let folder = on_disk(&files_of_many_sizes());
    let base = client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
    let remove = |path: &str| FolderEdit::Remove { path: path.to_owned() };
    let uid = base.saved.artifact.uid;
    for (edits, is_seen_here) in [
        (vec![remove("no")], false),
        (vec![remove("a0"), remove("a.b"), remove("a0")], true),
        (vec![remove("../a0")], true),
    ] {
        let refused = client
            .change_folder(uid, edits, SaveOptions::default())
            .await
            .unwrap_err();
        assert_eq!(matches!(refused, Error::Input(_)), is_seen_here, "{refused}");
    }
    assert_eq!(client.versions("f").await.unwrap().len(), 1);
}

#[tokio::test]
async fn members_are_read_by_ranges_patterns_and_from_a_start() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let files = files_of_many_sizes();
    let folder = on_disk(&files);
    client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
    let collect = async |options: ReadMembersOptions| {
        let mut read: Vec<(String, u64, Vec<u8>)> = Vec::new();
        let mut pieces = client.read_members("f", options).await.unwrap();
        let mut is_open = false;
        while let Some(piece) = pieces.try_next().await.unwrap() {
            if !is_open {
                read.push((piece.member.path.to_string(), piece.offset, Vec::new()));
            }
            let number = read.len() as u64 - 1;
            let (_, begin, bytes) = read.last_mut().unwrap();
            assert_eq!((piece.number, piece.offset), (number, *begin + bytes.len() as u64));
            bytes.extend_from_slice(&piece.bytes);
            is_open = !piece.is_last;
        }
        assert!(!is_open);
        read
    };
    let part =
        |path: &str, range: std::ops::Range<usize>| (path.to_owned(), range.start as u64, files[path][range].to_vec());
    let whole = |path: &str| part(path, 0..files[path].len());

    let all = collect(ReadMembersOptions::default()).await;
    assert!(all == files.keys().map(|path| whole(path)).collect::<Vec<_>>());
    let range = |path: &str, offset, length| MemberRange {
        path: path.to_owned(),
        offset,
        length,
    };
    let ranges = ReadMembersOptions {
        ranges: vec![
            range("z.bin", 5, Some(2 * MIB as u64)),
            range("a0", -7, None),
            range("z.bin", 0, Some(0)),
        ],
        ..ReadMembersOptions::default()
    };
    let size = files["a0"].len();
    let expected = [
        part("z.bin", 5..2 * MIB + 5),
        part("a0", size - 7..size),
        part("z.bin", 0..0),
    ];
    assert!(collect(ranges).await == expected);
    let glob = ReadMembersOptions {
        glob: Some("**/*.bin".to_owned()),
        prefix: "deep/".to_owned(),
        ..ReadMembersOptions::default()
    };
    assert!(collect(glob).await == [whole("deep/er/file.bin")]);
    let start = ReadMembersOptions {
        start: Some(("z.bin".to_owned(), 2 * MIB as u64)),
        ..ReadMembersOptions::default()
    };
    assert!(collect(start).await == [part("z.bin", 2 * MIB..3 * MIB), whole("ö/ä.bin")]);
    let prefix = MembersOptions {
        prefix: "a".to_owned(),
        glob: Some("*".to_owned()),
        ..MembersOptions::default()
    };
    let listed: Vec<Member> = client.list_members("f", prefix).try_collect().await.unwrap();
    assert_eq!(listed, [member("a.b", &files["a.b"]), member("a0", &files["a0"])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_was_cut_sends_the_rest() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let client = Client::connect(proxy.through(&server.url())).await.unwrap();
    let mut files: Files = (0..24u64)
        .map(|number| (format!("{number:02}"), content(number, 900 * KIB)))
        .collect();
    files.extend((0..6u64).map(|number| (format!("large/{number}"), content(100 + number, 4 * MIB))));
    let folder = on_disk(&files);
    let (taken_at_cut, begun) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |now: artifactd_client::FolderProgress| {
        begun.fetch_add(u64::from(now.listed_files == 0), Ordering::Relaxed);
        if now.sent_bytes > 30 * MIB as u64 && taken_at_cut.load(Ordering::Relaxed) == 0 {
            taken_at_cut.store(now.sent_files, Ordering::Relaxed);
            // The next try waits until the server has noticed and put away what came.
            proxy.set(Line::Stalled);
            proxy.cut();
        }
    };
    let opening = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let taken = taken_at_cut.load(Ordering::Relaxed) as i64;
            if taken > 0 && server.query_integer("SELECT count(*) FROM blobs").await >= taken {
                return proxy.set(Line::Open);
            }
        }
    };
    let saving = client.save_folder_with(folder.path(), SaveOptions::key("f"), &progress);
    let (saved, ()) = tokio::join!(saving, opening);
    assert!(begun.load(Ordering::Relaxed) >= 2, "the conversation began again");
    let sent = saved.unwrap().sent_bytes;
    assert!(
        sent <= bytes_of(&files),
        "{sent} bytes: what was taken is not sent again"
    );
    assert!(downloaded(&server.client().await, "f").await == files);
    assert_eq!(client.versions("f").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_was_cut_goes_on() {
    let server = TestServer::start().await;
    let proxy = Arc::new(Proxy::start(server.address()).await);
    let client = Client::connect(proxy.through(&server.url())).await.unwrap();
    let mut files: Files = (0..40u64)
        .map(|number| (format!("{number:02}"), content(number, 700 * KIB)))
        .collect();
    files.extend((0..4u64).map(|number| (format!("large/{number}"), content(100 + number, 12 * MIB))));
    files.insert("empty".to_owned(), Bytes::new());
    let folder = on_disk(&files);
    server
        .client()
        .await
        .save_folder(folder.path(), SaveOptions::key("f"))
        .await
        .unwrap();
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("down");
    let downloading = {
        let (client, target) = (client.clone(), target.clone());
        tokio::spawn(async move { client.download_folder("f", &target).await })
    };
    let mut cuts = 0;
    for written in [1, 20 * MIB as u64, 40 * MIB as u64] {
        while !downloading.is_finished() && bytes_below(parent.path()) < written {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Stalled first, so that the end is surely not on its way.
        proxy.set(Line::Stalled);
        tokio::time::sleep(Duration::from_millis(20)).await;
        cuts += u64::from(!downloading.is_finished() && !target.exists());
        proxy.cut();
        proxy.set(Line::Open);
    }
    downloading.await.unwrap().unwrap();
    assert!(cuts > 0, "the download was faster than the cuts");
    assert!(read(&target) == files);
    assert_eq!(names(parent.path()), ["down"]);
}

/// Bytes of all files below a folder that changes.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test]
async fn a_download_that_fails_leaves_nothing() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let folder = on_disk(&Files::from([("only".to_owned(), content(1, 2 * MIB))]));
    client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
    let parent = tempfile::tempdir().unwrap();
    let taken = parent.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    let refused = client.download_folder("f", &taken).await;
    assert!(matches!(refused, Err(Error::File { .. })));
    assert_eq!(names(&taken), [""; 0]);
    server.overwrite_only_object(|stored| stored[MIB + 5] ^= 1);
    let damaged = client
        .download_folder("f", parent.path().join("down"))
        .await
        .unwrap_err();
    assert_eq!(damaged.reason(), Some(Reason::ContentCorrupt), "{damaged}");
    let file = client.save(&b"x"[..], "file.txt").await.unwrap();
    assert!(
        client
            .download_folder(file.artifact.uid, parent.path().join("file"))
            .await
            .is_err()
    );
    assert_eq!(names(parent.path()), ["taken"]);
}
