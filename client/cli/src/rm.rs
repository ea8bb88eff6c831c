//! `artifactctl rm`

use artifactd_client::{DeleteOptions, DeleteStorage, Error, Reason, ToMessage};

use crate::{
    Context,
    confirm::confirm,
    exit::{Code, Failure},
    output::named,
};

/// Move artifacts to trash, or destroy them
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// By uid one version, by key or stem all of them
    #[arg(required = true)]
    artifacts: Vec<String>,
    /// Destroy instead of moving to trash; only what is in trash, unless with --force
    #[arg(long)]
    permanent: bool,
    /// Destroy also what is not in trash
    #[arg(long, requires = "permanent")]
    force: bool,
    /// Destroy also what runs and collections use
    #[arg(long, requires = "permanent")]
    used: bool,
    /// Keep the bytes, to be claimed again by digest
    #[arg(long, requires = "permanent")]
    keep_storage: bool,
    /// Remove files in place too, as they were registered
    #[arg(long, requires = "permanent", conflicts_with = "keep_storage")]
    delete_files: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(context: &mut Context, command: Rm) -> Result<Code, Failure> {
    if command.permanent {
        let what = command.artifacts.join(", ");
        let files = if command.delete_files {
            ", and its files in place"
        } else {
            ""
        };
        confirm(&format!("Destroy {what}{files} for good?"), command.yes)?;
    }
    let client = context.settings.connect().await?;
    for artifact in &command.artifacts {
        let options = DeleteOptions {
            permanent: command.permanent,
            force: command.force,
            allow_used: command.used,
            storage: match (command.keep_storage, command.delete_files) {
                (true, _) => DeleteStorage::Keep,
                (_, true) => DeleteStorage::Delete,
                (false, false) => DeleteStorage::Managed,
            },
            etag: None,
        };
        let trashed = client
            .delete_with(artifact, options)
            .await
            .map_err(|error| explain(artifact, error))?;
        for trashed in &trashed {
            context.output.message("Artifact", &trashed.to_message())?;
            context
                .output
                .line(&format!("trashed {}  {}", trashed.uid, named(trashed)))?;
        }
        if command.permanent {
            context.output.line(&format!("destroyed {artifact}"))?;
        }
    }
    Ok(Code::Done)
}

fn explain(artifact: &str, error: Error) -> Failure {
    let hint = match error.reason() {
        Some(Reason::ArtifactNotInTrash) => ": move it to trash first, or pass --force",
        Some(Reason::InUse) => ": pass --used to destroy it all the same",
        _ => "",
    };
    Failure::from(error).at(&format!("{artifact}{hint}"))
}
