//! Columns whose values stand in the paths of files.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StringArray, UInt64Array};
use arrow_schema::{Field, FieldRef, Schema};
use arrow_select::take::take;
use artifactd_domain::{PartitionType, filter::Predicate, partition_int, partitions_of};

use super::FORMAT;
use crate::arrays::{
    error::{ArrayError, Result},
    filter::{Column, columns_of, compare, mask, value_at, value_text},
    table::ColumnFacts,
};

/// The columns that paths name, with a value for each file.
#[derive(Debug)]
pub(super) struct Partitions {
    fields: Vec<FieldRef>,
    /// For each column, the values of all files.
    values: Vec<ArrayRef>,
}

/// What a filter asks of the rows of one file, once its path is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// All of them match, or none.
    Settled(bool),
    /// It depends on columns of the file.
    Rest(Predicate<Column>),
}

impl Partitions {
    /// What some paths say.
    pub(super) fn of_paths<'p>(paths: impl Iterator<Item = &'p str> + Clone) -> Result<Self> {
        let mut columns: Vec<(String, Vec<Option<String>>)> = Vec::new();
        for (number, path) in paths.clone().enumerate() {
            let found = partitions_of(path).map_err(|refused| {
                let what = format!("the path `{path}`: {refused}");
                ArrayError::malformed(FORMAT, what)
            })?;
            for (name, value) in found {
                let place = columns.iter().position(|(known, _)| *known == name);
                let place = place.unwrap_or_else(|| {
                    columns.push((name, Vec::new()));
                    columns.len() - 1
                });
                // Files whose paths do not name a column have a null there.
                let values = &mut columns[place].1;
                values.resize(number, None);
                values.push(value);
            }
        }
        let files = paths.count();
        let (mut fields, mut values): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for (name, mut texts) in columns {
            texts.resize(files, None);
            let array: ArrayRef = match PartitionType::of(texts.iter().flatten().map(String::as_str)) {
                PartitionType::Int32 => {
                    let integers = texts.iter().map(|text| text.as_deref().and_then(partition_int));
                    Arc::new(integers.collect::<Int32Array>())
                }
                PartitionType::Text => Arc::new(StringArray::from(texts)),
            };
            fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
            values.push(array);
        }
        Ok(Self { fields, values })
    }

    /// Leaves columns out that the files have themselves.
    pub(super) fn leave_out(&mut self, of_files: &[FieldRef]) {
        let columns = std::mem::take(&mut self.fields).into_iter();
        let columns = columns.zip(std::mem::take(&mut self.values));
        let kept = columns.filter(|(field, _)| of_files.iter().all(|other| other.name() != field.name()));
        (self.fields, self.values) = kept.unzip();
    }

    /// The columns.
    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// A column in some rows of a file.
    pub(super) fn column(&self, column: usize, file: usize, rows: usize) -> Result<ArrayRef> {
        let rows = UInt64Array::from_value(file as u64, rows);
        take(&self.values[column], &rows, None).map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }

    /// What a filter asks of a file. Its columns stand before these.
    pub(super) fn ask(&self, predicate: &Predicate<Column>, file: usize, file_columns: usize) -> Result<Asked> {
        let parts = |parts: &[Predicate<Column>], settles: bool| -> Result<Asked> {
            let mut rest = Vec::new();
            for part in parts {
                match self.ask(part, file, file_columns)? {
                    Asked::Settled(is) if is == settles => return Ok(Asked::Settled(settles)),
                    Asked::Settled(_) => {}
                    Asked::Rest(part) => rest.push(part),
                }
            }
            Ok(match (rest.len(), settles) {
                (0, _) => Asked::Settled(!settles),
                (1, _) => Asked::Rest(rest.remove(0)),
                (_, true) => Asked::Rest(Predicate::Any(rest)),
                (_, false) => Asked::Rest(Predicate::All(rest)),
            })
        };
        match predicate {
            Predicate::All(all_of) => parts(all_of, false),
            Predicate::Any(any_of) => parts(any_of, true),
            Predicate::Is(_) | Predicate::IsNot(_) => {
                let columns = columns_of(predicate);
                if columns.iter().any(|column| *column < file_columns) {
                    return Ok(Asked::Rest(predicate.clone()));
                }
                let places: Vec<usize> = (file_columns..file_columns + self.fields.len()).collect();
                let matching = mask(predicate, &self.row(file)?, &places)?;
                Ok(Asked::Settled(matching.value(0)))
            }
        }
    }

    /// The values of one file.
    fn row(&self, file: usize) -> Result<RecordBatch> {
        let values = self.values.iter().map(|values| values.slice(file, 1)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(self.fields.clone())), values, &options)
            .map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }

    /// What is known of the columns, where files have so many rows.
    pub(super) fn facts(&self, rows: &[u64]) -> Vec<ColumnFacts> {
        self.values.iter().map(|values| facts_of(values, rows)).collect()
    }
}

fn facts_of(values: &ArrayRef, rows: &[u64]) -> ColumnFacts {
    let files = || (0..values.len()).filter(|file| rows[*file] > 0);
    let extreme = |largest: bool| {
        let mut extreme: Option<usize> = None;
        for file in files().filter(|file| values.is_valid(*file)) {
            let better = extreme.is_none_or(|best| {
                let (value, best) = (value_at(values, file), value_at(values, best));
                let order = value.zip(best).and_then(|(value, best)| compare(&value, &best));
                order.is_some_and(|order| if largest { order.is_gt() } else { order.is_lt() })
            });
            if better {
                extreme = Some(file);
            }
        }
        extreme
    };
    let (min, max) = (extreme(false), extreme(true));
    let at = |file: Option<usize>| file.and_then(|file| value_at(values, file));
    ColumnFacts {
        nulls: Some(
            files()
                .filter(|file| values.is_null(*file))
                .map(|file| rows[file])
                .sum(),
        ),
        min: min.and_then(|file| value_text(values, file)),
        max: max.and_then(|file| value_text(values, file)),
        min_value: at(min),
        max_value: at(max),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{cast::AsArray, types::Int32Type};
    use arrow_schema::DataType;
    use artifactd_domain::filter::Filter;

    use super::*;
    use crate::arrays::filter::check;

    fn partitions() -> Partitions {
        let paths = ["k=1/s=a/f", "k=1/f", "k=__HIVE_DEFAULT_PARTITION__/s=b/f", "k=7/s=b/f"];
        Partitions::of_paths(paths.into_iter()).unwrap()
    }

    #[test]
    fn a_file_whose_path_does_not_name_a_column_has_a_null_there() {
        let partitions = partitions();
        let types: Vec<_> = partitions
            .fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        assert_eq!(types, [DataType::Int32, DataType::Utf8]);
        let keys = partitions.values[0].as_primitive::<Int32Type>();
        assert_eq!(keys.iter().collect::<Vec<_>>(), [Some(1), Some(1), None, Some(7)]);
        let texts = partitions.values[1].as_string::<i32>();
        assert_eq!(
            texts.iter().collect::<Vec<_>>(),
            [Some("a"), None, Some("b"), Some("b")]
        );
        let repeated = partitions.column(1, 3, 3).unwrap();
        assert_eq!(repeated.as_string::<i32>(), &StringArray::from(vec!["b"; 3]));
    }

    #[test]
    fn what_paths_say_is_settled_for_a_file_and_the_rest_is_left() {
        let partitions = partitions();
        let of_file = Field::new("x", DataType::Int64, true);
        let fields: Vec<FieldRef> = [Arc::new(of_file)]
            .into_iter()
            .chain(partitions.fields.clone())
            .collect();
        let schema = Schema::new(fields);
        let of = |text: &str| check(&text.parse::<Filter>().unwrap(), &schema).unwrap();
        let rest = || Asked::Rest(of("x > 5"));
        for (filter, expected) in [
            (
                "k = 1",
                [
                    Asked::Settled(true),
                    Asked::Settled(true),
                    Asked::Settled(false),
                    Asked::Settled(false),
                ],
            ),
            (
                "k = 1 AND x > 5",
                [rest(), rest(), Asked::Settled(false), Asked::Settled(false)],
            ),
            ("k = 7 OR x > 5", [rest(), rest(), rest(), Asked::Settled(true)]),
            (
                "s:* AND (k < 3 OR s = \"b\") AND x > 5",
                [rest(), Asked::Settled(false), rest(), rest()],
            ),
            (
                "-k:*",
                [
                    Asked::Settled(false),
                    Asked::Settled(false),
                    Asked::Settled(true),
                    Asked::Settled(false),
                ],
            ),
        ] {
            let asked = (0..4).map(|file| partitions.ask(&of(filter), file, 1).unwrap());
            assert_eq!(asked.collect::<Vec<_>>(), expected, "{filter}");
        }
    }

    #[test]
    fn facts_are_those_of_files_with_rows() {
        let facts = partitions().facts(&[2, 3, 5, 0]);
        assert_eq!((facts[0].nulls, facts[1].nulls), (Some(5), Some(3)));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!((&facts[0].min, &facts[0].max), (&text("1"), &text("1")));
        assert_eq!((&facts[1].min, &facts[1].max), (&text("a"), &text("b")));
    }
}
