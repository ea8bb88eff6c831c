//! The language of filters: AIP-160, with every open question decided.
//!
//! A filter is tests joined by words: `suffix = ".h5ad" AND size > 1000000`.
//!
//! **Joining.** `NOT` and `-` bind tightest, then `OR`, then `AND`: `a AND b OR c` is
//! `a AND (b OR c)`. Tests side by side are joined by `AND`. The words are written in
//! capitals. `NOT` turns a test around: every entry matches exactly one of `F` and `NOT F`.
//! An empty filter matches everything.
//!
//! **Tests** have a field on the left and a value on the right.
//!
//! | test | holds when the field is set and |
//! |---|---|
//! | `field = value`, `field != value` | it is, or is not, the value |
//! | `field < value`, `<=`, `>`, `>=` | it lies on that side of the value |
//! | `field = "a*"`, `!= "a*"` | it does, or does not, fit: each `*` stands for any text, also none; at most two |
//! | `field:*` | (nothing more) |
//! | `list:value` | one of its elements is the value |
//! | `map:name` | it has an entry of this name; `map.name` is the field of the entry |
//! | `function("value")` | the function says so |
//!
//! A field that is unset fails every test, `!=` too: `description != "x"` leaves out what
//! has no description, `NOT description = "x"` does not. `-field:*` finds what is unset.
//! For a field with several values `=`, `<` and the like hold when any of them does, and
//! `!=` when none of them is equal.
//!
//! **Values** are written plain (`pbmc`, `12`, `true`) or in `"` or `'`. They need quotes
//! when they hold a space or one of `( ) , < > = ! : " '`, except times. In quotes `\`
//! stands before `\`, `"`, `'`, `*` to mean themselves, and before `n`, `r`, `t`.
//! Names of fields can be quoted too: `"n genes" > 200`.
//!
//! | type | value | compares |
//! |---|---|---|
//! | text | any, without NUL | byte by byte; upper and lower case differ |
//! | integer | `12`, `1e6`, `2.5` | exactly, whatever the size |
//! | float | the same | as the nearest 64-bit float; a NaN in the data equals nothing |
//! | boolean | `true`, `false` | only `=` and `!=` |
//! | time | `2026-01-31T12:00:00.25Z`, an offset in place of `Z`, or a date for its midnight in UTC | exactly |
//! | date | `2026-01-31` | exactly |
//! | duration | `1.5s` | exactly |
//! | name of a set | one of its names, in capitals or small letters | only `=` and `!=` |
//! | bytes | hexadecimal digits | only `=` and `!=` |
//! | name of something | its name, without `*` | only `=` and `!=` |
//! | object | none | by `:*` only |
//!
//! A bare word is no test: text is searched for by a search, not by a filter.
//!
//! What comes in is a text of at most [`FILTER_BYTES_MAX`] bytes; [`Filter`] is what it
//! says, without knowing what there is to filter. [`Filter::check`] holds it against a
//! [`Schema`] and answers a [`Predicate`], in which names are fields, values have the
//! types of their fields, and what can never hold is gone. Every [`FilterFault`] says at
//! which character.

mod check;
mod cursor;
mod fault;
mod literal;
mod number;
mod parser;
mod pattern;
mod predicate;
mod schema;
mod syntax;
#[cfg(test)]
mod tests;
mod time;

pub use fault::{FilterFault, FilterRefused};
pub use pattern::Pattern;
pub use predicate::{Comparison, Entry, Predicate, Test, Value};
pub use schema::{Field, Function, Resolved, Schema, TimeUnit, Type, Unresolved};
pub use syntax::{Comparator, Expression, Filter, Literal, Name, Restriction, Subject};

/// Longest text of a filter.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;

/// Deepest nesting of parentheses.
pub const FILTER_DEPTH_MAX: usize = 32;

/// Most tests in one filter.
pub const FILTER_TESTS_MAX: usize = 256;

/// Most `*` in one value; more would make some texts slow to look through.
pub const STARS_MAX: usize = 2;
