//! `artifactctl replace`

use std::path::PathBuf;

use artifactd_client::{ReplaceOptions, ToMessage};
use artifactd_proto::v1 as pb;

use crate::{
    Context,
    confirm::confirm,
    exit::{Code, Failure},
    output::named,
    progress::Shown,
};

/// Replace the content of one version, which keeps its uid; the old content is gone then
///
/// To keep the old content, save the next version instead: `artifactctl put FILE KEY`.
#[derive(Debug, clap::Args)]
pub(crate) struct Replace {
    /// The artifact
    artifact: String,
    /// The file with the new content
    file: PathBuf,
    /// Only when the record has this etag
    #[arg(long)]
    etag: Option<String>,
    /// Media type; guessed from the suffix unless set
    #[arg(long)]
    media_type: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(context: &mut Context, command: Replace) -> Result<Code, Failure> {
    let question = format!("Replace the content of {} for good?", command.artifact);
    confirm(&question, command.yes)?;
    let client = context.settings.connect().await?;
    let options = ReplaceOptions {
        etag: command.etag,
        media_type: command.media_type,
        ..ReplaceOptions::default()
    };
    let shown = Shown::new(context, &client, &command.artifact);
    let replaced = shown
        .client
        .replace_file(&command.artifact, &command.file, options)
        .await;
    shown.finish().await;
    let (artifact, changed) = replaced?;
    let message = pb::ReplaceArtifactResponse {
        artifact: Some(artifact.to_message()),
        changed,
    };
    context.output.message("ReplaceArtifactResponse", &message)?;
    let what = if changed { "replaced" } else { "unchanged" };
    context
        .output
        .line(&format!("{what} {}  {}", artifact.uid, named(&artifact)))?;
    Ok(Code::Done)
}
