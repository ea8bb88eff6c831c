//! What differs between two folders.
//!
//! Both are walked in the order of their paths. A page that stands in both, at the
//! same place of the walk, is passed over without loading it, so the cost is that of
//! the pages that differ.
//!
//! A member that is gone and one that is new with the same content are one that
//! moved. To see that, members that are gone or new are held until the other one
//! turns up; at most [`HELD_MAX`] of them, some 16 MiB. What comes when so many are
//! held, and has its other one not among them, is told as gone or new at once.

mod held;

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

pub use held::HELD_MAX;
use held::{Held, Side};

use super::{Member, MemberPath, Page, PageRef, change::ChangeRefused};

/// One difference between two folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The new folder has a member that the old one has not.
    Added(Member),
    /// The old folder has a member that the new one has not.
    Removed(Member),
    /// Both have a member at a path, with different content.
    Changed {
        /// The old one.
        before: Member,
        /// The new one.
        after: Member,
    },
    /// What was at one path is at another one.
    Moved {
        /// Its path in the old folder.
        from: MemberPath,
        /// What it is in the new folder.
        to: Member,
    },
}

/// What a diff wants, or what it has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffStep {
    /// It wants the page of this number of the old folder: [`Diff::give_page`].
    LoadOld(usize),
    /// It wants the page of this number of the new folder: [`Diff::give_page`].
    LoadNew(usize),
    /// The folders differ in this.
    Found(Difference),
    /// There are no more differences.
    Done {
        /// Whether too many members were held at a time, so that some that moved
        /// were told as gone and new.
        moves_may_be_missing: bool,
    },
}

/// A comparison of two folders under way.
///
/// Call [`next`](Self::next), do what it says, and call it again. Differences come in
/// no promised order.
#[derive(Debug)]
pub struct Diff {
    old: Walked,
    new: Walked,
    wanted: Option<Side>,
    held: Held,
    rest: Option<VecDeque<Difference>>,
}

/// One of the two folders, and how far the walk has come in it.
#[derive(Debug)]
struct Walked {
    pages: Arc<[PageRef]>,
    next: usize,
    open: VecDeque<Member>,
}

impl Walked {
    fn new(pages: Arc<[PageRef]>) -> Self {
        Self {
            pages,
            next: 0,
            open: VecDeque::new(),
        }
    }

    /// The next path of the walk.
    fn path(&self) -> Option<&MemberPath> {
        let in_open_page = self.open.front().map(|member| &member.path);
        in_open_page.or_else(|| self.pages.get(self.next).map(|page| &page.first_path))
    }

    /// The page that comes next, when the walk is at its beginning.
    fn page(&self) -> Option<&PageRef> {
        self.pages.get(self.next).filter(|_| self.open.is_empty())
    }
}

impl Diff {
    /// Begins to compare two folders that consist of these pages.
    pub fn new(old: impl Into<Arc<[PageRef]>>, new: impl Into<Arc<[PageRef]>>) -> Self {
        Self {
            old: Walked::new(old.into()),
            new: Walked::new(new.into()),
            wanted: None,
            held: Held::default(),
            rest: None,
        }
    }

    /// What to do next.
    #[expect(clippy::should_implement_trait, reason = "a step that wants something is no item")]
    pub fn next(&mut self) -> DiffStep {
        loop {
            if let Some(rest) = &mut self.rest {
                return rest.pop_front().map_or(
                    DiffStep::Done {
                        moves_may_be_missing: self.held.was_full(),
                    },
                    DiffStep::Found,
                );
            }
            if let Some(side) = self.wanted {
                return match side {
                    Side::Old => DiffStep::LoadOld(self.old.next),
                    Side::New => DiffStep::LoadNew(self.new.next),
                };
            }
            if let Some(difference) = self.advance() {
                return DiffStep::Found(difference);
            }
        }
    }

    /// Gives the page that was asked for.
    pub fn give_page(&mut self, page: Page) -> Result<(), ChangeRefused> {
        let side = self.wanted.take().ok_or(ChangeRefused::OtherPages)?;
        let walked = self.walked(side);
        if walked.page() != Some(&page.reference()) {
            return Err(ChangeRefused::OtherPages);
        }
        walked.next += 1;
        walked.open = page.into_members().into();
        Ok(())
    }

    fn walked(&mut self, side: Side) -> &mut Walked {
        match side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        }
    }

    fn advance(&mut self) -> Option<Difference> {
        match (self.old.path(), self.new.path()) {
            (None, None) => {
                self.rest = Some(self.held.take_rest());
                None
            }
            (Some(_), None) => self.only(Side::Old),
            (None, Some(_)) => self.only(Side::New),
            (Some(old), Some(new)) => match old.cmp(new) {
                Ordering::Less => self.only(Side::Old),
                Ordering::Greater => self.only(Side::New),
                Ordering::Equal => self.both(),
            },
        }
    }

    /// The next path is in one of the folders only.
    fn only(&mut self, side: Side) -> Option<Difference> {
        match self.walked(side).open.pop_front() {
            Some(member) => self.held.take(side, member),
            None => {
                self.wanted = Some(side);
                None
            }
        }
    }

    /// The next path is in both folders.
    fn both(&mut self) -> Option<Difference> {
        if let (Some(old), Some(new)) = (self.old.page(), self.new.page())
            && old.sha256 == new.sha256
        {
            self.old.next += 1;
            self.new.next += 1;
            return None;
        }
        if self.old.page().is_some() || self.new.page().is_some() {
            let is_old = self.old.page().is_some();
            self.wanted = Some(if is_old { Side::Old } else { Side::New });
            return None;
        }
        let (before, after) = (self.old.open.pop_front()?, self.new.open.pop_front()?);
        (before != after).then_some(Difference::Changed { before, after })
    }
}

#[cfg(test)]
mod tests;
