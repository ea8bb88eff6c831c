//! Which rows of a batch match.

use std::{cmp::Ordering, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, RecordBatch,
    cast::AsArray,
    types::{
        ArrowDictionaryKeyType, ByteArrayType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
        DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use artifactd_domain::filter::{Comparison, Pattern, Predicate, Test, Value};

use super::Column;
use crate::arrays::error::{ArrayError, Result};

/// Says of each row of a batch whether it matches. `places` are those of the columns of
/// the table that the batch has, in its order.
pub(crate) fn mask(predicate: &Predicate<Column>, batch: &RecordBatch, places: &[usize]) -> Result<BooleanBuffer> {
    let rows = batch.num_rows();
    Ok(match predicate {
        Predicate::All(parts) => {
            let mut all = BooleanBuffer::new_set(rows);
            for part in parts {
                all = &all & &mask(part, batch, places)?;
            }
            all
        }
        Predicate::Any(parts) => {
            let mut any = BooleanBuffer::new_unset(rows);
            for part in parts {
                any = &any | &mask(part, batch, places)?;
            }
            any
        }
        Predicate::Is(test) => holds(test, batch, places)?,
        Predicate::IsNot(test) => !&holds(test, batch, places)?,
    })
}

fn holds(test: &Test<Column>, batch: &RecordBatch, places: &[usize]) -> Result<BooleanBuffer> {
    let (column, asks, all) = match test {
        Test::Set(field) => (&field.id, Asks::Set, false),
        Test::NotEmpty(column) => (column, Asks::Set, false),
        Test::Compare(field, comparison, value) => {
            let all = *comparison == Comparison::NotEqual;
            (&field.id, Asks::Compare(*comparison, value), all)
        }
        Test::Like(field, pattern) => (&field.id, Asks::Like(pattern), false),
        Test::Unlike(field, pattern) => (&field.id, Asks::Unlike(pattern), true),
        Test::Call(..) => return Err(ArrayError::Internal("a function over a table".to_owned())),
    };
    let (array, parents) = found(column, batch, places)?;
    let matching = match array.data_type() {
        DataType::List(_) => of_list(array.as_list::<i32>(), &asks, all)?,
        DataType::LargeList(_) => of_list(array.as_list::<i64>(), &asks, all)?,
        _ => of_values(&array, &asks)?,
    };
    Ok(match parents {
        Some(parents) => &matching & parents.inner(),
        None => matching,
    })
}

/// What is asked of a value that is there.
enum Asks<'p> {
    Set,
    Compare(Comparison, &'p Value),
    Like(&'p Pattern),
    Unlike(&'p Pattern),
}

/// The array of a column, and where the structs around it are set.
fn found(column: &Column, batch: &RecordBatch, places: &[usize]) -> Result<(ArrayRef, Option<NullBuffer>)> {
    let missing = || ArrayError::Internal("a filter over a column that was not read".to_owned());
    let place = places
        .iter()
        .position(|place| *place == column.top())
        .ok_or_else(missing)?;
    let mut array = Arc::clone(batch.column(place));
    let mut parents = None;
    for place in column.below() {
        parents = NullBuffer::union(parents.as_ref(), array.nulls());
        let inner = array
            .as_struct_opt()
            .and_then(|array| array.columns().get(*place))
            .cloned();
        array = inner.ok_or_else(missing)?;
    }
    Ok((array, parents))
}

/// Says of each list whether some of its values matches, or all do; one that is empty does not.
fn of_list<O: arrow_array::OffsetSizeTrait>(
    lists: &arrow_array::GenericListArray<O>,
    asks: &Asks<'_>,
    all: bool,
) -> Result<BooleanBuffer> {
    let values = lists.values();
    let (matching, set) = (of_values(values, asks)?, of_values(values, &Asks::Set)?);
    let offsets = lists.value_offsets();
    Ok(BooleanBuffer::collect_bool(lists.len(), |row| {
        let mut range = offsets[row].as_usize()..offsets[row + 1].as_usize();
        if lists.is_null(row) || range.is_empty() {
            return false;
        }
        match all {
            true => {
                range.clone().any(|value| set.value(value))
                    && range.all(|value| matching.value(value) || !set.value(value))
            }
            false => range.any(|value| matching.value(value)),
        }
    }))
}

fn of_values(array: &ArrayRef, asks: &Asks<'_>) -> Result<BooleanBuffer> {
    let set = || match array.logical_nulls() {
        Some(nulls) => nulls.inner().clone(),
        None => BooleanBuffer::new_set(array.len()),
    };
    if let Asks::Set = asks {
        return Ok(set());
    }
    let matching = match array.data_type() {
        DataType::Dictionary(..) => return of_dictionary(array, asks),
        data_type => of_plain(array, data_type, asks)?,
    };
    Ok(match array.logical_nulls() {
        Some(nulls) => &matching & nulls.inner(),
        None => matching,
    })
}

/// What is true of a value of a dictionary is true wherever it stands.
fn of_dictionary(array: &ArrayRef, asks: &Asks<'_>) -> Result<BooleanBuffer> {
    fn by_key<K: ArrowDictionaryKeyType>(array: &ArrayRef, matching: &BooleanBuffer) -> BooleanBuffer {
        let keys = array.as_dictionary::<K>().keys();
        BooleanBuffer::collect_bool(keys.len(), |row| {
            keys.is_valid(row) && matching.value(keys.value(row).as_usize())
        })
    }
    let dictionary = array.as_any_dictionary();
    let matching = of_values(dictionary.values(), asks)?;
    Ok(match dictionary.keys().data_type() {
        DataType::Int8 => by_key::<Int8Type>(array, &matching),
        DataType::Int16 => by_key::<Int16Type>(array, &matching),
        DataType::Int32 => by_key::<Int32Type>(array, &matching),
        DataType::Int64 => by_key::<Int64Type>(array, &matching),
        DataType::UInt8 => by_key::<UInt8Type>(array, &matching),
        DataType::UInt16 => by_key::<UInt16Type>(array, &matching),
        DataType::UInt32 => by_key::<UInt32Type>(array, &matching),
        _ => by_key::<UInt64Type>(array, &matching),
    })
}

/// Values that are null may be said anything of.
fn of_plain(array: &ArrayRef, data_type: &DataType, asks: &Asks<'_>) -> Result<BooleanBuffer> {
    use DataType as D;
    Ok(match data_type {
        D::Utf8 => of_texts(array.as_string::<i32>(), asks)?,
        D::LargeUtf8 => of_texts(array.as_string::<i64>(), asks)?,
        D::Utf8View => {
            let texts = array.as_string_view();
            of_text(texts.len(), |row| texts.value(row), asks)?
        }
        D::Binary => of_binaries(array.as_binary::<i32>(), asks)?,
        D::LargeBinary => of_binaries(array.as_binary::<i64>(), asks)?,
        D::BinaryView => {
            let values = array.as_binary_view();
            of_bytes(values.len(), |row| values.value(row), asks)?
        }
        D::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            of_bytes(values.len(), |row| values.value(row), asks)?
        }
        D::Boolean => of_booleans(array.as_boolean(), asks)?,
        D::Int8 => of_ints::<Int8Type>(array, asks)?,
        D::Int16 => of_ints::<Int16Type>(array, asks)?,
        D::Int32 => of_ints::<Int32Type>(array, asks)?,
        D::Int64 => of_ints::<Int64Type>(array, asks)?,
        D::UInt8 => of_ints::<UInt8Type>(array, asks)?,
        D::UInt16 => of_ints::<UInt16Type>(array, asks)?,
        D::UInt32 => of_ints::<UInt32Type>(array, asks)?,
        D::UInt64 => of_ints::<UInt64Type>(array, asks)?,
        D::Date32 => of_ints::<Date32Type>(array, asks)?,
        D::Date64 => of_ints::<Date64Type>(array, asks)?,
        D::Timestamp(TimeUnit::Second, _) => of_ints::<TimestampSecondType>(array, asks)?,
        D::Timestamp(TimeUnit::Millisecond, _) => of_ints::<TimestampMillisecondType>(array, asks)?,
        D::Timestamp(TimeUnit::Microsecond, _) => of_ints::<TimestampMicrosecondType>(array, asks)?,
        D::Timestamp(TimeUnit::Nanosecond, _) => of_ints::<TimestampNanosecondType>(array, asks)?,
        D::Duration(TimeUnit::Second) => of_ints::<DurationSecondType>(array, asks)?,
        D::Duration(TimeUnit::Millisecond) => of_ints::<DurationMillisecondType>(array, asks)?,
        D::Duration(TimeUnit::Microsecond) => of_ints::<DurationMicrosecondType>(array, asks)?,
        D::Duration(TimeUnit::Nanosecond) => of_ints::<DurationNanosecondType>(array, asks)?,
        D::Float16 => of_floats::<Float16Type>(array, asks, f64::from)?,
        D::Float32 => of_floats::<Float32Type>(array, asks, f64::from)?,
        D::Float64 => of_floats::<Float64Type>(array, asks, |value| value)?,
        D::Decimal32(_, scale) => of_floats::<Decimal32Type>(array, asks, |value| decimal(value.into(), *scale))?,
        D::Decimal64(_, scale) => of_floats::<Decimal64Type>(array, asks, |value| decimal(value.into(), *scale))?,
        D::Decimal128(_, scale) => of_floats::<Decimal128Type>(array, asks, |value| decimal(value, *scale))?,
        other => return Err(ArrayError::Internal(format!("a filter over {other}"))),
    })
}

/// A decimal as the nearest float.
pub(super) fn decimal(unscaled: i128, scale: i8) -> f64 {
    // Division by a power of ten that a float holds exactly rounds once.
    match scale {
        0.. => unscaled as f64 / 10f64.powi(scale.into()),
        _ => unscaled as f64 * 10f64.powi(-i32::from(scale)),
    }
}

fn misfit() -> ArrayError {
    ArrayError::Internal("a filter whose value has another type than its column".to_owned())
}

fn of_texts<T>(texts: &arrow_array::GenericByteArray<T>, asks: &Asks<'_>) -> Result<BooleanBuffer>
where
    T: ByteArrayType<Native = str>,
{
    of_text(texts.len(), |row| texts.value(row), asks)
}

fn of_text<'a>(rows: usize, value: impl Fn(usize) -> &'a str, asks: &Asks<'_>) -> Result<BooleanBuffer> {
    match asks {
        Asks::Compare(comparison, Value::Text(wanted)) => {
            Ok(by_order(*comparison, rows, |row| Some(value(row).cmp(wanted.as_str()))))
        }
        Asks::Like(pattern) => Ok(BooleanBuffer::collect_bool(rows, |row| pattern.matches(value(row)))),
        Asks::Unlike(pattern) => Ok(BooleanBuffer::collect_bool(rows, |row| !pattern.matches(value(row)))),
        _ => Err(misfit()),
    }
}

fn of_binaries<T>(values: &arrow_array::GenericByteArray<T>, asks: &Asks<'_>) -> Result<BooleanBuffer>
where
    T: ByteArrayType<Native = [u8]>,
{
    of_bytes(values.len(), |row| values.value(row), asks)
}

fn of_bytes<'a>(rows: usize, value: impl Fn(usize) -> &'a [u8], asks: &Asks<'_>) -> Result<BooleanBuffer> {
    match asks {
        Asks::Compare(comparison, Value::Bytes(wanted)) => Ok(by_order(*comparison, rows, |row| {
            Some(value(row).cmp(wanted.as_slice()))
        })),
        _ => Err(misfit()),
    }
}

fn of_booleans(values: &BooleanArray, asks: &Asks<'_>) -> Result<BooleanBuffer> {
    match asks {
        Asks::Compare(comparison, Value::Bool(wanted)) => Ok(by_order(*comparison, values.len(), |row| {
            Some(values.value(row).cmp(wanted))
        })),
        _ => Err(misfit()),
    }
}

fn of_ints<T>(array: &ArrayRef, asks: &Asks<'_>) -> Result<BooleanBuffer>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = array.as_primitive::<T>().values();
    match asks {
        Asks::Compare(comparison, Value::Int(wanted)) => Ok(by_order(*comparison, values.len(), |row| {
            Some(values[row].into().cmp(wanted))
        })),
        _ => Err(misfit()),
    }
}

fn of_floats<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    asks: &Asks<'_>,
    float: impl Fn(T::Native) -> f64,
) -> Result<BooleanBuffer> {
    let values = array.as_primitive::<T>().values();
    match asks {
        Asks::Compare(comparison, Value::Float(wanted)) => Ok(by_order(*comparison, values.len(), |row| {
            float(values[row]).partial_cmp(wanted)
        })),
        _ => Err(misfit()),
    }
}

/// A loop for each comparison, so that none asks which it is.
fn by_order(comparison: Comparison, rows: usize, order: impl Fn(usize) -> Option<Ordering>) -> BooleanBuffer {
    match comparison {
        Comparison::Equal => BooleanBuffer::collect_bool(rows, |row| order(row) == Some(Ordering::Equal)),
        Comparison::NotEqual => BooleanBuffer::collect_bool(rows, |row| order(row) != Some(Ordering::Equal)),
        Comparison::Less => BooleanBuffer::collect_bool(rows, |row| order(row) == Some(Ordering::Less)),
        Comparison::LessOrEqual => {
            BooleanBuffer::collect_bool(rows, |row| matches!(order(row), Some(Ordering::Less | Ordering::Equal)))
        }
        Comparison::Greater => BooleanBuffer::collect_bool(rows, |row| order(row) == Some(Ordering::Greater)),
        Comparison::GreaterOrEqual => BooleanBuffer::collect_bool(rows, |row| {
            matches!(order(row), Some(Ordering::Greater | Ordering::Equal))
        }),
    }
}
