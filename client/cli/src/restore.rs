//! `artifactctl restore`

use artifactd_client::{RestoreOptions, ToMessage};

use crate::{
    Context,
    exit::{Code, Failure},
    output::named,
};

/// Take artifacts out of trash
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// By uid one version, by stem all that one deletion trashed
    artifact: String,
    /// Another key, where the old one was taken meanwhile
    #[arg(long)]
    key: Option<String>,
}

pub(crate) async fn run(context: &mut Context, command: Restore) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let options = RestoreOptions {
        key: command.key,
        etag: None,
    };
    for restored in client.restore(&command.artifact, options).await? {
        context.output.message("Artifact", &restored.to_message())?;
        context
            .output
            .line(&format!("restored {}  {}", restored.uid, named(&restored)))?;
    }
    Ok(Code::Done)
}
