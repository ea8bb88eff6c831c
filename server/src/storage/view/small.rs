//! Whole small contents, many at once.
//!
//! Contents that came together lie together in a pack, so those that are near each
//! other are fetched with one request.

use std::ops::Range;

use artifactd_domain::crc32c;
use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;

use super::{ArtifactView, BLOCK, BlobContent, Result, VerifiedChunk, check};

/// Largest content that is read this way: one block, so that one checksum is that of all of it.
pub const SMALL_CONTENT_BYTES_MAX: u64 = BLOCK;

/// Bytes between two contents that are fetched rather than asked around.
const GAP_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of one request.
const GROUP_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Requests under way at once.
const GROUPS_AT_ONCE: usize = 4;

/// Contents that are fetched together: their numbers, and the range of their object.
struct Group {
    numbers: Vec<usize>,
    range: Range<u64>,
}

impl ArtifactView {
    /// Reads whole contents of at most [`SMALL_CONTENT_BYTES_MAX`]; answers each, in the same order.
    pub async fn read_small(&self, contents: &[BlobContent]) -> Vec<Result<VerifiedChunk>> {
        let mut answers: Vec<Option<Result<VerifiedChunk>>> = contents.iter().map(|_| None).collect();
        let mut groups = stream::iter(groups(contents))
            .map(|group| self.read_group(contents, group))
            .buffer_unordered(GROUPS_AT_ONCE);
        while let Some(read) = groups.next().await {
            for (number, answer) in read {
                answers[number] = Some(answer);
            }
        }
        let each = answers.into_iter();
        each.map(|answer| answer.expect("every content is in a group"))
            .collect()
    }

    async fn read_group(&self, contents: &[BlobContent], group: Group) -> Vec<(usize, Result<VerifiedChunk>)> {
        let object = &contents[group.numbers[0]].object;
        let fetched = if group.range.is_empty() {
            Ok(Bytes::new())
        } else {
            self.storage.get_range(&object.path(), group.range.clone()).await
        };
        let mut read = Vec::with_capacity(group.numbers.len());
        match fetched {
            Ok(data) => {
                self.counter.note(data.len());
                let useful: u64 = group.numbers.iter().map(|number| contents[*number].size_bytes).sum();
                let is_mostly_waste = 2 * useful < data.len() as u64;
                for number in group.numbers {
                    let mut chunk = whole(&contents[number], &data, group.range.start).await;
                    if let (Ok(chunk), true) = (&mut chunk, is_mostly_waste) {
                        // Else a small part would keep all of it.
                        chunk.data = Bytes::copy_from_slice(&chunk.data);
                    }
                    read.push((number, chunk));
                }
            }
            // Alone, each says what is wrong with it.
            Err(_) => {
                for number in group.numbers {
                    read.push((number, self.read_alone(&contents[number]).await));
                }
            }
        }
        read
    }

    async fn read_alone(&self, content: &BlobContent) -> Result<VerifiedChunk> {
        let data = self.read(content, 0..content.size_bytes).await?;
        Ok(VerifiedChunk {
            offset: 0,
            crc32c: crc32c(&data),
            data,
        })
    }
}

/// A content out of bytes of its object that begin at `start`, checked.
async fn whole(content: &BlobContent, fetched: &Bytes, start: u64) -> Result<VerifiedChunk> {
    let (from, to) = (content.offset - start, content.offset - start + content.size_bytes);
    let data = fetched.slice((from as usize).min(fetched.len())..(to as usize).min(fetched.len()));
    if content.size_bytes > 0 {
        let sums = content.sums.of_blocks(0..1).await?;
        check(&content.object, &(0..content.size_bytes), &data, &sums)?;
    }
    Ok(VerifiedChunk {
        offset: 0,
        crc32c: crc32c(&data),
        data,
    })
}

/// Puts contents together that lie near each other.
fn groups(contents: &[BlobContent]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..contents.len()).collect();
    order.sort_unstable_by_key(|number| (contents[*number].object.as_str(), contents[*number].offset));
    let mut groups: Vec<Group> = Vec::new();
    for number in order {
        let content = &contents[number];
        let end = content.offset + content.size_bytes;
        match groups.last_mut() {
            Some(group)
                if contents[group.numbers[0]].object == content.object
                    && content.offset <= group.range.end + GAP_BYTES_MAX
                    && end - group.range.start <= GROUP_BYTES_MAX =>
            {
                group.numbers.push(number);
                group.range.end = group.range.end.max(end);
            }
            _ => groups.push(Group {
                numbers: vec![number],
                range: content.offset..end,
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use artifactd_domain::Suffix;
    use object_store::memory::InMemory;

    use super::*;
    use crate::storage::{BlockSums, ObjectName, StorageError};

    fn object(number: u8) -> ObjectName {
        ObjectName::new([number; 16], &Suffix::of_name("x"))
    }

    fn content(object_number: u8, offset: usize, bytes: &[u8]) -> BlobContent {
        BlobContent {
            object: object(object_number),
            offset: offset as u64,
            size_bytes: bytes.len() as u64,
            sums: BlockSums::Inline([crc32c(bytes)].into()),
        }
    }

    #[tokio::test]
    async fn neighbours_cost_one_request_and_damage_is_told_where_it_is() {
        let storage = InMemory::new();
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        storage.put(&object(1).path(), bytes.clone().into()).await.unwrap();
        storage
            .put(&object(2).path(), bytes[..100].to_vec().into())
            .await
            .unwrap();
        let view = ArtifactView::new(Arc::new(storage), Vec::new());
        let contents = [
            content(1, 50, &bytes[50..90]),
            content(2, 0, &bytes[..10]),
            content(1, 0, &bytes[..50]),
            content(1, 20, b"other bytes than those that are there"),
            content(1, 500_000, &bytes[500_000..500_001]),
            content(2, 90, &bytes[90..120]),
            content(3, 0, b"gone"),
            content(1, 90, b""),
        ];
        let read = view.read_small(&contents).await;
        let data = |number: usize| read[number].as_ref().unwrap().data.clone();
        assert_eq!(data(0), bytes[50..90]);
        assert_eq!(data(1), bytes[..10]);
        assert_eq!(data(2), bytes[..50]);
        assert!(matches!(read[3], Err(StorageError::Corrupt { .. })));
        assert_eq!(data(4), bytes[500_000..500_001]);
        assert!(
            matches!(read[5], Err(StorageError::Corrupt { .. })),
            "its object is cut"
        );
        assert!(matches!(read[6], Err(StorageError::NotFound { .. })));
        assert_eq!(data(7), b""[..]);
        let sound = [contents[0].clone(), contents[2].clone(), contents[7].clone()];
        let before = view.counter().requests();
        assert!(view.read_small(&sound).await.iter().all(Result::is_ok));
        assert_eq!(view.counter().requests() - before, 1);
    }
}
