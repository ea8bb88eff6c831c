//! Single values, as filters know them.

use std::cmp::Ordering;

use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, cast::AsArray, types::*};
use arrow_schema::{DataType, TimeUnit};
use artifactd_domain::filter::Value;

use super::mask::decimal;

/// Longest text of a value in a summary.
const TEXT_CHARS_MAX: usize = 128;

/// How two values of one type compare; not at all when one is NaN.
pub(crate) fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Bytes(one), Value::Bytes(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// A value of an array, when it is not null, is no NaN and can be filtered.
pub(crate) fn value_at(array: &ArrayRef, row: usize) -> Option<Value> {
    use DataType as D;
    fn int<T>(array: &ArrayRef, row: usize) -> Value
    where
        T: ArrowPrimitiveType,
        T::Native: Into<i128>,
    {
        Value::Int(array.as_primitive::<T>().value(row).into())
    }
    fn float<T>(array: &ArrayRef, row: usize, float: impl Fn(T::Native) -> f64) -> Option<Value>
    where
        T: ArrowPrimitiveType,
    {
        let value = float(array.as_primitive::<T>().value(row));
        (!value.is_nan()).then_some(Value::Float(value))
    }
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        D::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        D::LargeUtf8 => Value::Text(array.as_string::<i64>().value(row).to_owned()),
        D::Utf8View => Value::Text(array.as_string_view().value(row).to_owned()),
        D::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_owned()),
        D::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_owned()),
        D::BinaryView => Value::Bytes(array.as_binary_view().value(row).to_owned()),
        D::FixedSizeBinary(_) => Value::Bytes(array.as_fixed_size_binary().value(row).to_owned()),
        D::Boolean => Value::Bool(array.as_boolean().value(row)),
        D::Int8 => int::<Int8Type>(array, row),
        D::Int16 => int::<Int16Type>(array, row),
        D::Int32 => int::<Int32Type>(array, row),
        D::Int64 => int::<Int64Type>(array, row),
        D::UInt8 => int::<UInt8Type>(array, row),
        D::UInt16 => int::<UInt16Type>(array, row),
        D::UInt32 => int::<UInt32Type>(array, row),
        D::UInt64 => int::<UInt64Type>(array, row),
        D::Date32 => int::<Date32Type>(array, row),
        D::Date64 => int::<Date64Type>(array, row),
        D::Timestamp(TimeUnit::Second, _) => int::<TimestampSecondType>(array, row),
        D::Timestamp(TimeUnit::Millisecond, _) => int::<TimestampMillisecondType>(array, row),
        D::Timestamp(TimeUnit::Microsecond, _) => int::<TimestampMicrosecondType>(array, row),
        D::Timestamp(TimeUnit::Nanosecond, _) => int::<TimestampNanosecondType>(array, row),
        D::Duration(TimeUnit::Second) => int::<DurationSecondType>(array, row),
        D::Duration(TimeUnit::Millisecond) => int::<DurationMillisecondType>(array, row),
        D::Duration(TimeUnit::Microsecond) => int::<DurationMicrosecondType>(array, row),
        D::Duration(TimeUnit::Nanosecond) => int::<DurationNanosecondType>(array, row),
        D::Float16 => return float::<Float16Type>(array, row, f64::from),
        D::Float32 => return float::<Float32Type>(array, row, f64::from),
        D::Float64 => return float::<Float64Type>(array, row, |value| value),
        D::Decimal32(_, scale) => return float::<Decimal32Type>(array, row, |value| decimal(value.into(), *scale)),
        D::Decimal64(_, scale) => return float::<Decimal64Type>(array, row, |value| decimal(value.into(), *scale)),
        D::Decimal128(_, scale) => return float::<Decimal128Type>(array, row, |value| decimal(value, *scale)),
        D::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = *dictionary.normalized_keys().get(row)?;
            return value_at(dictionary.values(), key);
        }
        _ => return None,
    })
}

/// A value as people write it.
pub(crate) fn value_text(array: &ArrayRef, row: usize) -> Option<String> {
    let text = arrow_cast::display::array_value_to_string(array, row).ok()?;
    Some(match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}
