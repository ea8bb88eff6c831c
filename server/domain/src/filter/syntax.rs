//! What a filter says, as a tree that knows nothing of what is filtered.

use std::fmt;

use super::{
    FilterFault, FilterRefused,
    cursor::shortened,
    fault::{Fault, Span},
};

/// A filter that was read.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(super) text: String,
    pub(super) root: Option<Expression>,
}

impl Filter {
    /// The text that was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says; `None` when it matches everything.
    pub fn expression(&self) -> Option<&Expression> {
        self.root.as_ref()
    }

    /// The fault that nothing has the name which a value of the filter is.
    pub fn unnamed(&self, value: &Literal, what: &str, why: &str) -> FilterFault {
        let refused = FilterRefused::Unnamed {
            what: what.to_owned(),
            name: shortened(&value.text),
            why: why.to_owned(),
        };
        Fault::new(value.span.start, refused).in_text(&self.text)
    }

    /// Every test, in the order of the text: what a schema has to know.
    pub fn restrictions(&self) -> Vec<&Restriction> {
        let mut found = Vec::new();
        if let Some(root) = &self.root {
            root.collect(&mut found);
        }
        found
    }
}

/// A part of a filter.
#[derive(Debug, Clone)]
pub enum Expression {
    /// All of these hold.
    And(Vec<Expression>),
    /// Any of these holds.
    Or(Vec<Expression>),
    /// This does not hold.
    Not(Box<Expression>),
    /// A test.
    Restriction(Restriction),
}

impl Expression {
    fn collect<'e>(&'e self, found: &mut Vec<&'e Restriction>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.collect(found)),
            Self::Not(part) => part.collect(found),
            Self::Restriction(restriction) => found.push(restriction),
        }
    }
}

/// A test.
#[derive(Debug, Clone)]
pub struct Restriction {
    /// What is tested.
    pub subject: Subject,
    /// Against what; functions stand alone.
    pub against: Option<(Comparator, Literal)>,
    pub(super) comparator_at: usize,
}

/// What a test tests.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A field.
    Field(Name),
    /// A function of some values.
    Function {
        /// Its name.
        name: Name,
        /// Its arguments.
        arguments: Vec<Literal>,
    },
}

/// Words with dots between them.
#[derive(Debug, Clone)]
pub struct Name {
    /// The words.
    pub segments: Vec<String>,
    pub(super) span: Span,
}

impl Name {
    /// The words as slices.
    pub fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

/// What stands between a field and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `:`
    Has,
}

impl Comparator {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Has => ":",
        }
    }
}

impl fmt::Display for Comparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub struct Literal {
    /// The text, without quotes and escapes.
    pub text: String,
    /// Whether it stood in quotes.
    pub quoted: bool,
    /// Bytes of `text` that are stars which stand for any text.
    pub(super) stars: Vec<usize>,
    pub(super) span: Span,
}

impl Literal {
    /// Whether it is a star alone, which stands for any value.
    pub fn is_anything(&self) -> bool {
        self.text == "*" && self.stars == [0]
    }

    /// Whether a star in it stands for any text.
    pub fn is_pattern(&self) -> bool {
        !self.stars.is_empty()
    }
}
