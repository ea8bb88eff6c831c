//! What the columns of a table are, in the words of features.

use arrow_schema::{DataType, Schema};
use artifactd_domain::{ColumnHolds, Dtype, FoundColumn, Item};

/// The columns of a table, for whoever holds them against a schema.
pub(crate) fn found_columns(schema: &Schema) -> Vec<FoundColumn> {
    let columns = schema.fields().iter().map(|field| FoundColumn {
        name: field.name().clone(),
        holds: holds(field.data_type()),
    });
    columns.collect()
}

fn holds(data_type: &DataType) -> ColumnHolds {
    let found = match data_type {
        DataType::Null => return ColumnHolds::Nulls,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => item_of(item.data_type()).map(Dtype::list),
        one => item_of(one).map(Dtype::one),
    };
    found.map_or_else(|| ColumnHolds::Other(data_type.to_string()), ColumnHolds::Values)
}

fn item_of(data_type: &DataType) -> Option<Item> {
    match data_type {
        data_type if data_type.is_integer() => Some(Item::Int),
        data_type if data_type.is_floating() || data_type.is_decimal() => Some(Item::Float),
        DataType::Boolean => Some(Item::Bool),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Item::Str),
        DataType::Date32 | DataType::Date64 => Some(Item::Date),
        DataType::Timestamp(..) => Some(Item::DateTime),
        DataType::Struct(_) | DataType::Map(..) => Some(Item::Dict),
        DataType::Dictionary(_, values) => item_of(values),
        DataType::RunEndEncoded(_, values) => item_of(values.data_type()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, TimeUnit};

    use super::*;

    #[test]
    fn types_of_columns_are_dtypes() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        for (data_type, said) in [
            (DataType::UInt8, "int"),
            (DataType::Float16, "float"),
            (DataType::Decimal128(10, 2), "float"),
            (DataType::LargeUtf8, "str"),
            (
                DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
                "str",
            ),
            (DataType::Timestamp(TimeUnit::Millisecond, None), "datetime"),
            (DataType::Date32, "date"),
            (DataType::List(item(DataType::Int64)), "list[int]"),
            (DataType::Null, "nulls"),
            (DataType::Binary, "Binary"),
        ] {
            assert_eq!(holds(&data_type).to_string(), said);
        }
    }
}
