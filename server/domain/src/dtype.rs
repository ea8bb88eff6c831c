//! The types of features and params.
//!
//! Their text says all of them: `int`, `list[float]`, `cat[ULabel]`,
//! `cat[CellType|Tissue]`, `list[cat[ULabel]]`.

use std::{fmt, str::FromStr};

use crate::{NameRefused, RegistryName};

const REGISTRIES_MAX: usize = 16;

/// What the values of a feature are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dtype {
    /// What each value is, or each item of a list.
    pub item: Item,
    /// Whether a value is a list of items.
    pub is_list: bool,
}

/// What one value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// A whole number of 64 bits.
    Int,
    /// A finite number; takes whole ones too.
    Float,
    /// True or false.
    Bool,
    /// Text.
    Str,
    /// A web address.
    Url,
    /// A day.
    Date,
    /// A point in time.
    DateTime,
    /// A JSON object.
    Dict,
    /// A label of one of these registries; at least one.
    Cat(Vec<RegistryName>),
}

/// Why a text is no dtype.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DtypeRefused {
    /// It is none of those that there are.
    #[error(
        "must be int, float, bool, str, url, date, datetime, dict, `cat[Registry]` of one or more registries with `|` \
         between them, or `list[…]` of one of these but dict"
    )]
    Unknown,
    /// A registry of a categorical has no possible name.
    #[error("names a label registry that {0}")]
    Registry(#[from] NameRefused),
    /// A registry comes twice, or there are too many.
    #[error("must name 1 to {REGISTRIES_MAX} registries, each once")]
    Registries,
}

const PLAIN: [(&str, Item); 8] = [
    ("int", Item::Int),
    ("float", Item::Float),
    ("bool", Item::Bool),
    ("str", Item::Str),
    ("url", Item::Url),
    ("date", Item::Date),
    ("datetime", Item::DateTime),
    ("dict", Item::Dict),
];

impl Dtype {
    /// One value of this kind.
    pub fn one(item: Item) -> Self {
        Self { item, is_list: false }
    }

    /// A list of values of this kind.
    pub fn list(item: Item) -> Self {
        Self { item, is_list: true }
    }

    /// Labels of the registry that every server has.
    pub fn ulabel() -> Self {
        Self::one(Item::Cat(vec![RegistryName::ulabel()]))
    }

    /// The registries of a categorical; nothing for others.
    pub fn registries(&self) -> &[RegistryName] {
        match &self.item {
            Item::Cat(registries) => registries,
            _ => &[],
        }
    }

    /// Whether its values are labels.
    pub fn is_categorical(&self) -> bool {
        matches!(self.item, Item::Cat(_))
    }

    /// Whether every value of this dtype is one of the other as it is stored.
    pub fn widens_to(&self, other: &Self) -> bool {
        match (&self.item, &other.item) {
            (Item::Cat(now), Item::Cat(then)) => {
                self.is_list == other.is_list && now.iter().all(|registry| then.contains(registry))
            }
            (Item::Url, Item::Str) => self.is_list == other.is_list,
            _ => self == other,
        }
    }
}

impl FromStr for Dtype {
    type Err = DtypeRefused;
    fn from_str(text: &str) -> Result<Self, DtypeRefused> {
        match text.strip_prefix("list[").and_then(|rest| rest.strip_suffix(']')) {
            None => Ok(Self::one(text.parse()?)),
            Some(item) => match item.parse()? {
                Item::Dict => Err(DtypeRefused::Unknown),
                item => Ok(Self::list(item)),
            },
        }
    }
}

impl FromStr for Item {
    type Err = DtypeRefused;
    fn from_str(text: &str) -> Result<Self, DtypeRefused> {
        if let Some((_, item)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(item.clone());
        }
        if text == "cat" {
            return Ok(Self::Cat(vec![RegistryName::ulabel()]));
        }
        let registries = text.strip_prefix("cat[").and_then(|rest| rest.strip_suffix(']'));
        let registries = registries.ok_or(DtypeRefused::Unknown)?;
        let mut names: Vec<RegistryName> = Vec::new();
        for name in registries.split('|') {
            let name = name.parse()?;
            if names.contains(&name) || names.len() == REGISTRIES_MAX {
                return Err(DtypeRefused::Registries);
            }
            names.push(name);
        }
        Ok(Self::Cat(names))
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PLAIN.iter().find(|(_, item)| item == self) {
            Some((name, _)) => f.write_str(name),
            None => {
                f.write_str("cat[")?;
                if let Self::Cat(registries) = self {
                    for (place, registry) in registries.iter().enumerate() {
                        write!(f, "{}{registry}", if place == 0 { "" } else { "|" })?;
                    }
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_list {
            write!(f, "list[{}]", self.item)
        } else {
            self.item.fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_printed_the_same() {
        for text in [
            "int",
            "float",
            "bool",
            "str",
            "url",
            "date",
            "datetime",
            "dict",
            "list[int]",
            "list[str]",
            "cat[ULabel]",
            "cat[CellType|Tissue]",
            "list[cat[ULabel]]",
        ] {
            assert_eq!(text.parse::<Dtype>().unwrap().to_string(), text);
        }
        assert_eq!("cat".parse::<Dtype>().unwrap(), Dtype::ulabel());
    }

    #[test]
    fn other_texts_are_refused() {
        for refused in [
            "",
            "number",
            "Int",
            "list",
            "list[]",
            "list[list[int]]",
            "list[dict]",
            "cat[]",
            "cat[A|A]",
            "cat[a b]",
            "cat[A",
            "int ",
            "cat[A|]",
        ] {
            assert!(refused.parse::<Dtype>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_categorical_widens_by_registries() {
        let dtype = |text: &str| text.parse::<Dtype>().unwrap();
        assert!(dtype("cat[A]").widens_to(&dtype("cat[B|A]")));
        assert!(!dtype("cat[A|B]").widens_to(&dtype("cat[A]")));
        assert!(!dtype("int").widens_to(&dtype("float")));
        assert!(!dtype("cat[A]").widens_to(&dtype("list[cat[A]]")));
    }
}
