//! `artifactctl find`

use artifactd_client::{
    ListOptions, ToMessage,
    domain::{Order, Visibility},
};
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
};

/// Find artifacts that match a filter: `suffix = .h5ad AND size > 1e6`
#[derive(Debug, clap::Args)]
pub(crate) struct Find {
    /// The filter, as explained in `queries.proto`; all artifacts when it is left out
    #[arg(default_value = "")]
    filter: String,
    /// created_at, updated_at, key, size or n_observations, with `desc` or `asc`; newest first unless set
    #[arg(long, short, value_name = "ORDER")]
    order: Option<Order>,
    /// Print how many there are instead
    #[arg(long, short, conflicts_with_all = ["order", "limit"])]
    count: bool,
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,
}

/// Which visibilities, where the filter does not say.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Hidden artifacts too
    #[arg(long)]
    hidden: bool,
    /// Those in trash instead
    #[arg(long)]
    trash: bool,
}

impl Which {
    /// The visibilities; none for those that the filter asks for.
    pub(crate) fn visibilities(&self) -> Vec<Visibility> {
        visibilities(self.hidden, self.trash)
    }
}

/// What two flags mean.
pub(crate) fn visibilities(hidden: bool, trash: bool) -> Vec<Visibility> {
    match (trash, hidden) {
        (true, _) => vec![Visibility::Trash],
        (false, true) => vec![Visibility::Default, Visibility::Hidden],
        (false, false) => Vec::new(),
    }
}

pub(crate) async fn run(context: &mut Context, command: Find) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let visibilities = command.which.visibilities();
    if command.count {
        let count = client.count(&command.filter, &visibilities).await?;
        context.output.message("CountArtifactsResponse", &count.to_message())?;
        let more = if count.more { " or more" } else { "" };
        context.output.line(&format!("{}{more}", count.count))?;
        return Ok(Code::Done);
    }
    let limit = command.limit.unwrap_or(usize::MAX);
    let options = ListOptions {
        page_size: limit.min(1_000) as u32,
        visibilities,
        filter: command.filter,
        order: command.order.unwrap_or_default(),
    };
    let mut artifacts = Box::pin(client.list(options));
    let mut listed = 0;
    while listed < limit
        && let Some(artifact) = artifacts.try_next().await?
    {
        listed += 1;
        context.output.artifact(&artifact)?;
    }
    Ok(Code::Done)
}
