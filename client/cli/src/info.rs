//! `artifactctl info`

use artifactd_client::{Artifact, GetOptions, ToMessage};

use crate::{
    Context,
    exit::{Code, Failure},
    output::{named, size, time},
};

/// Show all that is known of an artifact
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// The artifact
    artifact: String,
    /// Find a hidden one by its key or stem too
    #[arg(long)]
    hidden: bool,
}

pub(crate) async fn run(context: &mut Context, command: Info) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let options = GetOptions {
        include_hidden: command.hidden,
    };
    let artifact = client.get_with(&command.artifact, options).await?;
    let output = &mut context.output;
    output.message("Artifact", &artifact.to_message())?;
    for (name, value) in facts(&artifact) {
        output.line(&format!("{name:<13} {value}"))?;
    }
    Ok(Code::Done)
}

/// What people want to know, in order; what is not set is left out.
fn facts(artifact: &Artifact) -> Vec<(&'static str, String)> {
    let optional = |name, value: &Option<String>| value.clone().map(|value| (name, value));
    let files = artifact.n_objects.map(|files| ("files", files.to_string()));
    let facts = [
        Some(("name", named(artifact))),
        Some(("uid", artifact.uid.to_string())),
        optional("key", &artifact.key),
        Some((
            "version",
            format!("{} (number {})", artifact.version, artifact.version_number.get()),
        )),
        Some(("latest", artifact.is_latest.to_string())),
        optional("description", &artifact.description),
        Some(("kind", format!("{:?}", artifact.kind).to_lowercase())),
        Some(("media type", artifact.media_type.clone())).filter(|(_, value)| !value.is_empty()),
        optional("file name", &artifact.file_name),
        Some((
            "size",
            format!("{} ({} bytes)", size(artifact.size_bytes), artifact.size_bytes),
        )),
        files,
        Some(("sha256", artifact.sha256.to_string())),
        Some(("space", artifact.space.clone())),
        Some(("storage", artifact.storage.clone())),
        optional("path", &artifact.path),
        Some((
            "created",
            format!("{} by {}", time(artifact.created_at), artifact.created_by),
        )),
        Some(("updated", time(artifact.updated_at))),
        artifact.deleted_at.map(|at| ("deleted", time(at))),
        Some(("etag", artifact.etag.clone())),
    ];
    facts.into_iter().flatten().collect()
}
