//! What a look into content finds: whether it is a table, and what can be said of it
//! without reading it again.
//!
//! The look is taken while content is saved, and ends early: whatever fails in it says
//! only that there is no table.

use std::{sync::Arc, time::Duration};

use arrow_schema::SchemaRef;
use artifactd_domain::{Accessor, TableFormat, TextPacking};
use serde::{Deserialize, Serialize};

use super::{
    budget::Deadline,
    csv::{self, Dialect},
    error::{ArrayError, Result},
    folder::{FileOf, FolderLayout, FolderTable},
    ipc::{self, IpcTable},
    json,
    parquet::ParquetTable,
    source::Place,
    table::{ColumnFacts, Table},
    text::Mark,
};

/// Text that is looked at.
const TEXT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long a look may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Columns of a summary; of wider tables the file itself says more.
const COLUMNS_MAX: usize = 5_000;

/// Batches whose sizes are kept.
const BATCHES_MAX: usize = 100_000;

/// Row groups in a folder whose places are kept.
const FOLDER_PARTS_MAX: usize = 20_000;

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// Its format.
    pub format: String,
    /// Its rows, where all were counted.
    pub n_rows: Option<u64>,
    /// Its columns.
    pub columns: Vec<ColumnSummary>,
    /// Its schema as the first message of a stream.
    pub schema: Vec<u8>,
    /// What saves reading it again.
    pub hint: Hint,
}

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow writes it.
    pub r#type: String,
    /// Rows in which it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls: Option<u64>,
    /// Its smallest value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// Its largest value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
}

/// What was learned of how a file is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Rows of each batch of an Arrow file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) batch_rows: Vec<u64>,
    /// Where rows of a text begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) marks: Vec<Mark>,
    /// How rows lie in the files of a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<FolderLayout>,
}

/// What a look found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// How the content is opened; unset when it is nothing that is known.
    pub accessor: Option<Accessor>,
    /// The table, unless it is too wide to be kept.
    pub table: Option<Arc<TableSummary>>,
    /// Why it is not what its suffix says.
    pub why_not: Option<String>,
}

impl Found {
    /// Nothing that is known here.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Rows of the table, where all were counted.
    pub fn n_observations(&self) -> Option<u64> {
        self.table.as_ref().and_then(|table| table.n_rows)
    }
}

/// Whether content with a suffix is worth a look.
pub(crate) fn is_looked_at(suffix: &str) -> bool {
    TableFormat::of_suffix(suffix).is_some()
}

/// Looks into content. Must be called where waiting is allowed.
pub(crate) fn look_into(place: Place, suffix: &str) -> Found {
    let Some((format, packing)) = TableFormat::of_suffix(suffix) else {
        return Found::nothing();
    };
    found(summary_of(place, format, packing, Deadline::after(TIME_MAX)))
}

/// Looks into a folder of parquet files. Must be called where waiting is allowed.
pub(crate) fn look_into_folder(files: Vec<FileOf>) -> Found {
    found(summary_of_folder(files, Deadline::after(TIME_MAX)))
}

fn found(looked: Result<TableSummary>) -> Found {
    match looked {
        Ok(summary) => Found {
            accessor: Some(Accessor::DataFrame),
            table: Some(Arc::new(summary)).filter(|summary| summary.columns.len() <= COLUMNS_MAX),
            why_not: None,
        },
        Err(error) => {
            if !error.is_about_content() {
                tracing::warn!(error = &error as &dyn std::error::Error, "Could not look into content");
            }
            Found {
                why_not: Some(error.to_string()),
                ..Found::nothing()
            }
        }
    }
}

fn summary_of(place: Place, format: TableFormat, packing: TextPacking, deadline: Deadline) -> Result<TableSummary> {
    let (schema, n_rows, facts, hint) = match format {
        TableFormat::Delimited { delimiter } => {
            let dialect = Dialect { delimiter, packing };
            of_text(csv::look(place, dialect, TEXT_BYTES_MAX, deadline)?, packing)
        }
        TableFormat::JsonLines => of_text(json::look(place, packing, TEXT_BYTES_MAX, deadline)?, packing),
        TableFormat::Parquet => {
            let table = ParquetTable::open(place)?;
            (
                Arc::clone(table.schema()),
                table.n_rows(),
                table.column_facts(),
                Hint::default(),
            )
        }
        TableFormat::ArrowIpc => {
            let table = IpcTable::open(place, None)?;
            // A file of many batches, far away, is a table all the same.
            let batch_rows = match table.count_rows(deadline) {
                Ok(rows) => rows,
                Err(ArrayError::OverBudget(_)) => Vec::new(),
                Err(error) => return Err(error),
            };
            let hint = Hint {
                batch_rows: if batch_rows.len() > BATCHES_MAX {
                    Vec::new()
                } else {
                    batch_rows
                },
                ..Hint::default()
            };
            (Arc::clone(table.schema()), table.n_rows(), table.column_facts(), hint)
        }
    };
    summary(format, &schema, n_rows, facts, hint)
}

fn summary_of_folder(files: Vec<FileOf>, deadline: Deadline) -> Result<TableSummary> {
    let table = FolderTable::open(files, None, deadline)?;
    let layout = Some(table.layout()).filter(|layout| layout.n_parts() <= FOLDER_PARTS_MAX);
    let hint = Hint {
        folder: layout.cloned(),
        ..Hint::default()
    };
    summary(
        TableFormat::Parquet,
        table.schema(),
        table.n_rows(),
        table.column_facts(),
        hint,
    )
}

fn summary(
    format: TableFormat,
    schema: &SchemaRef,
    n_rows: Option<u64>,
    facts: Vec<ColumnFacts>,
    hint: Hint,
) -> Result<TableSummary> {
    if schema.fields().is_empty() {
        return Err(ArrayError::malformed(format.as_str(), "it has no columns"));
    }
    let columns = schema.fields().iter().zip(facts).map(|(field, facts)| ColumnSummary {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nulls: facts.nulls,
        min: facts.min,
        max: facts.max,
    });
    Ok(TableSummary {
        format: format.as_str().to_owned(),
        n_rows,
        columns: columns.collect(),
        schema: ipc::schema_message(schema).header.to_vec(),
        hint,
    })
}

fn of_text(found: csv::Found, packing: TextPacking) -> (SchemaRef, Option<u64>, Vec<ColumnFacts>, Hint) {
    let hint = Hint {
        // Nobody can begin in the middle of what is packed.
        marks: if packing == TextPacking::Plain {
            found.marks
        } else {
            Vec::new()
        },
        ..Hint::default()
    };
    (found.schema, found.n_rows, found.facts, hint)
}
