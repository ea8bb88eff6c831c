//! Downloads to the disk through the Rust client against a real server.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use artifactd_client::{
    Client, DownloadOptions, Downloaded, Error, Event, IfExists, Reason, ReplaceOptions, SaveOptions,
};
use artifactd_tests::{
    Backend, TestServer,
    content::content,
    proxy::{Line, Proxy},
};
use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// More than four spans, and no whole number of blocks.
const LARGE: usize = 140 * MIB + 17;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn with(if_exists: IfExists) -> DownloadOptions {
    DownloadOptions {
        if_exists,
        ..DownloadOptions::default()
    }
}

/// A server with one large file, and a place to download it to.
struct Large {
    server: TestServer,
    bytes: Bytes,
    folder: TempDir,
}

impl Large {
    async fn saved() -> Self {
        let server = TestServer::start().await;
        let bytes = content(1, LARGE);
        server.client().await.save(bytes.clone(), "large.bin").await.unwrap();
        Self {
            server,
            bytes,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("large.bin")
    }

    /// Downloads until so much has come, then drops the call.
    async fn download_until(&self, arrived: u64) {
        let (client, mut events) = self.server.client().await.watched();
        let downloading = client.download("large.bin", self.target());
        let enough = async {
            while let Some(event) = events.next().await {
                if matches!(event, Event::Arrived { bytes, .. } if bytes >= arrived) {
                    return;
                }
            }
        };
        tokio::select! {
            ended = downloading => panic!("the download was faster than its end: {ended:?}"),
            () = enough => {}
        }
    }

    fn assert_downloaded(&self) {
        assert!(fs::read(self.target()).unwrap() == self.bytes);
        assert_eq!(names(self.folder.path()), ["large.bin"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_of_all_sizes_come_over_one_stream_and_many() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let folder = tempfile::tempdir().unwrap();
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 32 * MIB, 32 * MIB + 1, 70 * MIB] {
        let bytes = content(size as u64 + 1, size);
        client.save(bytes.clone(), "x.bin").await.unwrap();
        for streams in [0, 1, 3] {
            let target = folder.path().join(format!("made/for/it/{size}.{streams}"));
            let options = DownloadOptions {
                streams,
                durable: streams != 3,
                ..DownloadOptions::default()
            };
            let done = client.download_with("x.bin", &target, options).await.unwrap();
            assert!(
                fs::read(&target).unwrap() == bytes,
                "{size} bytes over {streams} streams"
            );
            assert_eq!(done.moved_bytes, size as u64);
        }
    }
    assert_eq!(names(&folder.path().join("made/for/it")).len(), 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_comes_in_parallel_and_events_tell_how_far_it_is() {
    let large = Large::saved().await;
    let (client, events) = large.server.client().await.watched();
    let seen = tokio::spawn(events.collect::<Vec<_>>());
    client.download("large.bin", large.target()).await.unwrap();
    drop(client);
    large.assert_downloaded();
    let seen = seen.await.unwrap();
    assert_eq!(
        seen.first(),
        Some(&Event::Begun {
            files: 1,
            bytes: Some(LARGE as u64)
        })
    );
    let moved_bytes = LARGE as u64;
    assert_eq!(seen.last(), Some(&Event::Done { moved_bytes }));
    let arrived = seen.iter().filter_map(|event| match event {
        Event::Arrived { bytes, .. } => Some(*bytes),
        _ => None,
    });
    let arrived: Vec<u64> = arrived.collect();
    assert!(
        arrived.is_sorted() && arrived.last() == Some(&moved_bytes),
        "{arrived:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_download_leaves_one_part_with_which_the_next_one_goes_on() {
    let large = Large::saved().await;
    for arrived in [40 * MIB as u64, 90 * MIB as u64] {
        large.download_until(arrived).await;
        let names = names(large.folder.path());
        assert!(
            names.len() == 1 && names[0].starts_with(".large.bin.") && names[0].ends_with(".part"),
            "{names:?}"
        );
    }
    let client = large.server.client().await;
    let done = client.download_with("large.bin", large.target(), DownloadOptions::default());
    let done = done.await.unwrap();
    large.assert_downloaded();
    // What was on its way is lost, and blocks that were not whole.
    assert!(done.moved_bytes < (LARGE - 60 * MIB) as u64, "{}", done.moved_bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_was_damaged_meanwhile_is_noticed_and_fetched_again() {
    let large = Large::saved().await;
    large.download_until(60 * MIB as u64).await;
    let part = large.folder.path().join(&names(large.folder.path())[0]);
    let mut bytes = fs::read(&part).unwrap();
    bytes[5] ^= 1;
    fs::write(&part, bytes).unwrap();
    let client = large.server.client().await;
    let done = client
        .download_with("large.bin", large.target(), DownloadOptions::default())
        .await;
    large.assert_downloaded();
    assert!(done.unwrap().moved_bytes > LARGE as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_again_and_again_costs_little() {
    let large = Large::saved().await;
    let proxy = Arc::new(Proxy::start(large.server.address()).await);
    let client = Client::builder(proxy.through(&large.server.url()))
        .tries_max(20)
        .connect();
    let (client, mut events) = client.await.unwrap().watched();
    let cutting = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move {
            let (mut cuts, mut next) = (0, 20 * MIB as u64);
            while let Some(event) = events.next().await {
                if matches!(event, Event::Arrived { bytes, .. } if bytes >= next) {
                    proxy.cut();
                    cuts += 1;
                    next += 40 * MIB as u64;
                }
            }
            cuts
        }
    });
    let done = client
        .download_with("large.bin", large.target(), DownloadOptions::default())
        .await;
    drop(client);
    large.assert_downloaded();
    assert!(cutting.await.unwrap() >= 2);
    // Each stream goes on with the next byte.
    assert_eq!(done.unwrap().moved_bytes, LARGE as u64);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_not_waited_for() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let client = Client::builder(proxy.through(&server.url()))
        .idle_timeout(Duration::from_millis(300))
        .tries_max(2)
        .connect()
        .await
        .unwrap();
    client.save(content(1, 3 * MIB), "x.bin").await.unwrap();
    proxy.set(Line::Stalled);
    let folder = tempfile::tempdir().unwrap();
    let silent = client.download("x.bin", folder.path().join("x.bin"));
    let silent = tokio::time::timeout(Duration::from_secs(20), silent).await.unwrap();
    assert!(matches!(silent, Err(Error::Transport(_))), "{silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_downloads_to_one_place_share_the_work() {
    let large = Large::saved().await;
    let (one, two) = (large.server.client().await, large.server.client().await);
    let down = |client: Client| {
        let target = large.target();
        async move {
            client
                .download_with("large.bin", target, DownloadOptions::default())
                .await
                .unwrap()
        }
    };
    let (one, two) = tokio::join!(down(one), down(two));
    large.assert_downloaded();
    assert_eq!(one.moved_bytes + two.moved_bytes, LARGE as u64);
    assert_ne!(one.was_there, two.was_there);
}

#[tokio::test]
async fn what_is_there_stays_as_long_as_it_should() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.save(&b"content"[..], "x.txt").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x.txt");
    let exists = |refused: Result<Downloaded, Error>| matches!(refused, Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists);
    let done = client
        .download_with("x.txt", &target, with(IfExists::Refuse))
        .await
        .unwrap();
    assert!(!done.was_there);
    assert!(exists(
        client.download_with("x.txt", &target, with(IfExists::Refuse)).await
    ));
    let same = client
        .download_with("x.txt", &target, with(IfExists::KeepSame))
        .await
        .unwrap();
    assert!(same.was_there && same.moved_bytes == 0);
    fs::write(&target, b"mine").unwrap();
    assert!(exists(
        client.download_with("x.txt", &target, with(IfExists::KeepSame)).await
    ));
    assert_eq!(fs::read(&target).unwrap(), b"mine");
    client
        .download_with("x.txt", &target, with(IfExists::ReplaceFile))
        .await
        .unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"content");

    let taken = folder.path().join("folder");
    fs::create_dir_all(taken.join("precious")).unwrap();
    assert!(client.download("x.txt", &taken).await.is_err());
    assert!(taken.join("precious").is_dir());
    client
        .download_with("x.txt", &taken, with(IfExists::Replace))
        .await
        .unwrap();
    assert_eq!(fs::read(&taken).unwrap(), b"content");
    assert_eq!(names(folder.path()), ["folder", "x.txt"]);
}

fn files(number: u64) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::from([
        ("empty".to_owned(), Bytes::new()),
        ("large.bin".to_owned(), content(7, 40 * MIB)),
        ("a.b".to_owned(), content(8, 5)),
        ("a/b/c".to_owned(), content(9, MIB)),
        ("changes".to_owned(), content(number, 3 * MIB)),
    ]);
    files.extend((0..30u64).map(|number| (format!("many/{number:02}"), content(100 + number, 700 << 10))));
    files
}

async fn save(client: &Client, files: &BTreeMap<String, Bytes>) {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    client.save_folder(folder.path(), SaveOptions::key("f")).await.unwrap();
}

fn read(folder: &Path) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap().into());
            }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_was_cancelled_goes_on_with_what_is_there() {
    for backend in [Backend::EMBEDDED, Backend::S3] {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        let files = files(1);
        save(&client, &files).await;
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("down");
        let (watched, mut events) = client.watched();
        let downloading = watched.download("f", &target);
        let enough = async {
            while let Some(event) = events.next().await {
                if matches!(event, Event::Arrived { bytes, .. } if bytes >= 50 * MIB as u64) {
                    return;
                }
            }
        };
        tokio::select! {
            ended = downloading => panic!("the download was faster than its end: {ended:?}"),
            () = enough => {}
        }
        assert_eq!(names(parent.path()).len(), 1);
        assert!(!target.exists());
        // What does not belong there does not come through.
        let part = parent.path().join(&names(parent.path())[0]);
        fs::write(part.join("files/zzz"), b"planted").unwrap();
        let done = client
            .download_with("f", &target, DownloadOptions::default())
            .await
            .unwrap();
        assert!(read(&target) == files, "{backend:?}");
        assert!(
            done.moved_bytes < 50 * MIB as u64,
            "{backend:?}: {} bytes",
            done.moved_bytes
        );
        assert_eq!(names(parent.path()), ["down"]);

        let again = client
            .download_with("f", &target, with(IfExists::KeepSame))
            .await
            .unwrap();
        assert!(again.was_there);
        fs::write(target.join("a.b"), b"mine!").unwrap();
        assert!(
            client
                .download_with("f", &target, with(IfExists::KeepSame))
                .await
                .is_err()
        );
        assert_eq!(fs::read(target.join("a.b")).unwrap(), b"mine!");
        client
            .download_with("f", &target, with(IfExists::Replace))
            .await
            .unwrap();
        assert!(read(&target) == files);
        assert_eq!(names(parent.path()), ["down"]);
    }
}

#[tokio::test]
async fn a_link_in_a_part_is_not_followed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let files = BTreeMap::from([
        ("a/b".to_owned(), content(1, 60 * MIB)),
        ("c".to_owned(), content(2, 9)),
    ]);
    save(&client, &files).await;
    let (parent, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = parent.path().join("down");
    let (watched, mut events) = client.watched();
    let planting = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Arrived { bytes: 1.., .. }) {
                return names(parent.path()).remove(0);
            }
        }
        panic!("the download ended");
    };
    let part = tokio::select! {
        ended = watched.download("f", &target) => panic!("the download was faster than its end: {ended:?}"),
        part = planting => part,
    };
    let part = parent.path().join(part);
    // A thread that was writing when the download was dropped moves its file meanwhile.
    while part.join("files").exists() {
        let _ = fs::remove_dir_all(part.join("files"));
    }
    fs::create_dir(part.join("files")).unwrap();
    std::os::unix::fs::symlink(victim.path(), part.join("files/a")).unwrap();
    client.download("f", &target).await.unwrap();
    assert!(read(&target) == files);
    assert_eq!(names(victim.path()), [""; 0]);
    assert_eq!(names(parent.path()), ["down"]);
}

#[tokio::test]
async fn content_that_is_replaced_meanwhile_is_never_mixed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (old, new) = (content(1, 70 * MIB), content(2, 70 * MIB));
    let uid = client.save(old.clone(), "x.bin").await.unwrap().artifact.uid;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x.bin");
    let (watched, mut events) = client.watched();
    let downloading = watched.download(uid, &target);
    let replacing = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Arrived { bytes, .. } if bytes > 0) {
                break;
            }
        }
        client
            .replace_bytes(uid, new.clone(), ReplaceOptions::default())
            .await
            .unwrap();
    };
    let (downloaded, ()) = tokio::join!(downloading, replacing);
    match downloaded {
        Ok(_) => assert!(fs::read(&target).unwrap() == old),
        Err(changed) => {
            assert_eq!(changed.reason(), Some(Reason::ContentChanged), "{changed}");
            assert_eq!(names(folder.path()), [""; 0]);
        }
    }
    client.download(uid, &target).await.unwrap();
    assert!(fs::read(&target).unwrap() == new);
}
