//! `artifactctl feature` and `artifactctl param`

use artifactd_client::messages::{self as pb, FeatureRole, feature_ref::Ref};
use clap::Subcommand;
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
};

/// Features, which datasets have values of
#[derive(Debug, clap::Args)]
pub(crate) struct Feature {
    #[command(subcommand)]
    command: Command,
}

/// Params, which models have values of
#[derive(Debug, clap::Args)]
pub(crate) struct Param {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register one
    Create {
        /// Its name
        name: String,
        /// What its values are: int, float, bool, str, url, date, datetime, dict, `cat[ULabel]` or `list[int]`
        dtype: String,
        /// Unit of its values
        #[arg(long)]
        unit: Option<String>,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
        /// Another name of it
        #[arg(long = "synonym", value_name = "NAME")]
        synonyms: Vec<String>,
        /// Answer one that is there with this dtype
        #[arg(long)]
        allow_existing: bool,
    },
    /// List them by name
    Ls {
        /// What their names begin with
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show one
    Show {
        /// Its name
        name: String,
    },
    /// Delete one that no artifact has values of
    Rm {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run_feature(context: &mut Context, command: Feature) -> Result<Code, Failure> {
    run(context, command.command, FeatureRole::Feature).await
}

pub(crate) async fn run_param(context: &mut Context, command: Param) -> Result<Code, Failure> {
    run(context, command.command, FeatureRole::Param).await
}

async fn run(context: &mut Context, command: Command, role: FeatureRole) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let named = |name: String| pb::FeatureRef {
        r#ref: Some(Ref::Name(name)),
        role: role.into(),
    };
    match command {
        Command::Create {
            name,
            dtype,
            unit,
            description,
            synonyms,
            allow_existing,
        } => {
            let request = pb::CreateFeatureRequest {
                name,
                role: role.into(),
                dtype,
                unit,
                description,
                synonyms,
                allow_existing,
                request_id: None,
            };
            show(context, &client.create_feature(request).await?)?;
        }
        Command::Ls { prefix } => {
            let request = pb::ListFeaturesRequest {
                role: role.into(),
                name_prefix: prefix,
                page_size: 1_000,
                ..Default::default()
            };
            let mut features = Box::pin(client.features(request));
            while let Some(feature) = features.try_next().await? {
                show(context, &feature)?;
            }
        }
        Command::Show { name } => show(context, &client.get_feature(named(name)).await?)?,
        Command::Rm { name } => {
            let request = pb::DeleteFeatureRequest {
                feature: Some(named(name.clone())),
                ..Default::default()
            };
            client.delete_feature(request).await?;
            context.output.line(&format!("deleted {name}"))?;
        }
    }
    Ok(Code::Done)
}

fn show(context: &mut Context, feature: &pb::Feature) -> Result<(), Failure> {
    context.output.message("Feature", feature)?;
    let unit = feature
        .unit
        .as_deref()
        .map(|unit| format!("  {unit}"))
        .unwrap_or_default();
    let description = feature.description.as_deref().map(|text| format!("  {text}"));
    let line = format!(
        "{}  {}{unit}{}",
        feature.name,
        feature.dtype,
        description.unwrap_or_default()
    );
    context.output.line(&line)
}
