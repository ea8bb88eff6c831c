//! `artifactctl describe`

use artifactd_client::messages as pb;

use super::{annotate, said};
use crate::{
    Context,
    exit::{Code, Failure},
    output::size,
};

/// Show an artifact with what is said of it, what made it and what has used it
#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// The artifact
    artifact: String,
}

pub(crate) async fn run(context: &mut Context, command: Describe) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let described = client.describe(&command.artifact).await?;
    context.output.message("DescribeArtifactResponse", &described)?;
    let artifact = described.artifact.clone().unwrap_or_default();
    let bytes = size(u64::try_from(artifact.size).unwrap_or_default());
    let name = artifact.key.as_deref().unwrap_or("-");
    context
        .output
        .line(&format!("{}  {bytes}  {name}@@{}", artifact.uid, artifact.version))?;
    annotate::show(context, &described.annotations.clone().unwrap_or_default())?;
    for line in provenance(&described) {
        context.output.line(&line)?;
    }
    Ok(Code::Done)
}

/// What made it, what has used it, and what its content has; a line each.
fn provenance(described: &pb::DescribeArtifactResponse) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(run) = &described.run {
        let name = said::run_name(run.transform.as_ref(), run.name.as_deref());
        lines.push(format!(
            "made by run {}  {name}  {}",
            run.uid,
            said::status(run.status())
        ));
    }
    if described.input_of_runs > 0 {
        lines.push(format!("used by {} runs", described.input_of_runs));
    }
    for collection in &described.collections {
        lines.push(format!("member of {}@@{}", collection.key, collection.version));
    }
    if described.more_collections {
        lines.push("member of more collections".to_owned());
    }
    for set in &described.feature_sets {
        let registered = set.feature_set.as_ref().map_or(0, |set| set.n_features);
        lines.push(format!(
            "{}: {registered} registered features, {} others",
            set.slot, set.n_unregistered
        ));
    }
    if let Some(schema) = &described.schema {
        lines.push(format!("keeps to schema {schema}"));
    }
    lines.push(format!("versions: {}", described.versions));
    lines
}
