//! What can be wrong with a filter, and where.

use std::{fmt, ops::Range};

use super::{Comparator, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TESTS_MAX, STARS_MAX};

/// A filter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFault {
    /// The character at which the fault is, counted from 1.
    pub character: usize,
    /// What is wrong there.
    pub refused: FilterRefused,
}

impl fmt::Display for FilterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.character, self.refused)
    }
}

impl std::error::Error for FilterFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refused)
    }
}

/// Where something is in the text: bytes.
pub(super) type Span = Range<usize>;

/// A fault whose place is still counted in bytes.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) refused: FilterRefused,
}

impl Fault {
    pub(super) fn new(at: usize, refused: FilterRefused) -> Self {
        Self { at, refused }
    }

    pub(super) fn in_text(self, text: &str) -> FilterFault {
        let before = text.char_indices().take_while(|(start, _)| *start < self.at);
        FilterFault {
            character: before.count() + 1,
            refused: self.refused,
        }
    }
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterRefused {
    /// The text is too long.
    #[error("a filter has at most {FILTER_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
    /// It is nested too deep.
    #[error("parentheses are nested at most {FILTER_DEPTH_MAX} deep")]
    Depth,
    /// It has too many tests.
    #[error("a filter has at most {FILTER_TESTS_MAX} tests")]
    Tests,
    /// Something stands where something else must.
    #[error("expected {wanted}, found {found}")]
    Unexpected {
        /// What must stand there.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// A quoted text does not end.
    #[error("this quote is not closed")]
    Unclosed,
    /// `\` stands before something that needs none.
    #[error("`\\` stands before one of `\\ \" ' * n r t` only, found `{0}`")]
    Escape(char),
    /// A character that no text may hold.
    #[error("a NUL character stands for nothing")]
    Nul,
    /// A word without a test.
    #[error("`{0}` tests nothing: write `field = value`; words are looked for by a search")]
    BareWord(String),
    /// A word that would join tests in capitals.
    #[error("write `{0}` in capitals")]
    SmallKeyword(&'static str),
    /// A field that tests nothing.
    #[error("`{name}` is tested against nothing: {hint}")]
    Untested {
        /// Name of the field.
        name: String,
        /// What to write.
        hint: String,
    },
    /// No such field.
    #[error("there is no field `{name}`{}", near(.nearest.as_deref()))]
    UnknownField {
        /// The name that was given.
        name: String,
        /// The nearest one that there is.
        nearest: Option<String>,
    },
    /// No such function.
    #[error("there is no function `{0}`")]
    UnknownFunction(String),
    /// A field that cannot be used, in the words of its schema.
    #[error("`{name}` {why}")]
    Field {
        /// Name of the field.
        name: String,
        /// Why not.
        why: String,
    },
    /// A function is compared.
    #[error("the function `{0}` holds or not: it stands alone")]
    FunctionCompared(String),
    /// A function has another number of arguments.
    #[error("the function `{name}` takes {wanted} values, not {got}")]
    Arguments {
        /// Name of the function.
        name: String,
        /// How many it takes.
        wanted: usize,
        /// How many were given.
        got: usize,
    },
    /// A map is compared like a field.
    #[error("`{0}` is a map: write `{0}:name`, or `{0}.name = value`")]
    Map(String),
    /// A comparison that the type of the field does not have.
    #[error("`{comparator}` does not go with `{name}`, {}", hint_of(*.comparator, .type_name))]
    Comparator {
        /// What stands there.
        comparator: Comparator,
        /// Name of the field.
        name: String,
        /// Type of the field, with its article.
        type_name: &'static str,
    },
    /// A value that the field cannot have.
    #[error("`{name}` takes {wanted}, not `{got}`")]
    Value {
        /// Name of the field or function.
        name: String,
        /// What it takes.
        wanted: String,
        /// What was given.
        got: String,
    },
    /// A value that names something, and nothing has the name.
    #[error("there is no {what} `{name}`{why}")]
    Unnamed {
        /// What was looked for.
        what: String,
        /// The name that was given.
        name: String,
        /// Where it was looked for, or nothing.
        why: String,
    },
    /// A number that is too large for any type.
    #[error("the number `{0}` is too large")]
    Number(String),
    /// Null as a value.
    #[error("whether `{0}` is unset is asked by `-{0}:*`; the text null is written in quotes")]
    Null(String),
    /// A star where it stands for nothing.
    #[error("`*` stands for any text after `=` and `!=` only; written `\\*` in quotes it means itself")]
    Star,
    /// Too many stars.
    #[error("a value has at most {STARS_MAX} `*`")]
    Stars,
}

fn near(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"))
}

fn hint_of(comparator: Comparator, type_name: &str) -> String {
    match comparator {
        Comparator::Has => format!("which is {type_name}: write `=`, or `:*` for whether it is set"),
        _ => format!("which is {type_name}: it has only `=`, `!=` and `:*`"),
    }
}
