//! Folders that move to another storage, file by file.

use std::fs;

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, by_version, keyed, saved},
    content::{content, digest},
    folders::{Files, files, folder},
    pb::{self, ErrorReason},
    refusal,
    storages::{Places, far},
};

/// Files of every kind: small ones that share a pack, one of some blocks in it, and one with
/// an object of its own.
fn mixed() -> Files {
    let mut all = files(20, &[0, 10, 3_000]);
    all.insert("blocks.bin".to_owned(), content(100, 700_000));
    all.insert("large.bin".to_owned(), content(101, 1_300_000));
    all
}

fn bytes_of(files: &Files) -> i64 {
    let distinct: std::collections::BTreeSet<_> = files.values().collect();
    distinct.iter().map(|content| content.len() as i64).sum()
}

/// A folder consists of these files, and each has its bytes.
async fn assert_holds(server: &TestServer, artifact: pb::ArtifactRef, files: &Files) {
    let calls = server.calls();
    let request = pb::ListMembersRequest {
        artifact: Some(artifact.clone()),
        page_size: 1_000,
        ..Default::default()
    };
    let members = calls.list_members(request).await.unwrap();
    assert!(members.iter().map(|member| &member.path).eq(files.keys()));
    for (path, content) in files {
        let read = calls.read_member(artifact.clone(), path).await.unwrap();
        assert!(read == *content, "{path}");
    }
}

#[tokio::test]
async fn a_folder_moves_with_all_its_versions() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (server, calls) = (&places.server, places.server.calls());
        let first = mixed();
        let one = saved(calls.save_folder(folder("set"), &first).await.unwrap());
        let mut second = first.clone();
        second.insert("part 0/more.bin".to_owned(), content(102, 5_000));
        let two = saved(calls.save_folder(folder("set"), &second).await.unwrap());
        let mut third = second.clone();
        third.remove("large.bin");
        let three = saved(calls.save_folder(folder("set"), &third).await.unwrap());
        calls.trash(by_uid(&three.uid)).await.unwrap();
        // Somebody else has one of its contents, which lies in its pack.
        let sharing = saved(calls.save(keyed("same.bin"), &first["blocks.bin"]).await.unwrap());

        let moved = calls.move_artifact(by_key("set"), "far", Some("once")).await.unwrap();
        assert_eq!(
            (moved.versions, moved.copied_bytes),
            (3, bytes_of(&second)),
            "{backend:?}"
        );
        let again = calls.move_artifact(by_key("set"), "far", Some("once")).await.unwrap();
        assert_eq!(again, moved);
        assert_eq!(refusal(calls.get(by_key("set")).await), ErrorReason::ArtifactNotFound);
        for (version, files) in [(&one, &first), (&two, &second)] {
            let now = calls.get(by_uid(&version.uid)).await.unwrap();
            assert_eq!((&now.hash, now.storage.as_str()), (&version.hash, "far"));
            assert_eq!((now.size, now.n_objects), (version.size, version.n_objects));
            assert_holds(server, by_uid(&version.uid), files).await;
        }
        calls.restore(by_uid(&three.uid)).await.unwrap();
        assert_holds(server, far("set"), &third).await;
        assert_eq!(places.far_objects(), 1, "what is large has an object of its own");
        assert!(places.far_packs() >= 1);

        // What nothing names any more goes, and what somebody else has stays.
        calls.collect_garbage(false).await.unwrap();
        calls.collect_garbage(false).await.unwrap();
        assert_eq!(places.near_contents().await, 1, "{backend:?}");
        assert!(calls.read(by_uid(&sharing.uid)).await.unwrap() == first["blocks.bin"]);
        assert_holds(server, by_uid(&two.uid), &second).await;
        server.assert_clean();

        // And back: what is held there is not copied again.
        let back = calls.move_artifact(far("set"), &sharing.storage, None).await.unwrap();
        let shared = first["blocks.bin"].len() as i64;
        assert_eq!(back.copied_bytes, bytes_of(&second) - shared);
        assert_holds(server, by_version("set", "1"), &first).await;
        calls.collect_garbage(false).await.unwrap();
        calls.collect_garbage(false).await.unwrap();
        assert_eq!((places.far_objects(), places.far_packs()), (0, 0));
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_folder_with_a_damaged_file_stays_where_it_is() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let (server, calls) = (&places.server, places.server.calls());
        let all = files(12, &[2_000]);
        let made = saved(calls.save_folder(folder("set"), &all).await.unwrap());
        let moving = || calls.move_artifact(by_uid(&made.uid), "far", None);
        let before = places.near_contents().await;
        server.overwrite_only_object(|stored| stored[5_000] ^= 1);
        assert_eq!(refusal(moving().await), ErrorReason::ContentCorrupt, "{backend:?}");
        // Damage that keeps to its checksum shows when the file is hashed.
        let sound = &all["part 0/000000.bin"];
        let mut damaged = sound.to_vec();
        damaged[7] ^= 1;
        let is_it = match server.database_url {
            Some(_) => format!("sha256 = '\\x{}'", digest(sound)),
            None => format!("sha256 = x'{}'", digest(sound)),
        };
        let offset = format!("SELECT offset_bytes FROM blobs WHERE {is_it}");
        let place = server.query_integer(&offset).await as usize + 7;
        server.overwrite_only_object(|stored| {
            stored[5_000] ^= 1;
            stored[place] ^= 1;
        });
        let set_sum = |bytes: &[u8]| {
            let sum = artifactd_domain::crc32c(bytes);
            format!("UPDATE blobs SET crc32c = {sum} WHERE {is_it}")
        };
        server.database().await.run(&set_sum(&damaged)).await;
        assert_eq!(refusal(moving().await), ErrorReason::ContentCorrupt, "{backend:?}");
        assert_eq!(places.near_contents().await, before, "all of it stays");
        assert_eq!((places.garbage().await, places.far_packs()), (0, 0));
        assert_eq!(calls.get(by_key("set")).await.unwrap().storage, made.storage);

        server.overwrite_only_object(|stored| stored[place] ^= 1);
        server.database().await.run(&set_sum(sound)).await;
        moving().await.unwrap();
        assert_holds(server, far("set"), &all).await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_folder_in_place_is_taken_in_and_stays_where_it_lies() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let calls = places.server.calls();
        let all = mixed();
        for (path, content) in &all {
            let path = places.lab.join("set").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let uri = places.lab.join("set").display().to_string();
        let made = saved(calls.register_folder(&uri).await.unwrap());
        let moved = calls.move_artifact(by_uid(&made.uid), "far", None).await.unwrap();
        assert_eq!(moved.copied_bytes, bytes_of(&all), "{backend:?}");
        let moved = moved.artifact.unwrap();
        assert!(moved.key_is_virtual && moved.hash == made.hash && moved.key == made.key);
        fs::write(places.lab.join("set/blocks.bin"), b"changed since").unwrap();
        calls.collect_garbage(false).await.unwrap();
        assert_holds(&places.server, far("set"), &all).await;
        assert_eq!(fs::read(places.lab.join("set/blocks.bin")).unwrap(), b"changed since");
        assert_eq!(fs::read(places.lab.join("set/large.bin")).unwrap(), all["large.bin"]);
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn a_folder_moves_to_where_no_key_is_in_its_way() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let calls = places.server.calls();
        let all = files(3, &[10]);
        let made = saved(calls.save_folder(folder("set"), &all).await.unwrap());
        let in_far = |key: &str| pb::SaveHeader {
            storage: Some("far".to_owned()),
            ..keyed(key)
        };
        let below = saved(calls.save(in_far("set/below.csv"), b"x").await.unwrap());
        let moving = || calls.move_artifact(by_uid(&made.uid), "far", None);
        assert_eq!(refusal(moving().await), ErrorReason::KeyOverlaps, "{backend:?}");
        calls.trash(by_uid(&below.uid)).await.unwrap();
        let same = saved(calls.save(in_far("set"), b"x").await.unwrap());
        assert_eq!(refusal(moving().await), ErrorReason::KeyTaken, "{backend:?}");
        calls.trash(by_uid(&same.uid)).await.unwrap();
        moving().await.unwrap();
        assert_holds(&places.server, far("set"), &all).await;
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn a_change_that_comes_during_a_move_moves_too() {
    for backend in Backend::DATABASES {
        let places = Places::of(TestServer::setup().on(backend).with_pauses()).await;
        let calls = places.server.calls();
        let all = files(10, &[100, 2_000]);
        let made = saved(calls.save_folder(folder("set"), &all).await.unwrap());
        let mut pauses = places.server.pauses();
        pauses.arm("move.contents_durable");
        let moving = {
            let (calls, uid) = (places.server.calls(), made.uid.clone());
            tokio::spawn(async move { calls.move_artifact(by_uid(&uid), "far", None).await })
        };
        assert!(pauses.met("move.contents_durable", std::future::pending()).await);
        let new = content(500, 3_000);
        let next = saved(calls.put_into_folder(&made.uid, "new.bin", &new).await.unwrap());
        pauses.release();
        let moved = moving.await.unwrap().unwrap();
        assert_eq!(moved.versions, 2, "{backend:?}");
        assert_eq!(moved.artifact.unwrap().uid, next.uid);
        let mut changed = all.clone();
        changed.insert("new.bin".to_owned(), new);
        assert_holds(&places.server, by_uid(&made.uid), &all).await;
        assert_holds(&places.server, far("set"), &changed).await;
        places.server.assert_clean();
    }
}

/// A folder of many pages is written a few thousand members at a time, and its versions share
/// their pages there as they did.
#[tokio::test]
async fn a_large_folder_keeps_its_pages() {
    const PAGES: &str = "SELECT count(*) FROM manifest_pages JOIN storages ON storages.id = manifest_pages.storage_id \
         WHERE storages.name = 'far'";
    let places = Places::on(Backend::EMBEDDED).await;
    let calls = places.server.calls();
    let all = files(9_000, &[8]);
    let first = saved(calls.save_folder(folder("set"), &all).await.unwrap());
    let new = content(1_000_000, 8);
    let second = calls.put_into_folder(&first.uid, "part 3/000003.bin", &new).await;
    let second = saved(second.unwrap());
    let before = places.server.query_integer("SELECT count(*) FROM manifest_pages").await;
    assert!(before > 3, "{before} pages");
    let moved = calls.move_artifact(by_uid(&first.uid), "far", None).await.unwrap();
    assert_eq!((moved.versions, moved.copied_bytes), (2, 9_001 * 8));
    assert_eq!(places.server.query_integer(PAGES).await, before);
    assert_eq!(places.far_packs(), 1, "small files came into one pack");
    assert_eq!(
        places.server.query_integer("SELECT count(*) FROM folder_saves").await,
        0
    );
    for (uid, content) in [(&first.uid, &all["part 3/000003.bin"]), (&second.uid, &new)] {
        let read = calls.read_member(by_uid(uid), "part 3/000003.bin").await.unwrap();
        assert!(read == *content);
    }
    places.server.assert_clean();
}
