//! Garbage of every kind, for a collection that meets a crash point.

use crate::{
    TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{content, digest},
};

/// Files of a pack of which most is destroyed.
const PACKED: u64 = 10;

fn packed_key(number: u64) -> String {
    format!("packed-{number}.bin")
}

/// Leaves an unused object, a sparse pack, a blob that nothing uses, bytes without a
/// record and a file that was never finished.
pub(super) async fn make(server: &TestServer) {
    let calls = server.calls();
    for number in 0..2 {
        let gone = calls.save(keyed("gone.bin"), &content(50 + number, 400_000)).await;
        let gone = saved(gone.expect("save what goes"));
        calls.destroy(by_uid(&gone.uid)).await.expect("destroy it");
    }
    let files = (0..PACKED).map(|number| (keyed(&packed_key(number)), content(60 + number, 3_000).to_vec()));
    for result in calls.save_batch(files.collect()).await.expect("save a pack") {
        let packed = saved(result.expect("save a file"));
        if packed.key() != packed_key(0) {
            calls.destroy(by_uid(&packed.uid)).await.expect("destroy it");
        }
    }
    leak_blob(server).await;
    if let Some(object) = server.stored_objects().first()
        && server.bucket.is_none()
        && let Some((system, _)) = object.split_once("/objects/").or(object.split_once("/packs/"))
    {
        let orphan = format!("{system}/objects/cd/cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd.csv");
        std::fs::write(orphan, b"orphan").expect("leave bytes without a record");
        std::fs::write(format!("{system}/staging/left.0"), b"left").expect("leave a staging file");
    }
}

/// A sound blob that nothing uses, as two leave it that destroy its users at once.
async fn leak_blob(server: &TestServer) {
    let bytes = &content(50, 400_000)[..5];
    let (digest, sum) = (digest(bytes), artifactd_domain::crc32c(bytes));
    let digest = match server.database_url {
        Some(_) => format!("'\\x{digest}'::bytea"),
        None => format!("X'{digest}'"),
    };
    let leak = format!(
        "INSERT INTO blobs (storage_id, sha256, size_bytes, object_id, offset_bytes, crc32c, kept, created_at_us) \
         SELECT storage_id, {digest}, 5, id, 0, {sum}, FALSE, 1 FROM objects \
         WHERE garbage_since_us IS NOT NULL ORDER BY id LIMIT 1"
    );
    server.database().await.run(&leak).await;
}

/// Nothing is left but what is needed.
pub(super) async fn assert_collected(server: &TestServer) {
    let calls = server.calls();
    // What one collection marks, at the latest the next removes.
    calls.collect_garbage(false).await.expect("collect the rest");
    let one = calls.read(by_key(&packed_key(0))).await.expect("read what is needed");
    assert!(one == content(60, 3_000));
    assert_eq!(server.stored_objects().len(), 2, "the base and a pack of one file");
    assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 2);
    assert!(server.staged().is_empty());
}
