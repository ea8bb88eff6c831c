//! `artifactctl ls`

use artifactd_client::{ListOptions, MembersOptions, ToMessage};
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
    find::visibilities,
    output::size,
};

/// List artifacts, newest first, or the files of a folder
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Folder artifact whose files to list, instead of artifacts
    #[arg(long, short, value_name = "ARTIFACT")]
    members: Option<String>,
    /// Only files whose path matches: `*` and `?` in a segment, `**` for many
    #[arg(long, requires = "members")]
    glob: Option<String>,
    /// Hidden artifacts too
    #[arg(long)]
    hidden: bool,
    /// Those in trash instead
    #[arg(long, conflicts_with = "members")]
    trash: bool,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,
}

pub(crate) async fn run(context: &mut Context, command: Ls) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let limit = command.limit.unwrap_or(usize::MAX);
    if let Some(folder) = &command.members {
        let options = MembersOptions {
            glob: command.glob.clone(),
            include_hidden: command.hidden,
            ..MembersOptions::default()
        };
        let mut members = client.list_members(folder, options);
        let mut listed = 0;
        while listed < limit
            && let Some(member) = members.try_next().await?
        {
            listed += 1;
            context.output.message("Member", &member.to_message())?;
            let size = size(member.size_bytes);
            context.output.line(&format!("{size:>10}  {}", member.path))?;
        }
        return Ok(Code::Done);
    }
    let options = ListOptions {
        page_size: limit.min(1_000) as u32,
        visibilities: visibilities(command.hidden, command.trash),
        ..ListOptions::default()
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
