//! `artifactctl versions`

use crate::{
    Context,
    exit::{Code, Failure},
};

/// List the versions of an artifact, newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Versions {
    /// Any artifact of the family
    artifact: String,
}

pub(crate) async fn run(context: &mut Context, command: Versions) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    for version in client.versions(&command.artifact).await? {
        context.output.artifact(&version)?;
    }
    Ok(Code::Done)
}
