//! A filter that was held against a schema.

use std::cmp::Ordering;

use super::{Field, Pattern};

/// What a filter asks of an entry.
///
/// A negation stands on single tests only: translators need no other.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate<Id> {
    /// All of these hold; an empty one always does.
    All(Vec<Predicate<Id>>),
    /// Any of these holds; an empty one never does.
    Any(Vec<Predicate<Id>>),
    /// A test holds.
    Is(Test<Id>),
    /// A test does not hold, so it holds for what is unset.
    IsNot(Test<Id>),
}

/// A test of one field. It fails when the field is unset.
#[derive(Debug, Clone, PartialEq)]
pub enum Test<Id> {
    /// The field is set.
    Set(Field<Id>),
    /// A map has some entry; the id is that of the map.
    NotEmpty(Id),
    /// A value of the field compares so; for `!=`, all of them do.
    Compare(Field<Id>, Comparison, Value),
    /// A value of the field fits the pattern.
    Like(Field<Id>, Pattern),
    /// The field is set, and no value of it fits the pattern.
    Unlike(Field<Id>, Pattern),
    /// A function of these values holds.
    Call(Id, Vec<Value>),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
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
}

impl Comparison {
    /// Whether it holds for two values, of which the first comes so to the second.
    pub fn holds_for(self, order: Ordering) -> bool {
        self.holds(Some(order))
    }

    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// A value that a field can have.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// An integer in the range of its type; also times, dates and durations in the unit
    /// of the field, and names of a set as the integers that stand for them.
    Int(i128),
    /// A finite float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Value {
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }
}

/// Something that can be asked whether it matches.
pub trait Entry<Id> {
    /// The values of a field; none when it is unset.
    fn values(&self, field: &Id) -> Vec<Value>;

    /// Whether a function holds.
    fn call(&self, _function: &Id, _arguments: &[Value]) -> bool {
        false
    }
}

impl<Id> Predicate<Id> {
    /// What always holds.
    pub fn always() -> Self {
        Self::All(Vec::new())
    }

    /// What never holds.
    pub fn never() -> Self {
        Self::Any(Vec::new())
    }

    /// Whether it asks nothing.
    pub fn is_always(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    /// Whether nothing can match.
    pub fn is_never(&self) -> bool {
        matches!(self, Self::Any(parts) if parts.is_empty())
    }

    /// The parts that all must hold.
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::All(parts) => parts,
            other => std::slice::from_ref(other),
        }
    }

    /// Whether an entry matches. Translations to other languages have to say the same.
    pub fn matches(&self, entry: &impl Entry<Id>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(entry)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(entry)),
            Self::Is(test) => test.holds(entry),
            Self::IsNot(test) => !test.holds(entry),
        }
    }

    /// The same with something else in place of every test: another test, several, or
    /// what is known of it already.
    pub fn map<Other>(self, replace: &impl Fn(Test<Id>) -> Predicate<Other>) -> Predicate<Other> {
        let mapped = |parts: Vec<Self>| parts.into_iter().map(|part| part.map(replace)).collect();
        match self {
            Self::All(parts) => Predicate::all(mapped(parts)),
            Self::Any(parts) => Predicate::any(mapped(parts)),
            Self::Is(test) => replace(test),
            Self::IsNot(test) => replace(test).negated(),
        }
    }

    /// The opposite.
    pub fn negated(self) -> Self {
        match self {
            Self::All(parts) => Self::any(parts.into_iter().map(Self::negated).collect()),
            Self::Any(parts) => Self::all(parts.into_iter().map(Self::negated).collect()),
            Self::Is(test) => Self::IsNot(test),
            Self::IsNot(test) => Self::Is(test),
        }
    }

    /// All of some parts, flat and without what says nothing.
    pub fn all(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::All(inner) => flat.extend(inner),
                never if never.is_never() => return never,
                other => flat.push(other),
            }
        }
        one_or(flat, Self::All)
    }

    /// Any of some parts, flat and without what says nothing.
    pub fn any(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Any(inner) => flat.extend(inner),
                always if always.is_always() => return always,
                other => flat.push(other),
            }
        }
        one_or(flat, Self::Any)
    }
}

fn one_or<Id>(mut parts: Vec<Predicate<Id>>, many: fn(Vec<Predicate<Id>>) -> Predicate<Id>) -> Predicate<Id> {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

impl<Id> Test<Id> {
    /// The field that is tested; for a map and a function what they are known by.
    pub fn id(&self) -> &Id {
        match self {
            Self::Set(field) | Self::Compare(field, ..) | Self::Like(field, _) | Self::Unlike(field, _) => &field.id,
            Self::NotEmpty(id) | Self::Call(id, _) => id,
        }
    }

    /// Whether the test holds for an entry.
    pub fn holds(&self, entry: &impl Entry<Id>) -> bool {
        let fits = |value: &Value, pattern: &Pattern| matches!(value, Value::Text(text) if pattern.matches(text));
        match self {
            Self::Set(field) => !entry.values(&field.id).is_empty(),
            Self::NotEmpty(map) => !entry.values(map).is_empty(),
            Self::Compare(field, Comparison::NotEqual, wanted) => {
                let values = entry.values(&field.id);
                let differs = |value: &Value| Comparison::NotEqual.holds(value.compare(wanted));
                !values.is_empty() && values.iter().all(differs)
            }
            Self::Compare(field, comparison, wanted) => {
                let values = entry.values(&field.id);
                values.iter().any(|value| comparison.holds(value.compare(wanted)))
            }
            Self::Like(field, pattern) => entry.values(&field.id).iter().any(|value| fits(value, pattern)),
            Self::Unlike(field, pattern) => {
                let values = entry.values(&field.id);
                !values.is_empty() && !values.iter().any(|value| fits(value, pattern))
            }
            Self::Call(function, arguments) => entry.call(function, arguments),
        }
    }
}
