//! Checks that a folder's record, manifest, pages and blobs agree.

use std::collections::{HashMap, HashSet};

use artifactd_domain::manifest::FolderHasher;

use super::super::{Registry, Result};
use crate::db::{artifacts::ArtifactRow, manifests, manifests::PlacedPage};

/// Size and number of the members of pages that were checked: versions share them.
pub(in crate::registry) type CheckedPages = HashMap<i64, (u64, u64)>;

impl Registry {
    /// What is wrong with a folder, if anything is. Whether the bytes are there and right
    /// is a question of its blobs, which are checked as all others are.
    pub(in crate::registry) async fn wrong_folder(
        &self,
        row: &ArtifactRow,
        checked: &mut CheckedPages,
    ) -> Result<Option<String>> {
        let pages = manifests::pages_of(self.db.reader(), row.folder()?).await?;
        let (mut hasher, mut size_bytes, mut n_objects) = (FolderHasher::default(), 0, 0);
        for placed in &pages {
            hasher.add(&placed.reference.sha256);
            let (bytes, members) = match checked.get(&placed.page_id) {
                Some(sums) => *sums,
                None => match self.sums_of_page(placed).await? {
                    Ok(sums) => *checked.entry(placed.page_id).or_insert(sums),
                    Err(what) => return Ok(Some(what)),
                },
            };
            size_bytes += bytes;
            n_objects += members;
        }
        let actual = hasher.finish();
        let (recorded, recorded_size) = (row.digest()?, row.size_bytes.unsigned_abs());
        Ok(if actual != recorded {
            Some(format!("the digest of its pages is {actual}, recorded is {recorded}"))
        } else if (size_bytes, Some(n_objects)) != (recorded_size, row.n_objects.map(i64::unsigned_abs)) {
            Some(format!(
                "its pages have {n_objects} files of {size_bytes} bytes, and the record says otherwise"
            ))
        } else {
            None
        })
    }

    /// Bytes and number of the members of a page, or what is wrong with it.
    async fn sums_of_page(&self, placed: &PlacedPage) -> Result<std::result::Result<(u64, u64), String>> {
        let (reader, first) = (self.db.reader(), &placed.reference.first_path);
        let page = match manifests::page(reader, placed.page_id).await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(Err(format!("the page of {first} is missing"))),
            Err(crate::db::DbError::Row { .. }) => return Ok(Err(format!("the page of {first} cannot be read"))),
            Err(error) => return Err(error.into()),
        };
        if page.reference() != placed.reference {
            return Ok(Err(format!("the page of {first} is another one")));
        }
        let named: HashSet<_> = manifests::contents_of_page(reader, placed.page_id)
            .await?
            .into_iter()
            .collect();
        let unnamed = page
            .members()
            .iter()
            .find(|member| !named.contains(&(member.sha256, member.size_bytes)));
        Ok(match unnamed {
            Some(member) => Err(format!("nothing keeps the content of {}", member.path)),
            None => {
                let bytes = page.members().iter().map(|member| member.size_bytes).sum();
                Ok((bytes, page.members().len() as u64))
            }
        })
    }
}
