//! `artifactctl head`

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, SchemaRef};
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
    export,
    selection::Selection,
};

/// Widest cell that is shown.
const CELL_CHARS_MAX: usize = 40;

/// Show the first rows of a table
///
/// Only these are read. With --json each is an object on a line of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Head {
    #[command(flatten)]
    selection: Selection,
    /// How many
    #[arg(long, short = 'n', default_value_t = 10, value_name = "ROWS")]
    limit: u64,
}

pub(crate) async fn run(context: &mut Context, command: Head) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let table = command.selection.open(&client).await?;
    let table = command.selection.apply(table).limit(command.limit).streams(1);
    let batches = table.batches().await?;
    let schema = SchemaRef::clone(batches.schema());
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    if context.output.is_json() {
        for line in export::json_lines(&batches).map_err(|error| export::unfit(&error))? {
            context.output.row(&line)?;
        }
        return Ok(Code::Done);
    }
    let lines = lines(&schema, &batches);
    for line in lines.map_err(|error| export::unfit(&error))? {
        context.output.line(&line)?;
    }
    Ok(Code::Done)
}

/// Rows below the names of their columns, each column as wide as it has to be.
fn lines(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<String>, ArrowError> {
    let names = schema.fields().iter().map(|field| shown(field.name()));
    let mut rows: Vec<Vec<String>> = vec![names.collect()];
    let options = FormatOptions::default().with_null("");
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).try_to_string());
            let cells: Result<Vec<String>, _> = cells.collect();
            rows.push(cells?.iter().map(|cell| shown(cell)).collect());
        }
    }
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..schema.fields().len())
        .map(|column| wide(column).unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    Ok(rows.iter().map(line).collect())
}

/// A cell on one line, without its end where it is long.
fn shown(text: &str) -> String {
    let text = crate::output::plain(text);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    let start: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    format!("{start}…")
}
