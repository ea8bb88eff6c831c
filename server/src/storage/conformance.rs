//! What every storage must do, run over a folder, over buckets of real servers,
//! and over both with faults.

mod lossy;
mod packs;
mod parts;
mod scripted;
mod servers;

use std::sync::Arc;

use artifactd_domain::{BLOCK_BYTES, ContentHasher, Suffix};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use self::servers::Server;
use super::{
    ArtifactView, BlobContent, BlockSums, BucketRoot, Member, ObjectName, PartPlace, PartedObject, Secret, Service,
    StorageError, StorageRoot, Store,
    faulty::{Fault, FaultyReader, FaultyWriter, Plan},
};

const MIB: usize = 1024 * 1024;

/// Sizes around every border: blocks, the small-write limit, parts.
const SIZES: [usize; 9] = [
    0,
    1,
    BLOCK_BYTES - 1,
    BLOCK_BYTES,
    BLOCK_BYTES + 1,
    MIB,
    8 * MIB - 1,
    8 * MIB + 1,
    20 * MIB,
];

fn content(size: usize) -> Bytes {
    let mut state = size as u64 + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(size).collect::<Vec<_>>().into()
}

fn fresh_name() -> ObjectName {
    ObjectName::new(crate::registry::random(), &Suffix::of_name("x.csv"))
}

async fn write(store: &Store, name: &ObjectName, content: &Bytes, part_bytes: usize) -> Result<(), StorageError> {
    let mut object = store.writer.begin(name.clone());
    for part in content.chunks(part_bytes) {
        if let Err(error) = object.put_part(content.slice_ref(part)).await {
            object.abort().await;
            return Err(error);
        }
    }
    let finished = object.finish().await?;
    assert_eq!(
        (finished.name, finished.size_bytes),
        (name.clone(), content.len() as u64)
    );
    Ok(())
}

async fn stored(store: &Store, name: &ObjectName) -> Option<Bytes> {
    match store.reader.get(&name.path()).await {
        Ok(found) => Some(found.bytes().await.unwrap()),
        Err(object_store::Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn objects_of_every_size_come_back(store: &Store) {
    for size in SIZES {
        let (name, content) = (fresh_name(), content(size));
        write(store, &name, &content, MIB + 7).await.unwrap();
        assert_eq!(stored(store, &name).await.unwrap(), content, "{size} bytes");
        let listed = store.writer.list_objects().try_concat().await.unwrap();
        assert!(
            listed
                .iter()
                .any(|object| object.name == name && object.size_bytes == size as u64)
        );
        store.writer.delete(&name).await.unwrap();
        store.writer.delete(&name).await.unwrap();
        assert_eq!(stored(store, &name).await, None);
    }
}

async fn an_aborted_object_leaves_nothing(store: &Store) {
    for size in [0, 1, 20 * MIB] {
        let name = fresh_name();
        let mut object = store.writer.begin(name.clone());
        object.put_part(content(size)).await.unwrap();
        object.abort().await;
        assert_eq!(stored(store, &name).await, None);
        assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
    }
}

async fn a_dropped_object_is_at_most_listed_as_unfinished(store: &Store) {
    let name = fresh_name();
    let mut object = store.writer.begin(name.clone());
    object.put_part(content(20 * MIB)).await.unwrap();
    drop(object);
    assert_eq!(stored(store, &name).await, None);
    for unfinished in store.writer.list_unfinished().await.unwrap() {
        store.writer.abort_unfinished(&unfinished).await.unwrap();
        store.writer.abort_unfinished(&unfinished).await.unwrap();
    }
    assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
}

async fn objects_are_written_side_by_side(store: &Store) {
    let saves = (0..8).map(|n| async move {
        let (name, content) = (fresh_name(), content(2 * MIB + n));
        write(store, &name, &content, MIB).await.unwrap();
        assert_eq!(stored(store, &name).await.unwrap(), content);
    });
    futures::future::join_all(saves).await;
}

async fn a_fault_leaves_nothing_visible(store: &Store) {
    for size in [1, 20 * MIB] {
        for fault in [Fault::PutPart, Fault::Finish] {
            let faulty = FaultyWriter {
                inner: Arc::clone(&store.writer),
                plan: Plan::new(fault, 1),
            };
            let faulty = Store {
                writer: Arc::new(faulty),
                ..store.clone()
            };
            let name = fresh_name();
            let failed = write(&faulty, &name, &content(size), MIB).await;
            assert!(matches!(failed, Err(StorageError::Unavailable(_))), "{fault:?}");
            assert_eq!(stored(store, &name).await, None, "{fault:?}");
            assert_eq!(store.writer.list_unfinished().await.unwrap(), [], "{fault:?}");
        }
    }
}

async fn a_late_part_and_a_lost_answer_do_no_harm(store: &Store) {
    let (name, content) = (fresh_name(), content(3 * MIB));
    let late = FaultyWriter {
        inner: Arc::clone(&store.writer),
        plan: Plan::new(Fault::DelayPart, 2),
    };
    write(
        &Store {
            writer: Arc::new(late),
            ..store.clone()
        },
        &name,
        &content,
        MIB,
    )
    .await
    .unwrap();
    assert_eq!(stored(store, &name).await.unwrap(), content);
    let lost = FaultyWriter {
        inner: Arc::clone(&store.writer),
        plan: Plan::new(Fault::LoseFinish, 1),
    };
    let name = fresh_name();
    assert!(
        write(
            &Store {
                writer: Arc::new(lost),
                ..store.clone()
            },
            &name,
            &content,
            MIB
        )
        .await
        .is_err()
    );
    // The object is whole, and nobody was told: garbage, but never half of it.
    assert_eq!(stored(store, &name).await.unwrap(), content);
}

fn view(reader: Arc<dyn ObjectStore>, name: &ObjectName, content: &Bytes) -> (ArtifactView, BlobContent) {
    let mut hasher = ContentHasher::new();
    hasher.update(content);
    let digest = hasher.finish();
    let sums = BlockSums::Inline(digest.block_crc32c.into());
    let blob = BlobContent {
        object: name.clone(),
        offset: 0,
        size_bytes: digest.size_bytes,
        sums,
    };
    let member = Member {
        path: Path::from("content"),
        content: blob.clone(),
    };
    (ArtifactView::new(reader, vec![member]), blob)
}

async fn the_view_gives_any_range_and_counts_it(store: &Store) {
    let (name, content) = (fresh_name(), content(5 * MIB + 123));
    write(store, &name, &content, MIB).await.unwrap();
    let (view, blob) = view(Arc::clone(&store.reader), &name, &content);
    let end = content.len() as u64;
    let block = BLOCK_BYTES as u64;
    for range in [
        0..0,
        0..1,
        0..end,
        1..end - 1,
        block - 1..block + 1,
        4 * block..5 * block,
        end - 1..end,
        end..end,
    ] {
        let slice = content.slice(range.start as usize..range.end as usize);
        assert_eq!(view.read(&blob, range.clone()).await.unwrap(), slice, "{range:?}");
        for chunk_bytes in [64 * 1024, 1024 * 1024, 300_000] {
            let chunks: Vec<_> = view
                .stream(&blob, range.clone(), chunk_bytes)
                .try_collect()
                .await
                .unwrap();
            let mut offset = range.start;
            for chunk in &chunks {
                assert_eq!(chunk.offset, offset);
                assert!(chunk.data.len() as u64 <= chunk_bytes);
                assert_eq!(
                    chunk.crc32c,
                    artifactd_domain::crc32c(&chunk.data),
                    "{range:?} in {chunk_bytes}"
                );
                offset += chunk.data.len() as u64;
            }
            assert_eq!(
                chunks
                    .iter()
                    .map(|chunk| chunk.data.clone())
                    .collect::<Vec<_>>()
                    .concat(),
                slice
            );
        }
    }
    let before = (view.counter().bytes(), view.counter().requests());
    view.read(&blob, block + 1..block + 2).await.unwrap();
    assert_eq!(
        (view.counter().bytes(), view.counter().requests()),
        (before.0 + block, before.1 + 1)
    );
    // As an object store it gives the same, and nothing else.
    let path = Path::from("content");
    assert_eq!(view.get_range(&path, 10..20).await.unwrap(), content.slice(10..20));
    assert_eq!(view.get(&path).await.unwrap().bytes().await.unwrap(), content);
    assert_eq!(view.head(&path).await.unwrap().size, end);
    assert_eq!(view.list(None).count().await, 1);
    assert!(matches!(
        view.get(&Path::from("other")).await,
        Err(object_store::Error::NotFound { .. })
    ));
    assert!(view.put(&path, "x".into()).await.is_err());
}

async fn the_view_finds_every_damaged_block(store: &Store) {
    for size in [100, BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
        let content = content(size);
        for (number, block) in content.chunks(BLOCK_BYTES).enumerate() {
            let mut damaged = content.to_vec();
            damaged[number * BLOCK_BYTES + block.len() / 2] ^= 0x10;
            let name = fresh_name();
            write(store, &name, &damaged.into(), MIB).await.unwrap();
            let (view, blob) = view(Arc::clone(&store.reader), &name, &content);
            for other in 0..content.len().div_ceil(BLOCK_BYTES) {
                let start = (other * BLOCK_BYTES) as u64;
                let read = view.read(&blob, start..start + 1).await;
                if other == number {
                    assert!(
                        matches!(read, Err(StorageError::Corrupt { offset, .. }) if offset == start),
                        "{read:?}"
                    );
                } else {
                    assert_eq!(read.unwrap(), content.slice(start as usize..start as usize + 1));
                }
            }
        }
    }
}

async fn the_view_finds_cut_missing_and_failing_objects(store: &Store) {
    let (name, content) = (fresh_name(), content(3 * BLOCK_BYTES));
    write(store, &name, &content.slice(..2 * BLOCK_BYTES + 10), MIB)
        .await
        .unwrap();
    let (cut, blob) = view(Arc::clone(&store.reader), &name, &content);
    let end = content.len() as u64;
    assert!(matches!(
        cut.read(&blob, 0..end).await,
        Err(StorageError::Corrupt { .. })
    ));
    let (missing, blob) = view(Arc::clone(&store.reader), &fresh_name(), &content);
    assert!(matches!(
        missing.read(&blob, 0..1).await,
        Err(StorageError::NotFound { .. })
    ));
    let name = fresh_name();
    write(store, &name, &content, MIB).await.unwrap();
    for fault in [Fault::Read, Fault::CutRead] {
        let reader = FaultyReader {
            inner: Arc::clone(&store.reader),
            plan: Plan::new(fault, 1),
        };
        let (view, blob) = view(Arc::new(reader), &name, &content);
        let failed = view.read(&blob, 0..end).await;
        match fault {
            Fault::Read => assert!(matches!(failed, Err(StorageError::Unavailable(_)))),
            _ => assert!(matches!(failed, Err(StorageError::Corrupt { .. }))),
        }
        assert_eq!(view.read(&blob, 0..end).await.unwrap(), content);
    }
}

async fn all(store: &Store) {
    store.writer.probe().await.unwrap();
    objects_of_every_size_come_back(store).await;
    an_aborted_object_leaves_nothing(store).await;
    a_dropped_object_is_at_most_listed_as_unfinished(store).await;
    objects_are_written_side_by_side(store).await;
    a_fault_leaves_nothing_visible(store).await;
    a_late_part_and_a_lost_answer_do_no_harm(store).await;
    the_view_gives_any_range_and_counts_it(store).await;
    the_view_finds_every_damaged_block(store).await;
    the_view_finds_cut_missing_and_failing_objects(store).await;
    packs::all(store).await;
    parts::all(store).await;
}

#[tokio::test]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StorageRoot::Local(folder.path().join("storage"))).unwrap();
    all(&store).await;
    parts::nobody_writes_to_what_is_closed(&store).await;
}

#[tokio::test]
async fn a_local_name_is_never_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StorageRoot::Local(folder.path().to_owned())).unwrap();
    // Small objects and large ones come to their names in different ways.
    for first in [10, 3 * MIB] {
        let (name, first) = (fresh_name(), content(first));
        write(&store, &name, &first, MIB).await.unwrap();
        for second in [20, 4 * MIB] {
            let again = write(&store, &name, &content(second), MIB).await;
            assert!(matches!(again, Err(StorageError::Exists { .. })), "{second} bytes");
            assert_eq!(stored(&store, &name).await.unwrap(), first);
            assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
        }
    }
}

#[test]
fn roots_that_cannot_hold_content_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for root in [
        "/".into(),
        "/tmp/../..".into(),
        file.path().to_owned(),
        file.path().join("below"),
    ] {
        let opened = Store::open(&StorageRoot::Local(root.clone()));
        assert!(
            matches!(opened, Err(StorageError::Refused { .. })),
            "{}",
            root.display()
        );
    }
}

#[tokio::test]
async fn a_bucket_conforms() {
    let moto = Server::moto();
    for prefix in ["", "a/prefix"] {
        all(&Store::open(&moto.root(Service::S3, prefix)).unwrap()).await;
    }
}

#[tokio::test]
async fn a_container_of_azure_conforms() {
    let azurite = Server::azurite();
    for prefix in ["", "a/prefix"] {
        all(&Store::open(&azurite.root(Service::Azure, prefix)).unwrap()).await;
    }
}

#[tokio::test]
async fn a_bucket_of_google_conforms() {
    let moto = Server::moto();
    all(&Store::open(&moto.root(Service::Google, "a/prefix")).unwrap()).await;
}

async fn assert_never_written_over(store: &Store) {
    let (name, first) = (fresh_name(), content(1_000));
    write(store, &name, &first, MIB).await.unwrap();
    // The store refuses the bytes; that those which are there have another size tells so.
    let again = write(store, &name, &content(2_000), MIB).await;
    assert!(matches!(again, Err(StorageError::Corrupt { .. })), "{again:?}");
    assert_eq!(stored(store, &name).await.unwrap(), first);
}

#[tokio::test]
async fn a_name_in_a_bucket_is_never_written_over() {
    let (moto, azurite) = (Server::moto(), Server::azurite());
    for root in [moto.root(Service::S3, ""), azurite.root(Service::Azure, "")] {
        assert_never_written_over(&Store::open(&root).unwrap()).await;
    }
}

/// What was begun under a name does no harm to what is complete, and what came late to what
/// was forgotten is listed.
#[tokio::test]
async fn blocks_of_azure_are_forgotten_and_blobs_are_not() {
    let azurite = Server::azurite();
    let store = Store::open(&azurite.root(Service::Azure, "")).unwrap();
    let (name, whole) = (fresh_name(), content(20 * MIB));
    write(&store, &name, &whole, MIB).await.unwrap();
    let object = PartedObject {
        name: name.clone(),
        store_upload_id: Some(String::new()),
    };
    store.parts.abort(&object).await.unwrap();
    assert_eq!(stored(&store, &name).await.unwrap(), whole);

    let object = store.parts.create(fresh_name()).await.unwrap();
    let place = PartPlace { number: 0, offset: 0 };
    for _ in 0..2 {
        let mut part = store.parts.begin_part(&object, place);
        part.put(content(MIB)).await.unwrap();
        let named = part.finish().await.unwrap();
        let closed = store.parts.close(&object, MIB as u64).await.unwrap();
        let parts = [named, "0".repeat(32)];
        assert_eq!(closed.replaced(&parts).await.unwrap(), [1], "another was never there");
        assert_eq!(store.writer.list_unfinished().await.unwrap().len(), 1);
        store.parts.abort(&object).await.unwrap();
        assert_eq!(closed.replaced(&parts).await.unwrap(), [0, 1]);
        assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
        assert_eq!(stored(&store, &object.name).await, None);
    }
}
