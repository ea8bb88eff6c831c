//! The schema of a file or stream, and its types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_ipc::convert::fb_to_schema;
use arrow_schema::{DataType, Field, Schema};

use super::{
    FORMAT,
    layout::{aligned, read_message},
    lie,
};
use crate::arrays::{
    budget::COLUMNS_MAX,
    error::{ArrayError, Result},
};

/// Deepest nesting of types.
pub(super) const DEPTH_MAX: usize = 64;

/// The schema in the header of a message.
pub(crate) fn read_schema(header: &[u8]) -> Result<Schema> {
    let header = aligned(header);
    let message = read_message(&header)?;
    let schema = message
        .header_as_schema()
        .ok_or_else(|| lie("the first message is no schema"))?;
    schema_of(schema)
}

/// The conversion gives up on what cannot be a type.
pub(super) fn schema_of(schema: arrow_ipc::Schema<'_>) -> Result<Schema> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(ArrayError::unsupported(FORMAT, "another order of bytes"));
    }
    let converted = catch_unwind(AssertUnwindSafe(|| fb_to_schema(schema)));
    let schema = converted.map_err(|_| lie("its schema holds something that is no type"))?;
    let mut columns = 0;
    for field in schema.fields() {
        check_type(field.data_type(), 0, &mut columns)?;
    }
    Ok(schema)
}

/// Types that no array can have make their arrays panic.
fn check_type(data_type: &DataType, depth: usize, columns: &mut usize) -> Result<()> {
    use DataType as D;
    *columns += 1;
    if *columns > COLUMNS_MAX {
        return Err(ArrayError::OverBudget("100,000 columns"));
    }
    if depth > DEPTH_MAX {
        return Err(lie("types are nested too deeply"));
    }
    let sound = match data_type {
        D::FixedSizeBinary(size) | D::FixedSizeList(_, size) => *size >= 0,
        D::Decimal32(precision, scale) => (1..=9).contains(precision) && i16::from(*scale) <= i16::from(*precision),
        D::Decimal64(precision, scale) => (1..=18).contains(precision) && i16::from(*scale) <= i16::from(*precision),
        D::Decimal128(precision, scale) => (1..=38).contains(precision) && i16::from(*scale) <= i16::from(*precision),
        D::Decimal256(precision, scale) => (1..=76).contains(precision) && i16::from(*scale) <= i16::from(*precision),
        D::Dictionary(keys, _) => keys.is_dictionary_key_type(),
        D::RunEndEncoded(ends, _) => ends.data_type().is_run_ends_type() && !ends.is_nullable(),
        D::Map(entries, _) => matches!(entries.data_type(), D::Struct(fields) if fields.len() == 2),
        D::Time32(unit) => matches!(
            unit,
            arrow_schema::TimeUnit::Second | arrow_schema::TimeUnit::Millisecond
        ),
        D::Time64(unit) => matches!(
            unit,
            arrow_schema::TimeUnit::Microsecond | arrow_schema::TimeUnit::Nanosecond
        ),
        _ => true,
    };
    if !sound {
        return Err(lie(format!("its schema holds the type {data_type}, which cannot be")));
    }
    if let D::Dictionary(_, values) = data_type {
        check_type(values, depth + 1, columns)?;
    }
    child_types(data_type)
        .into_iter()
        .try_for_each(|child| check_type(child, depth + 1, columns))
}

/// The type of the values of a dictionary, where a field refers to it.
pub(super) fn values_of(field: &Field, id: i64) -> Option<&DataType> {
    fn below(data_type: &DataType, id: i64) -> Option<&DataType> {
        use DataType as D;
        match data_type {
            D::List(field)
            | D::LargeList(field)
            | D::ListView(field)
            | D::LargeListView(field)
            | D::FixedSizeList(field, _)
            | D::Map(field, _) => values_of(field, id),
            D::Struct(fields) => fields.iter().find_map(|field| values_of(field, id)),
            D::Union(fields, _) => fields.iter().find_map(|(_, field)| values_of(field, id)),
            D::RunEndEncoded(ends, values) => values_of(ends, id).or_else(|| values_of(values, id)),
            D::Dictionary(_, values) => below(values, id),
            _ => None,
        }
    }
    match field.data_type() {
        DataType::Dictionary(_, values) if dictionary_id(field) == Some(id) => Some(values),
        data_type => below(data_type, id),
    }
}

/// The id of the dictionary to which a column refers.
#[expect(deprecated, reason = "the schema of a stream says it nowhere else")]
pub(super) fn dictionary_id(field: &Field) -> Option<i64> {
    field.dict_id()
}

/// Refuses types that are nested too deeply.
pub(super) fn check_depth(depth: usize) -> Result<()> {
    match depth > DEPTH_MAX {
        true => Err(lie("types are nested too deeply")),
        false => Ok(()),
    }
}

/// The types below a type, in the order in which their columns come.
pub(super) fn child_types(data_type: &DataType) -> Vec<&DataType> {
    use DataType as D;
    match data_type {
        D::List(field)
        | D::LargeList(field)
        | D::ListView(field)
        | D::LargeListView(field)
        | D::FixedSizeList(field, _)
        | D::Map(field, _) => vec![field.data_type()],
        D::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        D::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        D::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}
