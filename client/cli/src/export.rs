//! `artifactctl export`

use std::{
    fs::{File, Permissions},
    io::{self, BufWriter, Write},
    os::fd::AsFd,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_json::{WriterBuilder, writer::LineDelimited};
use arrow_schema::{ArrowError, SchemaRef};
use artifactd_client::{Artifact, ToMessage};
use futures::TryStreamExt;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use tempfile::NamedTempFile;

use crate::{
    Context,
    exit::{Code, Failure},
    output::named,
    selection::Selection,
};

/// Rows of a group of a parquet file.
const GROUP_ROWS: usize = 1024 * 1024;

/// Write a table, or a part of it, as a file of another format
///
/// Only what is selected travels. The file appears when it is whole.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    selection: Selection,
    /// Where to; `-` is standard output. The name of the artifact with the suffix of the
    /// format, here, unless set
    target: Option<PathBuf>,
    /// Format; by the suffix of the target unless set
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Most rows, the first ones
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
}

/// What a table is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text with commas, the names of the columns first
    Csv,
    /// Parquet, packed by zstd
    Parquet,
    /// An Arrow IPC file
    Arrow,
    /// A JSON object a line
    Json,
}

impl Format {
    fn suffix(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Json => "jsonl",
        }
    }

    fn of_path(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Self::Csv,
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            "json" | "jsonl" | "ndjson" => Self::Json,
            _ => return None,
        })
    }
}

pub(crate) async fn run(context: &mut Context, command: Export) -> Result<Code, Failure> {
    let by_name = || command.target.as_deref().and_then(Format::of_path);
    let format = command.format.or_else(by_name).ok_or_else(|| {
        Failure::usage("say what to write with --format, or by the suffix of the target: csv, parquet, arrow or json")
    })?;
    let client = context.settings.connect().await?;
    let table = command.selection.open(&client).await?;
    let artifact = table.artifact().clone();
    let table = command.selection.apply(table);
    let table = match command.limit {
        Some(rows) => table.limit(rows),
        None => table,
    };
    let target = match &command.target {
        Some(target) => target.clone(),
        None => name(&artifact, command.selection.name(), format)?,
    };
    let mut batches = table.batches().await?;
    let mut out = Out::begin(&target, command.overwrite)?;
    let mut writer = Writer::new(format, batches.schema(), out.file()?)?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
        tokio::task::block_in_place(|| writer.write(&batch))?;
    }
    tokio::task::block_in_place(|| writer.finish())?;
    let Some(path) = out.finish(command.overwrite)? else {
        return Ok(Code::Done);
    };
    context.output.message("Artifact", &artifact.to_message())?;
    let line = format!("exported {}  {rows} rows  {}", path.display(), named(&artifact));
    context.output.line(&line)?;
    Ok(Code::Done)
}

/// The name of the artifact, with the suffix of what is written.
fn name(artifact: &Artifact, named: &str, format: Format) -> Result<PathBuf, Failure> {
    let local = artifact.local_name()?;
    let own = named.rsplit('/').next().unwrap_or(named);
    let name = if artifact.n_objects.is_some() { own } else { &local };
    let stem = name
        .split('.')
        .next()
        .filter(|stem| !stem.is_empty())
        .unwrap_or("table");
    Ok(PathBuf::from(format!("{stem}.{}", format.suffix())))
}

/// The objects of some rows, as JSON.
pub(crate) fn json_lines(batches: &[RecordBatch]) -> Result<Vec<String>, ArrowError> {
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    let text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    Ok(text.lines().map(str::to_owned).collect())
}

/// A table that cannot be written in a format, or a file that cannot be written.
pub(crate) fn unfit(error: &ArrowError) -> Failure {
    match error {
        ArrowError::IoError(_, error) => Failure::output(error),
        other => Failure::new(Code::Failed, format!("the table does not fit the format: {other}")),
    }
}

/// Where a table is written: a file that appears when it is whole, or standard output.
enum Out {
    File { path: PathBuf, staged: NamedTempFile },
    Stdout,
}

impl Out {
    fn begin(target: &Path, overwrite: bool) -> Result<Self, Failure> {
        if target == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let path = target.to_owned();
        if path.exists() && !overwrite {
            return Err(in_the_way(&path));
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let staged = tempfile::Builder::new()
            .prefix(".artifactctl-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder);
        let staged = staged.map_err(|error| Failure::file(&path, &error))?;
        Ok(Self::File { path, staged })
    }

    fn file(&self) -> Result<File, Failure> {
        match self {
            Self::File { path, staged } => staged
                .as_file()
                .try_clone()
                .map_err(|error| Failure::file(path, &error)),
            Self::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                stdout.map(File::from).map_err(|error| Failure::output(&error))
            }
        }
    }

    /// Gives the file its name. Answers it.
    fn finish(&mut self, overwrite: bool) -> Result<Option<PathBuf>, Failure> {
        let Self::File { path, staged } = std::mem::replace(self, Self::Stdout) else {
            return Ok(None);
        };
        let named = match overwrite {
            true => staged.persist(&path),
            false => staged.persist_noclobber(&path),
        };
        match named {
            Ok(_) => Ok(Some(path)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(in_the_way(&path)),
            Err(error) => Err(Failure::file(&path, &error.error)),
        }
    }
}

fn in_the_way(path: &Path) -> Failure {
    let text = format!("{} is there; --overwrite replaces it", path.display());
    Failure::new(Code::Conflict, text)
}

/// Makes a file of batches.
enum Writer {
    Csv(Box<arrow_csv::Writer<BufWriter<File>>>),
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Json(Box<arrow_json::Writer<BufWriter<File>, LineDelimited>>),
}

impl Writer {
    fn new(format: Format, schema: &SchemaRef, file: File) -> Result<Self, Failure> {
        let file = BufWriter::with_capacity(1024 * 1024, file);
        let schema = SchemaRef::clone(schema);
        Ok(match format {
            Format::Csv => {
                let mut writer = arrow_csv::Writer::new(file);
                // Also of a table without rows.
                let none = RecordBatch::new_empty(schema);
                writer.write(&none).map_err(|error| unfit(&error))?;
                Self::Csv(Box::new(writer))
            }
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(file, schema, Some(properties));
                Self::Parquet(Box::new(writer.map_err(|error| unfit(&error.into()))?))
            }
            Format::Arrow => {
                let writer = FileWriter::try_new(file, &schema);
                Self::Arrow(Box::new(writer.map_err(|error| unfit(&error))?))
            }
            Format::Json => {
                let builder = WriterBuilder::new().with_explicit_nulls(true);
                Self::Json(Box::new(builder.build(file)))
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let written = match self {
            Self::Csv(writer) => writer.write(batch),
            Self::Parquet(writer) => writer.write(batch).map_err(ArrowError::from),
            Self::Arrow(writer) => writer.write(batch),
            Self::Json(writer) => writer.write(batch),
        };
        written.map_err(|error| unfit(&error))
    }

    fn finish(self) -> Result<(), Failure> {
        let flushed = |mut file: BufWriter<File>| file.flush().map_err(|error| Failure::output(&error));
        match self {
            Self::Csv(writer) => flushed(writer.into_inner()),
            Self::Parquet(writer) => {
                let file = writer.into_inner().map_err(|error| unfit(&error.into()))?;
                flushed(file)
            }
            Self::Arrow(writer) => flushed(writer.into_inner().map_err(|error| unfit(&error))?),
            Self::Json(mut writer) => {
                writer.finish().map_err(|error| unfit(&error))?;
                flushed(writer.into_inner())
            }
        }
    }
}
