//! `artifactctl schema`

use artifactd_client::Column;
use artifactd_proto::flight::v1 as pb;

use crate::{
    Context,
    exit::{Code, Failure},
    selection::Selection,
};

/// Show the columns of a table: name, type, and what is known of each without reading it
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    #[command(flatten)]
    selection: Selection,
}

pub(crate) async fn run(context: &mut Context, command: Schema) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let table = command.selection.open(&client).await?;
    let columns = table.column_facts().iter();
    let columns: Vec<&Column> = columns.filter(|column| command.selection.wants(&column.name)).collect();
    let wide = |text: fn(&Column) -> &str| columns.iter().map(|column| text(column).chars().count()).max();
    let (names, types) = (wide(|column| &column.name), wide(|column| &column.r#type));
    let (names, types) = (names.unwrap_or(0).min(40), types.unwrap_or(0).min(40));
    for column in columns {
        context.output.message_of_table("ColumnInfo", &message(column))?;
        let line = format!("{:<names$}  {:<types$}  {}", column.name, column.r#type, facts(column));
        context.output.line(line.trim_end())?;
    }
    Ok(Code::Done)
}

fn facts(column: &Column) -> String {
    let nulls = column.nulls.map(|nulls| format!("{nulls} null"));
    let values = match (&column.min, &column.max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        _ => None,
    };
    let facts: Vec<String> = [nulls, values].into_iter().flatten().collect();
    facts.join(", ")
}

fn message(column: &Column) -> pb::ColumnInfo {
    let Column {
        name,
        r#type,
        nulls,
        min,
        max,
    } = column.clone();
    pb::ColumnInfo {
        name,
        r#type,
        null_count: nulls.and_then(|nulls| i64::try_from(nulls).ok()),
        min,
        max,
    }
}
