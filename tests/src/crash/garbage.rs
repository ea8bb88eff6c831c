//! Garbage of every kind, for a collection that meets a crash point.

use bytes::Bytes;

use crate::{
    TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{content, digest},
};

/// Files of a pack of which most is destroyed.
const PACKED: u64 = 10;

/// Name of a packed file.
fn packed_key(seed: u64, number: u64) -> String {
    format!("packed-{seed}-{number}.bin")
}

/// What a seed's garbage was, alone and packed, the first packed one left out.
pub fn contents(seed: u64) -> Vec<Bytes> {
    let alone = (0..2).map(|number| content(seed + number, 400_000));
    alone
        .chain((1..PACKED).map(|number| content(seed + 10 + number, 3_000)))
        .collect()
}

/// What is needed of that pack: a key and its content.
pub fn needed(seed: u64) -> (String, Bytes) {
    (packed_key(seed, 0), content(seed + 10, 3_000))
}

/// Leaves an unused object, a sparse pack, a blob that nothing uses, bytes without a
/// record and a file that was never finished.
///
/// # Panics
/// When it cannot.
pub async fn make(server: &TestServer, seed: u64) {
    let calls = server.calls();
    for number in 0..2 {
        let gone = calls.save(keyed("gone.bin"), &content(seed + number, 400_000)).await;
        let gone = saved(gone.expect("save what goes"));
        calls.destroy(by_uid(&gone.uid)).await.expect("destroy it");
    }
    let packed = |number| {
        (
            keyed(&packed_key(seed, number)),
            content(seed + 10 + number, 3_000).to_vec(),
        )
    };
    let files = (0..PACKED).map(packed);
    for result in calls.save_batch(files.collect()).await.expect("save a pack") {
        let packed = saved(result.expect("save a file"));
        if packed.key() != packed_key(seed, 0) {
            calls.destroy(by_uid(&packed.uid)).await.expect("destroy it");
        }
    }
    leak_blob(server, seed).await;
    leave_bytes(server, seed);
}

fn leave_bytes(server: &TestServer, seed: u64) {
    let some = server.stored_objects().remove(0);
    let system = some.split_once("/objects/").or(some.split_once("/packs/"));
    let (system, _) = system.expect("objects lie in folders");
    let orphan = format!("{system}/objects/cd/cd{seed:030x}.csv");
    if let Some(bucket) = &server.bucket {
        bucket.overwrite(&orphan, b"orphan");
        bucket.begin_upload(&format!("{system}/objects/ef/ef{seed:030x}.csv"));
        return;
    }
    let parts = format!("{system}/uploads/ef{seed:030x}.csv");
    for (file, what) in [
        (orphan, "orphan"),
        (parts, "parts"),
        (format!("{system}/staging/left.0"), "left"),
    ] {
        std::fs::write(file, what).expect("leave bytes without a record");
    }
}

/// A sound blob that nothing uses, as two leave it that destroy its users at once.
async fn leak_blob(server: &TestServer, seed: u64) {
    let bytes = &content(seed, 400_000)[..5];
    let (digest, sum) = (digest(bytes), artifactd_domain::crc32c(bytes));
    let digest = match server.database_url {
        Some(_) => format!("'\\x{digest}'::bytea"),
        None => format!("X'{digest}'"),
    };
    let leak = format!(
        "INSERT INTO blobs (storage_id, sha256, size_bytes, object_id, offset_bytes, crc32c, kept, created_at_us) \
         SELECT storage_id, {digest}, 5, id, 0, {sum}, FALSE, 1 FROM objects \
         WHERE garbage_since_us IS NOT NULL AND deleted_at_us IS NULL ORDER BY id LIMIT 1"
    );
    server.database().await.run(&leak).await;
}

/// Nothing is left but what is needed.
pub(super) async fn assert_collected(server: &TestServer, seed: u64) {
    let calls = server.calls();
    // What one collection marks, at the latest the next removes.
    calls.collect_garbage(false).await.expect("collect the rest");
    let (key, needed) = needed(seed);
    assert!(calls.read(by_key(&key)).await.expect("read what is needed") == needed);
    assert_eq!(server.stored_objects().len(), 2, "the base and a pack of one file");
    assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 2);
    assert!(server.staged().is_empty());
    assert_eq!(server.stored_files_below("uploads"), 0);
}
