//! Downloads of collections with the Rust client.

use std::fs;

use artifactd_client::{Client, CollectionDownload, DownloadOptions, Error, IfExists};
use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, described, keyed, saved},
    collections::{following, key_ref, pinned},
    content::content,
    folders::{files, folder},
    pb,
    proxy::Proxy,
};

const KEEP: IfExists = IfExists::KeepSame;

fn keeping() -> DownloadOptions {
    DownloadOptions {
        if_exists: KEEP,
        ..DownloadOptions::default()
    }
}

/// Key, size and whether it was there, of each member that comes.
async fn rest(client: &Client, download: &mut CollectionDownload) -> Vec<(String, u64, bool)> {
    let mut brought = Vec::new();
    while let Some(next) = client.download_next(download).await.unwrap() {
        let got = next.downloaded.expect("it is there");
        let key = got.artifact.key.clone().unwrap_or_default();
        brought.push((key, got.moved_bytes, got.was_there));
    }
    brought
}

/// A collection of small files, among them an empty one, one of some blocks, one twice and one
/// without a key, and of a folder.
async fn collected(server: &TestServer) -> (Vec<(String, Vec<u8>)>, String) {
    let calls = server.calls();
    let mut contents = Vec::new();
    for number in 0..12 {
        let size = [300, 0, 5_000, 2_500_000][number % 4];
        let key = format!("set/{number:02}.bin");
        let bytes = content(number as u64, size).to_vec();
        calls.save(keyed(&key), &bytes).await.unwrap();
        contents.push((key, bytes));
    }
    calls.save_folder(folder("tree"), &files(4, &[1_000])).await.unwrap();
    let nameless = saved(calls.save(described("no key"), b"nameless").await.unwrap());
    let mut members: Vec<_> = contents.iter().map(|(key, _)| pinned(by_key(key))).collect();
    members.insert(5, pinned(by_key("tree")));
    members.push(pinned(by_uid(&nameless.uid)));
    members.push(following(by_key("set/02.bin")));
    let create = pb::CreateCollectionRequest {
        key: "all".to_owned(),
        members,
        ..Default::default()
    };
    calls.create_collection(create).await.unwrap();
    (contents, nameless.uid)
}

#[tokio::test]
async fn a_collection_comes_below_a_folder_and_goes_on_where_it_was() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let (contents, nameless) = collected(&server).await;
        let client = server.client().await;
        let here = tempfile::tempdir().unwrap();
        let mut begun = client
            .download_collection(key_ref("all"), here.path(), keeping())
            .await
            .unwrap();
        for number in 0..4 {
            let next = client.download_next(&mut begun).await.unwrap().unwrap();
            assert_eq!(next.member.place, number);
            assert_eq!(
                next.downloaded.unwrap().moved_bytes,
                contents[number as usize].1.len() as u64
            );
        }
        drop(begun);
        let mut again = client
            .download_collection(key_ref("all"), here.path(), keeping())
            .await
            .unwrap();
        let brought = rest(&client, &mut again).await;
        assert_eq!(brought.len(), 15, "{backend:?}");
        assert!(
            brought[..4]
                .iter()
                .all(|(_, moved, was_there)| *was_there && *moved == 0),
            "{brought:?}"
        );
        assert!(brought[4..14].iter().all(|(_, _, was_there)| !was_there), "{brought:?}");
        assert_eq!((brought[5].0.as_str(), brought[5].1), ("tree", 4_000));
        assert_eq!(
            (brought[14].0.as_str(), brought[14].2),
            ("set/02.bin", true),
            "it came before"
        );
        for (key, bytes) in &contents {
            assert!(fs::read(here.path().join(key)).unwrap() == *bytes, "{key}");
        }
        for (path, bytes) in files(4, &[1_000]) {
            assert!(fs::read(here.path().join("tree").join(path)).unwrap() == bytes);
        }
        assert_eq!(fs::read(here.path().join(&nameless)).unwrap(), b"nameless");
        // Nothing is left beside them, and a third time nothing travels.
        let left = fs::read_dir(here.path().join("set")).unwrap().count();
        assert_eq!(left, contents.len());
        let mut third = client
            .download_collection(key_ref("all"), here.path(), keeping())
            .await
            .unwrap();
        let brought = rest(&client, &mut third).await;
        assert!(
            brought.iter().all(|(_, moved, was_there)| *was_there && *moved == 0),
            "{brought:?}"
        );
        // What is somebody else's stays.
        fs::write(here.path().join("set/03.bin"), b"mine").unwrap();
        let mut fourth = client
            .download_collection(key_ref("all"), here.path(), keeping())
            .await
            .unwrap();
        let failure = loop {
            match client.download_next(&mut fourth).await {
                Ok(next) => assert!(next.unwrap().member.place < 3),
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure, Error::File { .. }), "{failure:?}");
        assert_eq!(fs::read(here.path().join("set/03.bin")).unwrap(), b"mine");
        let options = DownloadOptions {
            if_exists: IfExists::Replace,
            ..DownloadOptions::default()
        };
        let mut over = client
            .download_collection(key_ref("all"), here.path(), options)
            .await
            .unwrap();
        rest(&client, &mut over).await;
        assert!(fs::read(here.path().join("set/03.bin")).unwrap() == contents[3].1);
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_collection_comes_over_a_line_that_is_cut() {
    let server = TestServer::start().await;
    let (contents, _) = collected(&server).await;
    let proxy = Proxy::start(server.address()).await;
    let client = Client::connect(proxy.through(&server.url())).await.unwrap();
    let here = tempfile::tempdir().unwrap();
    let mut download = client
        .download_collection(key_ref("all"), here.path(), keeping())
        .await
        .unwrap();
    let mut brought = 0;
    while let Some(next) = client.download_next(&mut download).await.unwrap() {
        assert!(next.downloaded.is_some());
        brought += 1;
        if brought % 3 == 0 {
            proxy.cut();
        }
    }
    assert_eq!(brought, 15);
    for (key, bytes) in &contents {
        assert!(fs::read(here.path().join(key)).unwrap() == *bytes, "{key}");
    }
}

#[tokio::test]
async fn a_member_that_has_gone_is_told_and_the_rest_comes() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for key in ["a.bin", "b.bin", "c.bin"] {
        calls.save(keyed(key), key.as_bytes()).await.unwrap();
    }
    let create = pb::CreateCollectionRequest {
        key: "all".to_owned(),
        members: vec![
            pinned(by_key("a.bin")),
            following(by_key("b.bin")),
            pinned(by_key("c.bin")),
        ],
        ..Default::default()
    };
    calls.create_collection(create).await.unwrap();
    calls.trash(by_key("b.bin")).await.unwrap();
    let client = server.client().await;
    let here = tempfile::tempdir().unwrap();
    let mut download = client
        .download_collection(key_ref("all"), here.path(), keeping())
        .await
        .unwrap();
    let mut there = Vec::new();
    while let Some(next) = client.download_next(&mut download).await.unwrap() {
        there.push(next.downloaded.map(|got| got.was_there));
    }
    assert_eq!(there, [Some(false), None, Some(false)]);
    assert_eq!(fs::read(here.path().join("c.bin")).unwrap(), b"c.bin");
}
