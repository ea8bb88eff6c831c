//! The pages of the folder that is being changed, and how far the change has come.

use std::{iter::Peekable, sync::Arc, vec};

use super::super::{Member, MemberPath, Page, PageRef};

/// The old pages. Those before `next` are done with, but for the last of them while it is open.
#[derive(Debug)]
pub(super) struct Old {
    pages: Arc<[PageRef]>,
    next: usize,
    open: Option<Peekable<vec::IntoIter<Member>>>,
    /// Where the pages begin that were opened without one left out between them.
    opened_from: usize,
}

impl Old {
    pub(super) fn new(pages: Arc<[PageRef]>) -> Self {
        Self {
            pages,
            next: 0,
            open: None,
            opened_from: 0,
        }
    }

    /// The page of this number.
    pub(super) fn page(&self, number: usize) -> Option<&PageRef> {
        self.pages.get(number)
    }

    /// The number of the page that comes next, if there is one.
    pub(super) fn next(&self) -> Option<usize> {
        (self.next < self.pages.len()).then_some(self.next)
    }

    /// The number of the open page, or of the one that was open last.
    pub(super) fn latest(&self) -> Option<usize> {
        self.next.checked_sub(1)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn open(&mut self, page: Page) {
        self.next += 1;
        self.open = Some(page.into_members().into_iter().peekable());
    }

    /// Goes by the next page without opening it.
    pub(super) fn leave_out(&mut self) {
        self.next += 1;
        self.opened_from = self.next;
    }

    /// The next member of the open page; it is closed when there is none.
    pub(super) fn next_member(&mut self) -> Option<Member> {
        let member = self.open.as_mut().and_then(Iterator::next);
        if member.is_none() {
            self.open = None;
        }
        member
    }

    /// The next member of the open page, if it has this path.
    pub(super) fn next_member_at(&mut self, path: &MemberPath) -> Option<Member> {
        self.open.as_mut()?.next_if(|member| member.path == *path)
    }

    /// Whether what stands at `path` comes before the rest of the open page, or is the next of it.
    pub(super) fn reaches(&mut self, path: &MemberPath) -> bool {
        match self.upcoming() {
            None => true,
            Some((next, in_open_page)) => path < next || (in_open_page && path == next),
        }
    }

    /// The next path that is not done with, as far as is known, and whether the open page has it.
    pub(super) fn upcoming(&mut self) -> Option<(&MemberPath, bool)> {
        if let Some(member) = self.open.as_mut().and_then(Peekable::peek) {
            return Some((&member.path, true));
        }
        self.pages.get(self.next).map(|page| (&page.first_path, false))
    }

    /// The page that holds `path` if one does, or that a member with it would join.
    pub(super) fn page_of(&self, path: &str) -> usize {
        self.begun_by(path).saturating_sub(1)
    }

    /// The page to look at for a member at `path`, which lies behind; `None` when
    /// it was looked at, or lies before all.
    pub(super) fn unseen_page_of(&self, path: &str) -> Option<usize> {
        let number = self.begun_by(path).checked_sub(1)?;
        (number < self.opened_from).then_some(number)
    }

    /// Number of pages that begin at `path` or before.
    fn begun_by(&self, path: &str) -> usize {
        self.pages.partition_point(|page| page.first_path.as_str() <= path)
    }
}
