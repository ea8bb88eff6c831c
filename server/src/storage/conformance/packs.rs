//! What every storage must do with packs.

use super::*;
use crate::storage::{FinishedPack, PACKED_CONTENT_BYTES_END, PackWriter, read_index};

/// Sizes around every border that a packed content can have.
const PACKED_SIZES: [usize; 8] = [0, 1, 100, 16 * 1024, BLOCK_BYTES, BLOCK_BYTES + 1, MIB - 1, 7];

fn fresh_pack() -> ObjectName {
    ObjectName::of_pack(crate::registry::random())
}

async fn write_pack(store: &Store, name: &ObjectName, contents: &[Bytes]) -> Result<FinishedPack, StorageError> {
    let mut pack = PackWriter::new(store.writer.begin(name.clone()));
    for content in contents {
        let mut hasher = ContentHasher::new();
        hasher.update(content);
        if let Err(error) = pack.put(content.clone(), &hasher.finish()).await {
            pack.abort().await;
            return Err(error);
        }
    }
    pack.finish().await
}

async fn what_is_packed_is_read_like_anything_else(store: &Store) {
    let name = fresh_pack();
    let contents = PACKED_SIZES.map(content);
    let pack = write_pack(store, &name, &contents).await.unwrap();
    let size = pack.object.size_bytes;
    assert_eq!(pack.object.name, name);
    assert_eq!(read_index(&store.reader, &name, size).await.unwrap(), pack.entries);
    for (content, entry) in contents.iter().zip(&pack.entries) {
        let (view, blob) = view(Arc::clone(&store.reader), &name, content);
        let blob = BlobContent {
            offset: entry.offset,
            ..blob
        };
        assert_eq!(view.read(&blob, 0..entry.size_bytes).await.unwrap(), content);
        assert_eq!(artifactd_domain::crc32c(content), entry.crc32c);
        assert_eq!(artifactd_domain::Sha256::of(content), entry.sha256);
    }
    let listed = store.writer.list_objects().try_concat().await.unwrap();
    assert!(
        listed
            .iter()
            .any(|object| object.name == name && object.size_bytes == size)
    );
    assert_eq!(store.reader_size(name.as_str()).await.unwrap(), Some(size));
    store.writer.delete(&name).await.unwrap();
    store.writer.delete(&name).await.unwrap();
    assert!(matches!(
        read_index(&store.reader, &name, size).await,
        Err(StorageError::NotFound { .. })
    ));
    let listed = store.writer.list_objects().try_concat().await.unwrap();
    assert!(listed.iter().all(|object| object.name != name));
}

/// The index is longer than what is fetched at first, and the pack than one part.
async fn a_pack_of_many_contents_comes_back(store: &Store) {
    let name = fresh_pack();
    let small = (0..3_000_u32).map(|number| Bytes::from(number.to_be_bytes().to_vec()));
    let large = (0..10).map(|number| content(PACKED_CONTENT_BYTES_END as usize - 1 - number));
    let contents: Vec<Bytes> = small.chain(large).collect();
    let pack = write_pack(store, &name, &contents).await.unwrap();
    let index = read_index(&store.reader, &name, pack.object.size_bytes).await.unwrap();
    assert_eq!(index, pack.entries);
    let all = stored(store, &name).await.unwrap();
    for (content, entry) in contents.iter().zip(index) {
        assert_eq!(all[entry.offset as usize..][..entry.size_bytes as usize], content[..]);
    }
    store.writer.delete(&name).await.unwrap();
}

async fn a_failed_pack_leaves_nothing(store: &Store) {
    for fault in [Fault::PutPart, Fault::Finish] {
        let faulty = FaultyWriter {
            inner: Arc::clone(&store.writer),
            plan: Plan::new(fault, 1),
        };
        let faulty = Store {
            writer: Arc::new(faulty),
            ..store.clone()
        };
        let name = fresh_pack();
        let failed = write_pack(&faulty, &name, &[content(1000), content(MIB - 1)]).await;
        assert!(matches!(failed, Err(StorageError::Unavailable(_))), "{fault:?}");
        assert_eq!(stored(store, &name).await, None, "{fault:?}");
        assert_eq!(store.writer.list_unfinished().await.unwrap(), [], "{fault:?}");
    }
}

async fn a_cut_pack_is_damage(store: &Store) {
    let whole = fresh_pack();
    let pack = write_pack(store, &whole, &[content(1000), content(2000)])
        .await
        .unwrap();
    let bytes = stored(store, &whole).await.unwrap();
    let cut = fresh_pack();
    write(store, &cut, &bytes.slice(..bytes.len() - 1), MIB).await.unwrap();
    for size in [pack.object.size_bytes, pack.object.size_bytes - 1] {
        let read = read_index(&store.reader, &cut, size).await;
        assert!(matches!(read, Err(StorageError::Corrupt { .. })), "{read:?}");
    }
    for name in [whole, cut] {
        store.writer.delete(&name).await.unwrap();
    }
}

pub(super) async fn all(store: &Store) {
    what_is_packed_is_read_like_anything_else(store).await;
    a_pack_of_many_contents_comes_back(store).await;
    a_failed_pack_leaves_nothing(store).await;
    a_cut_pack_is_damage(store).await;
}
