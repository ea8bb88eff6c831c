//! Copies on this machine through the Rust client.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use artifactd_client::{CacheOptions, Cached, Client, Error, Event, FolderEdit, SaveOptions};
use artifactd_tests::{
    TestServer,
    content::{Random, content},
    impostor::{Goods, Impostor},
    required_env,
};
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use tempfile::TempDir;
use tokio::process::Command;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const OFFLINE: CacheOptions = CacheOptions {
    offline: true,
    streams: 4,
    include_hidden: false,
};

async fn client(url: String, folder: &Path) -> Client {
    Client::builder(url).cache_folder(folder).connect().await.unwrap()
}

/// A server, a cache, and a client of both.
struct Setting {
    server: TestServer,
    cache: TempDir,
    client: Client,
}

impl Setting {
    async fn new() -> Self {
        Self::with_room(u64::MAX).await
    }

    async fn with_room(bytes_max: u64) -> Self {
        let (server, cache) = (TestServer::start().await, tempfile::tempdir().unwrap());
        let client = Client::builder(server.url())
            .cache_folder(cache.path())
            .cache_bytes_max(bytes_max)
            .connect();
        let client = client.await.unwrap();
        Self { server, cache, client }
    }

    async fn save(&self, content: impl Into<Bytes>, key: &str) {
        self.client.save(content, key).await.unwrap();
    }

    async fn save_folder(&self, files: &[(&str, Bytes)]) {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let saved = self.client.save_folder(folder.path(), SaveOptions::key("f.zarr"));
        saved.await.unwrap();
    }

    /// Copies that are there, by the last part of their paths.
    fn copies(&self) -> Vec<PathBuf> {
        let below = |folder: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let families = below(&self.cache.path().join("copies"));
        families.iter().flat_map(|family| below(family)).collect()
    }
}

fn writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn assert_holds(copy: &Cached, expected: &[(&str, Bytes)]) {
    let expected: BTreeMap<String, Vec<u8>> = expected
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))
        .collect();
    assert!(files(copy.path()) == expected);
}

#[tokio::test]
async fn a_fresh_copy_costs_one_small_call() {
    let goods = Goods::file("cells/x.h5ad", content(1, 3 * MIB));
    let server = Impostor::start(move |asked| goods.answer(asked)).await;
    let cache = tempfile::tempdir().unwrap();
    let client = client(server.url(), cache.path()).await;
    let first = client.cache("cells/x.h5ad").await.unwrap();
    assert_eq!(first.moved_bytes(), 3 * MIB as u64);
    server.take_asked();
    let second = client.cache("cells/x.h5ad").await.unwrap();
    let asked: Vec<String> = server.take_asked().into_iter().map(|call| call.method).collect();
    assert_eq!(asked, ["GetArtifact"]);
    assert_eq!((second.moved_bytes(), second.path()), (0, first.path()));
    assert_eq!(second.artifact(), first.artifact());
}

#[tokio::test]
async fn the_path_ends_in_the_name_of_the_key_and_versions_lie_side_by_side() {
    let setting = Setting::new().await;
    let client = &setting.client;
    setting.save(&b"1"[..], "tables/x y.csv").await;
    let one = client.cache("tables/x y.csv").await.unwrap();
    setting.save(&b"22"[..], "tables/x y.csv").await;
    let two = client.cache("tables/x y.csv").await.unwrap();
    assert_eq!(
        (fs::read(&one).unwrap(), fs::read(&two).unwrap()),
        (b"1".to_vec(), b"22".to_vec())
    );
    assert!(one.path().ends_with("x y.csv") && two.path().ends_with("x y.csv"));
    let old = client.cache("tables/x y.csv@@1").await.unwrap();
    assert_eq!((old.path(), old.moved_bytes()), (one.path(), 0));

    // Without a key, the name that its owner gave it, else its uid.
    let named = SaveOptions {
        file_name: Some("mine.parquet".to_owned()),
        ..SaveOptions::described("d")
    };
    let named = client.save_bytes(&b"named"[..], named).await.unwrap().artifact;
    assert!(client.cache(named.uid).await.unwrap().path().ends_with("mine.parquet"));
    let bare = client
        .save_bytes(&b"bare"[..], SaveOptions::described("d"))
        .await
        .unwrap();
    let uid = bare.artifact.uid;
    assert!(client.cache(uid).await.unwrap().path().ends_with(uid.to_string()));
    // Names that other systems would take for one are two.
    for (key, bytes) in [
        ("n/A.txt", "upper"),
        ("n/a.txt", "lower"),
        ("n/a.txt.", "dot"),
        ("n/é", "c"),
        ("n/e\u{301}", "d"),
    ] {
        setting.save(bytes, key).await;
        let copy = client.cache(key).await.unwrap();
        assert_eq!(fs::read_to_string(&copy).unwrap(), bytes);
        assert_eq!(copy.path().file_name().unwrap().to_str(), key.strip_prefix("n/"));
    }
}

#[tokio::test]
async fn a_new_version_of_a_folder_brings_what_changed_and_loses_what_was_removed() {
    let setting = Setting::new().await;
    let stays = content(1, 2 * MIB);
    setting
        .save_folder(&[
            ("gone", content(2, 9)),
            ("stays/here", stays.clone()),
            ("x", content(3, MIB)),
        ])
        .await;
    let one = setting.client.cache("f.zarr").await.unwrap();
    let put = FolderEdit::PutBytes {
        path: "x".to_owned(),
        content: content(4, MIB),
    };
    let edits = vec![
        FolderEdit::Remove {
            path: "gone".to_owned(),
        },
        put,
        FolderEdit::Copy {
            path: "moved".to_owned(),
            artifact: one.artifact().uid.into(),
            member: Some("stays/here".to_owned()),
        },
    ];
    let changed = setting
        .client
        .change_folder(one.artifact().uid, edits, SaveOptions::default());
    changed.await.unwrap();
    let two = setting.client.cache("f.zarr").await.unwrap();
    assert_holds(
        &two,
        &[("moved", stays.clone()), ("stays/here", stays), ("x", content(4, MIB))],
    );
    assert_eq!(two.moved_bytes(), MIB as u64);
    assert!(one.path().join("gone").exists(), "the old version is as it was");
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let shared = inode(one.path().join("stays/here"));
    assert_eq!(inode(two.path().join("stays/here")), shared);
    assert_eq!(inode(two.path().join("moved")), shared);
    for again in ["f.zarr", "f.zarr@@1"] {
        assert_eq!(setting.client.cache(again).await.unwrap().moved_bytes(), 0);
    }
}

#[tokio::test]
async fn what_was_touched_is_hashed_and_what_is_wrong_is_fetched_again() {
    let setting = Setting::new().await;
    let bytes = content(1, 300 * KIB);
    setting.save(bytes.clone(), "x.bin").await;
    let client = &setting.client;
    let copy = client.cache("x.bin").await.unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o444);
    let path = copy.path();

    // The same bytes under another time, or in another file.
    writable(path);
    let touched = fs::File::options().append(true).open(path).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(client.cache("x.bin").await.unwrap().moved_bytes(), 0);
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes).unwrap();
    assert_eq!(client.cache("x.bin").await.unwrap().moved_bytes(), 0);
    assert_eq!(client.cache("x.bin").await.unwrap().moved_bytes(), 0);

    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("a flipped byte", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[1000] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a lost end", |path| {
            fs::File::options().write(true).open(path).unwrap().set_len(5).unwrap();
        }),
        ("nothing", |path| fs::remove_file(path).unwrap()),
        ("a link", |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
        }),
        ("a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("no record", |path| {
            fs::remove_file(path.with_file_name(".artifactd")).unwrap()
        }),
    ];
    for (what, damage) in damages {
        if what != "nothing" {
            writable(path);
        }
        damage(path);
        let again = client.cache("x.bin").await.unwrap();
        assert_eq!(
            (again.moved_bytes(), again.path()),
            (bytes.len() as u64, path),
            "{what}"
        );
        assert!(fs::read(path).unwrap() == bytes, "{what}");
        assert_eq!(client.cache("x.bin").await.unwrap().moved_bytes(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_folder_that_was_touched_is_mended_file_by_file() {
    let setting = Setting::new().await;
    let files = [
        ("a", content(1, MIB)),
        ("b/c", content(2, 500 * KIB)),
        ("d", content(3, 7)),
    ];
    setting.save_folder(&files).await;
    let copy = setting.client.cache("f.zarr").await.unwrap();
    let below = |name: &str| copy.path().join(name);
    let moved = async || {
        let again = setting.client.cache("f.zarr").await.unwrap();
        assert_holds(&again, &files);
        again.moved_bytes()
    };
    writable(&below("b/c"));
    fs::write(below("b/c"), content(9, 500 * KIB)).unwrap();
    assert_eq!(moved().await, 500 * KIB as u64);
    fs::remove_file(below("d")).unwrap();
    assert_eq!(moved().await, 7);
    fs::write(below("b/more"), b"not from the server").unwrap();
    assert_eq!(moved().await, 0);
    fs::create_dir(below("empty")).unwrap();
    assert_eq!(moved().await, 0);
    assert_eq!(moved().await, 0);
}

/// What tells this program that it is another one, which is to cache from this server.
const OTHER: &str = "ARTIFACTD_TEST_CACHES_FROM";

/// Caches what it is told to in a process of its own, and says how much came.
#[expect(clippy::print_stdout, reason = "this is how it says so")]
async fn cache_for_others(url: String) {
    let [folder, key] = ["ARTIFACTD_TEST_CACHE", "ARTIFACTD_TEST_KEY"].map(required_env);
    let copy = client(url, Path::new(&folder)).await.cache(&*key).await.unwrap();
    println!("\ncached {} {}", copy.moved_bytes(), copy.path().display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_want_the_same_copy_fetch_it_once() {
    if let Ok(url) = std::env::var(OTHER) {
        return cache_for_others(url).await;
    }
    let setting = Setting::new().await;
    setting.save(content(1, 50 * MIB), "x.bin").await;
    setting
        .save_folder(&[("a", content(2, 3 * MIB)), ("b", content(3, 40 * MIB))])
        .await;
    let test = "rust_client_cache::programs_that_want_the_same_copy_fetch_it_once";
    for (key, size) in [("x.bin", 50 * MIB), ("f.zarr", 43 * MIB)] {
        let programs = (0..3).map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(OTHER, setting.server.url())
                .env("ARTIFACTD_TEST_CACHE", setting.cache.path())
                .env("ARTIFACTD_TEST_KEY", key)
                .output()
        });
        let inside = (0..2).map(|_| {
            let (url, folder) = (setting.server.url(), setting.cache.path().to_owned());
            tokio::spawn(async move { client(url, &folder).await.cache(key).await.unwrap() })
        });
        let (programs, inside) = tokio::join!(join_all(programs), join_all(inside));
        let mut copies: Vec<(u64, PathBuf)> = inside
            .into_iter()
            .map(|copy| copy.unwrap())
            .map(|copy| (copy.moved_bytes(), copy.path().to_owned()))
            .collect();
        for program in programs {
            let said = String::from_utf8(program.unwrap().stdout).unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("cached "));
            let (moved, path) = line.and_then(|line| line.split_once(' ')).expect(&said);
            copies.push((moved.parse().unwrap(), path.into()));
        }
        let moved: u64 = copies.iter().map(|(moved, _)| moved).sum();
        assert_eq!(moved, size as u64, "{key}");
        assert!(copies.iter().all(|(_, path)| *path == copies[0].1), "{copies:?}");
    }
}

#[tokio::test]
async fn what_was_cached_is_there_without_a_server() {
    let mut setting = Setting::new().await;
    setting.save(&b"1"[..], "x.txt").await;
    let uid = setting.client.cache("x.txt").await.unwrap().artifact().uid;
    setting.save(&b"2"[..], "later.txt").await;
    setting.server.kill();
    let alone = Client::builder(setting.server.url())
        .cache_folder(setting.cache.path())
        .connect_lazy()
        .unwrap();
    for copy in [
        alone.cache_with("x.txt", OFFLINE).await.unwrap(),
        alone.cache_with(uid, OFFLINE).await.unwrap(),
    ] {
        assert_eq!(fs::read(&copy).unwrap(), b"1");
    }
    let path = alone.cache_with("x.txt", OFFLINE).await.unwrap().path().to_owned();
    for absent in ["later.txt", "x.txt@@1"] {
        let missing = alone.cache_with(absent, OFFLINE).await;
        assert!(matches!(missing, Err(Error::NotCached(_))), "{missing:?}");
    }
    // What a server elsewhere calls by this name is another thing.
    let elsewhere = Client::builder("http://127.0.0.1:9").cache_folder(setting.cache.path());
    let elsewhere = elsewhere.connect_lazy().unwrap().cache_with("x.txt", OFFLINE).await;
    assert!(matches!(elsewhere, Err(Error::NotCached(_))));
    writable(&path);
    fs::write(&path, b"X").unwrap();
    assert!(matches!(
        alone.cache_with("x.txt", OFFLINE).await,
        Err(Error::NotCached(_))
    ));
}

#[tokio::test]
async fn the_copies_that_were_not_used_for_longest_go_and_none_that_is_in_use() {
    let setting = Setting::with_room(3 * MIB as u64).await;
    let client = &setting.client;
    for (seed, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        setting.save(content(seed as u64, MIB), key).await;
    }
    let held = client.cache("a").await.unwrap();
    for key in ["b", "c", "b"] {
        client.cache(key).await.unwrap();
    }
    assert_eq!(setting.copies().len(), 3);
    client.cache("d").await.unwrap();
    assert_eq!(setting.copies().len(), 3);
    assert!(held.path().exists(), "it is held");
    assert_eq!(client.cache("b").await.unwrap().moved_bytes(), 0);
    assert_eq!(client.cache("c").await.unwrap().moved_bytes(), MIB as u64);
    // More than there is room for is kept for as long as it is in use.
    setting.save(content(9, 5 * MIB), "large").await;
    let large = client.cache("large").await.unwrap();
    assert!(fs::read(&large).unwrap() == content(9, 5 * MIB));
    assert!(held.path().exists());
    assert_eq!(setting.copies().len(), 2);
    drop((large, held));
    client.cache("a").await.unwrap();
    client.cache("b").await.unwrap();
    assert!(setting.copies().len() <= 3);
    let left = |name: &str| fs::read_dir(setting.cache.path().join(name)).unwrap().count();
    assert_eq!((left("leaving"), left("coming")), (0, 0));
    assert_eq!(left("locks"), setting.copies().len());
}

/// Whether all that is in the cache is whole.
fn assert_whole(setting: &Setting, files_expected: &[(&str, Bytes)], bytes: &Bytes) {
    for copy in setting.copies() {
        if let Ok(found) = fs::read(copy.join("x.bin")) {
            assert!(found == *bytes, "a half copy of the file");
        } else {
            let expected: Vec<_> = files_expected.iter().map(|(path, _)| (*path).to_owned()).collect();
            let found = files(&copy.join("f.zarr"));
            assert!(
                found.keys().eq(&expected),
                "a half copy of the folder: {:?}",
                found.keys()
            );
            assert!(
                found
                    .values()
                    .zip(files_expected)
                    .all(|(found, (_, bytes))| found == bytes)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_cancelled_nothing_half_is_seen_and_the_next_run_goes_on() {
    let setting = Setting::new().await;
    let bytes = content(1, 40 * MIB);
    setting.save(bytes.clone(), "x.bin").await;
    let files = [
        ("a", content(2, 3 * MIB)),
        ("b/c", content(3, 36 * MIB)),
        ("z", content(4, 9)),
    ];
    setting.save_folder(&files).await;
    let mut random = Random::new(20_261_126);
    for number in 0..24 {
        let key = if number % 2 == 0 { "x.bin" } else { "f.zarr" };
        let enough = random.below(42 * MIB) as u64;
        let (watched, mut events) = setting.client.watched();
        let stopped = async {
            while let Some(event) = events.next().await {
                if matches!(event, Event::Arrived { bytes, .. } if bytes >= enough) {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_micros(random.below(3_000) as u64)).await;
        };
        tokio::select! {
            done = watched.cache(key) => drop(done.unwrap()),
            () = stopped => {}
        }
        assert_whole(&setting, &files, &bytes);
        if number % 8 >= 6 {
            let copy = setting.client.cache(key).await.unwrap();
            assert!(copy.moved_bytes() <= 42 * MIB as u64);
            let folder = copy.path().parent().unwrap().to_owned();
            drop(copy);
            assert_whole(&setting, &files, &bytes);
            fs::remove_dir_all(folder).unwrap();
        }
    }
    let copy = setting.client.cache("f.zarr").await.unwrap();
    assert_holds(&copy, &files);
}
