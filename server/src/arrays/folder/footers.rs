//! A look at the footers of all files: whether they are one table, and how rows lie.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use arrow_schema::{Field, Schema, SchemaRef};
use artifactd_domain::filter::Value;
use tokio::runtime::Handle;

use super::{FOOTERS_BYTES_MAX, FileOf};
use crate::arrays::{
    budget::Deadline,
    error::{ArrayError, Result},
    filter::compare,
    parquet::ParquetTable,
    table::{ColumnFacts, Table},
};

/// Footers that are read at once: stores that are far away answer many as fast as one.
const AT_ONCE: usize = 8;

/// What the footers say.
pub(super) struct Footers {
    /// The columns of all files, with the metadata of the first.
    pub(super) schema: SchemaRef,
    /// For each file its row groups: their rows, and their bytes in memory.
    pub(super) layouts: Vec<Vec<(u64, u64)>>,
    /// What is known of the columns over all files.
    pub(super) facts: Vec<ColumnFacts>,
    /// Files whose footers are kept.
    pub(super) opened: Vec<OnceLock<Arc<ParquetTable>>>,
}

/// What was seen so far.
struct Seen {
    rows: u64,
    facts: Vec<ColumnFacts>,
    nullable: Vec<bool>,
    footers_bytes: usize,
    /// The first file that failed.
    failed: Option<(usize, ArrayError)>,
}

/// Reads the footers of files, of which there is one at least.
pub(super) fn read(files: &[FileOf], deadline: Deadline) -> Result<Footers> {
    let open = |file: usize| {
        deadline.check()?;
        let FileOf { path, place } = &files[file];
        ParquetTable::open(place.clone()).map_err(|error| error.in_member(path))
    };
    let first = open(0)?;
    let schema = Arc::clone(first.schema());
    let opened: Vec<_> = files.iter().map(|_| OnceLock::new()).collect();
    let layouts: Vec<_> = files.iter().map(|_| OnceLock::new()).collect();
    let nullable = schema.fields().iter().map(|field| field.is_nullable());
    let seen = Mutex::new(Seen {
        rows: first.n_rows().unwrap_or_default(),
        facts: first.column_facts(),
        nullable: nullable.collect(),
        footers_bytes: 0,
        failed: None,
    });
    let note = |file: usize, table: ParquetTable, is_first: bool| -> Result<()> {
        if !is_first {
            check_same(&schema, table.schema(), files, file)?;
        }
        let parts = table.parts().into_iter();
        let parts = parts.map(|part| (part.rows.end - part.rows.start, part.bytes));
        let _ = layouts[file].set(parts.collect::<Vec<_>>());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_first {
            seen.add(&table);
        }
        let bytes = table.footer_bytes();
        if seen.footers_bytes + bytes <= FOOTERS_BYTES_MAX {
            seen.footers_bytes += bytes;
            let _ = opened[file].set(Arc::new(table));
        }
        Ok(())
    };
    note(0, first, true)?;
    // Files are taken in order, so that of several faults the first is told every time.
    let next = AtomicUsize::new(1);
    let runtime = Handle::try_current().ok();
    let work = || {
        let _inside = runtime.as_ref().map(Handle::enter);
        loop {
            let file = next.fetch_add(1, Ordering::Relaxed);
            if file >= files.len() {
                return;
            }
            if let Err(error) = open(file).and_then(|table| note(file, table, false)) {
                next.fetch_max(files.len(), Ordering::Relaxed);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.failed.as_ref().is_none_or(|(other, _)| file < *other) {
                    seen.failed = Some((file, error));
                }
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(files.len()) {
            scope.spawn(work);
        }
    });
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, error)) = seen.failed {
        return Err(error);
    }
    let fields = schema.fields().iter().zip(seen.nullable);
    let fields = fields.map(|(field, nullable)| Field::clone(field).with_nullable(nullable));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    let layouts = layouts.into_iter().map(OnceLock::into_inner);
    Ok(Footers {
        schema: Arc::new(schema),
        layouts: layouts.map(|layout| layout.expect("all files were seen")).collect(),
        facts: seen.facts,
        opened,
    })
}

/// Fails where a file has other columns than the first one.
fn check_same(first: &Schema, other: &Schema, files: &[FileOf], file: usize) -> Result<()> {
    let differs = |what: String| {
        Err(ArrayError::SchemasDiffer {
            member: files[file].path.clone(),
            first: files[0].path.clone(),
            what,
        })
    };
    for (place, field) in first.fields().iter().enumerate() {
        let Some(found) = other.fields().get(place) else {
            return differs(format!("there is no column `{}`", field.name()));
        };
        if found.name() != field.name() {
            let (number, found, name) = (place + 1, found.name(), field.name());
            return differs(format!("column {number} is `{found}` instead of `{name}`"));
        }
        if found.data_type() != field.data_type() {
            let (name, found, wanted) = (field.name(), found.data_type(), field.data_type());
            return differs(format!("column `{name}` is {found} instead of {wanted}"));
        }
    }
    match other.fields().get(first.fields().len()) {
        Some(more) => differs(format!("there is a column `{}` more", more.name())),
        None => Ok(()),
    }
}

impl Seen {
    fn add(&mut self, table: &ParquetTable) {
        let rows = table.n_rows().unwrap_or_default();
        let others = table.column_facts();
        for (place, facts) in self.facts.iter_mut().enumerate() {
            match others.get(place) {
                Some(other) => join((facts, self.rows), (other, rows)),
                None => *facts = ColumnFacts::default(),
            }
        }
        self.rows = self.rows.saturating_add(rows);
        for (nullable, field) in self.nullable.iter_mut().zip(table.schema().fields()) {
            *nullable |= field.is_nullable();
        }
    }
}

/// Adds what is known of a column in some rows to what is known of it in others.
fn join((facts, rows): (&mut ColumnFacts, u64), (other, other_rows): (&ColumnFacts, u64)) {
    let says_nothing = |facts: &ColumnFacts, rows| rows == 0 || facts.nulls == Some(rows);
    let nulls = facts
        .nulls
        .zip(other.nulls)
        .and_then(|(one, other)| one.checked_add(other));
    if says_nothing(facts, rows) {
        *facts = other.clone();
    } else if !says_nothing(other, other_rows) {
        further(
            (&mut facts.min, &mut facts.min_value),
            (&other.min, &other.min_value),
            false,
        );
        further(
            (&mut facts.max, &mut facts.max_value),
            (&other.max, &other.max_value),
            true,
        );
    }
    facts.nulls = nulls;
}

/// The smaller or larger one of two values, with its text; nothing where one is not known.
fn further(
    (text, value): (&mut Option<String>, &mut Option<Value>),
    (other_text, other): (&Option<String>, &Option<Value>),
    largest: bool,
) {
    let order = match (&*value, other) {
        (Some(value), Some(other)) => compare(other, value),
        _ => None,
    };
    match order {
        None => (*text, *value) = (None, None),
        Some(order) if (largest && order.is_gt()) || (!largest && order.is_lt()) => {
            text.clone_from(other_text);
            value.clone_from(other);
        }
        Some(_) => {}
    }
}
