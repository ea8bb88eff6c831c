//! `artifactctl watch`

use artifactd_client::messages as pb;
use futures::TryStreamExt;

use super::said;
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Show what happens, as it happens
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Uids or stems: only what happens to these artifacts
    artifacts: Vec<String>,
    /// Begin with the first event that there is
    #[arg(long)]
    from_beginning: bool,
    /// Go on after the event with this resume token, which --json shows
    #[arg(
        long,
        value_name = "TOKEN",
        conflicts_with = "from_beginning",
        allow_hyphen_values = true
    )]
    resume: Option<String>,
    /// Only events of this kind, such as `saved`
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// End after so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,
}

pub(crate) async fn run(context: &mut Context, command: Watch) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let request = pb::WatchRequest {
        resume_token: command.resume.unwrap_or_default(),
        from_beginning: command.from_beginning,
        kinds: command.kinds,
        artifacts: command.artifacts,
    };
    let limit = command.limit.unwrap_or(usize::MAX);
    let mut events = Box::pin(client.watch(request));
    let mut shown = 0;
    while shown < limit
        && let Some(event) = events.try_next().await?
    {
        shown += 1;
        context.output.message("Event", &event)?;
        let about = [&event.artifact_uid, &event.subject].into_iter().flatten().next();
        let line = format!(
            "{:>8}  {}  {}  {}  {}",
            event.position,
            said::time(event.time.as_ref()),
            event.kind,
            about.map_or("-", String::as_str),
            event.created_by
        );
        context.output.line(&line)?;
        // Whoever reads it does not wait for more to come.
        context.output.flush()?;
    }
    Ok(Code::Done)
}
