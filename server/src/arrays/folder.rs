//! A folder of parquet files as one table.
//!
//! The files follow each other by their paths and have the same columns. What their paths
//! say (`year=2024/`) is columns behind those, as pyarrow reads such a folder. A look at
//! the footers says how many rows each has; where that is known, only files are opened
//! that a selection needs.

mod footers;
mod partitions;
mod scan;

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use arrow_schema::{Schema, SchemaRef};
use artifactd_domain::{Suffix, TableFormat, holds_rows};
use serde::{Deserialize, Serialize};

use self::{
    footers::Footers,
    partitions::{Asked, Partitions},
};
use super::{
    budget::Deadline,
    error::{ArrayError, Result},
    ipc,
    parquet::ParquetTable,
    source::Place,
    summary::TableSummary,
    table::{Batches, ColumnFacts, Part, Scan, Table},
};

pub(super) const FORMAT: &str = "parquet";

/// Files of one table.
pub(crate) const FILES_MAX: usize = 100_000;

/// Memory of the footers that are kept from a look to a scan.
const FOOTERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file of a folder.
#[derive(Debug, Clone)]
pub(crate) struct FileOf {
    /// Its path in the folder.
    pub(crate) path: String,
    /// Where its bytes are.
    pub(crate) place: Place,
}

/// Whether a member of a folder has rows of its table; an error where it is none of a table.
pub(crate) fn is_file_of_table(path: &str) -> Result<bool> {
    if !holds_rows(path) {
        return Ok(false);
    }
    let suffix = Suffix::of_name(path.rsplit('/').next().unwrap_or_default());
    match TableFormat::of_suffix(suffix.as_str()) {
        Some((TableFormat::Parquet, _)) => Ok(true),
        _ => Err(ArrayError::NoTableFolder(path.to_owned())),
    }
}

/// How rows lie in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FolderLayout {
    /// Columns of the files; those behind them are what paths say.
    pub(crate) file_columns: usize,
    /// For each file its row groups: their rows, and their bytes in memory.
    pub(crate) files: Vec<Vec<(u64, u64)>>,
}

impl FolderLayout {
    /// Row groups of all files.
    pub(crate) fn n_parts(&self) -> usize {
        self.files.iter().map(Vec::len).sum()
    }
}

/// The table in a folder.
#[derive(Debug)]
pub(crate) struct FolderTable {
    schema: SchemaRef,
    files: Vec<FileOf>,
    layout: FolderLayout,
    /// The first row of each file, and the end of the last.
    starts: Vec<u64>,
    partitions: Partitions,
    facts: Vec<ColumnFacts>,
    /// Files that were opened for the look.
    opened: Vec<OnceLock<Arc<ParquetTable>>>,
}

impl FolderTable {
    /// Opens the table of some files, which are in the order of their paths. Must be called
    /// where waiting is allowed.
    pub(crate) fn open(files: Vec<FileOf>, known: Option<&TableSummary>, deadline: Deadline) -> Result<Self> {
        if files.is_empty() {
            return Err(ArrayError::NoTable(String::new()));
        }
        let mut partitions = Partitions::of_paths(files.iter().map(|file| file.path.as_str()))?;
        let layout = known.and_then(|known| known.hint.folder.as_ref());
        if let (Some(known), Some(layout)) = (known, layout)
            && layout.files.len() == files.len()
        {
            let schema: SchemaRef = ipc::read_schema(&known.schema)?.into();
            partitions.leave_out(&schema.fields()[..layout.file_columns.min(schema.fields().len())]);
            let opened = files.iter().map(|_| OnceLock::new()).collect();
            return Self::new(files, schema, layout.clone(), partitions, Vec::new(), opened);
        }
        let Footers {
            schema,
            layouts,
            mut facts,
            opened,
        } = footers::read(&files, deadline)?;
        partitions.leave_out(schema.fields());
        let layout = FolderLayout {
            file_columns: schema.fields().len(),
            files: layouts,
        };
        let rows = layout
            .files
            .iter()
            .map(|parts| parts.iter().map(|(rows, _)| rows).sum());
        facts.extend(partitions.facts(&rows.collect::<Vec<u64>>()));
        let fields = schema.fields().iter().chain(partitions.fields()).cloned();
        let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
        Self::new(files, schema.into(), layout, partitions, facts, opened)
    }

    fn new(
        files: Vec<FileOf>,
        schema: SchemaRef,
        layout: FolderLayout,
        partitions: Partitions,
        facts: Vec<ColumnFacts>,
        opened: Vec<OnceLock<Arc<ParquetTable>>>,
    ) -> Result<Self> {
        let is_whole = schema.fields().len() == layout.file_columns + partitions.fields().len();
        let mut starts = vec![0u64];
        for parts in &layout.files {
            let end = parts
                .iter()
                .try_fold(starts[starts.len() - 1], |end, (rows, _)| end.checked_add(*rows));
            let end = end.filter(|end| is_whole && *end <= i64::MAX as u64);
            starts.push(end.ok_or_else(|| ArrayError::malformed(FORMAT, "too many rows in all files"))?);
        }
        Ok(Self {
            schema,
            files,
            layout,
            starts,
            partitions,
            facts,
            opened,
        })
    }

    /// How its rows lie.
    pub(crate) fn layout(&self) -> &FolderLayout {
        &self.layout
    }

    /// The rows of a file.
    fn rows_of(&self, file: usize) -> Range<u64> {
        self.starts[file]..self.starts[file + 1]
    }

    /// Bytes of a file in memory.
    fn unpacked_bytes(&self, file: usize) -> u64 {
        self.layout.files[file].iter().map(|(_, bytes)| bytes).sum()
    }

    /// What a scan asks of the rows of a file.
    fn asks(&self, scan: &Scan, file: usize) -> Result<Asked> {
        match &scan.filter {
            Some(predicate) => self.partitions.ask(predicate, file, self.layout.file_columns),
            None => Ok(Asked::Settled(true)),
        }
    }

    /// A file, opened for a scan.
    fn opened(&self, file: usize, scan: &Scan) -> Result<Arc<ParquetTable>> {
        if let Some(opened) = self.opened[file].get() {
            return Ok(Arc::clone(opened));
        }
        let FileOf { path, place } = &self.files[file];
        let opened = ParquetTable::open(place.until(&scan.cancel)).map_err(|error| error.in_member(path))?;
        let rows = self.rows_of(file);
        let is_known = opened.schema().fields().len() == self.layout.file_columns
            && opened.n_rows() == Some(rows.end - rows.start);
        match is_known {
            true => Ok(Arc::new(opened)),
            false => Err(ArrayError::malformed(FORMAT, "it is another one than was looked at").in_member(path)),
        }
    }
}

impl Table for FolderTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn n_rows(&self) -> Option<u64> {
        self.starts.last().copied()
    }

    fn parts(&self) -> Vec<Part> {
        let mut start = 0;
        let parts = self.layout.files.iter().flatten().map(|(rows, bytes)| {
            let rows = start..start + rows;
            start = rows.end;
            Part { rows, bytes: *bytes }
        });
        parts.collect()
    }

    fn column_facts(&self) -> Vec<ColumnFacts> {
        match self.facts.is_empty() {
            true => vec![ColumnFacts::default(); self.schema.fields().len()],
            false => self.facts.clone(),
        }
    }

    fn scan(self: Arc<Self>, scan: Scan) -> Result<Batches> {
        scan::scan(self, scan)
    }
}
