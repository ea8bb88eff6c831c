//! What can be left out without reading it.

use std::ops::Range;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use artifactd_domain::filter::{Predicate, Test, Value};
use parquet::{
    arrow::arrow_reader::statistics::StatisticsConverter,
    basic::{SortOrder, Type as PhysicalType},
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::footer::Footer;
use crate::arrays::{
    Rows,
    error::{ArrayError, Result},
    filter::{Bounds, Column, can_match, value_at, value_text},
    table::ColumnFacts,
};

/// Whether a row group can hold a row that matches.
pub(super) fn row_group_can_match(predicate: &Predicate<Column>, footer: &Footer, row_group: usize) -> bool {
    can_match(predicate, &|column| {
        let (leaf, field) = leaf_of(column, footer)?;
        let metadata = footer.metadata.row_group(row_group);
        let converter = converter(footer, leaf, field)?;
        let (min, max) = match has_order(metadata, leaf) {
            true => (
                converter.row_group_mins([metadata]).ok(),
                converter.row_group_maxes([metadata]).ok(),
            ),
            false => (None, None),
        };
        let nulls = converter.row_group_null_counts([metadata]).ok();
        Some(Bounds {
            min: min.and_then(|min| value_at(&min, 0)),
            max: max.and_then(|max| value_at(&max, 0)),
            nulls: nulls
                .filter(|nulls| nulls.null_count() == 0)
                .map(|nulls| nulls.value(0)),
            rows: metadata.num_rows().unsigned_abs(),
        })
    })
}

/// The rows of a row group, counted from its first, that lie in pages which can match.
pub(super) fn rows_that_can_match(
    predicate: &Predicate<Column>,
    footer: &Footer,
    indexed: &ParquetMetaData,
    row_group: usize,
) -> Rows {
    let all = Rows::all(indexed.row_group(row_group).num_rows().unsigned_abs());
    let parts = |parts: &[Predicate<Column>]| -> Vec<Rows> {
        let rows = parts
            .iter()
            .map(|part| rows_that_can_match(part, footer, indexed, row_group));
        rows.collect()
    };
    match predicate {
        Predicate::All(all_of) => parts(all_of).iter().fold(all, |rows, part| rows.and(part)),
        Predicate::Any(any_of) => {
            let rows = parts(any_of);
            Rows::of_ranges(rows.iter().flat_map(|rows| rows.ranges().iter().cloned()))
        }
        Predicate::Is(test) | Predicate::IsNot(test) => {
            let pages = column_of(test).and_then(|column| page_bounds(column, footer, indexed, row_group));
            let Some(pages) = pages else { return all };
            let matching = pages
                .into_iter()
                .filter(|(_, bounds)| can_match(predicate, &|_| Some(bounds.clone())));
            Rows::of_ranges(matching.map(|(rows, _)| rows))
        }
    }
}

fn column_of(test: &Test<Column>) -> Option<&Column> {
    match test {
        Test::Set(field) | Test::Compare(field, ..) | Test::Like(field, _) | Test::Unlike(field, _) => Some(&field.id),
        Test::NotEmpty(_) | Test::Call(..) => None,
    }
}

/// The rows of each page of a column, and what is known of them.
fn page_bounds(
    column: &Column,
    footer: &Footer,
    indexed: &ParquetMetaData,
    row_group: usize,
) -> Option<Vec<(Range<u64>, Bounds)>> {
    let (leaf, field) = leaf_of(column, footer)?;
    let (bounds, offsets) = (indexed.column_index()?, indexed.offset_index()?);
    let pages = offsets.get(row_group)?.get(leaf)?.page_locations();
    let converter = converter(footer, leaf, field)?;
    let mins = converter.data_page_mins(bounds, offsets, [&row_group]).ok()?;
    let maxes = converter.data_page_maxes(bounds, offsets, [&row_group]).ok()?;
    let nulls = converter.data_page_null_counts(bounds, offsets, [&row_group]).ok()?;
    let known = [mins.len(), maxes.len(), nulls.len()];
    if known.iter().any(|known| *known != pages.len()) || !has_order(indexed.row_group(row_group), leaf) {
        return None;
    }
    let end = indexed.row_group(row_group).num_rows().unsigned_abs();
    let starts: Vec<u64> = pages
        .iter()
        .map(|page| page.first_row_index.unsigned_abs())
        .chain([end])
        .collect();
    let page = |number: usize| {
        let rows = starts[number]..starts[number + 1];
        let bounds = Bounds {
            min: value_at(&mins, number),
            max: value_at(&maxes, number),
            nulls: (nulls.null_count() == 0).then(|| nulls.value(number)),
            rows: rows.end - rows.start,
        };
        (rows, bounds)
    };
    Some((0..pages.len()).map(page).collect())
}

fn converter<'f>(footer: &'f Footer, leaf: usize, field: &'f Field) -> Option<StatisticsConverter<'f>> {
    let descriptor = footer.metadata.file_metadata().schema_descr();
    let converter = StatisticsConverter::from_column_index(leaf, field, descriptor).ok()?;
    Some(converter.with_missing_null_counts_as_zero(false))
}

/// Whether bounds are by the order in which values compare here. Old writers compared
/// texts and numbers without sign as if they had one.
fn has_order(row_group: &RowGroupMetaData, leaf: usize) -> bool {
    let chunk = row_group.column(leaf);
    let column = chunk.column_descr();
    let signed = column.sort_order() == SortOrder::SIGNED && column.physical_type() != PhysicalType::INT96;
    let is_old = chunk
        .statistics()
        .is_some_and(|statistics| statistics.is_min_max_deprecated());
    match column.physical_type() {
        PhysicalType::INT96 => false,
        PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => !is_old,
        _ => signed || !is_old,
    }
}

/// The leaf that a column is, and its field, when it is one.
fn leaf_of<'f>(column: &Column, footer: &'f Footer) -> Option<(usize, &'f Field)> {
    let mut leaf = *footer.leaves.get(column.top())?;
    let mut field: &Field = footer.schema.field(column.top());
    for place in column.below() {
        let DataType::Struct(fields) = field.data_type() else {
            return None;
        };
        leaf += fields
            .iter()
            .take(*place)
            .map(|field| leaves_in(field.data_type()))
            .sum::<usize>();
        field = fields.get(*place)?;
    }
    (!field.data_type().is_nested()).then_some((leaf, field))
}

fn leaves_in(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves_in(field.data_type())).sum(),
        DataType::List(items)
        | DataType::LargeList(items)
        | DataType::ListView(items)
        | DataType::LargeListView(items)
        | DataType::FixedSizeList(items, _)
        | DataType::Map(items, _) => leaves_in(items.data_type()),
        _ => 1,
    }
}

/// What the footer says of each column.
pub(super) fn column_facts(footer: &Footer) -> Vec<ColumnFacts> {
    let row_groups = footer.metadata.row_groups();
    let columns = 0..footer.schema.fields().len();
    columns
        .map(|column| {
            let leaves = footer.leaves_of(column);
            let field = footer.schema.field(column);
            if leaves.len() != 1 || field.data_type().is_nested() {
                return ColumnFacts::default();
            }
            facts_of(footer, row_groups, leaves.start, field).unwrap_or_default()
        })
        .collect()
}

fn facts_of(footer: &Footer, row_groups: &[RowGroupMetaData], leaf: usize, field: &Field) -> Result<ColumnFacts> {
    let Some(converter) = converter(footer, leaf, field) else {
        return Ok(ColumnFacts::default());
    };
    let nulls = converter
        .row_group_null_counts(row_groups)
        .map_err(ArrayError::from_parquet)?;
    let nulls = (nulls.null_count() == 0).then(|| nulls.iter().flatten().sum());
    let mut facts = ColumnFacts {
        nulls,
        ..ColumnFacts::default()
    };
    if row_groups.iter().all(|row_group| has_order(row_group, leaf)) {
        let mins = converter.row_group_mins(row_groups).map_err(ArrayError::from_parquet)?;
        let maxes = converter
            .row_group_maxes(row_groups)
            .map_err(ArrayError::from_parquet)?;
        let is_exact = |exact: arrow_array::BooleanArray| exact.iter().all(|exact| exact == Some(true));
        let exact_min = converter.row_group_is_min_value_exact(row_groups).is_ok_and(is_exact);
        let exact_max = converter.row_group_is_max_value_exact(row_groups).is_ok_and(is_exact);
        let texts = matches!(
            field.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        let min = extreme(&mins, row_groups, false).filter(|_| exact_min || !texts);
        let max = extreme(&maxes, row_groups, true).filter(|_| exact_max || !texts);
        (facts.min, facts.min_value) = min.unzip();
        (facts.max, facts.max_value) = max.unzip();
    }
    Ok(facts)
}

/// The smallest or largest of the values of row groups that have rows; nothing
/// where one is not known.
fn extreme(values: &ArrayRef, row_groups: &[RowGroupMetaData], largest: bool) -> Option<(String, Value)> {
    let mut extreme: Option<(Value, usize)> = None;
    for (number, _) in row_groups
        .iter()
        .enumerate()
        .filter(|(_, row_group)| row_group.num_rows() > 0)
    {
        let value = value_at(values, number)?;
        let better = match &extreme {
            None => true,
            Some((best, _)) => crate::arrays::filter::compare(&value, best)?.is_gt() == largest,
        };
        if better {
            extreme = Some((value, number));
        }
    }
    let (value, number) = extreme?;
    Some((value_text(values, number)?, value))
}
