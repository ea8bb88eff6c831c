//! Values of features and params: what fits a dtype, and how it is kept.
//!
//! A value that came in is fitted to the dtype of its feature, or refused with
//! the dtype that it would fit. Whole numbers stay exact: one that a float cannot
//! hold does not fit a float feature.

use std::fmt;

use crate::{
    Dtype, Item, Json, RegistryName, Sha256,
    moment::{is_date, is_time, read_date, read_time, write_date, write_time},
};

/// Largest text of one value.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Most items of a list.
const ITEMS_MAX: usize = 1_000;

/// Largest text that an index holds as it is; what it holds of a longer one is longer.
const KEY_BYTES_MAX: usize = 900;

/// Bytes of a longer text that an index holds.
const HEAD_BYTES: usize = 850;

/// A value as a caller gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text; also a date, a time, a web address or the name of a label, where the dtype says so.
    Text(String),
    /// Days since 1970.
    Date(i64),
    /// Microseconds since 1970 UTC.
    Time(i64),
    /// A JSON object.
    Dict(Json),
    /// Some values.
    List(Vec<Value>),
    /// A label.
    Label(LabelName),
}

/// How a label is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelName {
    /// Its registry; any of the feature's when unset.
    pub registry: Option<RegistryName>,
    /// By what it is named.
    pub by: LabelBy,
}

/// By what a label is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelBy {
    /// Its uid.
    Uid(String),
    /// Its name.
    Name(String),
    /// Its identifier in an ontology, such as `CL:0000084`.
    OntologyId(String),
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}:")?;
        }
        match &self.by {
            LabelBy::Uid(text) | LabelBy::Name(text) | LabelBy::OntologyId(text) => f.write_str(text),
        }
    }
}

/// A value that fits its dtype.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitted {
    /// One of a dtype that is no categorical.
    Plain(Plain),
    /// A list of them.
    List(Vec<Plain>),
    /// A label.
    Label(LabelName),
    /// A list of labels.
    Labels(Vec<LabelName>),
}

/// What is kept of one value that is no label.
#[derive(Debug, Clone, PartialEq)]
pub enum Plain {
    /// An int, a bool (0 or 1), a date (days) or a time (microseconds).
    Int(i64),
    /// A float.
    Float(f64),
    /// A str or a url.
    Text(String),
    /// A dict.
    Dict(Json),
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Misfit {
    /// It is of another dtype.
    #[error("is {got}, expected is {expected}")]
    Dtype {
        /// The dtype of the feature.
        expected: Dtype,
        /// The dtype that the value has.
        got: String,
    },
    /// A float is not finite.
    #[error("must be a finite number")]
    NotFinite,
    /// A whole number has more digits than a float keeps.
    #[error("{0} cannot be kept exactly as a float")]
    Inexact(i64),
    /// A text is too long.
    #[error("has {0} bytes, at most {TEXT_BYTES_MAX} are taken")]
    TooLong(usize),
    /// A text holds NUL, which databases do not keep.
    #[error("must not hold NUL characters")]
    Nul,
    /// A list is too long.
    #[error("has {0} items, at most {ITEMS_MAX} are taken")]
    TooMany(usize),
    /// A text is no web address.
    #[error("must be a web address such as https://example.org/x")]
    Url,
    /// A text is no date or time, or one outside the years 1 to 9999.
    #[error(transparent)]
    Moment(#[from] crate::moment::MomentRefused),
    /// A text is empty where it names a label.
    #[error("must name a label")]
    NoLabel,
}

impl Value {
    /// What it is, in the words of dtypes; `None` for an empty or mixed list.
    pub fn dtype(&self, text: Item) -> Option<Dtype> {
        Some(Dtype::one(match self {
            Self::Int(_) => Item::Int,
            Self::Float(_) => Item::Float,
            Self::Bool(_) => Item::Bool,
            Self::Date(_) => Item::Date,
            Self::Time(_) => Item::DateTime,
            Self::Dict(_) => Item::Dict,
            Self::Text(value) if read_date(value).is_ok() => Item::Date,
            Self::Text(value) if read_time(value).is_ok() => Item::DateTime,
            Self::Text(_) => text,
            Self::Label(label) => Item::Cat(vec![label.registry.clone().unwrap_or_else(RegistryName::ulabel)]),
            Self::List(items) => {
                let dtype = common_dtype(items, &text)?;
                // Several labels are values of one categorical, not one value.
                let is_list = !dtype.is_categorical() && dtype.item != Item::Dict;
                return (!dtype.is_list).then_some(Dtype { is_list, ..dtype });
            }
        }))
    }

    fn name(&self) -> String {
        match (self, self.dtype(Item::Str)) {
            (Self::Text(_), _) => "str".to_owned(),
            (_, Some(dtype)) => dtype.to_string(),
            (_, None) => "a list without one dtype".to_owned(),
        }
    }
}

/// The dtype that fits all of some values; `None` when no single one does.
///
/// Texts are taken for `text`: labels in features, `str` in params.
pub fn common_dtype(values: &[Value], text: &Item) -> Option<Dtype> {
    let mut common: Option<Dtype> = None;
    for value in values {
        let dtype = value.dtype(text.clone())?;
        common = Some(match common {
            None => dtype,
            Some(common) => wider(common, dtype)?,
        });
    }
    common
}

fn wider(one: Dtype, two: Dtype) -> Option<Dtype> {
    let number = |item: &Item| matches!(item, Item::Int | Item::Float);
    match (&one.item, &two.item) {
        _ if one == two => Some(one),
        (a, b) if one.is_list == two.is_list && number(a) && number(b) => Some(Dtype {
            item: Item::Float,
            ..one
        }),
        (Item::Cat(a), Item::Cat(b)) if one.is_list == two.is_list => {
            let mut registries = a.clone();
            registries.extend(b.iter().filter(|name| !a.contains(name)).cloned());
            Some(Dtype {
                item: Item::Cat(registries),
                ..one
            })
        }
        _ => None,
    }
}

/// Fits values to a dtype: each becomes one value of the feature. A list where the dtype
/// is none is several values.
pub fn fit(value: &Value, dtype: &Dtype) -> Result<Vec<Fitted>, Misfit> {
    match (value, dtype.is_list) {
        (Value::List(items), is_list) => {
            if items.len() > ITEMS_MAX {
                return Err(Misfit::TooMany(items.len()));
            }
            let one = Dtype::one(dtype.item.clone());
            let items = items.iter().map(|item| match item {
                Value::List(_) => Err(misfit(value, dtype)),
                item => fit_one(item, &one),
            });
            let items: Vec<Fitted> = items.collect::<Result<_, _>>()?;
            Ok(if is_list { vec![joined(items, dtype)] } else { items })
        }
        (_, true) => Err(misfit(value, dtype)),
        (value, false) => Ok(vec![fit_one(value, dtype)?]),
    }
}

fn joined(items: Vec<Fitted>, dtype: &Dtype) -> Fitted {
    let (mut plain, mut labels) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Fitted::Plain(item) => plain.push(item),
            Fitted::Label(label) => labels.push(label),
            Fitted::List(_) | Fitted::Labels(_) => unreachable!("items are no lists"),
        }
    }
    if dtype.is_categorical() {
        Fitted::Labels(labels)
    } else {
        Fitted::List(plain)
    }
}

fn misfit(value: &Value, dtype: &Dtype) -> Misfit {
    Misfit::Dtype {
        expected: dtype.clone(),
        got: value.name(),
    }
}

fn fit_one(value: &Value, dtype: &Dtype) -> Result<Fitted, Misfit> {
    let plain = match (&dtype.item, value) {
        (Item::Cat(_), Value::Label(label)) => return label_of(label),
        (Item::Cat(_), Value::Text(name)) => {
            return label_of(&LabelName {
                registry: None,
                by: LabelBy::Name(name.clone()),
            });
        }
        (Item::Int, Value::Int(value)) => Plain::Int(*value),
        (Item::Float, Value::Float(value)) if !value.is_finite() => return Err(Misfit::NotFinite),
        // Zero has one sign.
        (Item::Float, Value::Float(value)) => Plain::Float(if *value == 0.0 { 0.0 } else { *value }),
        (Item::Float, Value::Int(value)) => Plain::Float(exact(*value)?),
        (Item::Bool, Value::Bool(value)) => Plain::Int((*value).into()),
        (Item::Str, Value::Text(text)) => Plain::Text(checked(text)?.to_owned()),
        (Item::Url, Value::Text(text)) => Plain::Text(url(checked(text)?)?.to_owned()),
        (Item::Date, Value::Date(days)) if is_date(*days) => Plain::Int(*days),
        (Item::Date, Value::Date(_)) => return Err(crate::moment::MomentRefused::Date.into()),
        (Item::Date, Value::Text(text)) => Plain::Int(read_date(text)?),
        (Item::DateTime, Value::Time(us)) if is_time(*us) => Plain::Int(*us),
        (Item::DateTime, Value::Time(_)) => return Err(crate::moment::MomentRefused::Time.into()),
        (Item::DateTime, Value::Text(text)) => Plain::Int(read_time(text)?),
        (Item::Dict, Value::Dict(json @ Json::Object(_))) => Plain::Dict(json.clone()),
        _ => return Err(misfit(value, dtype)),
    };
    Ok(Fitted::Plain(plain))
}

fn label_of(label: &LabelName) -> Result<Fitted, Misfit> {
    let (LabelBy::Uid(text) | LabelBy::Name(text) | LabelBy::OntologyId(text)) = &label.by;
    if text.is_empty() {
        return Err(Misfit::NoLabel);
    }
    checked(text)?;
    Ok(Fitted::Label(label.clone()))
}

/// A whole number as a float that is the same number.
pub fn exact(value: i64) -> Result<f64, Misfit> {
    let float = value as f64;
    // Past 2^63 the way back would saturate.
    if float < 9_223_372_036_854_775_808.0 && float as i64 == value {
        Ok(float)
    } else {
        Err(Misfit::Inexact(value))
    }
}

fn checked(text: &str) -> Result<&str, Misfit> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Misfit::TooLong(text.len()));
    }
    if text.contains('\0') {
        return Err(Misfit::Nul);
    }
    Ok(text)
}

fn url(text: &str) -> Result<&str, Misfit> {
    let (scheme, rest) = text.split_once(':').ok_or(Misfit::Url)?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_rest = !rest.is_empty() && !rest.chars().any(|c| c.is_whitespace() || c.is_control());
    let has_host = !matches!(scheme, "http" | "https" | "ftp" | "s3" | "gs")
        || rest
            .strip_prefix("//")
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if is_scheme && is_rest && has_host {
        Ok(text)
    } else {
        Err(Misfit::Url)
    }
}

/// What an index holds of a text: the text, or the beginning of a long one and its digest,
/// so that equal keys are equal texts and most texts stand in their order.
pub fn text_key(text: &str) -> String {
    if text.len() <= KEY_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = HEAD_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…{}", &text[..end], Sha256::of(text.as_bytes()))
}

/// What tells documents apart: lists and dicts.
pub fn document_key(canonical: &str) -> String {
    Sha256::of(canonical.as_bytes()).to_string()
}

impl Plain {
    /// As an item of a stored list.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Int(value) => Json::Int(*value),
            Self::Float(value) => Json::Float(*value),
            Self::Text(text) => Json::Text(text.clone()),
            Self::Dict(json) => json.clone(),
        }
    }

    /// From an item of a stored list; `None` for what none can be.
    pub fn from_json(json: Json) -> Option<Self> {
        match json {
            Json::Int(value) => Some(Self::Int(value)),
            Json::Float(value) => Some(Self::Float(value)),
            Json::Text(text) => Some(Self::Text(text)),
            dict @ Json::Object(_) => Some(Self::Dict(dict)),
            _ => None,
        }
    }

    /// As a value of an item's dtype.
    pub fn to_value(&self, item: &Item) -> Value {
        match (self, item) {
            (Self::Int(value), Item::Bool) => Value::Bool(*value != 0),
            (Self::Int(days), Item::Date) => Value::Date(*days),
            (Self::Int(us), Item::DateTime) => Value::Time(*us),
            (Self::Int(value), _) => Value::Int(*value),
            (Self::Float(value), _) => Value::Float(*value),
            (Self::Text(text), _) => Value::Text(text.clone()),
            (Self::Dict(json), _) => Value::Dict(json.clone()),
        }
    }
}

impl fmt::Display for Value {
    /// As people read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => value.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Date(days) => f.write_str(&write_date(*days)),
            Self::Time(us) => f.write_str(&write_time(*us)),
            Self::Dict(json) => json.fmt(f),
            Self::Label(label) => label.fmt(f),
            Self::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dtype(text: &str) -> Dtype {
        text.parse().unwrap()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn one(value: Value, of: &str) -> Result<Plain, Misfit> {
        match fit(&value, &dtype(of))?.as_slice() {
            [Fitted::Plain(plain)] => Ok(plain.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_fits_its_own_dtype() {
        assert_eq!(one(Value::Int(i64::MAX), "int"), Ok(Plain::Int(i64::MAX)));
        assert_eq!(one(Value::Float(27.6), "float"), Ok(Plain::Float(27.6)));
        assert_eq!(one(Value::Bool(true), "bool"), Ok(Plain::Int(1)));
        assert_eq!(one(text("x"), "str"), Ok(Plain::Text("x".to_owned())));
        assert_eq!(one(text("1970-01-02"), "date"), Ok(Plain::Int(1)));
        assert_eq!(one(text("1970-01-01T00:00:01Z"), "datetime"), Ok(Plain::Int(1_000_000)));
        assert_eq!(
            one(text("https://example.org/x"), "url"),
            Ok(Plain::Text("https://example.org/x".to_owned()))
        );
    }

    #[test]
    fn an_int_fits_a_float_when_it_stays_the_same_number() {
        assert_eq!(one(Value::Int(3), "float"), Ok(Plain::Float(3.0)));
        assert_eq!(
            one(Value::Int(-(1 << 53)), "float"),
            Ok(Plain::Float(-9_007_199_254_740_992.0))
        );
        for inexact in [(1 << 53) + 1, i64::MAX] {
            assert_eq!(one(Value::Int(inexact), "float"), Err(Misfit::Inexact(inexact)));
        }
        assert_eq!(exact(i64::MIN), Ok(-9_223_372_036_854_775_808.0));
    }

    #[test]
    fn other_values_are_refused() {
        for (value, of) in [
            (Value::Float(1.0), "int"),
            (Value::Bool(true), "int"),
            (Value::Int(1), "bool"),
            (Value::Int(1), "str"),
            (text("1"), "int"),
            (text("x"), "date"),
            (text("2024-01-01"), "datetime"),
            (text("no address"), "url"),
            (text("https:///x"), "url"),
            (Value::Float(f64::NAN), "float"),
            (Value::Float(f64::INFINITY), "float"),
            (Value::Date(i64::MAX), "date"),
            (Value::Time(i64::MIN), "datetime"),
            (Value::Int(1), "cat[ULabel]"),
            (text(""), "cat[ULabel]"),
            (Value::Int(1), "list[int]"),
            (Value::List(vec![text("a")]), "list[int]"),
            (Value::List(vec![Value::List(vec![])]), "list[int]"),
            (text(&"x".repeat(20_000)), "str"),
            (text("a\0b"), "str"),
            (Value::List(vec![Value::Int(1); 1_001]), "list[int]"),
            (Value::Dict(Json::Int(1)), "dict"),
        ] {
            assert!(fit(&value, &dtype(of)).is_err(), "{value:?} as {of}");
        }
    }

    #[test]
    fn a_list_is_one_value_of_a_list_and_several_of_another() {
        let two = Value::List(vec![text("Barbara McClintock"), text("Edgar Anderson")]);
        assert_eq!(fit(&two, &dtype("cat[ULabel]")).unwrap().len(), 2);
        assert!(
            matches!(&fit(&two, &dtype("list[cat[ULabel]]")).unwrap()[..], [Fitted::Labels(labels)] if labels.len() == 2)
        );
        assert!(matches!(&fit(&two, &dtype("list[str]")).unwrap()[..], [Fitted::List(items)] if items.len() == 2));
    }

    #[test]
    fn the_dtype_that_fits_is_told() {
        let fits = |values: &[Value], text| common_dtype(values, &text).map(|dtype| dtype.to_string());
        let label = || Item::Cat(vec![RegistryName::ulabel()]);
        assert_eq!(
            fits(&[Value::Int(1), Value::Float(0.5)], Item::Str).as_deref(),
            Some("float")
        );
        assert_eq!(fits(&[text("iris")], label()).as_deref(), Some("cat[ULabel]"));
        assert_eq!(fits(&[text("iris")], Item::Str).as_deref(), Some("str"));
        assert_eq!(fits(&[text("2024-01-01")], label()).as_deref(), Some("date"));
        assert_eq!(
            fits(&[Value::List(vec![Value::Int(1)])], Item::Str).as_deref(),
            Some("list[int]")
        );
        assert_eq!(
            fits(&[Value::List(vec![text("a")])], label()).as_deref(),
            Some("cat[ULabel]")
        );
        assert_eq!(fits(&[Value::List(vec![])], Item::Str), None);
        assert_eq!(fits(&[Value::Int(1), Value::Bool(true)], Item::Str), None);
    }

    #[test]
    fn long_texts_have_keys_that_tell_them_apart() {
        let (one, two) = ("ä".repeat(2_000) + "1", "ä".repeat(2_000) + "2");
        assert_ne!(text_key(&one), text_key(&two));
        assert!((KEY_BYTES_MAX + 1..1_000).contains(&text_key(&one).len()));
        assert_eq!(text_key("short"), "short");
    }

    proptest! {
        #[test]
        fn stored_items_read_the_same(value in any::<i64>(), float in -1e300..1e300, text in "\\PC{0,20}") {
            for plain in [Plain::Int(value), Plain::Float(float), Plain::Text(text)] {
                let json = Json::read(&plain.to_json().to_string()).unwrap();
                prop_assert_eq!(Plain::from_json(json), Some(plain));
            }
        }

        #[test]
        fn a_float_made_of_an_int_is_that_int(value in any::<i64>()) {
            if let Ok(float) = exact(value) {
                prop_assert_eq!(float as i128, i128::from(value));
            }
        }
    }
}
