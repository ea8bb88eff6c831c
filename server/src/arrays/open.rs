//! Opening a table: by its suffix, with what is known of it from an earlier look.

use std::{sync::Arc, time::Duration};

use artifactd_domain::TableFormat;

use super::{
    budget::Deadline,
    csv::{self, CsvTable, Dialect},
    error::{ArrayError, Result},
    folder::{FileOf, FolderTable},
    ipc::{self, IpcTable},
    json::{self, JsonTable},
    parquet::ParquetTable,
    source::Place,
    summary::TableSummary,
    table::Table,
};

/// Text whose columns are not known is looked at as far as this.
const LOOK_BYTES: u64 = 16 * 1024 * 1024;

/// How long that may take.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Opens the table in a file. Must be called where waiting is allowed.
pub(crate) fn open(place: Place, suffix: &str, known: Option<&TableSummary>) -> Result<Arc<dyn Table>> {
    let Some((format, packing)) = TableFormat::of_suffix(suffix) else {
        return Err(ArrayError::NoTable(suffix.to_owned()));
    };
    let look = || Deadline::after(LOOK_TIME);
    Ok(match format {
        TableFormat::Parquet => Arc::new(ParquetTable::open(place)?),
        TableFormat::ArrowIpc => {
            let rows = known.map(|known| known.hint.batch_rows.as_slice());
            Arc::new(IpcTable::open(place, rows)?)
        }
        TableFormat::Delimited { delimiter } => {
            let dialect = Dialect { delimiter, packing };
            let (schema, n_rows, marks) = match known {
                Some(known) => (
                    ipc::read_schema(&known.schema)?.into(),
                    known.n_rows,
                    known.hint.marks.clone(),
                ),
                None => {
                    let found = csv::look(place.clone(), dialect, LOOK_BYTES, look())?;
                    (found.schema, found.n_rows, found.marks)
                }
            };
            Arc::new(CsvTable::of_found(place, dialect, schema, n_rows, marks))
        }
        TableFormat::JsonLines => {
            let (schema, n_rows, marks) = match known {
                Some(known) => (
                    ipc::read_schema(&known.schema)?.into(),
                    known.n_rows,
                    known.hint.marks.clone(),
                ),
                None => {
                    let found = json::look(place.clone(), packing, LOOK_BYTES, look())?;
                    (found.schema, found.n_rows, found.marks)
                }
            };
            Arc::new(JsonTable::of_found(place, packing, schema, n_rows, marks))
        }
    })
}

/// Opens the table in a folder of parquet files. Must be called where waiting is allowed.
pub(crate) fn open_folder(files: Vec<FileOf>, known: Option<&TableSummary>) -> Result<Arc<dyn Table>> {
    Ok(Arc::new(FolderTable::open(files, known, Deadline::NEVER)?))
}
