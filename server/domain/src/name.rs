//! Names of features, params, labels and the like.
//!
//! People type them and programs take them from column headers, so nearly every
//! text is one; what is refused would look like another name, or like none.

use std::{fmt, str::FromStr};

use crate::text::{changes_direction, takes_no_room};

const NAME_BYTES_MAX: usize = 255;
const SYNONYMS_MAX: usize = 100;
const NOTE_BYTES_MAX: usize = 4 * 1024;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameRefused {
    /// It is empty or too long.
    #[error("must have 1 to {NAME_BYTES_MAX} bytes, got {got}")]
    Length {
        /// Number of bytes that it has.
        got: usize,
    },
    /// It begins or ends with a blank.
    #[error("must not begin or end with a blank")]
    Blank,
    /// It holds a character that nobody can see.
    #[error("must not hold control characters or characters that nobody can see")]
    Characters,
    /// It is the name of a registry, which stands in the text of a dtype.
    #[error("may only hold letters, digits, `_`, `-` and `.`")]
    Registry,
}

/// The name of a feature, a param, a label or a synonym of one: `temperature`, `T cell`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameRefused;
    fn from_str(text: &str) -> Result<Self, NameRefused> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(NameRefused::Length { got: text.len() });
        }
        if text.trim() != text {
            return Err(NameRefused::Blank);
        }
        if !text.chars().all(is_plain) {
            return Err(NameRefused::Characters);
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_plain(c: char) -> bool {
    !c.is_control() && !changes_direction(c) && !takes_no_room(c)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a label registry: `ULabel`, `CellType`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryName(String);

impl RegistryName {
    /// The registry that every server has.
    pub const ULABEL: &'static str = "ULabel";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry that every server has.
    pub fn ulabel() -> Self {
        Self(Self::ULABEL.to_owned())
    }
}

impl FromStr for RegistryName {
    type Err = NameRefused;
    fn from_str(text: &str) -> Result<Self, NameRefused> {
        let name: Name = text.parse()?;
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.0.chars().all(fits) {
            Ok(Self(name.0))
        } else {
            Err(NameRefused::Registry)
        }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Other names of one thing: none twice, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synonyms(Vec<Name>);

/// Why a list of synonyms is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SynonymsRefused {
    /// There are too many.
    #[error("must be at most {SYNONYMS_MAX}, got {got}")]
    Number {
        /// How many there are.
        got: usize,
    },
    /// One of them is no name.
    #[error("holds `{synonym}`, which {refused}")]
    Name {
        /// The text.
        synonym: String,
        /// Why it is none.
        refused: NameRefused,
    },
}

impl Synonyms {
    /// Reads some texts; one that comes twice counts once.
    pub fn read<T: AsRef<str>>(texts: &[T]) -> Result<Self, SynonymsRefused> {
        if texts.len() > SYNONYMS_MAX {
            return Err(SynonymsRefused::Number { got: texts.len() });
        }
        let names = texts.iter().map(|text| {
            let text = text.as_ref();
            text.parse().map_err(|refused| SynonymsRefused::Name {
                synonym: text.chars().take(64).collect(),
                refused,
            })
        });
        let mut names: Vec<Name> = names.collect::<Result<_, _>>()?;
        names.sort();
        names.dedup();
        Ok(Self(names))
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A line or two: a unit, a reference, an abbreviation. At most 4 KiB, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note(String);

impl Note {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Note {
    type Err = crate::TextRefused;
    fn from_str(text: &str) -> Result<Self, crate::TextRefused> {
        use crate::TextRefused as Refused;
        if text.is_empty() {
            return Err(Refused::Empty);
        }
        if text.len() > NOTE_BYTES_MAX {
            let (max, got) = (NOTE_BYTES_MAX, text.len());
            return Err(Refused::TooLong { max, got });
        }
        if text.chars().any(|c| c.is_control() || changes_direction(c)) {
            return Err(Refused::Characters("must not hold control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_things_is_a_name() {
        for accepted in ["x", "T cell", "CD4+ αβ", "n_genes (log1p)", "試料", &"n".repeat(255)] {
            assert_eq!(accepted.parse::<Name>().unwrap().as_str(), accepted);
        }
        for refused in ["", " x", "x ", "a\nb", "a\u{202e}b", "a\u{200b}b", &"n".repeat(256)] {
            assert!(refused.parse::<Name>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn the_name_of_a_registry_can_stand_in_a_dtype() {
        for accepted in ["ULabel", "CellType", "bionty.Gene", "my-terms_2"] {
            assert!(accepted.parse::<RegistryName>().is_ok(), "{accepted}");
        }
        for refused in ["", "a b", "a|b", "a[b]", "a,b"] {
            assert!(refused.parse::<RegistryName>().is_err(), "{refused}");
        }
    }

    #[test]
    fn synonyms_are_names_and_come_once() {
        let read = Synonyms::read(&["b", "a", "b"]).unwrap();
        assert_eq!(read.iter().map(Name::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(Synonyms::read(&["a", ""]).is_err());
        assert!(Synonyms::read(&vec!["a"; 101]).is_err());
    }
}
