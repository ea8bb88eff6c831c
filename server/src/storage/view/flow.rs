//! Content as a stream of checked chunks.
//!
//! A stream begins with a small piece. Whoever takes its pieces at speed gets
//! large ones, and the next is fetched while one is sent, as long as there is
//! room for it. So a caller that takes nothing holds one small piece.
//!
//! Who takes chunks that are not large gets them one by one for as long as they come at
//! once: then they are sent while the processor has them at hand, and nothing is gained by
//! fetching ahead.

use std::{
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Instant,
};

use futures::{
    future::{BoxFuture, MaybeDone, maybe_done},
    poll,
    stream::{self, BoxStream},
};

use super::{ArtifactView, BLOCK, BlobContent, CheckedBlocks, Result, VerifiedChunk, budget::Room, cut};

/// Bytes that are fetched at once where there is room.
pub(super) const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes that every stream may hold: a block, since less cannot be checked.
const SMALL_PIECE_BYTES: u64 = BLOCK;

/// Largest chunks that a processor still has at hand when they are sent.
const AT_HAND_BYTES_MAX: u64 = 8 * BLOCK;

/// After a piece that had to be waited for, so many are not expected to come at once, at first:
/// twice as many each time that this is found to be so, up to a number.
const AWAITED_FIRST: u32 = 1;
const AWAITED_MAX: u32 = 64;

/// Who takes as much has use for large pieces, and gives their room back soon.
const FAST_BYTES_PER_SECOND: f64 = (8 * 1024 * 1024) as f64;

/// A piece on its way here.
type Fetch = BoxFuture<'static, Result<CheckedBlocks>>;

/// Whether a caller takes what it gets at speed: what was seen of one stream holds for
/// the next one of the same call.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<AtomicBool>);

impl Pace {
    /// Whether what was given last was taken at speed.
    pub fn is_fast(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that bytes were taken which were given at some time.
    pub fn note(&self, bytes: u64, given: Instant) {
        let is_fast = bytes as f64 >= FAST_BYTES_PER_SECOND * given.elapsed().as_secs_f64();
        self.0.store(is_fast, Ordering::Relaxed);
    }
}

/// A stream of chunks.
pub(super) struct Flow {
    view: ArtifactView,
    content: BlobContent,
    chunk_bytes: u64,
    /// What no fetch has begun for.
    rest: Range<u64>,
    sending: Option<Sending>,
    /// The piece after it.
    ahead: Option<Pin<Box<MaybeDone<Fetch>>>>,
    /// How many pieces are not expected to come at once.
    awaited: u32,
    /// How many will not be when the next one does not.
    awaited_next: u32,
}

impl Flow {
    pub(super) fn new(view: ArtifactView, content: BlobContent, range: Range<u64>, chunk_bytes: u64) -> Self {
        Self {
            view,
            content,
            chunk_bytes,
            rest: range,
            sending: None,
            ahead: None,
            awaited: if chunk_bytes > AT_HAND_BYTES_MAX { u32::MAX } else { 0 },
            awaited_next: AWAITED_FIRST,
        }
    }

    /// The chunks in order. The first error ends them.
    pub(super) fn chunks(self) -> BoxStream<'static, Result<VerifiedChunk>> {
        Box::pin(stream::unfold(Some(self), |flow| async move {
            let mut flow = flow?;
            match flow.next().await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some(flow))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    async fn next(&mut self) -> Result<Option<VerifiedChunk>> {
        self.drive_ahead().await;
        loop {
            if let Some(chunk) = self.sending.as_mut().and_then(|piece| piece.next(self.chunk_bytes)) {
                return Ok(Some(chunk));
            }
            if let Some(piece) = self.sending.take() {
                self.view.pace.note(piece.bytes, piece.since);
            }
            let taken_fast = self.view.pace.is_fast();
            if self.ahead.is_none() && self.awaited == 0 {
                let Some(mut fetch) = self.fetch_at_hand(taken_fast) else {
                    return Ok(None);
                };
                let blocks = match poll!(fetch.as_mut()) {
                    Poll::Ready(blocks) => {
                        self.awaited_next = AWAITED_FIRST;
                        blocks?
                    }
                    Poll::Pending => {
                        self.awaited = self.awaited_next;
                        self.awaited_next = (2 * self.awaited).min(AWAITED_MAX);
                        fetch.await?
                    }
                };
                self.sending = Some(Sending::begin(blocks));
                continue;
            }
            if self.awaited < u32::MAX {
                self.awaited = self.awaited.saturating_sub(1);
            }
            match self.next_piece(taken_fast).await? {
                Some(blocks) => self.sending = Some(Sending::begin(blocks)),
                None => return Ok(None),
            }
            if taken_fast && self.awaited > 0 {
                self.ahead = self.fetch_large().map(|fetch| Box::pin(maybe_done(fetch)));
                self.drive_ahead().await;
            }
        }
    }

    async fn next_piece(&mut self, taken_fast: bool) -> Result<Option<CheckedBlocks>> {
        if let Some(mut ahead) = self.ahead.take() {
            ahead.as_mut().await;
            return ahead.as_mut().take_output().transpose();
        }
        let large = if taken_fast { self.fetch_large() } else { None };
        match large.or_else(|| self.fetch(SMALL_PIECE_BYTES, None)) {
            Some(fetch) => fetch.await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins what is fetched ahead, and lets it go on where it waits for its caller.
    async fn drive_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            let _ = poll!(ahead.as_mut());
        }
    }

    /// As much as is given at once. Nothing at the end.
    fn fetch_at_hand(&mut self, taken_fast: bool) -> Option<Fetch> {
        let is_large = taken_fast && self.chunk_bytes > SMALL_PIECE_BYTES;
        let room = is_large.then(|| self.view.budget.room()).flatten();
        match room {
            Some(room) => self.fetch(self.chunk_bytes, Some(room)),
            None => self.fetch(SMALL_PIECE_BYTES, None),
        }
    }

    /// Nothing where there is no room.
    fn fetch_large(&mut self) -> Option<Fetch> {
        let room = self.view.budget.room()?;
        self.fetch(PIECE_BYTES, Some(room))
    }

    /// Nothing at the end.
    fn fetch(&mut self, piece_bytes: u64, room: Option<Room>) -> Option<Fetch> {
        let range = cut(self.rest.clone(), piece_bytes).next()?;
        self.rest.start = range.end;
        let (view, content) = (self.view.clone(), self.content.clone());
        Some(Box::pin(async move {
            let mut blocks = view.fetch(&content, &range).await?;
            if let Some(room) = room {
                blocks.data = room.hold(blocks.data);
            }
            Ok(blocks)
        }))
    }
}

/// A piece of which chunks are being given.
struct Sending {
    blocks: CheckedBlocks,
    /// What was not given yet.
    left: Range<u64>,
    bytes: u64,
    since: Instant,
}

impl Sending {
    fn begin(blocks: CheckedBlocks) -> Self {
        let left = blocks.range.clone();
        Self {
            blocks,
            bytes: left.end - left.start,
            left,
            since: Instant::now(),
        }
    }

    fn next(&mut self, chunk_bytes: u64) -> Option<VerifiedChunk> {
        let chunk = cut(self.left.clone(), chunk_bytes).next()?;
        self.left.start = chunk.end;
        Some(self.blocks.chunk(chunk))
    }
}
