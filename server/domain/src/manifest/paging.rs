//! Where pages end.
//!
//! A page ends after a member the sha256 of whose path begins with ten zero bits,
//! or when it is full. Ten bits make pages of 1,024 members on average, some 60 KiB
//! stored: a change of one member costs about that, and a folder of a million has a
//! thousand pages, whose digests are hashed in no time. Full pages are rare then
//! (one in 55), which matters since only their ends move with what is before them.
//! This rule is part of the digest of every folder and can never change.

use super::{
    FOLDER_BYTES_MAX, FolderHasher, ManifestDigest, Member, MemberPath, PAGE_MEMBERS_MAX, Page,
    digest::Totals,
    tree::{Presence, Walk},
};
use crate::Sha256;

/// Why members make no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestRefused {
    /// There is nothing in it. A folder that lost its files by mistake reads the same.
    #[error("a folder must have at least one member")]
    Empty,
    /// A member comes before the previous one.
    #[error("`{path}` must not come after `{before}`: members are ordered by the bytes of their paths")]
    Order {
        /// The previous path.
        before: MemberPath,
        /// The path.
        path: MemberPath,
    },
    /// A path is there twice.
    #[error("`{0}` is listed twice")]
    Twice(MemberPath),
    /// A file lies where other members need a folder.
    #[error("`{file}` is a file, so `{below}` cannot be below it")]
    BelowFile {
        /// Path of the file.
        file: MemberPath,
        /// The path below it.
        below: MemberPath,
    },
    /// The members are too large together.
    #[error("a folder must have at most {FOLDER_BYTES_MAX} bytes")]
    TooLarge,
}

/// When a page ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Zero bits that the digest of the last path begins with.
    pub(super) zero_bits: u32,
    /// Members of a full page.
    pub(super) full_members: usize,
}

impl Rule {
    /// The rule that every folder follows; tests make smaller pages.
    pub(super) const FIXED: Self = Self {
        zero_bits: 10,
        full_members: PAGE_MEMBERS_MAX,
    };

    fn ends_page(self, path: &MemberPath) -> bool {
        let digest = Sha256::of(path.as_str().as_bytes());
        let [a, b, c, d, ..] = *digest.as_bytes();
        u32::from_be_bytes([a, b, c, d]).leading_zeros() >= self.zero_bits
    }
}

/// Whether a page ends after the member with this path, full or not.
pub fn ends_page(path: &MemberPath) -> bool {
    Rule::FIXED.ends_page(path)
}

/// Cuts sorted members into pages.
#[derive(Debug)]
pub(super) struct Cutter {
    rule: Rule,
    members: Vec<Member>,
}

impl Cutter {
    pub(super) fn new(rule: Rule) -> Self {
        let members = Vec::new();
        Self { rule, members }
    }

    /// Takes the next member, and gives the page that it ends.
    pub(super) fn push(&mut self, member: Member) -> Option<Page> {
        let ends = self.rule.ends_page(&member.path);
        self.members.push(member);
        if ends || self.members.len() == self.rule.full_members {
            self.end()
        } else {
            None
        }
    }

    /// Whether the next member begins a page.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.members.is_empty()
    }

    /// The last page, if members wait for one.
    pub(super) fn end(&mut self) -> Option<Page> {
        let members = std::mem::take(&mut self.members);
        (!members.is_empty()).then(|| Page::new(members))
    }
}

impl Default for Paging {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the pages of a folder from its members, which come in order.
#[derive(Debug)]
pub struct Paging {
    cutter: Cutter,
    order: Order,
    hasher: FolderHasher,
    totals: Totals,
}

impl Paging {
    /// The paging of a folder of which nothing is known yet.
    pub fn new() -> Self {
        Self::with_rule(Rule::FIXED)
    }

    pub(super) fn with_rule(rule: Rule) -> Self {
        Self {
            cutter: Cutter::new(rule),
            order: Order::default(),
            hasher: FolderHasher::default(),
            totals: Totals::default(),
        }
    }

    /// Takes the next member, and gives the page that it ends.
    pub fn push(&mut self, member: Member) -> Result<Option<Page>, ManifestRefused> {
        self.order.check(&member.path)?;
        self.totals.add(&member)?;
        let page = self.cutter.push(member);
        Ok(page.inspect(|page| self.hasher.add(&page.sha256())))
    }

    /// Gives the last page, if members wait for one, and what is known of the folder.
    pub fn finish(mut self) -> Result<(Option<Page>, ManifestDigest), ManifestRefused> {
        let page = self.cutter.end().inspect(|page| self.hasher.add(&page.sha256()));
        Ok((page, self.totals.digest(self.hasher)?))
    }
}

/// Checks that paths come in order and can stand together.
#[derive(Debug, Default)]
struct Order {
    before: Option<MemberPath>,
    walk: Walk,
}

impl Order {
    fn check(&mut self, path: &MemberPath) -> Result<(), ManifestRefused> {
        check_order(self.before.as_ref(), path)?;
        self.walk.go_to(path.as_str());
        if let Some(file) = self.walk.file_above(|_| true) {
            return Err(below_file(file, path));
        }
        self.walk.see(Presence::Kept);
        self.before = Some(path.clone());
        Ok(())
    }
}

/// Checks that a path comes after the one before it.
pub(super) fn check_order(before: Option<&MemberPath>, path: &MemberPath) -> Result<(), ManifestRefused> {
    match before {
        Some(before) if before == path => Err(ManifestRefused::Twice(path.clone())),
        Some(before) if before > path => Err(ManifestRefused::Order {
            before: before.clone(),
            path: path.clone(),
        }),
        _ => Ok(()),
    }
}

/// The refusal of a path that would lie below a file.
pub(super) fn below_file(file: &str, below: &MemberPath) -> ManifestRefused {
    ManifestRefused::BelowFile {
        file: file.parse().expect("a folder of a path is a path"),
        below: below.clone(),
    }
}

#[cfg(test)]
mod tests;
