//! A page of a manifest, and how it is stored.
//!
//! A stored page is a version byte, the number of members in 2 bytes, and the
//! members. Each is the number of leading bytes that its path shares with the one
//! before (2 bytes), the number of other bytes (2 bytes), these, the size (8 bytes)
//! and the sha256 (32 bytes). Numbers are big-endian. Paths of one folder have much
//! in common, so this is two thirds of what is hashed. A page is stored in one way
//! only, and what differs from it is refused.

use std::ops::RangeInclusive;

use super::{Member, MemberPath, digest::page_digest};
use crate::Sha256;

/// Largest number of members of a page.
pub const PAGE_MEMBERS_MAX: usize = 4096;

const PAGE_MEMBERS: RangeInclusive<usize> = 1..=PAGE_MEMBERS_MAX;

const VERSION: u8 = 1;

/// Why bytes are no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageRefused {
    /// They are written in a way that this program does not know.
    #[error("is of version {0}, known is {VERSION}")]
    Version(u8),
    /// They have no members or too many.
    #[error("must have 1 to {PAGE_MEMBERS_MAX} members, got {0}")]
    Members(usize),
    /// They end too early.
    #[error("ends in the middle of a member")]
    Short,
    /// Something follows the last member.
    #[error("has {0} bytes too many")]
    Trailing(usize),
    /// A member's path is none, or is not written as it must be.
    #[error("member {0} has a path that is none or is not written as it must be")]
    Path(usize),
    /// A member does not come after the one before.
    #[error("member {0} does not come after the one before")]
    Order(usize),
}

/// Some members of a folder, in order: all those from one boundary to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    members: Vec<Member>,
    sha256: Sha256,
}

/// What is known of a page without loading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// Path of its first member.
    pub first_path: MemberPath,
    /// Its digest.
    pub sha256: Sha256,
}

impl Page {
    /// A page of sorted members, of which there is at least one.
    pub(super) fn new(members: Vec<Member>) -> Self {
        debug_assert!(PAGE_MEMBERS.contains(&members.len()) && members.is_sorted_by(|a, b| a.path < b.path));
        let sha256 = page_digest(&members);
        Self { members, sha256 }
    }

    /// Its members, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Its members, in order.
    pub fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// Its digest.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Path of its first member.
    pub fn first_path(&self) -> &MemberPath {
        &self.members.first().expect("a page has members").path
    }

    /// What an index of pages keeps of it.
    pub fn reference(&self) -> PageRef {
        PageRef {
            first_path: self.first_path().clone(),
            sha256: self.sha256,
        }
    }

    /// The members from `path` on, or from where it would be.
    pub fn members_from(&self, path: &str) -> &[Member] {
        let start = self.members.partition_point(|member| member.path.as_str() < path);
        &self.members[start..]
    }

    /// The member at `path`.
    pub fn find(&self, path: &str) -> Option<&Member> {
        self.members_from(path)
            .first()
            .filter(|member| member.path.as_str() == path)
    }

    /// The page as it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(3 + self.members.len() * 64);
        stored.push(VERSION);
        stored.extend_from_slice(&(self.members.len() as u16).to_be_bytes());
        let mut before = "";
        for member in &self.members {
            let path = member.path.as_str();
            let shared = shared_bytes(before, path);
            stored.extend_from_slice(&(shared as u16).to_be_bytes());
            stored.extend_from_slice(&((path.len() - shared) as u16).to_be_bytes());
            stored.extend_from_slice(&path.as_bytes()[shared..]);
            stored.extend_from_slice(&member.size_bytes.to_be_bytes());
            stored.extend_from_slice(member.sha256.as_bytes());
            before = path;
        }
        stored
    }

    /// The page that is stored as these bytes. Whether it is the right one shows its digest.
    pub fn decode(stored: &[u8]) -> Result<Self, PageRefused> {
        let mut rest = Rest(stored);
        match rest.take::<1>()? {
            [VERSION] => {}
            [version] => return Err(PageRefused::Version(version)),
        }
        let count = usize::from(u16::from_be_bytes(rest.take()?));
        if !PAGE_MEMBERS.contains(&count) {
            return Err(PageRefused::Members(count));
        }
        let mut members: Vec<Member> = Vec::with_capacity(count);
        for number in 0..count {
            let member = rest.member(members.last().map_or("", |member| member.path.as_str()), number)?;
            members.push(member);
        }
        match rest.0.len() {
            0 => Ok(Self::new(members)),
            trailing => Err(PageRefused::Trailing(trailing)),
        }
    }
}

/// Number of leading bytes that two texts share.
pub(super) fn shared_bytes(one: &str, other: &str) -> usize {
    let pairs = one.bytes().zip(other.bytes());
    pairs.take_while(|(a, b)| a == b).count()
}

/// What is not decoded yet.
struct Rest<'b>(&'b [u8]);

impl Rest<'_> {
    fn take<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], PageRefused> {
        let (head, tail) = self.0.split_first_chunk().ok_or(PageRefused::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    fn member(&mut self, before: &str, number: usize) -> Result<Member, PageRefused> {
        Ok(Member {
            path: self.path(before, number)?,
            size_bytes: u64::from_be_bytes(self.take()?),
            sha256: Sha256::from_bytes(self.take()?),
        })
    }

    fn path(&mut self, before: &str, number: usize) -> Result<MemberPath, PageRefused> {
        let refused = PageRefused::Path(number);
        let shared = usize::from(u16::from_be_bytes(self.take()?));
        let own = usize::from(u16::from_be_bytes(self.take()?));
        let (tail, rest) = self.0.split_at_checked(own).ok_or(PageRefused::Short)?;
        self.0 = rest;
        let head = before.as_bytes().get(..shared).ok_or_else(|| refused.clone())?;
        let text = String::from_utf8([head, tail].concat()).map_err(|_| refused.clone())?;
        let path = MemberPath::try_from(text).map_err(|_| refused.clone())?;
        if path.as_str() <= before {
            return Err(PageRefused::Order(number));
        }
        match shared_bytes(before, path.as_str()) == shared {
            true => Ok(path),
            false => Err(refused),
        }
    }
}
