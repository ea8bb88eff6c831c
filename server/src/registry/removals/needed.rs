//! Which files in place other records need than those that go.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{DoomedFile, Registry, Result};
use crate::{
    db::{
        manifests,
        removals::{self, Held, InPlace},
    },
    storage::ObjectName,
};

/// Folders above a path, without the root.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(folder, _)| folder.rsplit_once('/')).map(|(folder, _)| folder)
}

/// The path of a content from the root, where it lies in place.
pub(super) fn place_of(held: &Held) -> Option<String> {
    let name: ObjectName = held.object_name.parse().ok()?;
    name.place().map(str::to_owned)
}

impl Registry {
    /// Paths among some that are needed though some artifacts go: another one has the path as
    /// its key, a folder has a file there, or another one reads its bytes there because they
    /// are the same as its own.
    pub(super) async fn needed(&self, storage_id: i64, files: &[DoomedFile], but: &[i64]) -> Result<HashSet<String>> {
        let mut needed = self.named_by_others(storage_id, files, but).await?;
        for (path, held) in self.found_there(storage_id, files).await? {
            if !needed.contains(&path) && removals::is_needed(self.db.reader(), held.blob_id, but).await? {
                needed.insert(path);
            }
        }
        Ok(needed)
    }

    /// The files in which the database finds their contents, by their paths.
    pub(super) async fn found_there(&self, storage_id: i64, files: &[DoomedFile]) -> Result<HashMap<String, Held>> {
        let digests: BTreeSet<&[u8]> = files.iter().map(|file| file.sha256.as_slice()).collect();
        let digests: Vec<&[u8]> = digests.into_iter().collect();
        let held = removals::held(self.db.reader(), storage_id, &digests).await?;
        let by_path: HashMap<String, Held> = held
            .into_iter()
            .filter_map(|held| Some((place_of(&held)?, held)))
            .collect();
        let found = files.iter().filter_map(|file| {
            let held = by_path.get(&file.path)?;
            let is_its = held.sha256 == file.sha256 && held.size_bytes == file.size_bytes;
            is_its.then(|| (file.path.clone(), held.clone()))
        });
        Ok(found.collect())
    }

    async fn named_by_others(&self, storage_id: i64, files: &[DoomedFile], but: &[i64]) -> Result<HashSet<String>> {
        let paths = files.iter().map(|file| file.path.as_str());
        let mut keys: BTreeSet<&str> = paths.clone().collect();
        keys.extend(paths.flat_map(above));
        let keys: Vec<&str> = keys.into_iter().collect();
        let others = removals::in_place_with_keys(self.db.reader(), storage_id, &keys, but).await?;
        let mut needed = HashSet::new();
        for file in files {
            if self.is_named_by(&file.path, &others).await? {
                needed.insert(file.path.clone());
            }
        }
        Ok(needed)
    }

    async fn is_named_by(&self, path: &str, others: &[InPlace]) -> Result<bool> {
        for other in others {
            match other.manifest_id {
                None if other.key == path => return Ok(true),
                Some(manifest_id) => {
                    let below = path.strip_prefix(&other.key).and_then(|rest| rest.strip_prefix('/'));
                    if let Some(member) = below
                        && self.has_member(manifest_id, member).await?
                    {
                        return Ok(true);
                    }
                }
                None => {}
            }
        }
        Ok(false)
    }

    async fn has_member(&self, manifest_id: i64, path: &str) -> Result<bool> {
        let reader = self.db.reader();
        let Some(placed) = manifests::page_for(reader, manifest_id, path).await? else {
            return Ok(false);
        };
        let page = self.page(reader, &placed).await?;
        Ok(page.is_some_and(|page| page.find(path).is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above_a_path_are_all_but_the_root() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(above("a").count(), 0);
    }
}
