//! Many members of a folder, or parts of them, in one stream.
//!
//! What is wanted is planned page by page of the manifest, so a folder of a million
//! files costs the memory of a page. Small files go together, and are fetched together
//! where they lie together; of the others, the next begins to be fetched while one is sent.

mod pages;
mod plan;
mod walk;

use std::{ops::Range, sync::Arc, time::Instant};

use artifactd_domain::{
    ArtifactRef,
    manifest::{Glob, Member, MemberPath},
};
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use self::plan::{Plan, Planned, Unit};
use super::super::{Artifact, Caller, Registry, RegistryError, Result, lineage::IsRunInput, open::ReadRange};
use crate::{
    db::artifacts::ArtifactRow,
    storage::{ArtifactView, Pace, ReadBudget, Room, VerifiedChunk},
};

/// Units that are fetched at once: the one that is sent, and the next.
const UNITS_AHEAD: usize = 2;

/// Which members of a folder to read.
#[derive(Debug)]
pub struct MembersToRead {
    /// The folder.
    pub reference: ArtifactRef,
    /// Which of its members.
    pub which: WhichMembers,
    /// Entity tag that its content must have.
    pub if_match: Option<String>,
    /// Whether a look-up by key or stem may find a hidden artifact.
    pub include_hidden: bool,
    /// Most bytes of one chunk.
    pub chunk_bytes: u64,
    /// Whether this is an input of the caller's run.
    pub is_run_input: IsRunInput,
}

/// A choice of members.
#[derive(Debug)]
pub enum WhichMembers {
    /// These parts, in this order.
    Ranges(Vec<MemberRange>),
    /// All that match, in the order of their paths.
    Matching {
        /// What their paths begin with.
        prefix: String,
        /// What their paths match.
        glob: Option<Glob>,
        /// Where to begin: a path, and the first byte of the file there.
        start: Option<(MemberPath, u64)>,
    },
}

/// A part of a member.
#[derive(Debug, Clone)]
pub struct MemberRange {
    /// The member.
    pub path: MemberPath,
    /// The part.
    pub range: ReadRange,
}

/// The beginning of a member that is read, or of a part of one.
#[derive(Debug, Clone)]
pub struct MemberHead {
    /// Number of the range that was asked for, or of the file, from 0.
    pub number: u64,
    /// The member.
    pub member: Member,
    /// The bytes of it that are read.
    pub range: Range<u64>,
}

/// What a stream of members consists of.
#[derive(Debug)]
pub enum MemberPiece {
    /// Some whole parts of small files, and the room that they take until they are sent.
    Whole(Vec<(MemberHead, VerifiedChunk)>, Option<Room>),
    /// A part begins; its chunks follow.
    Begin(MemberHead),
    /// The next bytes of the part that began.
    Chunk(VerifiedChunk),
}

/// Members that are ready to be streamed.
pub struct OpenMembers {
    /// Whose members they are.
    pub artifact: Artifact,
    /// The members. The first error ends it.
    pub pieces: BoxStream<'static, Result<MemberPiece>>,
}

/// A unit that is being fetched.
enum Fetched {
    Whole(Vec<(MemberHead, VerifiedChunk)>, Option<Room>),
    Part {
        head: MemberHead,
        first: Option<VerifiedChunk>,
        rest: BoxStream<'static, Result<VerifiedChunk>>,
    },
}

impl Registry {
    /// Opens members of a folder.
    pub async fn open_members(self: &Arc<Self>, caller: &Caller, wanted: MembersToRead) -> Result<OpenMembers> {
        let MembersToRead {
            reference,
            which,
            if_match,
            include_hidden,
            chunk_bytes,
            is_run_input,
        } = wanted;
        let row = self.find(self.db.reader(), caller, &reference, include_hidden).await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        let input = self.require_reader(caller, is_run_input).await?;
        let manifest_id = row.folder()?;
        let artifact = self.to_artifact(row.clone())?;
        if if_match.is_some_and(|wanted| wanted != artifact.content_etag()) {
            return Err(RegistryError::ContentChanged(artifact.uid));
        }
        let plan = Plan::new(Arc::clone(self), &artifact, manifest_id, which);
        let store = &self.places.storage_by_id(row.storage_id)?.store;
        let pace = Pace::default();
        let fetcher = Arc::new(Fetcher {
            view: self.view(store, Vec::new()),
            registry: Arc::clone(self),
            caller: caller.clone(),
            row,
            chunk_bytes,
            pace: pace.clone(),
        });
        let pieces = units(plan, (self.read_budget.clone(), pace.clone()))
            .map(move |unit| {
                let fetcher = Arc::clone(&fetcher);
                async move { fetcher.fetch(unit?).await }
            })
            .buffered(UNITS_AHEAD)
            .map_ok(move |fetched| fetched.pieces(pace.clone()))
            .try_flatten()
            .boxed();
        let pieces = ending_with_error(pieces);
        let pieces = match input {
            Some(input) => input.noted_at_end(self, artifact.uid, pieces),
            None => pieces,
        };
        Ok(OpenMembers { artifact, pieces })
    }
}

/// The units of a plan, in order.
fn units(plan: Plan, memory: (ReadBudget, Pace)) -> impl Stream<Item = Result<Unit>> {
    stream::try_unfold((plan, memory), |(mut plan, (budget, pace))| async move {
        let unit = plan.next_unit(&budget, &pace).await?;
        Ok(unit.map(|unit| (unit, (plan, (budget, pace)))))
    })
}

/// Ends a stream after its first error.
fn ending_with_error(pieces: BoxStream<'static, Result<MemberPiece>>) -> BoxStream<'static, Result<MemberPiece>> {
    stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        match pieces.next().await? {
            Ok(piece) => Some((Ok(piece), Some(pieces))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Fetched {
    fn pieces(self, pace: Pace) -> BoxStream<'static, Result<MemberPiece>> {
        match self {
            Self::Whole(parts, room) => whole(parts, room, pace),
            Self::Part { head, first, rest } => stream::iter([MemberPiece::Begin(head)])
                .chain(stream::iter(first.map(MemberPiece::Chunk)))
                .map(Ok)
                .chain(rest.map_ok(MemberPiece::Chunk))
                .boxed(),
        }
    }
}

/// Gives parts of small files, and notes how fast they were taken when more is asked for.
fn whole(
    parts: Vec<(MemberHead, VerifiedChunk)>,
    room: Option<Room>,
    pace: Pace,
) -> BoxStream<'static, Result<MemberPiece>> {
    let bytes = parts.iter().map(|(_, chunk)| chunk.data.len() as u64).sum();
    stream::unfold(Giving::Next(parts, room), move |giving| {
        std::future::ready(match giving {
            Giving::Next(parts, room) => Some((Ok(MemberPiece::Whole(parts, room)), Giving::Given(Instant::now()))),
            Giving::Given(at) => {
                pace.note(bytes, at);
                None
            }
        })
    })
    .boxed()
}

enum Giving {
    Next(Vec<(MemberHead, VerifiedChunk)>, Option<Room>),
    Given(Instant),
}

/// Fetches units of one folder.
struct Fetcher {
    registry: Arc<Registry>,
    caller: Caller,
    row: ArtifactRow,
    view: ArtifactView,
    chunk_bytes: u64,
    pace: Pace,
}

impl Fetcher {
    async fn fetch(&self, unit: Unit) -> Result<Fetched> {
        match unit {
            Unit::Small(parts, room) => Ok(Fetched::Whole(self.fetch_small(parts).await?, room)),
            Unit::Large(Planned { head, place }) => {
                let reader = self
                    .registry
                    .reader_of(&self.caller, &self.row, place)?
                    .at_pace(&self.pace);
                let mut rest = reader.stream(head.range.clone(), self.chunk_bytes);
                let first = rest.next().await.transpose()?;
                Ok(Fetched::Part { head, first, rest })
            }
        }
    }

    async fn fetch_small(&self, parts: Vec<Planned>) -> Result<Vec<(MemberHead, VerifiedChunk)>> {
        let contents = parts.iter().map(|part| self.registry.content_at(&part.place));
        let contents = contents.collect::<Result<Vec<_>>>()?;
        let read = self.view.read_small(&contents).await;
        let mut fetched = Vec::with_capacity(parts.len());
        for (part, chunk) in parts.into_iter().zip(read) {
            let chunk = match chunk {
                Ok(chunk) => chunk.part(&part.head.range),
                // It may have been moved; if it is damaged, that is noted.
                Err(_) => self.fetch_again(&part).await?,
            };
            fetched.push((part.head, chunk));
        }
        Ok(fetched)
    }

    async fn fetch_again(&self, part: &Planned) -> Result<VerifiedChunk> {
        let reader = self.registry.reader_of(&self.caller, &self.row, part.place.clone())?;
        let range = part.head.range.clone();
        let (start, bytes) = (range.start, range.end - range.start);
        // Contents of one block come in one chunk.
        let chunk = reader.stream(range, bytes.max(1)).try_next().await?;
        Ok(chunk.unwrap_or_else(|| VerifiedChunk::empty(start)))
    }
}
