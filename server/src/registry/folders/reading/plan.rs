//! What is read of a folder, in order, and what of it goes together.

use std::{sync::Arc, vec};

use super::{
    super::super::{Artifact, Registry, Result},
    MemberHead, MemberRange, WhichMembers,
    pages::Pages,
    walk::Walk,
};
use crate::{
    db::blobs::BlobPlace,
    storage::{Pace, ReadBudget, Room, SMALL_CONTENT_BYTES_MAX},
};

/// Bytes of small files that go together, where there is room.
const TOGETHER_BYTES_MAX: u64 = 1024 * 1024;

/// The same where there is none.
const TOGETHER_BYTES_SMALL: u64 = 128 * 1024;

/// Small files that go together.
const TOGETHER_FILES_MAX: usize = 1_000;

/// A part of a member, and where its content lies.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) head: MemberHead,
    pub(super) place: BlobPlace,
}

impl Planned {
    fn is_small(&self) -> bool {
        self.head.member.size_bytes <= SMALL_CONTENT_BYTES_MAX
    }
}

/// What is fetched at once.
pub(super) enum Unit {
    /// Parts of small files.
    Small(Vec<Planned>, Option<Room>),
    /// A part of another one.
    Large(Planned),
}

/// What is left to be read.
pub(super) struct Plan {
    pages: Pages,
    left: Left,
    next_number: u64,
    /// It did not fit into the unit before.
    kept: Option<Planned>,
}

enum Left {
    Ranges(vec::IntoIter<MemberRange>),
    Matching(Walk),
}

impl Plan {
    pub(super) fn new(registry: Arc<Registry>, artifact: &Artifact, manifest_id: i64, which: WhichMembers) -> Self {
        let left = match which {
            WhichMembers::Ranges(ranges) => Left::Ranges(ranges.into_iter()),
            WhichMembers::Matching { prefix, glob, start } => Left::Matching(Walk::new(prefix, glob, start)),
        };
        Self {
            pages: Pages::new(registry, artifact.uid, manifest_id),
            left,
            next_number: 0,
            kept: None,
        }
    }

    /// What to fetch next; `None` at the end. Who takes it at speed gets much at once.
    pub(super) async fn next_unit(&mut self, budget: &ReadBudget, pace: &Pace) -> Result<Option<Unit>> {
        let Some(first) = self.next().await? else {
            return Ok(None);
        };
        if !first.is_small() {
            return Ok(Some(Unit::Large(first)));
        }
        let room = pace.is_fast().then(|| budget.room()).flatten();
        let bytes_max = match room {
            Some(_) => TOGETHER_BYTES_MAX,
            None => TOGETHER_BYTES_SMALL,
        };
        let mut bytes = first.head.member.size_bytes;
        let mut together = vec![first];
        while together.len() < TOGETHER_FILES_MAX
            && let Some(next) = self.next().await?
        {
            bytes += next.head.member.size_bytes;
            if !next.is_small() || bytes > bytes_max {
                self.kept = Some(next);
                break;
            }
            together.push(next);
        }
        Ok(Some(Unit::Small(together, room)))
    }

    async fn next(&mut self) -> Result<Option<Planned>> {
        if let Some(kept) = self.kept.take() {
            return Ok(Some(kept));
        }
        let (member, range, place) = match &mut self.left {
            Left::Ranges(ranges) => {
                let Some(MemberRange { path, range }) = ranges.next() else {
                    return Ok(None);
                };
                let (member, place) = self.pages.find(&path).await?;
                let range = range.within(member.size_bytes)?;
                (member, range, place)
            }
            Left::Matching(walk) => {
                let Some((member, start, place)) = walk.next(&mut self.pages).await? else {
                    return Ok(None);
                };
                let range = start..member.size_bytes;
                (member, range, place)
            }
        };
        let number = self.next_number;
        self.next_number += 1;
        let head = MemberHead { number, member, range };
        Ok(Some(Planned { head, place }))
    }
}
