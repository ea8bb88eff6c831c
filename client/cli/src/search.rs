//! `artifactctl search`

use artifactd_client::{SearchOptions, ToMessage};
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
    find::Which,
    output::listed,
};

/// Search artifacts by words in their keys, file names and descriptions, best matches first
#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// The words; upper and lower case are the same
    #[arg(required = true)]
    words: Vec<String>,
    /// Only among those that match: `suffix = .h5ad`
    #[arg(long, short, default_value = "")]
    filter: String,
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,
}

pub(crate) async fn run(context: &mut Context, command: Search) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let limit = command.limit.unwrap_or(usize::MAX);
    let options = SearchOptions {
        page_size: limit.min(1_000) as u32,
        filter: command.filter,
        visibilities: command.which.visibilities(),
    };
    let mut hits = Box::pin(client.search(&command.words.join(" "), options));
    let mut shown = 0;
    while shown < limit
        && let Some(hit) = hits.try_next().await?
    {
        shown += 1;
        context.output.message("SearchHit", &hit.to_message())?;
        context.output.line(&listed(&hit.artifact))?;
    }
    Ok(Code::Done)
}
