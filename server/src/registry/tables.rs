//! Tables: from a reference to batches, and from batches to an artifact.
//!
//! A table is opened for one read. What is read, and how it is cut, is decided before the
//! first batch; a read goes on at any row, without what lies before it.

mod bodies;
mod list;
mod opening;
mod read;
mod room;
mod write;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use artifactd_domain::{
    ArtifactRef, Sha256,
    filter::{Filter, Predicate},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::opening::TableReader;
use super::{Artifact, Caller, Registry, RegistryError, Result};
use crate::{
    arrays::{self, ArrayError, Column, ColumnSummary, Part, Rows, Table, TableSummary},
    db::{artifacts::ArtifactRow, tables},
    storage::ReadCounter,
};

pub use list::ListedTable;
pub use read::{TableBatch, TableStream};
pub(super) use room::BatchRoom;
pub use write::{NewTable, Target, WriteProgress, Written};

/// Which table is asked for.
#[derive(Debug, Clone)]
pub struct TableOf {
    /// The artifact.
    pub reference: ArtifactRef,
    /// The path of the table in it.
    pub element: Vec<String>,
    /// Entity tag that its content must have.
    pub if_match: Option<String>,
    /// Digest that its content must have.
    pub sha256: Option<Sha256>,
    /// Whether a look-up by key or stem may find a hidden artifact.
    pub include_hidden: bool,
}

/// What is wanted of a table.
#[derive(Debug, Clone)]
pub struct TableSelection {
    /// Names of columns; all when empty.
    pub columns: Vec<String>,
    /// Rows by number; all when unset.
    pub rows: Option<Rows>,
    /// What rows must hold.
    pub filter: Filter,
    /// Most rows.
    pub limit: Option<u64>,
    /// Whether columns that refer to a dictionary come with its values.
    pub expand_dictionaries: bool,
}

/// A selection that fits its table.
#[derive(Debug, Clone)]
pub struct TablePlan {
    /// The columns, by their places.
    columns: Arc<[usize]>,
    rows: Option<Rows>,
    filter: Option<Arc<Predicate<Column>>>,
    limit: Option<u64>,
    /// The schema of what is read.
    schema: SchemaRef,
}

impl TablePlan {
    /// The schema of what is read.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows that were asked for by number.
    pub fn rows(&self) -> Option<&Rows> {
        self.rows.as_ref()
    }

    /// The same without the rows before one, of which so many had been read.
    #[must_use]
    pub fn from_row(&self, row: u64, rows_before: u64) -> Self {
        let rest = row..u64::MAX;
        let rows = match &self.rows {
            Some(rows) => rows.within(&rest),
            None => Rows::of_ranges([rest]),
        };
        Self {
            rows: Some(rows),
            limit: self.limit.map(|limit| limit.saturating_sub(rows_before)),
            ..self.clone()
        }
    }
}

/// A table that is ready to be read.
pub struct OpenTable {
    /// Whose it is.
    pub artifact: Artifact,
    /// The path of the table in it.
    pub element: Vec<String>,
    registry: Arc<Registry>,
    reader: TableReader,
    table: Arc<dyn Table>,
    known: Option<Arc<TableSummary>>,
    cancel: CancellationToken,
    /// Ends what goes on for this table when it is dropped.
    _ends: DropGuard,
}

impl std::fmt::Debug for OpenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenTable({})", self.artifact.uid)
    }
}

impl OpenTable {
    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        self.table.schema()
    }

    /// How many rows it has, where that is known.
    pub fn n_rows(&self) -> Option<u64> {
        self.table.n_rows()
    }

    /// Where it is best cut.
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.table.parts()
    }

    /// What is known of the columns that a plan reads.
    pub fn columns(&self, plan: &TablePlan) -> Vec<ColumnSummary> {
        let known = self.known.as_ref().map_or(&[][..], |known| &known.columns);
        let column = |place: &usize| {
            let field = self.table.schema().field(*place);
            let same = known.get(*place).filter(|column| column.name == *field.name()).cloned();
            same.unwrap_or_else(|| ColumnSummary {
                name: field.name().clone(),
                r#type: field.data_type().to_string(),
                nulls: None,
                min: None,
                max: None,
            })
        };
        plan.columns.iter().map(column).collect()
    }

    /// What reading has cost so far.
    pub fn cost(&self) -> &ReadCounter {
        self.reader.counter()
    }

    /// Holds a selection against the table.
    pub fn plan(&self, selection: &TableSelection) -> Result<TablePlan> {
        let schema = self.table.schema();
        let columns = arrays::places_of(&selection.columns, schema).map_err(RegistryError::Array)?;
        if let (Some(rows), Some(n_rows)) = (&selection.rows, self.n_rows()) {
            let last = rows.ranges().last();
            let outside = last.filter(|rows| rows.start > n_rows || (rows.end > n_rows && rows.end != u64::MAX));
            if let Some(outside) = outside {
                let row = if outside.start > n_rows {
                    outside.start
                } else {
                    outside.end - 1
                };
                return Err(RegistryError::Array(ArrayError::RowsInvalid { row, rows: n_rows }));
            }
        }
        let predicate = arrays::check_filter(&selection.filter, schema)
            .map_err(|fault| RegistryError::other("filter", fault.to_string()))?;
        Ok(TablePlan {
            schema: arrays::projected(schema, &columns, selection.expand_dictionaries),
            columns: columns.into(),
            rows: match (&selection.rows, self.n_rows()) {
                (Some(rows), Some(n_rows)) => Some(rows.within(&(0..n_rows))),
                (rows, _) => rows.clone(),
            },
            filter: (!predicate.is_always()).then(|| Arc::new(predicate)),
            limit: selection.limit,
        })
    }
}

impl Registry {
    /// Opens a table.
    pub async fn open_table(self: &Arc<Self>, caller: &Caller, of: &TableOf) -> Result<OpenTable> {
        let row = self
            .find(self.db.reader(), caller, &of.reference, of.include_hidden)
            .await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        let artifact = self.to_artifact(row.clone())?;
        let is_other = of
            .if_match
            .as_ref()
            .is_some_and(|wanted| *wanted != artifact.content_etag())
            || of.sha256.is_some_and(|wanted| wanted != artifact.sha256);
        if is_other {
            return Err(RegistryError::ContentChanged(artifact.uid));
        }
        let (reader, known) = self.reader_of_table(caller, &row, &of.element).await?;
        let cancel = CancellationToken::new();
        let ends = cancel.clone().drop_guard();
        let table = reader.open(known.clone(), &cancel).await?;
        Ok(OpenTable {
            artifact,
            element: of.element.clone(),
            registry: Arc::clone(self),
            reader,
            table,
            known,
            cancel,
            _ends: ends,
        })
    }

    /// The schema of what a selection of a table would read. Where its content was looked
    /// at when it was saved, it is not looked at again.
    pub async fn table_schema(
        self: &Arc<Self>,
        caller: &Caller,
        of: &TableOf,
        selection: &TableSelection,
    ) -> Result<SchemaRef> {
        let row = self
            .find(self.db.reader(), caller, &of.reference, of.include_hidden)
            .await?;
        let known = match (of.element.is_empty(), row.in_trash()) {
            (true, false) => self.known_table(&row).await?,
            _ => None,
        };
        let is_other = |artifact: &Artifact| {
            of.if_match
                .as_ref()
                .is_some_and(|wanted| *wanted != artifact.content_etag())
        };
        match known {
            Some(known) if !is_other(&self.to_artifact(row)?) => {
                let schema = arrays::read_schema(&known.schema)?;
                let columns = arrays::places_of(&selection.columns, &schema)?;
                arrays::check_filter(&selection.filter, &schema)
                    .map_err(|fault| RegistryError::other("filter", fault.to_string()))?;
                Ok(arrays::projected(&schema, &columns, selection.expand_dictionaries))
            }
            _ => Ok(Arc::clone(self.open_table(caller, of).await?.plan(selection)?.schema())),
        }
    }

    /// What a look found when the content was saved.
    async fn known_table(&self, row: &ArtifactRow) -> Result<Option<Arc<TableSummary>>> {
        if row.accessor.is_none() {
            return Ok(None);
        }
        let stored = tables::of_artifact(self.db.reader(), row.id).await?;
        // What a newer server stored is looked at anew.
        Ok(stored
            .and_then(|stored| super::looking::from_row(&stored, row.n_observations))
            .map(Arc::new))
    }
}
