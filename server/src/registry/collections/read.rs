//! The contents of all members of a collection in one stream, which can be taken up anywhere.

use std::{ops::Range, sync::Arc};

use artifactd_domain::{
    ArtifactRef,
    manifest::{Member, MemberPath},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{CollectionRef, find};
use crate::{
    db::{
        artifacts::ArtifactRow,
        collections::{self, MemberRow},
    },
    registry::{
        Artifact, Caller, ContentOf, IsRunInput, MemberPiece, MembersToRead, ReadRange, Registry, RegistryError,
        Result, WhichMembers,
    },
    storage::VerifiedChunk,
};

/// Members that are looked up at once.
const MEMBERS_AHEAD: u64 = 200;

/// What to read.
#[derive(Debug, Clone)]
pub struct CollectionToRead {
    /// The collection.
    pub reference: CollectionRef,
    /// Where to begin.
    pub start: CollectionStart,
    /// Most bytes of one chunk.
    pub chunk_bytes: u64,
    /// Whether the members are inputs of the caller's run.
    pub is_run_input: IsRunInput,
}

/// A place in a collection.
#[derive(Debug, Clone, Default)]
pub struct CollectionStart {
    /// Place of the member.
    pub place: i64,
    /// With a folder: the file.
    pub path: Option<MemberPath>,
    /// First byte of the file.
    pub offset: u64,
    /// Entity tag that the content of that member must have.
    pub if_match: Option<String>,
}

/// What a stream of a collection consists of.
#[derive(Debug)]
pub enum CollectionPiece {
    /// A content begins; its chunks follow.
    Begin {
        /// Place of the member.
        place: i64,
        /// The artifact.
        artifact: Box<Artifact>,
        /// The file of it, when it is a folder.
        member: Option<Member>,
        /// The bytes of it that are read.
        range: Range<u64>,
    },
    /// The next bytes of the content that began.
    Chunk(VerifiedChunk),
}

struct Walk {
    registry: Arc<Registry>,
    caller: Caller,
    collection_id: i64,
    wanted: CollectionToRead,
    /// Place of the next member that is looked up; none after the last.
    next: Option<i64>,
    waiting: std::vec::IntoIter<(MemberRow, Option<ArtifactRow>)>,
}

impl Registry {
    /// Opens the contents of a collection. The first error ends the stream.
    pub async fn read_collection(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: CollectionToRead,
    ) -> Result<BoxStream<'static, Result<CollectionPiece>>> {
        let row = find(self.db.reader(), caller.scope(), &wanted.reference).await?;
        self.require_reader(caller, wanted.is_run_input).await?;
        let walk = Walk {
            registry: Arc::clone(self),
            caller: caller.clone(),
            collection_id: row.id,
            next: Some(wanted.start.place),
            waiting: Vec::new().into_iter(),
            wanted,
        };
        let members = stream::try_unfold(walk, |mut walk| async move {
            let next = walk.next_member().await?;
            Ok::<_, RegistryError>(next.map(|next| (next, walk)))
        });
        let pieces = members.map(|member| match member {
            Ok(member) => member,
            Err(error) => stream::iter([Err(error)]).boxed(),
        });
        let pieces = pieces.flatten().boxed();
        Ok(ending_with_error(pieces))
    }
}

fn ending_with_error<T: Send + 'static>(pieces: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
    stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        match pieces.next().await? {
            Ok(piece) => Some((Ok(piece), Some(pieces))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

type Pieces = BoxStream<'static, Result<CollectionPiece>>;

impl Walk {
    /// The contents of the next member that there still is.
    async fn next_member(&mut self) -> Result<Option<Pieces>> {
        loop {
            if let Some((member, row)) = self.waiting.next() {
                match row {
                    Some(row) if !row.in_trash() => return self.open(&member, &row).await.map(Some),
                    // What is pinned and in trash can be restored: the caller should know.
                    Some(row) => return Err(RegistryError::InTrash(row.uid)),
                    None => continue,
                }
            }
            let Some(from) = self.next else { return Ok(None) };
            let conn = self.registry.db.reader();
            let members = collections::members(conn, self.collection_id, from, MEMBERS_AHEAD).await?;
            let is_full = members.len() as u64 == MEMBERS_AHEAD;
            self.next = members.last().filter(|_| is_full).map(|last| last.place + 1);
            self.waiting = self.registry.resolved(conn, &self.caller, members).await?.into_iter();
        }
    }

    async fn open(&self, member: &MemberRow, row: &ArtifactRow) -> Result<Pieces> {
        let place = member.place;
        let reference = ArtifactRef::Uid(row.uid()?);
        let start = (place == self.wanted.start.place).then(|| self.wanted.start.clone());
        let start = start.unwrap_or_default();
        let (if_match, chunk_bytes) = (start.if_match, self.wanted.chunk_bytes);
        let (include_hidden, is_run_input) = (true, self.wanted.is_run_input);
        if row.manifest_id.is_some() {
            let wanted = MembersToRead {
                reference,
                which: WhichMembers::Matching {
                    prefix: String::new(),
                    glob: None,
                    start: start.path.map(|path| (path, start.offset)),
                },
                if_match,
                include_hidden,
                chunk_bytes,
                is_run_input,
            };
            let open = self.registry.open_members(&self.caller, wanted).await?;
            let artifact = open.artifact;
            let pieces = open
                .pieces
                .flat_map(move |piece| stream::iter(of_folder(place, &artifact, piece)));
            return Ok(pieces.boxed());
        }
        let content = ContentOf {
            reference,
            member: None,
            if_match,
            include_hidden,
            is_run_input,
        };
        let offset = i64::try_from(start.offset).map_err(|_| RegistryError::RangeInvalid {
            offset: i64::MAX,
            size_bytes: 0,
        })?;
        let range = ReadRange { offset, length: None };
        let open = self.registry.open_content(&self.caller, &content, range).await?;
        let begin = CollectionPiece::Begin {
            place,
            artifact: Box::new(open.artifact.clone()),
            member: None,
            range: open.range.clone(),
        };
        let chunks = open.stream(chunk_bytes).map(|chunk| chunk.map(CollectionPiece::Chunk));
        Ok(stream::iter([Ok(begin)]).chain(chunks).boxed())
    }
}

/// A piece of a folder as pieces of the collection.
fn of_folder(place: i64, artifact: &Artifact, piece: Result<MemberPiece>) -> Vec<Result<CollectionPiece>> {
    let begin = |head: crate::registry::MemberHead| {
        Ok(CollectionPiece::Begin {
            place,
            artifact: Box::new(artifact.clone()),
            member: Some(head.member),
            range: head.range,
        })
    };
    match piece {
        Err(error) => vec![Err(error)],
        Ok(MemberPiece::Begin(head)) => vec![begin(head)],
        Ok(MemberPiece::Chunk(chunk)) => vec![Ok(CollectionPiece::Chunk(chunk))],
        Ok(MemberPiece::Whole(parts, room)) => {
            let pieces = parts.into_iter().flat_map(|(head, mut chunk)| {
                if let Some(room) = &room {
                    chunk.data = room.clone().hold(chunk.data);
                }
                // An empty file has no chunk.
                let chunk = (!chunk.data.is_empty()).then(|| Ok(CollectionPiece::Chunk(chunk)));
                [Some(begin(head)), chunk]
            });
            pieces.flatten().collect()
        }
    }
}
