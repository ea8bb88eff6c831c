//! A change of a folder that looks at the pages it touches and at no others.
//!
//! A page ends where its last path says so, or when it is full, so what comes after
//! an end does not depend on what came before it. After an edit the new pages run
//! on until one ends where an old one did, and every old page from there to the next
//! edit stays as it is. The result is, page for page, what [`Paging`](super::Paging)
//! makes of the whole new listing.
//!
//! A new path needs a look at other pages only where no neighbour of it shows that
//! its folders are no files, or where members below it would be on a later page.

mod old;
mod step;

use std::{collections::BTreeSet, sync::Arc};

use old::Old;
pub use step::{ChangeRefused, ChangeStep, Edit};

use super::{
    FolderHasher, ManifestDigest, Member, MemberPath, Page, PageRef,
    digest::Totals,
    page::shared_bytes,
    paging::{Cutter, Rule, below_file, check_order},
    tree::{Presence, Walk},
};

/// A change of a folder under way.
///
/// Call [`next`](Self::next), do what it says, and call it again. The pages of the
/// new folder come in order. An edit may be refused after pages came, so they count
/// for nothing before [`ChangeStep::Done`].
#[derive(Debug)]
pub struct Change {
    old: Old,
    edit: NextEdit,
    latest_edit: Option<MemberPath>,
    wanted: Option<Wanted>,
    placing: Option<Placing>,
    /// Old pages that may have members below a path that is new.
    must_load: BTreeSet<usize>,
    walk: Walk,
    cutter: Cutter,
    hasher: FolderHasher,
    totals: Totals,
    ready: Option<ChangeStep>,
    done: Option<ManifestDigest>,
}

#[derive(Debug)]
enum NextEdit {
    Unknown,
    Is(Edit),
    NoMore,
}

/// An old page that was asked for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// The next one.
    ToOpen(usize),
    /// One that may have a file where a new member needs a folder.
    ToLookAt(usize),
}

impl Wanted {
    fn number(self) -> usize {
        let (Self::ToOpen(number) | Self::ToLookAt(number)) = self;
        number
    }
}

/// A new member whose folders must not be files.
#[derive(Debug)]
struct Placing {
    member: Member,
    /// Folders with shorter paths are known to be none.
    checked_bytes: usize,
    looked_at: Option<(usize, Page)>,
}

impl Change {
    /// Begins to change the folder `old`, which consists of `pages`.
    pub fn new(old: &ManifestDigest, pages: impl Into<Arc<[PageRef]>>) -> Result<Self, ChangeRefused> {
        Self::with_rule(old, pages.into(), Rule::FIXED)
    }

    fn with_rule(old: &ManifestDigest, pages: Arc<[PageRef]>, rule: Rule) -> Result<Self, ChangeRefused> {
        let mut hasher = FolderHasher::default();
        pages.iter().for_each(|page| hasher.add(&page.sha256));
        if hasher.finish() != old.sha256 {
            return Err(ChangeRefused::OtherPages);
        }
        Ok(Self {
            old: Old::new(pages),
            edit: NextEdit::Unknown,
            latest_edit: None,
            wanted: None,
            placing: None,
            must_load: BTreeSet::new(),
            walk: Walk::default(),
            cutter: Cutter::new(rule),
            hasher: FolderHasher::default(),
            totals: Totals::of(old),
            ready: None,
            done: None,
        })
    }

    /// What to do next.
    #[expect(clippy::should_implement_trait, reason = "a step that wants something is no item")]
    pub fn next(&mut self) -> Result<ChangeStep, ChangeRefused> {
        loop {
            if let Some(step) = self.ready.take() {
                return Ok(step);
            }
            if let Some(digest) = self.done {
                return Ok(ChangeStep::Done(digest));
            }
            if let Some(wanted) = self.wanted {
                return Ok(ChangeStep::Load(wanted.number()));
            }
            if let Some(placing) = self.placing.take() {
                self.place(placing)?;
            } else if matches!(self.edit, NextEdit::Unknown) {
                return Ok(ChangeStep::Edit);
            } else {
                self.advance()?;
            }
        }
    }

    /// Gives the next edit, whose path comes after that of the one before; `None` after the last.
    pub fn give_edit(&mut self, edit: Option<Edit>) -> Result<(), ChangeRefused> {
        debug_assert!(
            matches!(self.edit, NextEdit::Unknown),
            "an edit is given when it is wanted"
        );
        self.edit = match edit {
            None => NextEdit::NoMore,
            Some(edit) => {
                check_order(self.latest_edit.as_ref(), edit.path())?;
                self.latest_edit = Some(edit.path().clone());
                NextEdit::Is(edit)
            }
        };
        Ok(())
    }

    /// Gives the page that was asked for.
    pub fn give_page(&mut self, page: Page) -> Result<(), ChangeRefused> {
        let wanted = self.wanted.take().ok_or(ChangeRefused::OtherPages)?;
        let is_right = |known: &PageRef| known.sha256 == page.sha256() && known.first_path == *page.first_path();
        if !self.old.page(wanted.number()).is_some_and(is_right) {
            return Err(ChangeRefused::OtherPages);
        }
        match wanted {
            Wanted::ToOpen(_) => self.old.open(page),
            Wanted::ToLookAt(number) => {
                if let Some(placing) = &mut self.placing {
                    placing.looked_at = Some((number, page));
                }
            }
        }
        Ok(())
    }

    /// One step through the old folder and the edits, both in the order of their paths.
    fn advance(&mut self) -> Result<(), ChangeRefused> {
        if !self.old.is_open()
            && let Some(number) = self.old.next()
        {
            return self.come_to_page(number);
        }
        match std::mem::replace(&mut self.edit, NextEdit::Unknown) {
            NextEdit::Is(edit) if self.old.reaches(edit.path()) => return self.apply(edit),
            other => self.edit = other,
        }
        match self.old.next_member() {
            Some(member) => self.keep(member),
            None if self.old.next().is_none() => self.finish(),
            None => Ok(()),
        }
    }

    fn come_to_page(&mut self, number: usize) -> Result<(), ChangeRefused> {
        let has_edit = matches!(&self.edit, NextEdit::Is(edit) if self.old.page_of(edit.path().as_str()) == number);
        if has_edit || self.must_load.contains(&number) || !self.cutter.is_at_boundary() {
            self.must_load.remove(&number);
            self.wanted = Some(Wanted::ToOpen(number));
            return Ok(());
        }
        let page = self.old.page(number).ok_or(ChangeRefused::OtherPages)?.clone();
        self.see_kept(&page.first_path)?;
        self.hasher.add(&page.sha256);
        self.ready = Some(ChangeStep::Keep(number));
        self.old.leave_out();
        Ok(())
    }

    fn keep(&mut self, member: Member) -> Result<(), ChangeRefused> {
        self.see_kept(&member.path)?;
        self.add(member);
        Ok(())
    }

    /// What was there before collides with what is new only.
    fn see_kept(&mut self, path: &MemberPath) -> Result<(), ChangeRefused> {
        self.walk.go_to(path.as_str());
        self.refuse_below(path, |presence| presence == Presence::Put)?;
        self.walk.see(Presence::Kept);
        Ok(())
    }

    fn refuse_below(&self, path: &MemberPath, counts: impl Fn(Presence) -> bool) -> Result<(), ChangeRefused> {
        match self.walk.file_above(counts) {
            Some(file) => Err(below_file(file, path).into()),
            None => Ok(()),
        }
    }

    fn apply(&mut self, edit: Edit) -> Result<(), ChangeRefused> {
        let replaced = self.old.next_member_at(edit.path());
        if let Some(replaced) = &replaced {
            self.totals.remove(replaced).ok_or(ChangeRefused::OtherPages)?;
        }
        let shared = self.walk.go_to(edit.path().as_str());
        match (edit, replaced) {
            (Edit::Remove(path), None) => Err(ChangeRefused::NoSuchMember(path)),
            (Edit::Remove(_), Some(_)) => {
                self.walk.see(Presence::Removed);
                Ok(())
            }
            (Edit::Put(member), replaced) => {
                self.refuse_below(&member.path, |presence| presence != Presence::Removed)?;
                if replaced.is_some() {
                    return self.put(member);
                }
                let next = self.old.upcoming().map_or("", |(path, _)| path.as_str());
                // Where the path before or the next one has a folder, no file is.
                let checked_bytes = shared.max(shared_bytes(next, member.path.as_str()));
                self.place(Placing {
                    member,
                    checked_bytes,
                    looked_at: None,
                })
            }
        }
    }

    /// Adds a new member once its folders are known to be no files, or asks for the page that shows it.
    fn place(&mut self, mut placing: Placing) -> Result<(), ChangeRefused> {
        let path = placing.member.path.as_str();
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        for folder in folders.skip_while(|folder| folder.len() < placing.checked_bytes) {
            if self.walk.has_seen(folder.len()) {
                continue;
            }
            let Some(number) = self.old.unseen_page_of(folder) else {
                continue;
            };
            match &placing.looked_at {
                Some((at, page)) if *at == number => {
                    if page.find(folder).is_some() {
                        return Err(below_file(folder, &placing.member.path).into());
                    }
                }
                _ => {
                    self.wanted = Some(Wanted::ToLookAt(number));
                    placing.checked_bytes = folder.len();
                    self.placing = Some(placing);
                    return Ok(());
                }
            }
        }
        let below = self.old.page_of(&format!("{path}/"));
        if self.old.next().is_some_and(|next| below >= next) {
            self.must_load.insert(below);
        }
        self.put(placing.member)
    }

    fn put(&mut self, member: Member) -> Result<(), ChangeRefused> {
        self.totals.add(&member)?;
        self.walk.see(Presence::Put);
        self.add(member);
        Ok(())
    }

    fn add(&mut self, member: Member) {
        if let Some(page) = self.cutter.push(member) {
            self.ready = Some(self.step_of(page));
        }
    }

    /// A page that came out as it was is an old one.
    fn step_of(&mut self, page: Page) -> ChangeStep {
        self.hasher.add(&page.sha256());
        let latest = self.old.latest().filter(|number| {
            let known = self.old.page(*number);
            known.is_some_and(|known| known.sha256 == page.sha256())
        });
        latest.map_or(ChangeStep::New(page), ChangeStep::Keep)
    }

    fn finish(&mut self) -> Result<(), ChangeRefused> {
        if let Some(page) = self.cutter.end() {
            self.ready = Some(self.step_of(page));
        }
        self.done = Some(self.totals.digest(std::mem::take(&mut self.hasher))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
