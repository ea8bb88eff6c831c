//! The files of a folder.

use std::{fmt, str::FromStr};

use crate::{KeyRefused, Sha256, key::check_path};

/// Bytes of the longest path of a member.
pub(super) const PATH_BYTES_MAX: usize = 1024;

/// The path of a member inside its folder, such as `obs/cell_type/codes/0`.
///
/// It has the form of a key, and like one it is never folded or normalised.
/// Paths are ordered by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberPath(String);

impl MemberPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().expect("a split gives at least one piece")
    }
}

impl FromStr for MemberPath {
    type Err = KeyRefused;
    fn from_str(text: &str) -> Result<Self, KeyRefused> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for MemberPath {
    type Error = KeyRefused;
    fn try_from(text: String) -> Result<Self, KeyRefused> {
        check_path(&text, PATH_BYTES_MAX)?;
        Ok(Self(text))
    }
}

impl fmt::Display for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file of a folder: what a manifest says about it, and what its digest covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its path in the folder.
    pub path: MemberPath,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// sha256 of its content.
    pub sha256: Sha256,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_the_form_of_keys() {
        let (longest, long) = ("x".repeat(1024), "x".repeat(1025));
        for kept in ["a", ".zgroup", "obs/0.0", "0123456789abcdef", "a@@b", "ab::c", &longest] {
            assert_eq!(kept.parse::<MemberPath>().unwrap().as_str(), kept);
        }
        for refused in [
            "",
            "/a",
            "a/",
            "a//b",
            "../x",
            "a/../b",
            "a/.",
            "a\\b",
            "C:x",
            "a\nb",
            "a\u{202e}b",
            "a/.artifactd/b",
            &long,
        ] {
            assert!(refused.parse::<MemberPath>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn paths_are_ordered_by_their_bytes() {
        let mut paths = ["é", "a/b", "a.b", "a", "Z", "a0"].map(|path| path.parse::<MemberPath>().unwrap());
        paths.sort();
        assert_eq!(
            paths.each_ref().map(MemberPath::as_str),
            ["Z", "a", "a.b", "a/b", "a0", "é"]
        );
    }
}
