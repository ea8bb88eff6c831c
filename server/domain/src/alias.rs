//! Aliases: names in a family that point to one of its versions and can be moved.

use std::{fmt, str::FromStr};

use crate::{Label, LabelRefused};

/// The name of an alias: what can be a label, but no number, because numbers never move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AliasName(Label);

impl AliasName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for AliasName {
    type Err = AliasRefused;
    fn from_str(text: &str) -> Result<Self, AliasRefused> {
        let label: Label = text.parse()?;
        if label.is_numeric() {
            return Err(AliasRefused::Numeric);
        }
        Ok(Self(label))
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no name of an alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasRefused {
    /// It could be no label either.
    #[error(transparent)]
    Label(#[from] LabelRefused),
    /// It is a number.
    #[error("is a number, and numbers of versions never move")]
    Numeric,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_labels_without_numbers() {
        for accepted in ["prod", "v1", "1a", "Prüf-Stand", "a@b"] {
            assert_eq!(accepted.parse::<AliasName>().unwrap().to_string(), accepted);
        }
        for refused in ["7", "007", "\u{ff12}", "\u{662}\u{662}"] {
            assert_eq!(refused.parse::<AliasName>(), Err(AliasRefused::Numeric), "{refused}");
        }
        let long = "x".repeat(65);
        for refused in ["", "latest", "a b", "a@@b", "a::b", "@a", "a\0", "a\u{202e}b", &long] {
            let label = refused.parse::<Label>().unwrap_err();
            assert_eq!(
                refused.parse::<AliasName>(),
                Err(AliasRefused::Label(label)),
                "{refused:?}"
            );
        }
    }
}
