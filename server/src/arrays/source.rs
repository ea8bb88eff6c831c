//! Ranges of one file, read by a thread that may wait.
//!
//! Decoders are not asynchronous, and run on threads of their own. What they read
//! comes in cells of a grid, so that neighbours in a cell cost one request, and the
//! next cell of a run is fetched while one is decoded. The store below checks every
//! byte; here bytes are only kept, and never more than [`CELLS_BYTES_MAX`] of them.

use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::error::{ArrayError, Result};

/// Cells of one file that are kept for a reader.
const CELLS_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Largest cell; the view below gives as much in one piece, without copying it.
const CELL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Smallest cell: below this size nothing can be checked.
const CELL_BYTES_MIN: u64 = artifactd_domain::BLOCK_BYTES as u64;

/// Where the bytes of a table are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// In a file of an artifact.
    Stored(Arc<dyn ObjectStore>, Path),
    /// Here, all of them.
    Here(Bytes),
}

/// Where the bytes of a table are read.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The file.
    pub(crate) content: Content,
    /// Bytes of the file.
    pub(crate) size_bytes: u64,
    /// Ends reads for which nobody waits any more.
    pub(crate) cancel: CancellationToken,
}

impl Place {
    /// A file of an artifact.
    pub(crate) fn stored(store: Arc<dyn ObjectStore>, path: Path, size_bytes: u64, cancel: CancellationToken) -> Self {
        Self {
            content: Content::Stored(store, path),
            size_bytes,
            cancel,
        }
    }

    /// Content that is all here.
    pub(crate) fn here(content: Bytes) -> Self {
        Self {
            size_bytes: content.len() as u64,
            content: Content::Here(content),
            cancel: CancellationToken::new(),
        }
    }

    /// The same for readers that another token ends.
    pub(crate) fn until(&self, cancel: &CancellationToken) -> Self {
        Self {
            cancel: cancel.clone(),
            ..self.clone()
        }
    }
}

/// Reads ranges of one file. Must be used where waiting is allowed.
pub(crate) struct Source {
    place: Place,
    /// Where fetches run; nowhere when nothing is to be fetched.
    runtime: Option<Handle>,
    cell_bytes: u64,
    /// What will be read, in order; nothing between these is worth fetching ahead.
    wanted: Vec<Range<u64>>,
    reads_ahead: bool,
    cells: Mutex<Cells>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} bytes)", self.place.size_bytes)
    }
}

/// Cells that are here or on their way, the one used last at the back.
#[derive(Default)]
struct Cells {
    here: VecDeque<Cell>,
    coming: Option<(Range<u64>, Coming)>,
}

/// Bytes that were asked for.
enum Coming {
    /// They came at once, as those do that the system has in memory.
    Here(object_store::Result<Bytes>),
    /// They come when a task has them.
    Awaited(JoinHandle<object_store::Result<Bytes>>),
}

struct Cell {
    range: Range<u64>,
    data: Bytes,
}

impl Source {
    /// A reader of the whole file from one place to the next.
    ///
    /// Must be made inside the runtime that fetches.
    pub(crate) fn new(place: Place) -> Self {
        let whole = 0..place.size_bytes;
        Self::of_parts(place, vec![whole], 1)
    }

    /// A reader of a little here and there.
    pub(crate) fn sparse(place: Place) -> Self {
        Self::of_parts(place, Vec::new(), 1)
    }

    /// A reader of some parts of the file, which moves on in `runs` places at once.
    pub(crate) fn of_parts(place: Place, mut wanted: Vec<Range<u64>>, runs: usize) -> Self {
        wanted.sort_unstable_by_key(|range| range.start);
        // Each run needs a cell, and one that is on its way.
        let share = CELLS_BYTES_MAX / (2 * runs.max(1) as u64);
        let cell_bytes = prev_power_of_two(share).clamp(CELL_BYTES_MIN, CELL_BYTES_MAX);
        Self {
            runtime: Handle::try_current().ok(),
            reads_ahead: cell_bytes <= share,
            place,
            cell_bytes,
            wanted,
            cells: Mutex::default(),
        }
    }

    /// Where it reads.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Bytes of the file.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.place.size_bytes
    }

    /// Fails when nobody waits any more.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.place.cancel.is_cancelled() {
            return Err(ArrayError::Cancelled);
        }
        Ok(())
    }

    /// The bytes of a range, which must lie in the file.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.check_cancelled()?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if range.end > self.size_bytes() {
            return Err(ArrayError::Internal(format!(
                "a read of {range:?} in {} bytes",
                self.size_bytes()
            )));
        }
        if let Content::Here(content) = &self.place.content {
            return Ok(content.slice(range.start as usize..range.end as usize));
        }
        let first = self.cell(range.start)?;
        if range.end <= first.range.end {
            return Ok(first.slice(&range));
        }
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        bytes.extend_from_slice(&first.slice(&(range.start..first.range.end)));
        let mut next = first.range.end;
        while next < range.end {
            let cell = self.cell(next)?;
            let end = cell.range.end.min(range.end);
            bytes.extend_from_slice(&cell.slice(&(next..end)));
            next = end;
        }
        Ok(bytes.freeze())
    }

    /// As many bytes from `start` on as lie together in memory: at least one.
    pub(crate) fn read_some(&self, start: u64) -> Result<Bytes> {
        self.check_cancelled()?;
        if let Content::Here(content) = &self.place.content {
            return Ok(content.slice(start as usize..));
        }
        let cell = self.cell(start)?;
        Ok(cell.slice(&(start..cell.range.end)))
    }

    /// The cell that holds the byte at `at`.
    fn cell(&self, at: u64) -> Result<Cell> {
        let range = self.cell_range(at);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = match cells.take(at) {
            Some(cell) => cell,
            None => match cells.take_coming(at) {
                Some((range, coming)) => Cell {
                    data: self.wait(coming)?,
                    range,
                },
                None => Cell {
                    data: self.wait(self.fetch(range.clone())?)?,
                    range,
                },
            },
        };
        if cell.data.len() as u64 != cell.range.end - cell.range.start {
            return Err(ArrayError::Internal(format!(
                "a store gave too little for {:?}",
                cell.range
            )));
        }
        cells.put(Cell {
            range: cell.range.clone(),
            data: cell.data.clone(),
        });
        if self.reads_ahead
            && cells.coming.is_none()
            && let Some(next) = self.after(&cell.range)
            && !cells.holds(next.start)
        {
            cells.coming = Some((next.clone(), self.fetch(next)?));
        }
        Ok(cell)
    }

    /// The cell around a byte, cut to what is wanted there.
    fn cell_range(&self, at: u64) -> Range<u64> {
        let start = at / self.cell_bytes * self.cell_bytes;
        let end = (start + self.cell_bytes).min(self.size_bytes());
        let number = self.wanted.partition_point(|wanted| wanted.end <= at);
        match self.wanted.get(number) {
            // Blocks are checked as a whole, so that less than one saves nothing.
            Some(wanted) if wanted.contains(&at) => {
                let last = self.wanted[number..]
                    .iter()
                    .take_while(|wanted| wanted.start < end)
                    .map(|wanted| wanted.end)
                    .max();
                let wanted_end = last.unwrap_or(end).next_multiple_of(CELL_BYTES_MIN);
                let wanted_start = wanted.start / CELL_BYTES_MIN * CELL_BYTES_MIN;
                start.max(wanted_start)..end.min(wanted_end)
            }
            _ => {
                let start = at / CELL_BYTES_MIN * CELL_BYTES_MIN;
                start..(start + CELL_BYTES_MIN).min(end)
            }
        }
    }

    /// The cell after this one, where the same run goes on.
    fn after(&self, cell: &Range<u64>) -> Option<Range<u64>> {
        let number = self.wanted.partition_point(|wanted| wanted.end <= cell.end);
        let wanted = self.wanted.get(number)?;
        wanted.contains(&cell.end).then(|| self.cell_range(cell.end))
    }

    fn fetch(&self, range: Range<u64>) -> Result<Coming> {
        match (&self.runtime, &self.place.content) {
            (Some(runtime), Content::Stored(store, path)) => {
                let (store, path) = (Arc::clone(store), path.clone());
                let mut fetch = Box::pin(async move { store.get_range(&path, range).await });
                // A task is woken, and wakes who waits for it, only where there is something
                // to wait for.
                let _inside = runtime.enter();
                Ok(match fetch.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(fetched) => Coming::Here(fetched),
                    Poll::Pending => Coming::Awaited(runtime.spawn(fetch)),
                })
            }
            _ => Err(ArrayError::Internal("a fetch outside the runtime".to_owned())),
        }
    }

    fn wait(&self, coming: Coming) -> Result<Bytes> {
        let coming = match coming {
            Coming::Here(fetched) => return Ok(fetched?),
            Coming::Awaited(coming) => coming,
        };
        let runtime = self.runtime.as_ref().expect("the fetch runs there");
        let abort = coming.abort_handle();
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.place.cancel.cancelled() => {
                    abort.abort();
                    Err(ArrayError::Cancelled)
                }
                fetched = coming => match fetched {
                    Ok(fetched) => Ok(fetched?),
                    Err(_) => Err(ArrayError::Cancelled),
                },
            }
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let cells = self.cells.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, Coming::Awaited(coming))) = &cells.coming {
            coming.abort();
        }
    }
}

impl Cells {
    fn holds(&self, at: u64) -> bool {
        self.here.iter().any(|cell| cell.range.contains(&at))
    }

    fn take(&mut self, at: u64) -> Option<Cell> {
        let found = self.here.iter().rposition(|cell| cell.range.contains(&at))?;
        self.here.remove(found)
    }

    fn take_coming(&mut self, at: u64) -> Option<(Range<u64>, Coming)> {
        match &self.coming {
            Some((range, _)) if range.contains(&at) => self.coming.take(),
            _ => None,
        }
    }

    fn put(&mut self, cell: Cell) {
        self.here.push_back(cell);
        let bytes = |cells: &VecDeque<Cell>| cells.iter().map(|cell| cell.data.len() as u64).sum::<u64>();
        while self.here.len() > 1 && bytes(&self.here) > CELLS_BYTES_MAX {
            self.here.pop_front();
        }
    }
}

impl Cell {
    fn slice(&self, range: &Range<u64>) -> Bytes {
        let start = (range.start - self.range.start) as usize;
        self.data.slice(start..(range.end - self.range.start) as usize)
    }
}

fn prev_power_of_two(number: u64) -> u64 {
    match number {
        0 => 0,
        number => 1 << number.ilog2(),
    }
}
