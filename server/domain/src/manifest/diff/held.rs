//! Members that are in one folder only, until one with the same content turns up in the other.

use std::collections::{HashMap, VecDeque};

use super::Difference;
use crate::{
    Sha256,
    manifest::{Member, MemberPath},
};

/// Members that are held at a time at most.
pub const HELD_MAX: usize = 64 * 1024;

/// Which of the two folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The old one.
    Old,
    /// The new one.
    New,
}

/// Members that are in one folder only, by their content. Those with the same
/// content are all of one side, or two of them would have been one that moved.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_content: HashMap<(Sha256, u64), (Side, VecDeque<MemberPath>)>,
    count: usize,
    was_full: bool,
}

impl Held {
    /// Whether a member could not be held.
    pub(super) fn was_full(&self) -> bool {
        self.was_full
    }

    /// Takes a member, and gives what can be told now.
    pub(super) fn take(&mut self, side: Side, member: Member) -> Option<Difference> {
        // Empty files have nothing in common.
        if member.size_bytes == 0 {
            return Some(alone(side, member));
        }
        let content = (member.sha256, member.size_bytes);
        if let Some(other) = self.take_other(side, content) {
            return Some(moved(side, member, other));
        }
        if self.count == HELD_MAX {
            self.was_full = true;
            return Some(alone(side, member));
        }
        self.count += 1;
        let (_, paths) = self
            .by_content
            .entry(content)
            .or_insert_with(|| (side, VecDeque::new()));
        paths.push_back(member.path);
        None
    }

    /// All that is held, which has nothing to be matched with any more.
    pub(super) fn take_rest(&mut self) -> VecDeque<Difference> {
        let mut rest = Vec::with_capacity(self.count);
        for ((sha256, size_bytes), (side, paths)) in self.by_content.drain() {
            rest.extend(paths.into_iter().map(|path| {
                let member = Member {
                    path,
                    size_bytes,
                    sha256,
                };
                (side, member)
            }));
        }
        self.count = 0;
        rest.sort_unstable_by(|(_, one), (_, other)| one.path.cmp(&other.path));
        rest.into_iter().map(|(side, member)| alone(side, member)).collect()
    }

    /// The first member of the other side with this content.
    fn take_other(&mut self, side: Side, content: (Sha256, u64)) -> Option<MemberPath> {
        let (held_side, paths) = self.by_content.get_mut(&content)?;
        if *held_side == side {
            return None;
        }
        let path = paths.pop_front();
        if paths.is_empty() {
            self.by_content.remove(&content);
        }
        self.count -= usize::from(path.is_some());
        path
    }
}

fn alone(side: Side, member: Member) -> Difference {
    match side {
        Side::Old => Difference::Removed(member),
        Side::New => Difference::Added(member),
    }
}

fn moved(side: Side, member: Member, other: MemberPath) -> Difference {
    match side {
        Side::New => Difference::Moved {
            from: other,
            to: member,
        },
        Side::Old => Difference::Moved {
            from: member.path.clone(),
            to: Member { path: other, ..member },
        },
    }
}
