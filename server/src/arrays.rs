//! Tables in content: csv, tsv, JSON lines, parquet (a file or a folder of them), Arrow IPC
//! and Feather.
//!
//! Every format gives a `table::Table`, which reads through the store it is handed: a
//! view that checks every byte and counts what it fetched. Decoders run on threads that
//! may wait, stop when nobody waits for them, and never unpack more at once than
//! `budget` allows, whatever a file says of itself.
//!
//! Nothing here knows an artifact, a database or a wire.

mod budget;
#[cfg(test)]
mod conformance;
mod csv;
mod dtype;
mod error;
mod filter;
mod folder;
#[cfg(test)]
mod hostile;
mod in_parts;
mod ipc;
mod json;
mod measure;
#[cfg(test)]
mod mutated;
mod open;
mod parquet;
mod rows;
mod settle;
mod source;
mod summary;
mod table;
mod text;
mod threads;
mod write;

use std::{ops::Range, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;

pub(crate) use dtype::found_columns;
pub use error::ArrayError;
pub(crate) use error::Result;
pub(crate) use filter::{Column, check as check_filter};
pub(crate) use folder::{FILES_MAX, FileOf, is_file_of_table};
pub(crate) use ipc::{Encoder, Message, MessageReader, read_schema, schema_message};
pub(crate) use open::{open, open_folder};
pub use rows::Rows;
pub(crate) use source::Place;
pub use summary::{ColumnSummary, Found, TableSummary};
pub(crate) use summary::{is_looked_at, look_into, look_into_folder};
use table::{Lying, Portion, Stored};
pub(crate) use table::{Part, Scan, Table};
pub(crate) use write::TableWriter;

/// The places of columns by their names; all when none is named.
pub(crate) fn places_of(names: &[String], schema: &Schema) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..schema.fields().len()).collect());
    }
    let mut places = Vec::with_capacity(names.len());
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    for name in names {
        let mut found = schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| field.name() == name);
        let place = match (found.next(), found.next()) {
            (Some((place, _)), None) => place,
            (None, _) => {
                return Err(ArrayError::selection(
                    "columns",
                    format!("name `{name}`, which there is not"),
                ));
            }
            (Some(_), Some(_)) => {
                return Err(ArrayError::selection(
                    "columns",
                    format!("name `{name}`, which there is twice"),
                ));
            }
        };
        if !seen.insert(place) {
            return Err(ArrayError::selection("columns", format!("name `{name}` twice")));
        }
        places.push(place);
    }
    Ok(places)
}

/// The schema of some columns, on demand with values in place of references to a dictionary.
pub(crate) fn projected(schema: &Schema, columns: &[usize], expand_dictionaries: bool) -> SchemaRef {
    let fields = columns.iter().map(|column| &schema.fields()[*column]);
    let fields: Vec<FieldRef> = match expand_dictionaries {
        true => fields.map(expanded).collect(),
        false => fields.cloned().collect(),
    };
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn expanded(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => DataType::clone(values),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(expanded).collect()),
        DataType::List(items) => DataType::List(expanded(items)),
        DataType::LargeList(items) => DataType::LargeList(expanded(items)),
        DataType::FixedSizeList(items, size) => DataType::FixedSizeList(expanded(items), *size),
        DataType::Map(entries, sorted) => DataType::Map(expanded(entries), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// Some rows of a selection, as they go out.
#[derive(Debug)]
pub(crate) struct Given {
    /// What goes out.
    pub(crate) form: Form,
    /// How many rows there are.
    pub(crate) rows: u64,
    /// The number of the first one.
    pub(crate) first_row: u64,
    /// The row at which to go on behind them.
    pub(crate) next_row: u64,
}

/// The form in which rows go out.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A batch of which messages are made.
    Batch(RecordBatch),
    /// The message that the content holds.
    Stored(Message),
    /// The header of such a message, and where its body lies in the content.
    Lying(Bytes, Range<u64>),
}

/// Reads a selection and gives it away, each message of at most the scan's size, but for
/// rows that alone are larger and at most `row_bytes_max`. Must be called where waiting is
/// allowed.
pub(crate) fn read(
    table: Arc<dyn Table>,
    scan: Scan,
    row_bytes_max: usize,
    schema: &SchemaRef,
    mut give: impl FnMut(Given) -> Result<()>,
) -> Result<()> {
    let batch_bytes = scan.batch_bytes;
    for portion in table.scan_to_send(scan)? {
        let batch = match portion? {
            Portion::Unpacked(batch) => batch,
            Portion::Stored(Stored {
                message,
                rows,
                first_row,
            }) => {
                give(Given {
                    form: Form::Stored(message),
                    rows,
                    first_row,
                    next_row: first_row + rows,
                })?;
                continue;
            }
            Portion::Lying(Lying {
                header,
                body,
                rows,
                first_row,
            }) => {
                give(Given {
                    form: Form::Lying(header, body),
                    rows,
                    first_row,
                    next_row: first_row + rows,
                })?;
                continue;
            }
        };
        for part in measure::cut(&batch, batch_bytes, row_bytes_max)? {
            let settled = settle::settle(&part.batch, schema)?;
            give(Given {
                rows: settled.num_rows() as u64,
                form: Form::Batch(settled),
                first_row: part.number(0),
                next_row: part.next_row(),
            })?;
        }
    }
    Ok(())
}
