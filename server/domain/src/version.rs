//! Version numbers and labels.
//!
//! The number orders the versions of a family and is issued once. The label is
//! what people say; unless they choose one it is the number.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::text::{changes_direction, takes_no_room};

const LABEL_CHARS_MAX: usize = 64;

/// 1, 2, 3 … in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber(u32);

impl VersionNumber {
    /// The number of the first version.
    pub const FIRST: Self = Self(1);

    /// The number as an integer.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// A number that a database or a message held; `None` for 0 and what no family reaches.
    pub fn from_integer(number: i64) -> Option<Self> {
        u32::try_from(number)
            .ok()
            .filter(|number| (1..=i32::MAX as u32).contains(number))
            .map(Self)
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a version is called: 1 to 64 visible characters, not `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it consists of digits alone, of whatever script: all of them read as a number.
    pub fn is_numeric(&self) -> bool {
        self.0.chars().all(char::is_numeric)
    }
}

impl From<VersionNumber> for Label {
    fn from(number: VersionNumber) -> Self {
        Self(number.to_string())
    }
}

impl FromStr for Label {
    type Err = LabelRefused;
    fn from_str(text: &str) -> Result<Self, LabelRefused> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Label {
    type Error = LabelRefused;
    fn try_from(text: String) -> Result<Self, LabelRefused> {
        check(&text).map(|()| Self(text))
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

fn check(text: &str) -> Result<(), LabelRefused> {
    let chars = text.chars().count();
    if chars == 0 || chars > LABEL_CHARS_MAX {
        return Err(LabelRefused::Length { got: chars });
    }
    if text == "latest" {
        return Err(LabelRefused::Latest);
    }
    if !text.chars().all(is_visible) {
        return Err(LabelRefused::Characters);
    }
    if separates(text) {
        return Err(LabelRefused::Separator);
    }
    Ok(())
}

/// Whether a text would blur the parts of a reference. A key may end with `@`,
/// so a label that begins with one would take it from the key.
fn separates(text: &str) -> bool {
    text.contains("@@") || text.contains("::") || text.starts_with('@')
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !changes_direction(c) && !takes_no_room(c)
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a label cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelRefused {
    /// It is empty or too long.
    #[error("must have 1 to {LABEL_CHARS_MAX} characters, got {got}")]
    Length {
        /// Number of characters that it has.
        got: usize,
    },
    /// It holds a space, a control character or one that nobody can see.
    #[error("may only hold visible characters")]
    Characters,
    /// It would blur the parts of a reference.
    #[error("must not hold `@@` or `::`, nor begin with `@`")]
    Separator,
    /// It is the word for the newest version.
    #[error("`latest` always means the newest version and cannot be chosen")]
    Latest,
    /// It is a number, but another one than the version has.
    #[error("`{wish}` is a number, and this version has the number {number}")]
    NotTheNumber {
        /// The label that was wished.
        wish: Label,
        /// The number that the version has.
        number: VersionNumber,
    },
    /// Another version of the family has it.
    #[error("`{wish}` is the label of another version of this family")]
    Taken {
        /// The label that was wished.
        wish: Label,
    },
}

/// Picks the label of version `number` of a family.
///
/// Without a wish it is the number itself. A wish must be free in the family,
/// and a wish of digits alone must be that number, so that labels never lie.
pub fn version_label(
    number: VersionNumber,
    taken: &BTreeSet<Label>,
    wish: Option<Label>,
) -> Result<Label, LabelRefused> {
    let Some(wish) = wish else {
        return Ok(Label::from(number));
    };
    if wish.is_numeric() && wish != Label::from(number) {
        return Err(LabelRefused::NotTheNumber { wish, number });
    }
    if taken.contains(&wish) {
        return Err(LabelRefused::Taken { wish });
    }
    Ok(wish)
}

/// A version as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum VersionName {
    /// The newest version outside trash.
    #[default]
    Latest,
    /// The version with this label.
    Label(Label),
}

impl FromStr for VersionName {
    type Err = LabelRefused;
    fn from_str(text: &str) -> Result<Self, LabelRefused> {
        if text == "latest" {
            Ok(Self::Latest)
        } else {
            text.parse().map(Self::Label)
        }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Label(label) => label.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(text: &str) -> Label {
        text.parse().unwrap()
    }

    fn number(n: i64) -> VersionNumber {
        VersionNumber::from_integer(n).unwrap()
    }

    #[test]
    fn without_a_wish_the_label_is_the_number() {
        assert_eq!(version_label(number(3), &BTreeSet::new(), None), Ok(label("3")));
    }

    #[test]
    fn a_label_of_digits_must_be_the_number() {
        assert_eq!(
            version_label(number(2), &BTreeSet::new(), Some(label("2"))),
            Ok(label("2"))
        );
        for wish in ["1", "02", "20"] {
            assert!(matches!(
                version_label(number(2), &BTreeSet::new(), Some(label(wish))),
                Err(LabelRefused::NotTheNumber { .. })
            ));
        }
    }

    #[test]
    fn a_taken_label_is_refused() {
        let taken = BTreeSet::from([label("draft")]);
        assert_eq!(
            version_label(number(2), &taken, Some(label("draft"))),
            Err(LabelRefused::Taken { wish: label("draft") })
        );
    }

    #[test]
    fn digits_of_other_scripts_are_numbers_too() {
        for wish in ["\u{ff12}", "\u{662}", "\u{bd}"] {
            assert!(matches!(
                version_label(number(2), &BTreeSet::new(), Some(label(wish))),
                Err(LabelRefused::NotTheNumber { .. })
            ));
        }
    }

    #[test]
    fn labels_are_short_visible_and_not_latest() {
        for refused in [
            "",
            "latest",
            "a b",
            "a\n",
            "a\u{202e}b",
            "a@@b",
            "a::b",
            "@a",
            "latest\u{200b}",
            "\u{feff}",
            "\u{2800}",
            "v1\u{ad}",
            "e\u{fe0f}",
            &"x".repeat(65),
        ] {
            assert!(refused.parse::<Label>().is_err(), "{refused:?}");
            assert!(Label::try_from(refused.to_owned()).is_err(), "{refused:?}");
        }
        for accepted in ["1", "v1.0", "größer", "e\u{301}", "🎉", "a@b:c", &"x".repeat(64)] {
            assert!(accepted.parse::<Label>().is_ok(), "{accepted:?}");
            assert_eq!(
                Label::try_from(accepted.to_owned()).map(String::from),
                Ok(accepted.to_owned())
            );
        }
    }

    #[test]
    fn numbers_start_at_one() {
        for refused in [0, -1, i64::from(i32::MAX) + 1, i64::MAX] {
            assert_eq!(VersionNumber::from_integer(refused), None);
        }
    }

    proptest! {
        #[test]
        fn labels_of_a_family_are_unique_and_numbers_never_lie(
            wishes in prop::collection::vec(prop::option::of("[1-9]|1[0-9]|0[1-9]|[ab]"), 1..20),
        ) {
            let (mut taken, mut next) = (BTreeSet::new(), VersionNumber::FIRST);
            for wish in wishes {
                let wish = wish.map(|wish| label(&wish));
                if let Ok(label) = version_label(next, &taken, wish) {
                    prop_assert!(!label.is_numeric() || label == Label::from(next));
                    prop_assert!(taken.insert(label));
                    next = next.next();
                }
            }
        }

        #[test]
        fn any_text_is_a_label_or_a_clear_refusal(text in ".{0,80}") {
            if let Ok(label) = text.parse::<Label>() {
                prop_assert_eq!(label.as_str(), &text);
                prop_assert_eq!(text.parse::<VersionName>().unwrap().to_string(), text);
            }
        }
    }
}
