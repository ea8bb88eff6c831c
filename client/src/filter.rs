//! Filters, written from typed pieces, so that no value is taken for a part of the language.
//!
//! ```
//! use artifactd_client::filter::{self, Filter};
//!
//! let filter = filter::key().starts_with("cells/")
//!     & filter::size().above(1 << 20)
//!     & (filter::suffix().is(".h5ad") | filter::suffix().is(".zarr"))
//!     & !filter::created_by().is("nightly");
//! assert_eq!(
//!     filter.to_string(),
//!     r#"key = "cells/*" AND size > 1048576 AND (suffix = ".h5ad" OR suffix = ".zarr") AND NOT created_by = "nightly""#
//! );
//! // What stands in a value means itself.
//! assert_eq!(filter::key().is(r#"50% "new"*"#).to_string(), r#"key = "50% \"new\"\*""#);
//! // What is said of an artifact is found by its name, whatever is in the name.
//! let annotated = filter::feature("temperature").above(20) & filter::labels("CellType").within("T cell");
//! assert_eq!(annotated.to_string(), r#"features."temperature" > 20 AND labels."CellType":"T cell""#);
//! // What was written by hand is a piece like any other.
//! let by_hand: Filter = "is_latest = true".parse()?;
//! assert_eq!((by_hand & filter::description().is_unset()).to_string(), "is_latest = true AND -description:*");
//! # Ok::<(), artifactd_client::Error>(())
//! ```

use std::{
    fmt,
    ops::{BitAnd, BitOr, Not},
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use artifactd_domain::{ArtifactRef, Kind, RunUid, Sha256, Stem, Uid, Visibility};

use crate::{Error, Result, convert};

/// Which artifacts are meant. Joined by `&`, `|` and `!`; the empty one means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    joined: Joined,
}

/// What holds a filter together on its outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Joined {
    #[default]
    Single,
    And,
    Or,
}

impl Filter {
    /// All artifacts.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether it means all artifacts.
    pub fn is_all(&self) -> bool {
        self.text.is_empty()
    }

    fn single(text: String) -> Self {
        Self {
            text,
            joined: Joined::Single,
        }
    }

    /// The text as a part of something that is joined otherwise.
    fn inside(&self, joined: Joined) -> String {
        match self.joined {
            Joined::Single => self.text.clone(),
            own if own == joined => self.text.clone(),
            _ => format!("({})", self.text),
        }
    }

    fn join(self, word: &str, joined: Joined, other: &Self) -> Self {
        let text = format!("{} {word} {}", self.inside(joined), other.inside(joined));
        Self { text, joined }
    }
}

impl BitAnd for Filter {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match (self.is_all(), other.is_all()) {
            (true, _) => other,
            (_, true) => self,
            _ => self.join("AND", Joined::And, &other),
        }
    }
}

impl BitOr for Filter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match self.is_all() || other.is_all() {
            true => Self::all(),
            false => self.join("OR", Joined::Or, &other),
        }
    }
}

impl Not for Filter {
    type Output = Self;

    /// All others; `!Filter::all()` means none.
    fn not(self) -> Self {
        match self.is_all() {
            true => Self::single("-uid:*".to_owned()),
            false => Self::single(format!("NOT {}", self.inside(Joined::Single))),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A filter that was written by hand. Only its form is checked here; the server knows the fields.
impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed: std::result::Result<artifactd_domain::filter::Filter, _> = text.parse();
        parsed.map_err(|fault| Error::Input(format!("`{text}` is no filter: {fault}")))?;
        let text = text.trim();
        Ok(Self {
            text: text.to_owned(),
            // How it is joined is not looked at.
            joined: if text.contains(' ') {
                Joined::And
            } else {
                Joined::Single
            },
        })
    }
}

/// A field that holds a text.
#[derive(Debug, Clone, Copy)]
pub struct Text(&'static str);

/// A field that holds a number.
#[derive(Debug, Clone, Copy)]
pub struct Number(&'static str);

/// A field that holds a time.
#[derive(Debug, Clone, Copy)]
pub struct Time(&'static str);

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $kind:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name() -> $kind {
            $kind(stringify!($name))
        }
    )*};
}

fields! {
    /// The key.
    key: Text;
    /// The description.
    description: Text;
    /// The name that its owner gave the file.
    file_name: Text;
    /// The canonical suffix, such as `.tar.gz`.
    suffix: Text;
    /// The media type.
    media_type: Text;
    /// The label of the version.
    version: Text;
    /// The storage that holds its bytes.
    storage: Text;
    /// Who saved it.
    created_by: Text;
    /// Bytes.
    size: Number;
    /// Files of a folder; unset for a file.
    n_objects: Number;
    /// The number of the version.
    version_number: Number;
    /// When it was saved.
    created_at: Time;
    /// When its record last changed.
    updated_at: Time;
    /// When it was moved to trash.
    deleted_at: Time;
}

/// Whether it is the latest version of its family.
pub fn is_latest(latest: bool) -> Filter {
    Filter::single(format!("is_latest = {latest}"))
}

/// It is of this kind.
pub fn kind(kind: Kind) -> Filter {
    let name = convert::kind(kind).as_str_name();
    Filter::single(format!("kind = {name}"))
}

/// It has this visibility. A filter that says so needs nothing else to find it.
pub fn visibility(visibility: Visibility) -> Filter {
    let name = convert::visibility(visibility).as_str_name();
    Filter::single(format!("visibility = {name}"))
}

/// It has this content.
pub fn sha256(sha256: Sha256) -> Filter {
    Filter::single(format!("hash = {sha256}"))
}

/// It is this version.
pub fn uid(uid: Uid) -> Filter {
    Filter::single(format!("uid = {}", quoted(&uid.to_string())))
}

/// It is a version of this family.
pub fn family(stem: Stem) -> Filter {
    Filter::single(format!("stem = {}", quoted(&stem.to_string())))
}

impl Text {
    /// It is this text.
    pub fn is(self, text: &str) -> Filter {
        Filter::single(format!("{} = {}", self.0, quoted(text)))
    }

    /// It is set, and another text.
    pub fn is_not(self, text: &str) -> Filter {
        Filter::single(format!("{} != {}", self.0, quoted(text)))
    }

    /// It begins with this text.
    pub fn starts_with(self, text: &str) -> Filter {
        Filter::single(format!("{} = \"{}*\"", self.0, escaped(text)))
    }

    /// It ends with this text.
    pub fn ends_with(self, text: &str) -> Filter {
        Filter::single(format!("{} = \"*{}\"", self.0, escaped(text)))
    }

    /// It has this text in it.
    pub fn contains(self, text: &str) -> Filter {
        Filter::single(format!("{} = \"*{}*\"", self.0, escaped(text)))
    }

    /// It is set.
    pub fn is_set(self) -> Filter {
        Filter::single(format!("{}:*", self.0))
    }

    /// It is not set.
    pub fn is_unset(self) -> Filter {
        Filter::single(format!("-{}:*", self.0))
    }
}

impl Number {
    /// It is this number.
    pub fn is(self, number: u64) -> Filter {
        Filter::single(format!("{} = {number}", self.0))
    }

    /// It is larger.
    pub fn above(self, number: u64) -> Filter {
        Filter::single(format!("{} > {number}", self.0))
    }

    /// It is smaller.
    pub fn below(self, number: u64) -> Filter {
        Filter::single(format!("{} < {number}", self.0))
    }

    /// It is set.
    pub fn is_set(self) -> Filter {
        Filter::single(format!("{}:*", self.0))
    }

    /// It is not set.
    pub fn is_unset(self) -> Filter {
        Filter::single(format!("-{}:*", self.0))
    }
}

impl Time {
    /// It is at this time or later.
    pub fn since(self, time: SystemTime) -> Filter {
        Filter::single(format!("{} >= {}", self.0, rfc3339(time)))
    }

    /// It is before this time.
    pub fn before(self, time: SystemTime) -> Filter {
        Filter::single(format!("{} < {}", self.0, rfc3339(time)))
    }

    /// It is set.
    pub fn is_set(self) -> Filter {
        Filter::single(format!("{}:*", self.0))
    }

    /// It is not set.
    pub fn is_unset(self) -> Filter {
        Filter::single(format!("-{}:*", self.0))
    }
}

/// The values of a feature.
pub fn feature(name: &str) -> Values {
    Values(format!("features.{}", quoted(name)))
}

/// The values of a param.
pub fn param(name: &str) -> Values {
    Values(format!("params.{}", quoted(name)))
}

/// Its labels of a registry, also those that are values of features.
pub fn labels(registry: &str) -> Values {
    Values(format!("labels.{}", quoted(registry)))
}

/// The run with this uid has made it.
pub fn run(uid: &RunUid) -> Filter {
    Filter::single(format!("run = {}", quoted(&uid.to_string())))
}

/// A run of this transform has made it: its uid, or its stem or key for all of its versions.
pub fn transform(name: &str) -> Filter {
    Filter::single(format!("transform = {}", quoted(name)))
}

/// It is in this collection: its uid, or its stem or key for the latest version.
pub fn collection(name: &str) -> Filter {
    Filter::single(format!("collection = {}", quoted(name)))
}

/// The run with this uid has used it.
pub fn input_of(run: &RunUid) -> Filter {
    Filter::single(format!("input_of({})", quoted(&run.to_string())))
}

/// The run with this uid has made it, made it again or changed it.
pub fn output_of(run: &RunUid) -> Filter {
    Filter::single(format!("output_of({})", quoted(&run.to_string())))
}

/// It was made out of this artifact, in any number of steps.
pub fn derived_from(artifact: &ArtifactRef) -> Filter {
    Filter::single(format!("derived_from({})", quoted(&artifact.to_string())))
}

/// What was said of an artifact under a name: any number of values.
#[derive(Debug, Clone)]
pub struct Values(String);

impl Values {
    fn compare(&self, sign: &str, value: impl Into<Comparable>) -> Filter {
        Filter::single(format!("{} {sign} {}", self.0, value.into().0))
    }

    /// One of them is this.
    pub fn is(&self, value: impl Into<Comparable>) -> Filter {
        self.compare("=", value)
    }

    /// There are some, and none of them is this.
    pub fn is_not(&self, value: impl Into<Comparable>) -> Filter {
        self.compare("!=", value)
    }

    /// One of them is larger.
    pub fn above(&self, value: impl Into<Comparable>) -> Filter {
        self.compare(">", value)
    }

    /// One of them is smaller.
    pub fn below(&self, value: impl Into<Comparable>) -> Filter {
        self.compare("<", value)
    }

    /// One of them is a text, or the name of a label, that begins so.
    pub fn starts_with(&self, text: &str) -> Filter {
        Filter::single(format!("{} = \"{}*\"", self.0, escaped(text)))
    }

    /// One of them is this label or any that lies below it.
    pub fn within(&self, label: &str) -> Filter {
        Filter::single(format!("{}:{}", self.0, quoted(label)))
    }

    /// There are some.
    pub fn is_set(&self) -> Filter {
        Filter::single(format!("{}:*", self.0))
    }

    /// There are none.
    pub fn is_unset(&self) -> Filter {
        Filter::single(format!("-{}:*", self.0))
    }
}

/// Something that values are compared with, as a filter writes it.
#[derive(Debug, Clone)]
pub struct Comparable(String);

impl From<&str> for Comparable {
    /// A text, a label, or a date as `2026-01-31`.
    fn from(text: &str) -> Self {
        Self(quoted(text))
    }
}

impl From<i64> for Comparable {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<f64> for Comparable {
    /// What is no finite number is refused by the server.
    fn from(number: f64) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Comparable {
    fn from(value: bool) -> Self {
        Self(value.to_string())
    }
}

impl From<SystemTime> for Comparable {
    fn from(time: SystemTime) -> Self {
        Self(rfc3339(time))
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '"' | '*' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The time in UTC, as exactly as the server keeps it.
fn rfc3339(time: SystemTime) -> String {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_micros()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_micros()).unwrap_or(i128::MAX),
    };
    let timestamp = prost_types::Timestamp {
        seconds: i64::try_from(micros.div_euclid(1_000_000)).unwrap_or(i64::MAX),
        nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32,
    };
    timestamp.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The language must read what is written, whatever is in it.
    fn read(filter: &Filter) -> artifactd_domain::filter::Filter {
        filter.to_string().parse().unwrap()
    }

    #[test]
    fn values_mean_themselves() {
        for text in [
            "",
            " ",
            "a*b",
            "a\"b",
            "a\\b",
            "\\",
            "*",
            "'",
            "a\nb\r\t",
            "AND",
            "(x",
            "x)",
            "-x",
            "ä日本",
            "NOT a = b",
            "\u{1b}[2J",
        ] {
            for filter in [
                key().is(text),
                key().is_not(text),
                key().contains(text),
                key().starts_with(text),
            ] {
                read(&filter);
                read(&(!filter.clone() & key().is("b") | filter));
            }
        }
    }

    #[test]
    fn what_is_around_an_artifact_is_named_safely() {
        let run: RunUid = "0123456789abcdef".parse().unwrap();
        let reference: ArtifactRef = "cells/a b.csv@@2".parse().unwrap();
        let all = feature("n \"genes\"").above(-1)
            & param("lr").is(0.1)
            & !labels("Cell Type").starts_with("T*")
            & feature("done").is(true)
            & feature("day").is_not("2026-01-31")
            & feature("at").below(UNIX_EPOCH)
            & (run_filters(&run) | derived_from(&reference) | collection("train") | transform("a.py"));
        let expected = [
            r#"features."n \"genes\"" > -1"#,
            r#"params."lr" = 0.1"#,
            r#"NOT labels."Cell Type" = "T\**""#,
            r#"features."done" = true"#,
            r#"features."day" != "2026-01-31""#,
            r#"features."at" < 1970-01-01T00:00:00Z"#,
            r#"(run = "0123456789abcdef" OR input_of("0123456789abcdef") OR output_of("0123456789abcdef") OR derived_from("cells/a b.csv@@2") OR collection = "train" OR transform = "a.py")"#,
        ];
        assert_eq!(all.to_string(), expected.join(" AND "));
        read(&all);
    }

    fn run_filters(uid: &RunUid) -> Filter {
        run(uid) | input_of(uid) | output_of(uid)
    }

    #[test]
    fn joins_mean_what_the_operators_say() {
        let [a, b, c] = ["a", "b", "c"].map(|text| key().is(text));
        let text = |filter: Filter| filter.to_string().replace("key = ", "").replace('"', "");
        assert_eq!(text(a.clone() & b.clone() & c.clone()), "a AND b AND c");
        assert_eq!(text(a.clone() | b.clone() & c.clone()), "a OR (b AND c)");
        assert_eq!(text((a.clone() | b.clone()) & c.clone()), "(a OR b) AND c");
        assert_eq!(text(!(a.clone() | b.clone())), "NOT (a OR b)");
        assert_eq!(text(!!a.clone()), "NOT NOT a");
        assert_eq!(text(Filter::all() & a.clone()), "a");
        assert_eq!(text(Filter::all() | a), "");
        let by_hand: Filter = "key = x OR key = y".parse().unwrap();
        assert_eq!(text(by_hand | c), "(x OR y) OR c");
        assert!("key = ".parse::<Filter>().is_err());
        assert!("a = b) OR (c = d".parse::<Filter>().is_err());
    }

    #[test]
    fn times_are_exact() {
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 5_000);
        assert_eq!(
            created_at().since(at).to_string(),
            "created_at >= 2023-11-14T22:13:20.000005Z"
        );
        let before = UNIX_EPOCH - Duration::from_millis(1);
        assert_eq!(
            updated_at().before(before).to_string(),
            "updated_at < 1969-12-31T23:59:59.999Z"
        );
        read(&created_at().since(at));
    }
}
