//! Checks of the view over a storage in memory.

use std::sync::LazyLock;

use artifactd_domain::{ContentHasher, Suffix};
use object_store::{GetRange, memory::InMemory};
use proptest::prelude::*;

use super::*;

/// Where the content begins in its object, as in one that holds several.
const OFFSET: usize = 1_000;

const CONTENT_BYTES: usize = 6 * 1024 * 1024 + 77;

static CONTENT: LazyLock<Bytes> = LazyLock::new(|| {
    let bytes = (0..CONTENT_BYTES as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    bytes.collect::<Vec<_>>().into()
});

/// A view over `stored`, which should be [`CONTENT`] between other bytes.
async fn view_of(stored: &[u8]) -> (ArtifactView, BlobContent) {
    let object = ObjectName::new([7; 16], &Suffix::of_name("x.csv"));
    let storage = InMemory::new();
    let bytes = [&[1; OFFSET][..], stored, &[2; 500]].concat();
    storage.put(&object.path(), bytes.into()).await.unwrap();
    let mut hasher = ContentHasher::new();
    hasher.update(&CONTENT);
    let content = BlobContent {
        object,
        offset: OFFSET as u64,
        size_bytes: CONTENT.len() as u64,
        sums: BlockSums::Inline(hasher.finish().block_crc32c.into()),
    };
    let member = Member {
        path: Path::from("a/b.csv"),
        content: content.clone(),
    };
    (ArtifactView::new(Arc::new(storage), vec![member]), content)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

fn within(range: &Range<u64>) -> Bytes {
    CONTENT.slice(range.start as usize..range.end as usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_is_that_part_of_the_content(a in 0..=CONTENT_BYTES as u64, b in 0..=CONTENT_BYTES as u64, chunk in 1_000..3_000_000_u64) {
        let range = a.min(b)..a.max(b);
        run(async {
            let (view, content) = view_of(&CONTENT).await;
            assert_eq!(view.read(&content, range.clone()).await.unwrap(), within(&range));
            let widest = range.end - range.start + 2 * BLOCK;
            assert!(view.counter().bytes() <= widest && view.counter().requests() <= 1);
            let chunks: Vec<_> = view.stream(&content, range.clone(), chunk).try_collect().await.unwrap();
            assert!(chunks.iter().all(|chunk| chunk.crc32c == crc32c(&chunk.data)));
            assert_eq!(chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect::<Vec<_>>(), within(&range));
        });
    }

    #[test]
    fn a_flipped_bit_fails_exactly_the_reads_of_its_block(at in 0..CONTENT_BYTES, bit in 0..8_u32, a in 0..CONTENT_BYTES as u64, b in 0..CONTENT_BYTES as u64) {
        let range = a.min(b)..a.max(b) + 1;
        let mut damaged = CONTENT.to_vec();
        damaged[at] ^= 1 << bit;
        let touched = blocks_of(&range).contains(&(at as u64 / BLOCK));
        run(async {
            let (view, content) = view_of(&damaged).await;
            match view.read(&content, range.clone()).await {
                Ok(bytes) => assert!(!touched && bytes == within(&range)),
                Err(StorageError::Corrupt { offset, .. }) => assert!(touched && offset == at as u64 / BLOCK * BLOCK),
                Err(other) => panic!("{other}"),
            }
        });
    }
}

/// What a stream of a view gives with some memory for large pieces, and in how many requests.
async fn streamed(stored: &[u8], budget_bytes: u64, chunk_bytes: u64) -> (Vec<Result<VerifiedChunk>>, u64) {
    let (view, content) = view_of(stored).await;
    let view = view.within(&ReadBudget::of_bytes(budget_bytes));
    let chunks = view
        .stream(&content, 0..content.size_bytes, chunk_bytes)
        .collect()
        .await;
    (chunks, view.counter().requests())
}

#[tokio::test]
async fn a_stream_gives_what_is_sound_before_its_error() {
    let mut damaged = CONTENT.to_vec();
    let at = 5 * BLOCK_BYTES;
    damaged[at] ^= 1;
    let (mut chunks, _) = streamed(&damaged, 0, BLOCK).await;
    let error = chunks.pop();
    assert!(matches!(error, Some(Err(StorageError::Corrupt { offset, .. })) if offset == at as u64));
    let sound: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().data).collect();
    assert_eq!(sound, CONTENT[..at]);
}

#[tokio::test]
async fn pieces_are_large_where_there_is_room_and_small_where_there_is_none() {
    let blocks = CONTENT.len().div_ceil(BLOCK_BYTES) as u64;
    let len = CONTENT.len() as u64;
    for (budget_bytes, chunk_bytes, requests) in [
        (0, PIECE_BYTES, blocks),
        (PIECE_BYTES - 1, PIECE_BYTES, blocks),
        (2 * PIECE_BYTES, PIECE_BYTES, 1 + len.div_ceil(PIECE_BYTES)),
        // What is at hand is read as it is given.
        (0, 4 * BLOCK, blocks),
        (9 * PIECE_BYTES, 4 * BLOCK, 1 + len.div_ceil(4 * BLOCK)),
        (9 * PIECE_BYTES, BLOCK / 2, blocks),
    ] {
        let (chunks, made) = streamed(&CONTENT, budget_bytes, chunk_bytes).await;
        let given: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().data).collect();
        assert_eq!(given, *CONTENT);
        assert_eq!(made, requests, "{budget_bytes}, {chunk_bytes}");
    }
}

#[tokio::test]
async fn who_takes_slowly_takes_no_room() {
    let (view, content) = view_of(&CONTENT).await;
    let budget = ReadBudget::of_bytes(PIECE_BYTES);
    let view = view.within(&budget);
    let mut chunks = view.stream(&content, 0..content.size_bytes, 64 * 1024);
    while chunks.try_next().await.unwrap().is_some() {
        assert!(budget.room().is_some());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if view.counter().requests() == 3 {
            return;
        }
    }
    panic!("the content was fetched at once");
}

#[tokio::test]
async fn near_ranges_are_one_request() {
    let (view, content) = view_of(&CONTENT).await;
    let ranges = [10..20, 300_000..300_010, 0..5];
    let path = Path::from("a/b.csv");
    let parts = view.get_ranges(&path, &ranges).await.unwrap();
    assert_eq!(parts, ranges.map(|range| within(&range)));
    assert_eq!(view.counter().requests(), 1);
    let ends = [0..1, content.size_bytes - 1..content.size_bytes];
    view.get_ranges(&path, &ends).await.unwrap();
    assert_eq!(view.counter().requests(), 3);
}

#[tokio::test]
#[expect(clippy::reversed_empty_ranges, reason = "that is the bad input")]
async fn ranges_that_are_none_are_refused() {
    let (view, content) = view_of(&CONTENT).await;
    let end = content.size_bytes;
    for refused in [
        GetRange::Bounded(20..10),
        GetRange::Bounded(10..10),
        GetRange::Bounded(end..end + 1),
        GetRange::Offset(end),
    ] {
        let options = GetOptions {
            range: Some(refused.clone()),
            ..GetOptions::default()
        };
        assert!(
            view.get_opts(&Path::from("a/b.csv"), options).await.is_err(),
            "{refused:?}"
        );
    }
    let options = GetOptions {
        range: Some(GetRange::Suffix(9)),
        ..GetOptions::default()
    };
    let tail = view.get_opts(&Path::from("a/b.csv"), options).await.unwrap();
    assert_eq!(tail.range, end - 9..end);
    assert_eq!(tail.bytes().await.unwrap(), within(&(end - 9..end)));
}

#[tokio::test]
async fn sums_that_are_missing_are_damage() {
    let (view, mut content) = view_of(&CONTENT).await;
    content.sums = BlockSums::paged(Arc::new(|_| Box::pin(async { Ok(Vec::new().into()) })));
    assert!(matches!(
        view.read(&content, 0..1).await,
        Err(StorageError::Corrupt { .. })
    ));
}

#[tokio::test]
async fn the_cause_of_a_failed_read_can_be_found_behind_the_object_store() {
    let mut damaged = CONTENT.to_vec();
    damaged[0] ^= 1;
    let (view, _) = view_of(&damaged).await;
    let failed = view.get_range(&Path::from("a/b.csv"), 0..10).await.unwrap_err();
    let object_store::Error::Generic { source, .. } = failed else {
        panic!("{failed}");
    };
    assert!(matches!(
        source.downcast_ref(),
        Some(StorageError::Corrupt { offset: 0, .. })
    ));
}
