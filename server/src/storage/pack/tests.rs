//! Checks of packs over a storage in memory.

use std::sync::Arc;

use artifactd_domain::{ContentHasher, crc32c};
use object_store::{ObjectStoreExt, memory::InMemory};

use super::*;
use crate::storage::{ObjectName, StorageError, StorageRoot, Store};

const TRAILER_BYTES: usize = 20;

const ENTRY_BYTES: usize = 48;

fn digest_of(content: &[u8]) -> ContentDigest {
    let mut hasher = ContentHasher::new();
    hasher.update(content);
    hasher.finish()
}

/// A pack with three contents.
async fn packed() -> (Vec<u8>, Vec<PackEntry>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StorageRoot::Local(folder.path().to_owned())).unwrap();
    let name = ObjectName::of_pack([1; 16]);
    let mut pack = PackWriter::new(store.writer.begin(name.clone()));
    assert!(pack.is_empty());
    for content in [&b"one"[..], b"", b"three"] {
        pack.put(Bytes::from_static(content), &digest_of(content))
            .await
            .unwrap();
    }
    assert_eq!((pack.is_empty(), pack.content_bytes()), (false, 8));
    let pack = pack.finish().await.unwrap();
    let bytes = store.reader.get(&name.path()).await.unwrap().bytes().await.unwrap();
    (bytes.to_vec(), pack.entries)
}

async fn index_of(bytes: &[u8]) -> Result<Vec<PackEntry>> {
    let storage = Arc::new(InMemory::new());
    let name = ObjectName::of_pack([2; 16]);
    storage.put(&name.path(), bytes.to_vec().into()).await.unwrap();
    read_index(&storage, &name, bytes.len() as u64).await
}

async fn damage_of(bytes: &[u8]) -> String {
    match index_of(bytes).await {
        Err(StorageError::Corrupt { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

/// The pack with another index, whose length and sum are right.
fn with_entries(pack: &[u8], entries: &[PackEntry]) -> Vec<u8> {
    [&pack[..8], &index::encode(entries)].concat()
}

#[tokio::test]
async fn a_pack_is_written_as_its_format_says() {
    let (pack, entries) = packed().await;
    assert_eq!(&pack[..8], b"onethree");
    let mut index = Vec::new();
    for (offset, content) in [(0_u64, &b"one"[..]), (3, b""), (3, b"three")] {
        index.extend_from_slice(&offset.to_be_bytes());
        index.extend_from_slice(&(content.len() as u32).to_be_bytes());
        index.extend_from_slice(Sha256::of(content).as_bytes());
        index.extend_from_slice(&crc32c(content).to_be_bytes());
    }
    index.extend_from_slice(&(3 * ENTRY_BYTES as u32).to_be_bytes());
    let sum = crc32c(&index);
    let footer = [&index[..], &sum.to_be_bytes(), &1_u32.to_be_bytes(), b"artfpack"].concat();
    assert_eq!(pack[8..], footer);
    assert_eq!(index_of(&pack).await.unwrap(), entries);
}

#[tokio::test]
async fn every_flipped_bit_of_a_footer_is_found() {
    let (pack, _) = packed().await;
    for at in 8..pack.len() {
        for bit in 0..8 {
            let mut damaged = pack.clone();
            damaged[at] ^= 1 << bit;
            damage_of(&damaged).await;
        }
    }
}

#[tokio::test]
async fn a_pack_that_is_cut_anywhere_is_damage() {
    let (pack, _) = packed().await;
    for end in 0..pack.len() {
        damage_of(&pack[..end]).await;
    }
    damage_of(&[&pack[..], b"x"].concat()).await;
}

#[tokio::test]
async fn an_index_that_does_not_cover_the_pack_is_damage() {
    let (pack, entries) = packed().await;
    for (change, what) in [
        (
            &(|entries: &mut Vec<PackEntry>| entries[2].offset = 2) as &dyn Fn(&mut _),
            "back to back",
        ),
        (
            &|entries: &mut Vec<PackEntry>| entries[0].size_bytes = 4,
            "back to back",
        ),
        (
            &|entries: &mut Vec<PackEntry>| entries[2].size_bytes = 6,
            "where its index begins",
        ),
        (
            &|entries: &mut Vec<PackEntry>| entries.truncate(2),
            "where its index begins",
        ),
        (
            &|entries: &mut Vec<PackEntry>| entries[2].size_bytes = u64::from(u32::MAX),
            "where its index begins",
        ),
    ] {
        let mut entries = entries.clone();
        change(&mut entries);
        let found = damage_of(&with_entries(&pack, &entries)).await;
        assert!(found.contains(what), "{found}");
    }
}

#[tokio::test]
async fn a_length_that_no_index_has_is_damage() {
    let (pack, _) = packed().await;
    let length_at = pack.len() - TRAILER_BYTES;
    for length in [
        1,
        47,
        4 * ENTRY_BYTES as u32,
        u32::MAX,
        (PACK_ENTRIES_MAX * ENTRY_BYTES + ENTRY_BYTES) as u32,
    ] {
        let mut damaged = pack.clone();
        damaged[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        assert!(damage_of(&damaged).await.contains("no possible length"), "{length}");
    }
}

#[tokio::test]
async fn a_pack_of_a_later_version_says_so() {
    let (mut pack, _) = packed().await;
    let version_end = pack.len() - 8;
    pack[version_end - 1] = 2;
    assert!(damage_of(&pack).await.contains("of version 2, known is 1"));
}

#[tokio::test]
async fn a_pack_is_full_by_bytes_or_by_contents() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StorageRoot::Local(folder.path().to_owned())).unwrap();
    let begin = |generation| PackWriter::new(store.writer.begin(ObjectName::of_pack([generation; 16])));
    let mut pack = begin(1);
    let large = Bytes::from(vec![7; PACKED_CONTENT_BYTES_END as usize - 1]);
    let digest = digest_of(&large);
    while !pack.is_full() {
        pack.put(large.clone(), &digest).await.unwrap();
    }
    assert!(pack.content_bytes() > PACK_BYTES_MAX - PACKED_CONTENT_BYTES_END);
    assert!(pack.has_room_for(64) && !pack.has_room_for(65));
    pack.abort().await;
    let mut pack = begin(2);
    let nothing = digest_of(b"");
    for _ in 0..PACK_ENTRIES_MAX {
        assert!(!pack.is_full());
        pack.put(Bytes::new(), &nothing).await.unwrap();
    }
    assert!(pack.is_full() && !pack.has_room_for(0));
    let pack = pack.finish().await.unwrap();
    let index = read_index(&store.reader, &pack.object.name, pack.object.size_bytes).await;
    assert_eq!(index.unwrap().len(), PACK_ENTRIES_MAX);
}

#[tokio::test]
#[should_panic(expected = "a full pack is finished first")]
async fn a_content_that_does_not_fit_is_a_mistake_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StorageRoot::Local(folder.path().to_owned())).unwrap();
    let mut pack = PackWriter::new(store.writer.begin(ObjectName::of_pack([1; 16])));
    let huge = ContentDigest {
        size_bytes: PACK_BYTES_MAX + 1,
        ..digest_of(b"")
    };
    let _ = pack.put(Bytes::new(), &huge).await;
}
