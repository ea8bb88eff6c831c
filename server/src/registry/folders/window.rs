//! The listed entries that are not decided yet, in order.
//!
//! An entry is decided once its content is there or it was withdrawn; the decided ones
//! at the front leave for the pages. So memory is bounded by how far a client lists
//! ahead of the first file that has not come.

use std::collections::{HashMap, VecDeque};

use artifactd_domain::manifest::{Edit, Member, MemberPath};

use super::{
    super::{RegistryError, Result},
    Identity,
};

/// Entries from the first undecided one on.
pub(super) const ENTRIES_WAITING_MAX: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its content has not come, or was refused.
    Wanted,
    /// Nothing is missing.
    Ready,
    /// It shall not be in the folder.
    Withdrawn,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Number of the first entry in it.
    first: u64,
    entries: VecDeque<(Edit, State)>,
    latest: Option<MemberPath>,
    /// Entries that wait for one content; the first of them was asked for.
    wanted: HashMap<Identity, Vec<u64>>,
}

impl Window {
    /// The number that the next entry will have.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Takes the next entry; answers its number when its content shall be sent.
    pub(super) fn push(&mut self, edit: Edit, is_there: bool) -> Result<Option<u64>> {
        if self.entries.len() >= ENTRIES_WAITING_MAX {
            return Err(RegistryError::FolderWindowFull(ENTRIES_WAITING_MAX));
        }
        if let Some(latest) = &self.latest
            && edit.path() <= latest
        {
            let rule = format!(
                "`{}` must not come after `{latest}`: paths are in the order of their bytes",
                edit.path()
            );
            return Err(RegistryError::FolderRefused(rule));
        }
        self.latest = Some(edit.path().clone());
        let number = self.next_number();
        let mut asked = None;
        let state = match &edit {
            Edit::Put(member) if !is_there => {
                let waiting = self.wanted.entry(identity(member)).or_default();
                asked = waiting.is_empty().then_some(number);
                waiting.push(number);
                State::Wanted
            }
            _ => State::Ready,
        };
        self.entries.push_back((edit, state));
        Ok(asked)
    }

    fn entry(&mut self, number: u64) -> Option<&mut (Edit, State)> {
        let place = number.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(place).ok()?)
    }

    /// The member whose content shall be sent under a number; `None` when it came already.
    pub(super) fn wanted(&mut self, number: u64) -> Result<Option<Member>> {
        if number >= self.next_number() {
            return Err(RegistryError::other("number", "is that of no listed entry"));
        }
        Ok(match self.entry(number) {
            Some((Edit::Put(member), State::Wanted)) => Some(member.clone()),
            _ => None,
        })
    }

    /// Notes that a content is there.
    pub(super) fn came(&mut self, identity: &Identity) {
        for number in self.wanted.remove(identity).unwrap_or_default() {
            if let Some((_, state)) = self.entry(number)
                && *state == State::Wanted
            {
                *state = State::Ready;
            }
        }
    }

    /// Takes an entry back; answers another that has to be asked for in its place.
    ///
    /// Only one whose content has not come can be: the others may be in a page by now.
    pub(super) fn withdraw(&mut self, number: u64) -> Result<Option<u64>> {
        let member = match self.entry(number) {
            Some((Edit::Put(member), state)) if *state == State::Wanted => {
                *state = State::Withdrawn;
                identity(member)
            }
            Some((_, State::Withdrawn)) => return Ok(None),
            _ => {
                return Err(RegistryError::other(
                    "number",
                    "is not that of an entry whose content has not come",
                ));
            }
        };
        let Some(waiting) = self.wanted.get_mut(&member) else {
            return Ok(None);
        };
        let was_asked = waiting.first() == Some(&number);
        waiting.retain(|other| *other != number);
        let next = waiting.first().copied();
        if next.is_none() {
            self.wanted.remove(&member);
        }
        Ok(next.filter(|_| was_asked))
    }

    /// The next decided entry, in order; `None` when there is none at the front.
    pub(super) fn pop(&mut self) -> Option<Edit> {
        loop {
            let (_, state) = self.entries.front()?;
            let state = *state;
            if state == State::Wanted {
                return None;
            }
            self.first += 1;
            let (edit, _) = self.entries.pop_front()?;
            if state == State::Ready {
                return Some(edit);
            }
        }
    }

    /// How many contents have not come, and the path of the first.
    pub(super) fn missing(&self) -> Option<(usize, String)> {
        let mut waiting = self.entries.iter().filter(|(_, state)| *state == State::Wanted);
        let first = waiting.next()?.0.path().to_string();
        Some((1 + waiting.count(), first))
    }

    /// The members whose contents are there.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Member> {
        self.entries.iter().filter_map(|entry| match entry {
            (Edit::Put(member), State::Ready) => Some(member),
            _ => None,
        })
    }
}

/// What tells the content of a member apart.
pub(super) fn identity(member: &Member) -> Identity {
    (member.sha256, member.size_bytes)
}

#[cfg(test)]
mod tests {
    use artifactd_domain::Sha256;

    use super::*;

    fn put(path: &str, content: &[u8]) -> Edit {
        Edit::Put(Member {
            path: path.parse().unwrap(),
            size_bytes: content.len() as u64,
            sha256: Sha256::of(content),
        })
    }

    fn of(content: &[u8]) -> Identity {
        (Sha256::of(content), content.len() as u64)
    }

    fn popped(window: &mut Window) -> Vec<String> {
        std::iter::from_fn(|| window.pop())
            .map(|edit| edit.path().to_string())
            .collect()
    }

    #[test]
    fn entries_leave_in_order_once_all_before_them_are_decided() {
        let mut window = Window::default();
        assert_eq!(window.push(put("a", b"1"), false).unwrap(), Some(0));
        assert_eq!(window.push(put("b", b"2"), true).unwrap(), None);
        assert_eq!(window.push(put("c", b"3"), false).unwrap(), Some(2));
        assert_eq!(popped(&mut window), [""; 0]);
        window.came(&of(b"1"));
        assert_eq!(popped(&mut window), ["a", "b"]);
        assert_eq!(window.missing(), Some((1, "c".to_owned())));
        assert_eq!(window.wanted(0).unwrap(), None);
        assert!(window.wanted(3).is_err());
        assert_eq!(window.withdraw(2).unwrap(), None);
        assert_eq!((popped(&mut window), window.missing()), (Vec::new(), None));
        assert_eq!(window.next_number(), 3);
    }

    #[test]
    fn equal_contents_are_asked_for_once_and_again_when_the_first_is_withdrawn() {
        let mut window = Window::default();
        assert_eq!(window.push(put("a", b"1"), false).unwrap(), Some(0));
        assert_eq!(window.push(put("b", b"1"), false).unwrap(), None);
        assert_eq!(window.push(put("c", b"1"), false).unwrap(), None);
        assert_eq!(window.withdraw(1).unwrap(), None);
        assert_eq!(window.withdraw(0).unwrap(), Some(2));
        window.came(&of(b"1"));
        assert_eq!(popped(&mut window), ["c"]);
        assert!(window.withdraw(2).is_err(), "it has gone into a page");
    }

    #[test]
    fn wrong_order_and_too_many_waiting_are_refused() {
        let mut window = Window::default();
        window.push(put("b", b"1"), true).unwrap();
        for path in ["a", "b"] {
            assert!(matches!(
                window.push(put(path, b"1"), true),
                Err(RegistryError::FolderRefused(_))
            ));
        }
        let mut window = Window::default();
        for number in 0..ENTRIES_WAITING_MAX {
            window.push(put(&format!("{number:06}"), b"1"), false).unwrap();
        }
        let one_more = window.push(put("x", b"1"), false);
        assert!(matches!(one_more, Err(RegistryError::FolderWindowFull(_))));
    }
}
