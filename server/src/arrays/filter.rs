//! Filters over the columns of a table: `age > 40 AND tissue = "lung"`.
//!
//! The language is the one in which artifacts are filtered. A null fails every test,
//! as an unset field does; fields of a struct are named with points, and an element of
//! a list is found by `list:value`.

mod bounds;
mod mask;
mod value;

use std::sync::Arc;

use arrow_schema::{DataType, Schema, TimeUnit as ArrowUnit};
use artifactd_domain::filter::{self, Field, Filter, Predicate, Resolved, TimeUnit, Type, Unresolved};

pub(crate) use self::{
    bounds::{Bounds, can_match},
    mask::mask,
    value::{compare, value_at, value_text},
};

/// A column, or a field of it: places from the schema down to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Column(Arc<[usize]>);

impl Column {
    /// The column of the table that it is, or lies in.
    pub(crate) fn top(&self) -> usize {
        self.0[0]
    }

    /// The places below that.
    pub(crate) fn below(&self) -> &[usize] {
        &self.0[1..]
    }
}

/// The columns that a predicate asks for, each once.
pub(crate) fn columns_of(predicate: &Predicate<Column>) -> Vec<usize> {
    let mut columns = Vec::new();
    collect(predicate, &mut columns);
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn collect(predicate: &Predicate<Column>, into: &mut Vec<usize>) {
    use filter::Test as T;
    match predicate {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().for_each(|part| collect(part, into)),
        Predicate::Is(test) | Predicate::IsNot(test) => into.push(match test {
            T::Set(field) | T::Compare(field, ..) | T::Like(field, _) | T::Unlike(field, _) => field.id.top(),
            T::NotEmpty(column) | T::Call(column, _) => column.top(),
        }),
    }
}

/// Holds a filter against the columns of a table.
pub(crate) fn check(filter: &Filter, schema: &Schema) -> Result<Predicate<Column>, filter::FilterFault> {
    filter.check(&Columns(schema))
}

struct Columns<'s>(&'s Schema);

impl filter::Schema for Columns<'_> {
    type Id = Column;

    fn field(&self, path: &[&str]) -> Result<Resolved<Column>, Unresolved> {
        // A name may hold points itself.
        let joined = path.join(".");
        let whole = self.0.fields().find(&joined).map(|(place, field)| (vec![place], field));
        let (places, field) = match whole {
            Some(found) => found,
            None => {
                let (first, rest) = path.split_first().ok_or(Unresolved::Unknown)?;
                let (place, mut field) = self.0.fields().find(first).ok_or(Unresolved::Unknown)?;
                let mut places = vec![place];
                for name in rest {
                    let DataType::Struct(fields) = field.data_type() else {
                        return Err(Unresolved::Unknown);
                    };
                    let (place, found) = fields.find(name).ok_or(Unresolved::Unknown)?;
                    places.push(place);
                    field = found;
                }
                (places, field)
            }
        };
        let column = Column(places.into());
        let (data_type, repeated) = match field.data_type() {
            DataType::List(items) | DataType::LargeList(items) => (items.data_type(), true),
            data_type => (data_type, false),
        };
        let because = || Unresolved::Because(format!("has the type {data_type}, which cannot be filtered"));
        let field = Field::new(column, type_of(data_type).ok_or_else(because)?).nullable();
        Ok(Resolved::Field(if repeated { field.repeated() } else { field }))
    }

    fn names(&self) -> Vec<String> {
        const SUGGESTED_MAX: usize = 1000;
        self.0
            .fields()
            .iter()
            .take(SUGGESTED_MAX)
            .map(|field| field.name().clone())
            .collect()
    }
}

fn type_of(data_type: &DataType) -> Option<Type> {
    use DataType as D;
    Some(match data_type {
        D::Utf8 | D::LargeUtf8 | D::Utf8View => Type::Text,
        D::Int8 | D::Int16 | D::Int32 | D::Int64 => Type::Int,
        D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => Type::UInt,
        D::Float16 | D::Float32 | D::Float64 | D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) => Type::Float,
        D::Boolean => Type::Bool,
        D::Timestamp(unit, _) => Type::Time(unit_of(*unit)),
        D::Date32 => Type::Date,
        D::Date64 => Type::Time(TimeUnit::Millisecond),
        D::Duration(unit) => Type::Duration(unit_of(*unit)),
        D::Binary | D::LargeBinary | D::BinaryView => Type::Bytes(None),
        D::FixedSizeBinary(size) => Type::Bytes(usize::try_from(*size).ok()),
        D::Dictionary(_, values) => return type_of(values),
        _ => return None,
    })
}

fn unit_of(unit: ArrowUnit) -> TimeUnit {
    match unit {
        ArrowUnit::Second => TimeUnit::Second,
        ArrowUnit::Millisecond => TimeUnit::Millisecond,
        ArrowUnit::Microsecond => TimeUnit::Microsecond,
        ArrowUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}
