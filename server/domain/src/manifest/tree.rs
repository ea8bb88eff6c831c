//! Finds paths that cannot stand together in a tree: a file `a` and a file `a/b`.
//!
//! In the order of bytes `a-c` stands between the two. But whatever stands between
//! them begins with `a`, so it is enough to remember the paths that the latest one
//! begins with, and since these are all parts of it, their lengths.

use super::page::shared_bytes;

/// What is known of a path that a walk came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It was there before and stays.
    Kept,
    /// It is new or has other content.
    Put,
    /// It is taken away.
    Removed,
}

/// A walk over paths in order.
#[derive(Debug, Default)]
pub(super) struct Walk {
    latest: String,
    /// Lengths of the paths that `latest` begins with, shortest first, itself included.
    seen: Vec<(usize, Presence)>,
}

impl Walk {
    /// Goes on to `path`, but does not count it as seen yet. Tells how many bytes
    /// it has in common with the path before.
    pub(super) fn go_to(&mut self, path: &str) -> usize {
        let shared = shared_bytes(&self.latest, path);
        while self.seen.last().is_some_and(|(length, _)| *length > shared) {
            self.seen.pop();
        }
        self.latest.clear();
        self.latest.push_str(path);
        shared
    }

    /// Counts the path that the walk has come to as seen.
    pub(super) fn see(&mut self, presence: Presence) {
        self.seen.push((self.latest.len(), presence));
    }

    /// Whether something was seen at the folder of this length of the path that the walk has come to.
    pub(super) fn has_seen(&self, folder_bytes: usize) -> bool {
        self.seen.iter().any(|(length, _)| *length == folder_bytes)
    }

    /// The first folder of the path that the walk has come to, where a file is that counts.
    pub(super) fn file_above(&self, counts: impl Fn(Presence) -> bool) -> Option<&str> {
        let is_folder = |length: usize| self.latest.as_bytes().get(length) == Some(&b'/');
        let found = self
            .seen
            .iter()
            .find(|(length, presence)| is_folder(*length) && counts(*presence));
        found.map(|(length, _)| &self.latest[..*length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_collision(paths: &[&str]) -> Option<(String, String)> {
        let mut walk = Walk::default();
        for path in paths {
            walk.go_to(path);
            if let Some(file) = walk.file_above(|_| true) {
                return Some((file.to_owned(), (*path).to_owned()));
            }
            walk.see(Presence::Kept);
        }
        None
    }

    #[test]
    fn a_file_above_another_is_found_also_with_paths_between_them() {
        for (paths, file, below) in [
            (&["a", "a/b"][..], "a", "a/b"),
            (&["a", "a-/x", "a.b", "a/b"], "a", "a/b"),
            (&["a", "a b/c", "a!", "a!/d"], "a!", "a!/d"),
            (&["é", "é/x"], "é", "é/x"),
            (&["a/b", "a/b/c/d"], "a/b", "a/b/c/d"),
        ] {
            assert_eq!(first_collision(paths), Some((file.to_owned(), below.to_owned())));
        }
    }

    #[test]
    fn files_beside_each_other_are_fine() {
        for paths in [
            &["a", "a.b", "a0", "a0b", "ab/c", "b/a", "b/a.c"][..],
            &["a-", "a.b/c", "a/b"],
            &["x", "xé", "xê"],
        ] {
            assert_eq!(first_collision(paths), None, "{paths:?}");
        }
    }
}
