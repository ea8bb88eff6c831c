//! Finds names that a file system which ignores case takes for one.
//!
//! Paths come in the order of their bytes, so all that is in a folder comes together,
//! and only names of the folders that the latest path is in have to be known. Of names
//! that are one but for case, the one in which every letter is that of the larger code
//! point (`readme`, not `README`) comes last. So it is looked for, but never remembered:
//! a folder without capital letters costs nothing. Of each other name a hash is kept, up
//! to 28 MiB for a million in one folder. Two names of which 64 bits of a keyed hash are
//! the same would be refused by mistake; nobody can look for such.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use super::{MemberPath, page::shared_bytes};

/// Names of one folder are the same but for case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` differs only in case from another name beside it; a folder that no file system \
     which ignores case can hold is saved with `allow_case_collisions`"
)]
pub struct CaseCollision(pub String);

/// A walk over paths in order.
#[derive(Debug, Default)]
pub struct CaseWalk {
    hasher: RandomState,
    latest: String,
    /// What is in each folder above the latest path, from the outermost on, but for names
    /// that come last among theirs.
    folders: Vec<HashSet<u64>>,
    folded: String,
}

impl CaseWalk {
    /// Goes on to a path, which comes after the one before.
    ///
    /// # Errors
    /// When a name in it is another one's but for case.
    pub fn push(&mut self, path: &MemberPath) -> Result<(), CaseCollision> {
        let path = path.as_str();
        let shared = &path.as_bytes()[..shared_bytes(&self.latest, path)];
        let mut start = shared
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let shared_folders = shared.iter().filter(|byte| **byte == b'/').count();
        self.folders.truncate(shared_folders + 1);
        for (depth, name) in (shared_folders..).zip(path[start..].split('/')) {
            if depth == self.folders.len() {
                self.folders.push(HashSet::new());
            }
            self.folded.clear();
            self.folded.extend(name.chars().map(last_of_its_case));
            let (names, hash) = (&mut self.folders[depth], self.hasher.hash_one(&self.folded));
            let is_new = match self.folded == name {
                true => !names.contains(&hash),
                false => names.insert(hash),
            };
            if !is_new {
                return Err(CaseCollision(path[..start + name.len()].to_owned()));
            }
            start += name.len() + 1;
        }
        self.latest.clear();
        self.latest.push_str(path);
        Ok(())
    }
}

/// Of a letter and its counterparts in the other case, where these are one letter each,
/// that with the largest code point.
fn last_of_its_case(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    let (mut lower, mut upper) = (letter.to_lowercase(), letter.to_uppercase());
    let one = |first: Option<char>, second: Option<char>| first.filter(|_| second.is_none()).unwrap_or(letter);
    let lower = one(lower.next(), lower.next());
    let upper = one(upper.next(), upper.next());
    letter.max(lower).max(upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first_collision(paths: &[&str]) -> Option<String> {
        let mut walk = CaseWalk::default();
        let mut refused = paths.iter().filter_map(|path| walk.push(&path.parse().unwrap()).err());
        refused.next().map(|CaseCollision(path)| path)
    }

    #[test]
    fn names_that_differ_only_in_case_are_found_in_files_and_folders() {
        for (paths, found) in [
            (&["A.txt", "a.txt"][..], Some("a.txt")),
            (&["A/x", "B", "a/y"], Some("a")),
            (&["d/A/x", "d/a/y"], Some("d/a")),
            (&["d/A/x/1", "d/A/x/2", "d/A/y", "d/b", "d/c/A", "d/c/a"], Some("d/c/a")),
            (&["É", "é"], Some("é")),
            // The small letter has the smaller code point.
            (&["ÿ", "Ÿ"], Some("Ÿ")),
            (&["README", "Readme", "x"], Some("Readme")),
            (&["aB", "aa", "ab"], Some("ab")),
            (&["ß", "ẞ"], None),
            (&["a", "b/A", "b/c/A", "c/a"], None),
            (&["A/x", "A/y/z", "A0", "b"], None),
            (&["a/b/c", "a/bc", "ab/c"], None),
        ] {
            assert_eq!(first_collision(paths).as_deref(), found, "{paths:?}");
        }
    }

    #[test]
    fn names_without_capital_letters_cost_nothing() {
        let mut walk = CaseWalk::default();
        for number in 0..1_000 {
            walk.push(&format!("d/{number:04}.txt").parse().unwrap()).unwrap();
        }
        assert!(walk.folders.iter().all(HashSet::is_empty));
    }

    proptest! {
        #[test]
        fn they_are_found_wherever_they_are(paths in prop::collection::btree_set("[aAb]{1,2}(/[aAb]{1,2}){0,2}", 1..12)) {
            let paths: Vec<_> = paths.iter().map(String::as_str).collect();
            // What cannot stand together in a tree is refused elsewhere.
            let below = |file: &str| paths.iter().any(|path| path.starts_with(&format!("{file}/")));
            prop_assume!(!paths.iter().any(|path| below(path)));
            let mut names = std::collections::BTreeSet::new();
            for path in &paths {
                let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
                names.extend(ends.map(|end| &path[..end]));
            }
            let clash = names.iter().any(|one| {
                let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
                names.iter().any(|other| {
                    one != other && one.eq_ignore_ascii_case(other) && parent(one) == parent(other)
                })
            });
            prop_assert_eq!(first_collision(&paths).is_some(), clash, "{:?}", paths);
        }
    }
}
