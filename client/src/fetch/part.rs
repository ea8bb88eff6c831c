//! A file that is coming in: its bytes, and behind them which of them are there.
//!
//! Bytes are told to be there after they were written, block by block, so that a
//! program that is killed leaves nothing behind that claims too much. After a loss of
//! power some may be missing all the same; the sha256 of the whole decides in the end,
//! and what was taken over is fetched again when it does not match.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use artifactd_domain::{Sha256, Sha256Hasher};
use rustix::fs::OFlags;
use tokio::time;

use super::place::Place;
use crate::{Error, Result};

/// What is told to be there at once, but of the largest contents.
const BLOCK_BYTES: u64 = 1 << 20;

/// Blocks of the largest content, so that no size that a server tells takes much memory.
const BLOCKS_BITS_MAX: u32 = 20;

/// The most that one call fetches, so that streams share the work evenly.
pub(super) const SPAN_BYTES: u64 = 32 << 20;

const MAGIC: &[u8; 16] = b"artifactd part 1";
const HEAD_BYTES: usize = MAGIC.len() + 32 + 8;

/// How often to look whether another program is done with the file.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A file that is coming in. This program alone has it.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    size_bytes: u64,
    block_bytes: u64,
    /// One byte for each block: 1 when it is there.
    blocks: Mutex<Vec<u8>>,
    hashing: Mutex<Hashing>,
    /// Whether it has become the file, or is to go.
    is_settled: AtomicBool,
}

/// The digest of the bytes from the first one on.
#[derive(Debug, Default)]
struct Hashing {
    hasher: Sha256Hasher,
    position: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part {
    /// Goes on with the file at a path, or begins it. Waits while another program has it,
    /// and says whether it did.
    pub(crate) async fn open(path: PathBuf, sha256: Sha256, size_bytes: u64) -> Result<(Self, bool)> {
        let failed = |error| Error::file(&path, error);
        let mut waited = false;
        let file = loop {
            let file = open_or_create(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_still_at(&file, &path).map_err(failed)? => break file,
                // Another one has finished it, or given it up.
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    waited = true;
                    time::sleep(LOCK_POLL).await;
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
        };
        let part = Self {
            blocks: Mutex::new(vec![0; blocks_of(size_bytes)]),
            file,
            size_bytes,
            block_bytes: block_bytes_of(size_bytes),
            hashing: Mutex::default(),
            is_settled: AtomicBool::new(false),
            path: path.clone(),
        };
        part.take_over(sha256).map_err(failed)?;
        Ok((part, waited))
    }

    /// Takes over what an earlier run left, or begins anew.
    fn take_over(&self, sha256: Sha256) -> io::Result<()> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(sha256.as_bytes());
        head.extend_from_slice(&self.size_bytes.to_le_bytes());
        let blocks = blocks_of(self.size_bytes);
        let whole = self.size_bytes.checked_add((HEAD_BYTES + blocks) as u64);
        let whole = whole.ok_or(io::ErrorKind::FileTooLarge)?;
        if self.file.metadata()?.len() == whole {
            let mut found = vec![0; HEAD_BYTES + blocks];
            self.file.read_exact_at(&mut found, self.size_bytes)?;
            if found[..HEAD_BYTES] == head {
                lock(&self.blocks).copy_from_slice(&found[HEAD_BYTES..]);
                return Ok(());
            }
        }
        self.file.set_len(0)?;
        // What fits into a block is not worth going on with.
        if self.size_bytes > BLOCK_BYTES {
            self.file.set_len(whole)?;
            self.file.write_all_at(&head, self.size_bytes)?;
        }
        Ok(())
    }

    /// Bytes of each block but the last.
    pub(super) fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// Bytes that are there.
    pub(super) fn present_bytes(&self) -> u64 {
        let missing: u64 = self.missing().iter().map(|span| span.end - span.start).sum();
        self.size_bytes - missing
    }

    /// What is not there, in order and in pieces that one call fetches.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let blocks = lock(&self.blocks);
        let mut spans: Vec<Range<u64>> = Vec::new();
        for (number, _) in blocks.iter().enumerate().filter(|(_, is_there)| **is_there == 0) {
            let start = number as u64 * self.block_bytes;
            let end = start.saturating_add(self.block_bytes).min(self.size_bytes);
            match spans.last_mut() {
                Some(span) if span.end == start && span.end - span.start < SPAN_BYTES => span.end = end,
                _ => spans.push(start..end),
            }
        }
        spans
    }

    /// Writes bytes that belong at a position.
    pub(super) fn write(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)?;
        // Whoever holds it catches up, and so does the end.
        if let Ok(mut hashing) = self.hashing.try_lock()
            && hashing.position == offset
        {
            hashing.hasher.update(data);
            hashing.position += data.len() as u64;
        }
        Ok(())
    }

    /// Notes which blocks are whole after all between two positions was written.
    pub(super) fn note(&self, written: Range<u64>) -> io::Result<()> {
        let first = written.start.div_ceil(self.block_bytes);
        let end = if written.end == self.size_bytes {
            written.end.div_ceil(self.block_bytes)
        } else {
            written.end / self.block_bytes
        };
        if first >= end {
            return Ok(());
        }
        let marks = vec![1; (end - first) as usize];
        if self.size_bytes > BLOCK_BYTES {
            let place = self.size_bytes + HEAD_BYTES as u64 + first;
            self.file.write_all_at(&marks, place)?;
        }
        lock(&self.blocks)[first as usize..end as usize].copy_from_slice(&marks);
        Ok(())
    }

    /// Hashes what is there from the first byte on and was not hashed when it came.
    pub(super) fn catch_up(&self) -> io::Result<()> {
        let mut hashing = lock(&self.hashing);
        let mut memory = Vec::new();
        loop {
            let end = self.present_up_to(hashing.position);
            if hashing.position >= end {
                return Ok(());
            }
            while hashing.position < end {
                memory.resize(BLOCK_BYTES.min(end - hashing.position) as usize, 0);
                self.file.read_exact_at(&mut memory, hashing.position)?;
                hashing.hasher.update(&memory);
                hashing.position += memory.len() as u64;
            }
        }
    }

    /// Where the blocks end that are there without a gap behind a position.
    fn present_up_to(&self, position: u64) -> u64 {
        let blocks = lock(&self.blocks);
        let first = (position / self.block_bytes) as usize;
        let rest = blocks.get(first..).unwrap_or_default();
        let there = rest.iter().take_while(|is_there| **is_there == 1).count();
        ((first + there) as u64 * self.block_bytes).min(self.size_bytes)
    }

    /// The sha256 of the whole, once all of it is there.
    pub(super) fn sha256(&self) -> io::Result<Sha256> {
        self.catch_up()?;
        Ok(std::mem::take(&mut *lock(&self.hashing)).hasher.finish())
    }

    /// Forgets all that is there.
    pub(super) fn clear(&self) -> io::Result<()> {
        let mut blocks = lock(&self.blocks);
        blocks.fill(0);
        if self.size_bytes > BLOCK_BYTES {
            self.file.write_all_at(&blocks, self.size_bytes + HEAD_BYTES as u64)?;
        }
        *lock(&self.hashing) = Hashing::default();
        Ok(())
    }

    /// Makes it the file that it was for.
    pub(crate) fn become_file(&self, place: &Place, durable: bool) -> io::Result<()> {
        self.file.set_len(self.size_bytes)?;
        if durable {
            self.file.sync_all()?;
        }
        place.take_file(&self.path, durable)?;
        self.is_settled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes it.
    pub(crate) fn discard(&self) {
        if !self.is_settled.swap(true, Ordering::Relaxed) {
            // One that cannot be removed has a name that says what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.size_bytes <= BLOCK_BYTES || self.present_bytes() == 0 {
            self.discard();
        }
    }
}

fn block_bytes_of(size_bytes: u64) -> u64 {
    BLOCK_BYTES.max(size_bytes.div_ceil(1 << BLOCKS_BITS_MAX).next_power_of_two())
}

fn blocks_of(size_bytes: u64) -> usize {
    size_bytes.div_ceil(block_bytes_of(size_bytes)) as usize
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("something that is no file lies where it would be"));
    }
    Ok(file)
}

/// Whether a path still leads to a file that was opened there.
pub(crate) fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 3 * BLOCK_BYTES + 7;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|n| (n * 7 % 251) as u8).collect()
    }

    async fn part(folder: &Path) -> Part {
        let sha256 = Sha256::of(&content());
        Part::open(folder.join("x.part"), sha256, SIZE).await.unwrap().0
    }

    fn put(part: &Part, range: Range<u64>) {
        let content = content();
        part.write(&content[range.start as usize..range.end as usize], range.start)
            .unwrap();
        part.note(range).unwrap();
    }

    #[tokio::test]
    async fn what_is_whole_is_found_again_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let one = part(folder.path()).await;
        assert_eq!(one.missing(), vec![Range { start: 0, end: SIZE }]);
        put(&one, BLOCK_BYTES..2 * BLOCK_BYTES + 5);
        put(&one, 3 * BLOCK_BYTES..SIZE);
        drop(one);
        let two = part(folder.path()).await;
        assert_eq!(two.missing(), [0..BLOCK_BYTES, 2 * BLOCK_BYTES..3 * BLOCK_BYTES]);
        assert_eq!(two.present_bytes(), BLOCK_BYTES + 7);
        put(&two, 2 * BLOCK_BYTES..3 * BLOCK_BYTES);
        put(&two, 0..BLOCK_BYTES);
        assert_eq!(two.sha256().unwrap(), Sha256::of(&content()));
    }

    #[tokio::test]
    async fn the_part_of_another_content_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        put(&part(folder.path()).await, 0..BLOCK_BYTES);
        let other = Part::open(folder.path().join("x.part"), Sha256::of(b"other"), SIZE).await;
        assert_eq!(other.unwrap().0.present_bytes(), 0);
    }

    #[test]
    fn no_size_takes_much_memory() {
        assert_eq!(block_bytes_of(600 << 30), BLOCK_BYTES);
        for size in [0, 1, BLOCK_BYTES, (1 << 40) + 1, i64::MAX as u64, u64::MAX] {
            assert!(blocks_of(size) <= 1 << BLOCKS_BITS_MAX, "{size}");
            assert!(u128::from(block_bytes_of(size)) * blocks_of(size) as u128 >= u128::from(size));
        }
    }

    #[tokio::test]
    async fn nothing_worth_keeping_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(part(folder.path()).await);
        let small = Part::open(folder.path().join("small.part"), Sha256::of(b"x"), 1).await;
        drop(small);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("x.part")).unwrap();
        let refused = Part::open(folder.path().join("x.part"), Sha256::of(b""), SIZE).await;
        assert!(refused.is_err());
        assert_eq!(std::fs::read(victim).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn two_never_have_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let one = part(folder.path()).await;
        put(&one, 0..BLOCK_BYTES);
        let path = folder.path().to_owned();
        let two = tokio::spawn(async move {
            let opened = Part::open(path.join("x.part"), Sha256::of(&content()), SIZE).await;
            opened.unwrap()
        });
        time::sleep(3 * LOCK_POLL).await;
        assert!(!two.is_finished());
        drop(one);
        let (two, waited) = two.await.unwrap();
        assert!(waited);
        assert_eq!(two.present_bytes(), BLOCK_BYTES);
    }
}
