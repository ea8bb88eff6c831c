//! A walk over the members of a folder that match, in the order of their paths.

use std::sync::Arc;

use artifactd_domain::{
    Key,
    manifest::{Glob, Member, MemberPath},
};

use super::{
    super::super::{RegistryError, Result},
    pages::{KnownPage, Pages},
};
use crate::db::blobs::BlobPlace;

/// See the module.
pub(super) struct Walk {
    prefix: String,
    end: Option<String>,
    glob: Option<Glob>,
    /// The first path that is wanted, and the first byte of the file there.
    start: Option<(MemberPath, u64)>,
    at: At,
}

enum At {
    Beginning,
    /// In this page, behind so many of its members.
    Page(Arc<KnownPage>, usize),
    End,
}

impl Walk {
    pub(super) fn new(prefix: String, glob: Option<Glob>, start: Option<(MemberPath, u64)>) -> Self {
        Self {
            end: Key::prefix_end(&prefix),
            prefix,
            glob,
            start,
            at: At::Beginning,
        }
    }

    /// The next member, its first byte that is wanted, and where its content lies.
    pub(super) async fn next(&mut self, pages: &mut Pages) -> Result<Option<(Member, u64, BlobPlace)>> {
        loop {
            if let Some((known, member)) = self.next_in_page() {
                let place = pages.place(&known, &member)?;
                let start = self.first_byte(&member)?;
                return Ok(Some((member, start, place)));
            }
            let page = match &self.at {
                At::Beginning => pages.at(self.first_path()).await?,
                At::Page(known, _) => pages.next(known, self.end.as_deref()).await?,
                At::End => return Ok(None),
            };
            self.at = page.map_or(At::End, |page| At::Page(page, 0));
        }
    }

    fn first_path(&self) -> &str {
        let start = self.start.as_ref().map_or("", |(path, _)| path.as_str());
        start.max(&self.prefix)
    }

    fn next_in_page(&mut self) -> Option<(Arc<KnownPage>, Member)> {
        let first = self.first_path().to_owned();
        let At::Page(known, done) = &mut self.at else {
            return None;
        };
        while let Some(member) = known.members().get(*done) {
            *done += 1;
            let path = member.path.as_str();
            if self.end.as_deref().is_some_and(|end| path >= end) {
                *done = known.members().len();
                return None;
            }
            if path >= first.as_str() && self.glob.as_ref().is_none_or(|glob| glob.matches(path)) {
                return Some((Arc::clone(known), member.clone()));
            }
        }
        None
    }

    fn first_byte(&self, member: &Member) -> Result<u64> {
        match &self.start {
            Some((path, offset)) if *path == member.path && *offset > member.size_bytes => {
                Err(RegistryError::RangeInvalid {
                    offset: i64::try_from(*offset).unwrap_or(i64::MAX),
                    size_bytes: member.size_bytes,
                })
            }
            Some((path, offset)) if *path == member.path => Ok(*offset),
            _ => Ok(0),
        }
    }
}
