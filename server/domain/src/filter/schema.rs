//! What there is to filter, as whoever filters it says.

/// Knows the fields of what is filtered.
///
/// The ids are the caller's own: a column, a place in a table, a row of a database.
pub trait Schema {
    /// What the caller knows a field or function by.
    type Id: Clone;

    /// The field of this name, word by word.
    fn field(&self, path: &[&str]) -> Result<Resolved<Self::Id>, Unresolved>;

    /// The function of this name.
    fn function(&self, _path: &[&str]) -> Option<Function<Self::Id>> {
        None
    }

    /// Names to suggest when one is mistyped.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a name names.
#[derive(Debug, Clone)]
pub enum Resolved<Id> {
    /// A field.
    Field(Field<Id>),
    /// A map, whose entries are fields: `map.name`. The id is that of the map itself.
    Map(Id),
}

/// Why a name names no field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// There is none.
    Unknown,
    /// There is none that can be used, and why; read after the name.
    Because(String),
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<Id> {
    /// What the caller knows it by.
    pub id: Id,
    /// What it holds.
    pub r#type: Type,
    /// Whether it can be unset.
    pub nullable: bool,
    /// Whether it has several values; then none means that it is unset.
    pub repeated: bool,
    /// What `field:value` asks instead of `field = value`, if that is something else.
    pub has: Option<Id>,
}

impl<Id> Field<Id> {
    /// A field that is always set.
    pub fn new(id: Id, r#type: Type) -> Self {
        Self {
            id,
            r#type,
            nullable: false,
            repeated: false,
            has: None,
        }
    }

    /// The same field, which can be unset.
    pub fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// The same field with any number of values.
    pub fn repeated(self) -> Self {
        Self {
            nullable: true,
            repeated: true,
            ..self
        }
    }

    /// The same field, of which `:` asks something else than `=`.
    pub fn has(self, id: Id) -> Self {
        Self { has: Some(id), ..self }
    }
}

/// A function that holds or not.
#[derive(Debug, Clone)]
pub struct Function<Id> {
    /// What the caller knows it by.
    pub id: Id,
    /// Types of its arguments.
    pub arguments: Vec<Type>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// An integer of 64 bits.
    Int,
    /// An integer of 64 bits without a sign.
    UInt,
    /// A float of 64 bits, or one that is compared as such.
    Float,
    /// True or false.
    Bool,
    /// A point of time, counted from 1970 UTC.
    Time(TimeUnit),
    /// A day, counted from 1970.
    Date,
    /// A span of time.
    Duration(TimeUnit),
    /// One name of a set, with the integer that stands for it; several names may mean one.
    Enum(Vec<(String, i64)>),
    /// Bytes, and how many where that is fixed.
    Bytes(Option<usize>),
    /// The name of something, which is looked up: it has no order and no parts.
    Name,
    /// Something that has no value to compare with: it is there or not.
    Opaque,
}

/// What times are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Microseconds.
    Microsecond,
    /// Nanoseconds.
    Nanosecond,
}

impl TimeUnit {
    pub(super) fn nanoseconds(self) -> i128 {
        match self {
            Self::Second => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }
}

impl Type {
    /// The type in words, with its article.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Int | Self::UInt => "an integer",
            Self::Float => "a number",
            Self::Bool => "true or false",
            Self::Time(_) => "a time",
            Self::Date => "a date",
            Self::Duration(_) => "a duration",
            Self::Enum(_) => "a name of a set",
            Self::Bytes(_) => "bytes",
            Self::Name => "a name",
            Self::Opaque => "an object",
        }
    }

    /// Whether values have an order that means something.
    pub(super) fn is_ordered(&self) -> bool {
        !matches!(
            self,
            Self::Bool | Self::Enum(_) | Self::Bytes(_) | Self::Name | Self::Opaque
        )
    }
}
