//! Names inside a storage.
//!
//! A key is opaque text in segments. It is never decoded, folded or normalised,
//! and it never becomes a path on the server: bytes lie under names that the
//! server makes. What is refused here is what would mislead a reader, a shell or
//! a client that writes the key below a folder of its own.

use std::{fmt, str::FromStr};

use crate::{Suffix, raw_suffix_of, text::changes_direction, uid::reads_as_identifier};

const KEY_BYTES_MAX: usize = 1024;
const FILE_NAME_BYTES_MAX: usize = 255;
const RESERVED_SEGMENTS: [&str; 2] = [".artifactd", ".lamindb"];

/// Why a text is no key, file name or storage name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// It is empty or too long.
    #[error("must have 1 to {max} bytes, got {got}")]
    Length {
        /// Largest number of bytes.
        max: usize,
        /// Number of bytes that it has.
        got: usize,
    },
    /// It holds a control character, or one that changes the reading direction.
    #[error("must not hold control characters or characters that change the reading direction")]
    Characters,
    /// It holds a backslash, which some systems take for a separator.
    #[error("must not hold a backslash")]
    Backslash,
    /// It has an empty, `.` or `..` segment, or a slash at an end.
    #[error("must not have empty, `.` or `..` segments, nor begin or end with `/`")]
    Segments,
    /// It begins like a Windows drive.
    #[error("must not begin like a drive (`C:`)")]
    Drive,
    /// A segment is reserved for the server or the library it follows.
    #[error("must not have the reserved segment `{0}`")]
    Reserved(&'static str),
    /// It would read as a uid, a stem or a reference with a version or storage.
    #[error("would read as something else: a uid, a stem, or a reference with `::` or `@@`")]
    Ambiguous,
    /// A file name has more than one segment.
    #[error("must be a file name, without `/`")]
    Slash,
    /// A storage name breaks the rules of bucket names.
    #[error(
        "must be 3 to 63 characters of a-z, 0-9, `-` and `.`, begin and end with a letter or digit, and be no IP address"
    )]
    StorageName,
}

/// A name inside a storage, such as `cells/pbmc68k.h5ad`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().expect("a split gives at least one piece")
    }

    /// Its suffix.
    pub fn suffix(&self) -> Suffix {
        Suffix::of_name(self.file_name())
    }

    /// The key with another suffix: what replacing content by another format gives.
    pub fn with_suffix(&self, suffix: &Suffix) -> Result<Self, KeyRefused> {
        let raw = raw_suffix_of(self.file_name());
        format!("{}{suffix}", &self.0[..self.0.len() - raw.len()]).parse()
    }
}

impl FromStr for Key {
    type Err = KeyRefused;
    fn from_str(text: &str) -> Result<Self, KeyRefused> {
        check_path(text, KEY_BYTES_MAX)?;
        if reads_as_identifier(text) || text.contains("@@") || text.contains("::") {
            return Err(KeyRefused::Ambiguous);
        }
        Ok(Self(text.to_owned()))
    }
}

fn check_path(text: &str, bytes_max: usize) -> Result<(), KeyRefused> {
    if text.is_empty() || text.len() > bytes_max {
        return Err(KeyRefused::Length {
            max: bytes_max,
            got: text.len(),
        });
    }
    if text.chars().any(|c| c.is_control() || changes_direction(c)) {
        return Err(KeyRefused::Characters);
    }
    if text.contains('\\') {
        return Err(KeyRefused::Backslash);
    }
    if matches!(text.as_bytes(), [drive, b':', ..] if drive.is_ascii_alphabetic()) {
        return Err(KeyRefused::Drive);
    }
    text.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), KeyRefused> {
    if matches!(segment, "" | "." | "..") {
        return Err(KeyRefused::Segments);
    }
    match RESERVED_SEGMENTS
        .into_iter()
        .find(|reserved| segment.eq_ignore_ascii_case(reserved))
    {
        Some(reserved) => Err(KeyRefused::Reserved(reserved)),
        None => Ok(()),
    }
}

/// The name of a file as its owner has it: one segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName(String);

impl FileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its suffix.
    pub fn suffix(&self) -> Suffix {
        Suffix::of_name(&self.0)
    }
}

impl FromStr for FileName {
    type Err = KeyRefused;
    fn from_str(text: &str) -> Result<Self, KeyRefused> {
        if text.contains('/') {
            return Err(KeyRefused::Slash);
        }
        check_path(text, FILE_NAME_BYTES_MAX)?;
        Ok(Self(text.to_owned()))
    }
}

/// The name of a storage; it is a bucket name too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageName(String);

impl StorageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageName {
    type Err = KeyRefused;
    fn from_str(text: &str) -> Result<Self, KeyRefused> {
        let bytes = text.as_bytes();
        let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let well_formed = (3..=63).contains(&bytes.len())
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
            && ends_well(bytes.first())
            && ends_well(bytes.last())
            && !text.contains("..")
            && !text.starts_with("xn--")
            && text.parse::<std::net::Ipv4Addr>().is_err();
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyRefused::StorageName)
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_that_would_mislead_are_refused() {
        let long = "x".repeat(1025);
        for refused in [
            "",
            "/",
            "//",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            "a/../../b",
            "a/./b",
            "C:\\x",
            "c:x",
            "\\\\srv\\s",
            "..\\x",
            "a\0b",
            "a\r\nb",
            "a\u{7f}",
            "a\u{202e}b",
            ".lamindb/x",
            "a/.artifactd/b",
            "a/.Artifactd",
            "0123456789abcdef",
            "0123456789abcdef0000",
            "a@@1",
            "a::b",
            &long,
        ] {
            assert!(refused.parse::<Key>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn keys_are_kept_to_the_letter() {
        let longest = "x".repeat(1024);
        for kept in [
            "a",
            "cells/pbmc68k.h5ad",
            "%2e%2e%2f",
            "%252e",
            "a%00b",
            "a b",
            "a.",
            "a ",
            "é",
            "e\u{301}",
            "A",
            "日本/語",
            "...",
            "ab:c",
            "a@b",
            "0123456789abcde.csv",
            &longest,
        ] {
            assert_eq!(kept.parse::<Key>().unwrap().as_str(), kept);
        }
    }

    #[test]
    fn another_suffix_takes_the_place_of_the_old_one_as_it_was_spelled() {
        for (key, suffix, after) in [
            ("a/table.CSV", ".parquet", "a/table.parquet"),
            ("a/reads.fastq.gz", ".csv", "a/reads.csv"),
            ("a/plain", ".csv", "a/plain.csv"),
            ("a.b/x.csv", "", "a.b/x"),
        ] {
            let suffix = Suffix::of_name(&format!("x{suffix}"));
            assert_eq!(
                key.parse::<Key>().unwrap().with_suffix(&suffix).unwrap().as_str(),
                after
            );
        }
    }

    #[test]
    fn file_names_have_one_segment() {
        assert!("x.csv".parse::<FileName>().is_ok());
        for refused in ["", "a/b", "..", "a\\b", &"x".repeat(256)] {
            assert!(refused.parse::<FileName>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn storage_names_are_bucket_names() {
        for accepted in ["default", "my-bucket", "a.b.c", "abc"] {
            assert!(accepted.parse::<StorageName>().is_ok(), "{accepted}");
        }
        for refused in [
            "..",
            "a",
            "AB-C",
            "1.2.3.4",
            "xn--abc",
            "a_b",
            "-ab",
            "ab-",
            "a..b",
            &"x".repeat(64),
        ] {
            assert!(refused.parse::<StorageName>().is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_key_has_only_plain_segments(text in "[a-z./\\\\:@%\u{0}-\u{20}é]{0,24}") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(key.as_str(), &text);
                prop_assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
                prop_assert!(!text.contains(['\\', '\0', '\n']));
            }
        }
    }
}
