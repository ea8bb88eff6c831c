//! Checksums of a blob: one crc32c per 256 KiB block.
//!
//! A blob of one block carries its checksum inline. The sums of a larger one come
//! in pages, from wherever the caller keeps them, because those of a huge blob
//! are megabytes and most reads want a few.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

use artifactd_domain::BLOCK_BYTES;
use futures::future::BoxFuture;

use super::{StorageError, error::Result};

/// Sums in one page: those of 1 GiB of content.
pub const SUMS_PER_PAGE: u64 = 4096;

/// Loads one page of sums by its number.
pub type PageLoader =
    Arc<dyn Fn(u64) -> BoxFuture<'static, std::result::Result<Arc<[u32]>, StorageError>> + Send + Sync>;

/// The number of a page, and its sums.
type Page = (u64, Arc<[u32]>);

/// The checksums of one blob.
#[derive(Clone)]
pub enum BlockSums {
    /// All of them.
    Inline(Arc<[u32]>),
    /// Pages that are loaded when they are needed.
    Paged {
        /// Loads a page.
        load: PageLoader,
        /// The page used last: reads run in order more often than not.
        last: Arc<Mutex<Option<Page>>>,
    },
}

impl BlockSums {
    /// Sums that `load` gives page by page.
    pub fn paged(load: PageLoader) -> Self {
        Self::Paged {
            load,
            last: Arc::default(),
        }
    }

    /// The sums of some blocks, or a shorter answer when there are fewer.
    pub(crate) async fn of_blocks(&self, blocks: Range<u64>) -> Result<Vec<u32>> {
        match self {
            Self::Inline(sums) => Ok(within(sums, 0, &blocks).to_vec()),
            Self::Paged { .. } => {
                let mut sums = Vec::with_capacity((blocks.end - blocks.start) as usize);
                let pages = blocks.start / SUMS_PER_PAGE..blocks.end.div_ceil(SUMS_PER_PAGE);
                for page in pages {
                    sums.extend_from_slice(within(&self.page(page).await?, page * SUMS_PER_PAGE, &blocks));
                }
                Ok(sums)
            }
        }
    }

    async fn page(&self, page: u64) -> Result<Arc<[u32]>> {
        let Self::Paged { load, last } = self else {
            unreachable!("only paged sums have pages");
        };
        let cached = last.lock().expect("no holder panics").clone();
        if let Some((number, sums)) = cached
            && number == page
        {
            return Ok(sums);
        }
        let sums = load(page).await?;
        *last.lock().expect("no holder panics") = Some((page, Arc::clone(&sums)));
        Ok(sums)
    }
}

/// The part of `sums`, the first of which belongs to block `first`, that lies in `blocks`.
fn within<'s>(sums: &'s [u32], first: u64, blocks: &Range<u64>) -> &'s [u32] {
    let end = first + sums.len() as u64;
    let from = blocks.start.clamp(first, end) - first;
    let to = blocks.end.clamp(first, end) - first;
    &sums[from as usize..to as usize]
}

impl fmt::Debug for BlockSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(sums) => write!(f, "BlockSums::Inline({} blocks)", sums.len()),
            Self::Paged { .. } => f.write_str("BlockSums::Paged"),
        }
    }
}

/// The blocks that hold the bytes in `range`.
pub(crate) fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES as u64..range.end.div_ceil(BLOCK_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Blocks of a blob that needs three pages.
    const BLOCKS: u64 = 2 * SUMS_PER_PAGE + 10;

    /// Sums that are the numbers of their blocks, and a count of loads.
    fn numbered() -> (BlockSums, Arc<AtomicU64>) {
        let loads = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&loads);
        let sums = BlockSums::paged(Arc::new(move |page| {
            counter.fetch_add(1, Ordering::Relaxed);
            let first = page * SUMS_PER_PAGE;
            let sums: Arc<[u32]> = (first..(first + SUMS_PER_PAGE).min(BLOCKS)).map(|n| n as u32).collect();
            Box::pin(async move { Ok(sums) })
        }));
        (sums, loads)
    }

    #[tokio::test]
    async fn sums_are_found_on_and_across_pages() {
        let (sums, _) = numbered();
        for blocks in [
            0..1,
            SUMS_PER_PAGE - 1..SUMS_PER_PAGE,
            SUMS_PER_PAGE..SUMS_PER_PAGE + 1,
            SUMS_PER_PAGE - 3..2 * SUMS_PER_PAGE + 3,
            0..BLOCKS,
        ] {
            let expected: Vec<_> = blocks.clone().map(|n| n as u32).collect();
            assert_eq!(sums.of_blocks(blocks).await.unwrap(), expected);
        }
        // What is not there is not made up.
        assert_eq!(sums.of_blocks(BLOCKS - 1..BLOCKS + 5).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_run_through_a_blob_loads_each_page_once() {
        let (sums, loads) = numbered();
        for block in (0..BLOCKS).step_by(16) {
            sums.of_blocks(block..(block + 16).min(BLOCKS)).await.unwrap();
        }
        assert_eq!(loads.load(Ordering::Relaxed), 3);
    }
}
