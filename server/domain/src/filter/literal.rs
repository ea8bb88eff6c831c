//! From a value as it was written to what it asks of a field.

use super::{
    Comparator, Comparison, Field, FilterRefused, Literal, Predicate, Test, Type, Value, cursor::shortened, number,
    number::Exact, time,
};

type Result<T> = std::result::Result<T, FilterRefused>;

/// What `field comparator literal` asks.
pub(super) fn compared<Id: Clone>(
    field: &Field<Id>,
    name: &str,
    comparison: Comparison,
    literal: &Literal,
) -> Result<Predicate<Id>> {
    let text = literal.text.as_str();
    let refused = || value_refused(name, &field.r#type, text);
    let test = |value| Ok(Predicate::Is(Test::Compare(field.clone(), comparison, value)));
    match &field.r#type {
        Type::Text | Type::Name => test(Value::Text(text.to_owned())),
        Type::Opaque => Err(refused()),
        Type::Bool | Type::Enum(_) | Type::Bytes(_) => test(scalar(&field.r#type, text).ok_or_else(refused)?),
        Type::Float => match number::float(text).ok_or_else(refused)? {
            float if float.is_infinite() => Err(FilterRefused::Number(shortened(text))),
            float => test(Value::Float(float)),
        },
        Type::Int | Type::UInt | Type::Time(_) | Type::Date | Type::Duration(_) => {
            let exact = counted(&field.r#type, text).ok_or_else(refused)?;
            Ok(integer(field, comparison, exact))
        }
    }
}

/// An argument of a function.
pub(super) fn argument(r#type: &Type, name: &str, literal: &Literal) -> Result<Value> {
    let text = literal.text.as_str();
    let value = match r#type {
        Type::Text | Type::Name => Some(Value::Text(text.to_owned())),
        Type::Opaque => None,
        Type::Bool | Type::Enum(_) | Type::Bytes(_) => scalar(r#type, text),
        Type::Float => number::float(text).filter(|float| float.is_finite()).map(Value::Float),
        counted_type => {
            let (least, greatest) = range(counted_type);
            let exact = counted(counted_type, text);
            let exact = exact.filter(|exact| exact.is_integer && (least..=greatest).contains(&exact.floor));
            exact.map(|exact| Value::Int(exact.floor))
        }
    };
    value.ok_or_else(|| value_refused(name, r#type, text))
}

/// The comparison that a sign stands for; `None` for `:`.
pub(super) fn comparison(comparator: Comparator) -> Option<Comparison> {
    Some(match comparator {
        Comparator::Equal => Comparison::Equal,
        Comparator::NotEqual => Comparison::NotEqual,
        Comparator::Less => Comparison::Less,
        Comparator::LessOrEqual => Comparison::LessOrEqual,
        Comparator::Greater => Comparison::Greater,
        Comparator::GreaterOrEqual => Comparison::GreaterOrEqual,
        Comparator::Has => return None,
    })
}

fn scalar(r#type: &Type, text: &str) -> Option<Value> {
    match r#type {
        Type::Bool => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Enum(names) => {
            let is_it = |name: &str| name == text || name.to_ascii_lowercase() == text;
            let named = names.iter().find(|(name, _)| is_it(name));
            named.map(|(_, code)| Value::Int(i128::from(*code)))
        }
        Type::Bytes(length) => bytes(text)
            .filter(|bytes| length.is_none_or(|length| bytes.len() == length))
            .map(Value::Bytes),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The number that a text is in the unit of a type.
fn counted(r#type: &Type, text: &str) -> Option<Exact> {
    let of_unit = |nanoseconds: i128, unit: i128| Exact {
        floor: nanoseconds.div_euclid(unit),
        is_integer: nanoseconds.rem_euclid(unit) == 0,
    };
    match r#type {
        Type::Int | Type::UInt => number::exact(text),
        Type::Time(unit) => time::time(text).map(|time| of_unit(time, unit.nanoseconds())),
        Type::Duration(unit) => time::duration(text).map(|span| of_unit(span, unit.nanoseconds())),
        Type::Date => time::days(text).map(|days| of_unit(days.into(), 1)),
        _ => None,
    }
}

fn range(r#type: &Type) -> (i128, i128) {
    match r#type {
        Type::UInt => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// A comparison of integers with any number: what is out of their range holds always or never.
fn integer<Id: Clone>(field: &Field<Id>, comparison: Comparison, exact: Exact) -> Predicate<Id> {
    let (least, greatest) = range(&field.r#type);
    let Exact { floor, is_integer } = exact;
    let test = |comparison| Predicate::Is(Test::Compare(field.clone(), comparison, Value::Int(floor)));
    let can_equal = is_integer && (least..=greatest).contains(&floor);
    // Above a number that lies between two integers is from the upper one on.
    let comparison = match comparison {
        Comparison::Less if !is_integer => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual if !is_integer => Comparison::Greater,
        other => other,
    };
    match comparison {
        Comparison::Equal if !can_equal => Predicate::never(),
        Comparison::NotEqual if !can_equal => set(field),
        Comparison::Less if floor <= least => Predicate::never(),
        Comparison::Less if floor > greatest => set(field),
        Comparison::LessOrEqual if floor < least => Predicate::never(),
        Comparison::LessOrEqual if floor >= greatest => set(field),
        Comparison::Greater if floor >= greatest => Predicate::never(),
        Comparison::Greater if floor < least => set(field),
        Comparison::GreaterOrEqual if floor > greatest => Predicate::never(),
        Comparison::GreaterOrEqual if floor <= least => set(field),
        possible => test(possible),
    }
}

/// That a field is set, which some always are.
pub(super) fn set<Id: Clone>(field: &Field<Id>) -> Predicate<Id> {
    if field.nullable {
        Predicate::Is(Test::Set(field.clone()))
    } else {
        Predicate::always()
    }
}

fn value_refused(name: &str, r#type: &Type, text: &str) -> FilterRefused {
    let wanted = match r#type {
        Type::Enum(names) => {
            let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            format!("one of {}", names.join(", "))
        }
        Type::Bytes(Some(length)) => format!("{} hexadecimal digits", length * 2),
        Type::Bytes(None) => "an even number of hexadecimal digits".to_owned(),
        Type::Time(_) => "a time such as 2026-01-31T12:00:00Z, or a date".to_owned(),
        Type::Date => "a date such as 2026-01-31".to_owned(),
        Type::Duration(_) => "a duration such as 1.5s".to_owned(),
        Type::Opaque => "no value, it is tested by `:*` only".to_owned(),
        other => other.name().to_owned(),
    };
    FilterRefused::Value {
        name: shortened(name),
        wanted,
        got: shortened(text),
    }
}
