//! References: the ways to name one artifact.
//!
//! The text form is the same everywhere: 20 or 16 base62 characters are a uid or
//! a stem, a stem may have a version (`stem@@version`), and everything else is
//! `[storage::]key[@@version]`. Keys that would read as something else are refused when
//! they are saved, so a text has one meaning.

use std::{fmt, str::FromStr};

use crate::{Key, KeyRefused, Label, LabelRefused, Stem, StorageName, Uid, VersionName, uid::reads_as_identifier};

/// What a caller names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ArtifactRef {
    /// One version, wherever it is.
    Uid(Uid),
    /// The newest version of a family.
    Stem(Stem),
    /// Some version of a family.
    StemVersion {
        /// The family.
        stem: Stem,
        /// Its label, its number, or an alias.
        version: Label,
    },
    /// A version of what has this key now.
    Key {
        /// Where to look; the default storage of the space when unset.
        storage: Option<StorageName>,
        /// The key.
        key: Key,
        /// Which version.
        version: VersionName,
    },
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefRefused {
    /// Its key is refused.
    #[error("key {0}")]
    Key(#[from] KeyRefused),
    /// Its storage is refused.
    #[error("storage {0}")]
    Storage(KeyRefused),
    /// Its version is refused.
    #[error("version {0}")]
    Version(#[from] LabelRefused),
}

impl FromStr for ArtifactRef {
    type Err = RefRefused;
    fn from_str(text: &str) -> Result<Self, RefRefused> {
        if reads_as_identifier(text) {
            return Ok(match text.parse() {
                Ok(uid) => Self::Uid(uid),
                Err(_) => Self::Stem(text.parse().expect("16 base62 characters are a stem")),
            });
        }
        // From the right: a key may end with `@`, a label never begins with one.
        if let Some((stem, version)) = text.rsplit_once("@@")
            && let Ok(stem) = stem.parse::<Stem>()
        {
            return Ok(match version.parse()? {
                VersionName::Latest => Self::Stem(stem),
                VersionName::Label(version) => Self::StemVersion { stem, version },
            });
        }
        let (storage, rest) = match text.split_once("::") {
            Some((storage, rest)) => (Some(storage.parse().map_err(RefRefused::Storage)?), rest),
            None => (None, text),
        };
        let (key, version) = match rest.rsplit_once("@@") {
            Some((key, version)) => (key, version.parse()?),
            None => (rest, VersionName::Latest),
        };
        Ok(Self::Key {
            storage,
            key: key.parse()?,
            version,
        })
    }
}

impl fmt::Display for ArtifactRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Stem(stem) => stem.fmt(f),
            Self::StemVersion { stem, version } => write!(f, "{stem}@@{version}"),
            Self::Key { storage, key, version } => {
                if let Some(storage) = storage {
                    write!(f, "{storage}::")?;
                }
                key.fmt(f)?;
                match version {
                    VersionName::Latest => Ok(()),
                    VersionName::Label(label) => write!(f, "@@{label}"),
                }
            }
        }
    }
}

impl From<Uid> for ArtifactRef {
    fn from(uid: Uid) -> Self {
        Self::Uid(uid)
    }
}

impl From<Stem> for ArtifactRef {
    fn from(stem: Stem) -> Self {
        Self::Stem(stem)
    }
}

impl From<Key> for ArtifactRef {
    fn from(key: Key) -> Self {
        Self::Key {
            storage: None,
            key,
            version: VersionName::Latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> ArtifactRef {
        text.parse().unwrap()
    }

    #[test]
    fn base62_of_the_right_length_is_an_identifier() {
        assert!(matches!(parsed("0123456789abcdef"), ArtifactRef::Stem(_)));
        assert!(matches!(parsed("0123456789abcdef0000"), ArtifactRef::Uid(_)));
        assert!(matches!(parsed("0123456789abcdefg"), ArtifactRef::Key { .. }));
        let ArtifactRef::StemVersion { stem, version } = parsed("0123456789abcdef@@prod") else {
            panic!()
        };
        assert_eq!((stem.as_str(), version.as_str()), ("0123456789abcdef", "prod"));
        assert_eq!(parsed("0123456789abcdef@@latest"), parsed("0123456789abcdef"));
    }

    #[test]
    fn a_key_may_come_with_a_storage_and_a_version() {
        let ArtifactRef::Key { storage, key, version } = parsed("raw-data::a/b.csv@@v2") else {
            panic!()
        };
        assert_eq!(storage.unwrap().as_str(), "raw-data");
        assert_eq!(key.as_str(), "a/b.csv");
        assert_eq!(version, VersionName::Label("v2".parse().unwrap()));
        assert_eq!(parsed("a.csv@@latest"), parsed("a.csv"));
    }

    #[test]
    fn a_key_that_ends_in_a_separator_keeps_it() {
        for (text, expected) in [("a@@@v", "a@"), ("abc:::a@@v", ":a")] {
            let ArtifactRef::Key { key, version, .. } = parsed(text) else {
                panic!()
            };
            assert_eq!(key.as_str(), expected);
            assert_eq!(version, VersionName::Label("v".parse().unwrap()));
        }
    }

    #[test]
    fn broken_references_are_refused() {
        for refused in [
            "",
            "@@1",
            "a@@",
            "::a",
            "A::b",
            "abc::",
            "a@@b@@c",
            "../x",
            "a::b::c",
            "0123456789abcdef@@",
            "0123456789abcdef@@a@@b",
            "0123456789abcdef0000@@prod",
            "abc::0123456789abcdef@@prod",
        ] {
            assert!(refused.parse::<ArtifactRef>().is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_reads_the_same_when_printed(text in "([a-z]{3,5}::)?[a-zA-Z0-9./é]{1,24}(@@[a-z0-9.]{1,6})?|[a-z0-9]{16}@@[a-z0-9@:]{1,6}") {
            if let Ok(reference) = text.parse::<ArtifactRef>() {
                prop_assert_eq!(reference.to_string().parse::<ArtifactRef>().unwrap(), reference);
            }
        }

        #[test]
        fn what_is_printed_names_the_same_parts(
            storage in prop::option::of("[a-z0-9]{3,5}"),
            key in "[a-z@:]{1,6}",
            label in prop::option::of("[a-z@:]{1,6}"),
        ) {
            let label = label.map(|label| label.parse::<crate::Label>());
            if let (Ok(key), Ok(label)) = (key.parse(), label.transpose()) {
                let reference = ArtifactRef::Key {
                    storage: storage.map(|name| name.parse().unwrap()),
                    key,
                    version: label.map_or(VersionName::Latest, VersionName::Label),
                };
                prop_assert_eq!(reference.to_string().parse::<ArtifactRef>(), Ok(reference));
            }
        }

        #[test]
        fn a_saved_key_names_itself(text in "[a-zA-Z0-9./:@é -]{1,30}") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(text.parse::<ArtifactRef>().unwrap(), ArtifactRef::from(key));
            }
        }
    }
}
