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
    /// It cannot have a suffix, because the rest of it gives that another meaning.
    #[error("would be `{key}`, which has the suffix `{reads}` and not `{wanted}`")]
    OtherSuffix {
        /// The key that it would be.
        key: Key,
        /// The suffix that it should have.
        wanted: Suffix,
        /// The suffix that it would have.
        reads: Suffix,
    },
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
    ///
    /// A key that has this suffix already keeps its spelling. One that would read
    /// as another format then (`x.tar.csv` with `.gz`) is refused.
    pub fn with_suffix(&self, suffix: &Suffix) -> Result<Self, KeyRefused> {
        if self.suffix() == *suffix {
            return Ok(self.clone());
        }
        let raw = raw_suffix_of(self.file_name());
        let key: Self = format!("{}{suffix}", &self.0[..self.0.len() - raw.len()]).parse()?;
        if key.suffix() != *suffix {
            let (wanted, reads) = (suffix.clone(), key.suffix());
            return Err(KeyRefused::OtherSuffix { key, wanted, reads });
        }
        Ok(key)
    }

    /// The end of the half-open range of keys that begin with `prefix`; `None`
    /// when the range has no end.
    ///
    /// Keys compare as bytes, which for UTF-8 is the order of their characters.
    pub fn prefix_end(prefix: &str) -> Option<String> {
        let mut end = prefix.to_owned();
        while let Some(last) = end.pop() {
            // A range of characters steps over the gap of the surrogates.
            if let Some(next) = (last..=char::MAX).nth(1) {
                end.push(next);
                return Some(end);
            }
        }
        None
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

pub(crate) fn check_path(text: &str, bytes_max: usize) -> Result<(), KeyRefused> {
    if text.is_empty() || text.len() > bytes_max {
        return Err(KeyRefused::Length {
            max: bytes_max,
            got: text.len(),
        });
    }
    // Most paths are ASCII, which needs no decoding; those of a large folder are many.
    let is_refused = match text.is_ascii() {
        true => text.bytes().any(|byte| byte.is_ascii_control()),
        false => text.chars().any(|c| c.is_control() || changes_direction(c)),
    };
    if is_refused {
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
            && !reads_as_address(text);
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyRefused::StorageName)
        }
    }
}

/// Whether a name has the form of an IPv4 address, be it a valid one or not.
fn reads_as_address(text: &str) -> bool {
    text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
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
            ("a/TABLE.CSV", ".csv", "a/TABLE.CSV"),
            ("a/x.zrad", ".anndata.zarr", "a/x.zrad"),
            ("a/x.abcdef", ".csv", "a/x.abcdef.csv"),
        ] {
            let suffix = Suffix::of_name(&format!("x{suffix}"));
            assert_eq!(
                key.parse::<Key>().unwrap().with_suffix(&suffix).unwrap().as_str(),
                after
            );
        }
    }

    #[test]
    fn a_suffix_that_the_rest_of_the_key_would_change_is_refused() {
        for (key, suffix) in [("x.tar.csv", ".gz"), ("x.csv.parquet", ""), ("x.anndata.csv", ".zarr")] {
            let refused = key
                .parse::<Key>()
                .unwrap()
                .with_suffix(&Suffix::of_name(&format!("y{suffix}")));
            assert!(
                matches!(refused, Err(KeyRefused::OtherSuffix { .. })),
                "{key} {refused:?}"
            );
        }
    }

    #[test]
    fn a_suffix_that_makes_the_key_too_long_is_refused() {
        let key: Key = "x".repeat(1022).parse().unwrap();
        assert!(matches!(
            key.with_suffix(&Suffix::of_name("x.csv")),
            Err(KeyRefused::Length { .. })
        ));
    }

    #[test]
    fn the_end_of_a_prefix_steps_over_what_is_no_character() {
        for (prefix, end) in [
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("az\u{10ffff}", Some("a{")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("\u{7f}", Some("\u{80}")),
            ("\u{ffff}", Some("\u{10000}")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(Key::prefix_end(prefix).as_deref(), end, "{prefix:?}");
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
        for accepted in [
            "default",
            "my-bucket",
            "a.b.c",
            "abc",
            "1.2.3",
            "123",
            "0123456789abcdef",
        ] {
            assert!(accepted.parse::<StorageName>().is_ok(), "{accepted}");
        }
        for refused in [
            "..",
            "a",
            "AB-C",
            "1.2.3.4",
            "001.002.003.004",
            "999.999.999.999",
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

    const HOSTILE: [&str; 16] = [
        "\0",
        "\r\n",
        "\u{7f}",
        "\u{9f}",
        "\u{202e}",
        "\u{2067}",
        "\\",
        "//",
        "/../",
        "/./",
        "@@",
        "::",
        "/.artifactd/",
        "/.LaminDB/",
        "\t",
        "\u{1b}[2J",
    ];

    proptest! {
        #[test]
        fn an_accepted_key_has_only_plain_segments(text in "[a-z./\\\\:@%\u{0}-\u{20}é]{0,24}") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(key.as_str(), &text);
                prop_assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
                prop_assert!(!text.contains(['\\', '\0', '\n']));
            }
        }

        #[test]
        fn plain_segments_make_a_key(segments in prop::collection::vec("[a-z0-9_é日 %-]{1,12}", 2..6)) {
            let text = segments.join("/");
            let key: Key = text.parse().unwrap();
            prop_assert_eq!(key.as_str(), &text);
            prop_assert_eq!(Some(key.file_name()), segments.last().map(String::as_str));
        }

        #[test]
        fn nothing_hostile_hides_in_a_key(before in "[a-z]{1,9}", bad in prop::sample::select(&HOSTILE), after in "[a-z]{1,9}") {
            let text = format!("{before}{bad}{after}");
            prop_assert!(text.parse::<Key>().is_err(), "{:?}", text);
        }

        #[test]
        fn a_key_never_reads_as_an_identifier(text in "[0-9A-Za-z]{1,24}") {
            let is_key = text.parse::<Key>().is_ok();
            let is_identifier = text.parse::<crate::Uid>().is_ok() || text.parse::<crate::Stem>().is_ok();
            prop_assert_ne!(is_key, is_identifier);
        }

        #[test]
        fn a_key_with_another_suffix_has_that_suffix(
            key in "[a-z]{1,4}([.](csv|tar|gz|h5ad|zarr|anndata|zrad|foo|7)){0,3}",
            suffix in "x([.](csv|tar|gz|h5ad|zarr|zrad))?",
        ) {
            let (key, suffix): (Key, _) = (key.parse().unwrap(), Suffix::of_name(&suffix));
            if let Ok(with) = key.with_suffix(&suffix) {
                prop_assert_eq!(with.suffix(), suffix);
            }
        }

        #[test]
        fn the_range_of_a_prefix_holds_what_begins_with_it(
            prefix in "[a-c\u{7f}\u{d7ff}\u{ffff}\u{10ffff}]{0,3}",
            key in "[a-c\u{7f}\u{d7ff}\u{ffff}\u{10ffff}]{0,4}",
        ) {
            let in_range = key >= prefix && Key::prefix_end(&prefix).is_none_or(|end| key < end);
            prop_assert_eq!(in_range, key.starts_with(&prefix));
        }
    }
}
