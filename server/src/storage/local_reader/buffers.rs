//! Memory of reads, used again: fresh memory costs as much as reading into it.

use std::{
    collections::VecDeque,
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use object_store::Result;

use super::{at_hand, failed};

/// Smaller reads have memory of their own, which goes with them. So have larger ones than are
/// made often.
pub(super) const KEPT_BYTES_MIN: usize = 256 * 1024;
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Buffers that are kept for later reads: more than one reader of a table has in use, who
/// sends a message of several while the next one is read. Fewer would be as good as none,
/// as those that were read last are in use when another is needed.
pub(super) const BUFFERS_KEPT: usize = 12;

/// How long they are kept when nothing is read.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Memory of reads whose bytes nobody holds any more. The heap gives memory as large back to
/// the system, which would clear it for each read.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Those that were read last, the last one at the back.
    pub(super) buffers: VecDeque<Bytes>,
    /// How many were read.
    reads: u64,
    /// Whether somebody looks at that.
    pub(super) is_watched: bool,
}

fn is_kept(bytes: usize) -> bool {
    (KEPT_BYTES_MIN..=KEPT_BYTES_MAX).contains(&bytes)
}

/// Gives memory back when nothing was read for a while.
async fn watch(buffers: Weak<Buffers>) {
    let mut reads = 0;
    loop {
        tokio::time::sleep(KEPT_FOR).await;
        match buffers.upgrade().and_then(|buffers| buffers.reads_since(reads)) {
            Some(now) => reads = now,
            None => break,
        }
    }
}

impl Buffers {
    /// A range of a file, if the system has all of it in memory.
    pub(super) fn read_at_hand(self: &Arc<Self>, file: &File, range: &Range<u64>) -> Option<Bytes> {
        let bytes = (range.end - range.start) as usize;
        let mut buffer = self.free(bytes).unwrap_or_else(|| BytesMut::zeroed(bytes));
        if !at_hand::fill(file, &mut buffer, range.start) {
            return None;
        }
        let data = buffer.freeze();
        self.keep(&data);
        Some(data)
    }

    /// A range of a file, wherever it is.
    pub(super) fn read(self: &Arc<Self>, file: &File, range: Range<u64>) -> Result<Bytes> {
        let bytes = (range.end - range.start) as usize;
        let read = match self.free(bytes) {
            Some(mut buffer) => {
                let read = file.read_exact_at(&mut buffer, range.start);
                read.map(|()| buffer.freeze())
            }
            None => read_anew(file, bytes, range.start),
        };
        let data = read.map_err(failed)?;
        self.keep(&data);
        Ok(data)
    }

    /// Memory of that size. The one used last is more likely than others to be in a cache of
    /// the processor.
    fn free(&self, bytes: usize) -> Option<BytesMut> {
        if !is_kept(bytes) {
            return None;
        }
        let buffers = &mut self.kept.lock().expect("no holder panics").buffers;
        let free = buffers
            .iter()
            .rposition(|kept| kept.len() == bytes && kept.is_unique())?;
        buffers.remove(free).map(BytesMut::from)
    }

    fn keep(self: &Arc<Self>, data: &Bytes) {
        if !is_kept(data.len()) {
            return;
        }
        let mut kept = self.kept.lock().expect("no holder panics");
        kept.reads += 1;
        kept.buffers.push_back(data.clone());
        if kept.buffers.len() > BUFFERS_KEPT {
            kept.buffers.pop_front();
        }
        if !std::mem::replace(&mut kept.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// How many were read by now; when there are no more than before, nothing is kept any
    /// more and nobody watches.
    pub(super) fn reads_since(&self, before: u64) -> Option<u64> {
        let mut kept = self.kept.lock().expect("no holder panics");
        if kept.reads != before {
            return Some(kept.reads);
        }
        kept.buffers.clear();
        kept.is_watched = false;
        None
    }
}

/// Reads into new memory, which nobody has to clear first.
fn read_anew(file: &File, bytes: usize, start: u64) -> std::io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(bytes);
    while buffer.len() < bytes {
        let at = start + buffer.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(bytes);
    Ok(buffer.into())
}
