//! `artifactctl annotate`

use artifactd_client::messages as pb;

use super::{
    names::{self, Valued},
    said,
};
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Say of artifacts what values of features and params, and which labels, they have
///
/// A value is written as JSON or as plain text: `temperature=27.6`, `scientist=Edgar`,
/// `name="42"`. A feature that is given twice has two values. All is done or nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Annotate {
    /// The artifacts
    #[arg(required = true)]
    artifacts: Vec<String>,
    /// A value of a feature, of datasets
    #[arg(long = "feature", short = 'f', value_name = "NAME=VALUE", value_parser = names::valued)]
    features: Vec<Valued>,
    /// A value of a param, of models
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = names::valued)]
    params: Vec<Valued>,
    /// A label
    #[arg(long = "label", short = 'l', value_name = "[REGISTRY:]NAME")]
    labels: Vec<String>,
    /// These instead of what the same features and params have now
    #[arg(long, conflicts_with_all = ["remove", "from"])]
    set: bool,
    /// Take these away
    #[arg(long, conflicts_with_all = ["clear", "from"])]
    remove: bool,
    /// Take away all that was said before
    #[arg(long, conflicts_with = "from")]
    clear: bool,
    /// Register names and labels that nobody has registered
    #[arg(long, conflicts_with_all = ["remove", "from"])]
    register_missing: bool,
    /// Add what is said of this artifact
    #[arg(long, value_name = "ARTIFACT", conflicts_with_all = ["features", "params", "labels"])]
    from: Option<String>,
    /// Fail unless the artifact has this etag
    #[arg(long, conflicts_with = "from")]
    etag: Option<String>,
}

pub(crate) async fn run(context: &mut Context, command: Annotate) -> Result<Code, Failure> {
    let artifacts = names::artifacts(&command.artifacts)?;
    let said = pb::Annotations {
        features: names::grouped(&command.features),
        params: names::grouped(&command.params),
        labels: command.labels.iter().map(|text| names::label(text)).collect(),
    };
    if said == pb::Annotations::default() && !command.clear && command.from.is_none() {
        return Err(Failure::usage("nothing was said: give --feature, --param or --label"));
    }
    let client = context.settings.connect().await?;
    let answer = match &command.from {
        Some(from) => {
            let request = pb::CopyAnnotationsRequest {
                from: Some(names::artifact(from)?),
                to: artifacts,
                request_id: None,
            };
            client.copy_annotations(request).await?
        }
        None => {
            let mut request = pb::AnnotateRequest {
                artifacts,
                clear: command.clear,
                register_missing: command.register_missing,
                etag: command.etag,
                ..Default::default()
            };
            let said = Some(said);
            match (command.set, command.remove) {
                (true, _) => request.set = said,
                (false, true) => request.remove = said,
                (false, false) => request.add = said,
            }
            client.annotate_with(request).await?
        }
    };
    let output = &mut context.output;
    output.message("AnnotateResponse", &answer)?;
    for artifact in &answer.artifacts {
        output.line(&format!("annotated {}  {}", artifact.uid, artifact.key()))?;
    }
    for (what, names) in [
        ("feature", &answer.registered_features),
        ("label", &answer.registered_labels),
    ] {
        for name in names {
            output.line(&format!("registered {what} {name}"))?;
        }
    }
    output.line(&format!("{} added, {} removed", answer.added, answer.removed))?;
    Ok(Code::Done)
}

/// Prints annotations as lines for people.
pub(crate) fn show(context: &mut Context, annotations: &pb::Annotations) -> Result<(), Failure> {
    for line in said::annotations(annotations) {
        context.output.line(&line)?;
    }
    Ok(())
}
