//! `artifactctl transform`

use std::path::PathBuf;

use artifactd_client::messages::{self as pb, TransformKind};
use clap::{Subcommand, ValueEnum};
use futures::TryStreamExt;

use super::{
    names,
    versioned::{self, Versioned, deleted, named, show},
};
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Transforms: the programs that runs are runs of
#[derive(Debug, clap::Args)]
pub(crate) struct Transform {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add one, or its next version; the same again is answered as it is
    Create {
        /// Its name, such as `pipelines/align.py`
        key: String,
        /// What it is
        #[arg(long, default_value = "script")]
        kind: Kind,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
        /// File that holds the code
        #[arg(long, value_name = "FILE")]
        source: Option<PathBuf>,
        /// Where the code is, such as the address of a commit
        #[arg(long)]
        reference: Option<String>,
        /// Label of the version
        #[arg(long)]
        version_label: Option<String>,
    },
    /// List them by key
    Ls {
        /// What their keys begin with
        #[arg(default_value = "")]
        prefix: String,
        /// All versions, not only the latest
        #[arg(long)]
        all_versions: bool,
    },
    /// Show one
    Show {
        /// Its uid, its stem or KEY[@@VERSION]
        transform: String,
        /// Print its code instead
        #[arg(long)]
        source: bool,
    },
    /// Delete a version of which there is no run
    Rm {
        /// Its uid, its stem or KEY[@@VERSION]
        transform: String,
    },
}

/// What a transform is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Pipeline,
    Notebook,
    Script,
    Function,
    Upload,
}

impl From<Kind> for TransformKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pipeline => Self::Pipeline,
            Kind::Notebook => Self::Notebook,
            Kind::Script => Self::Script,
            Kind::Function => Self::Function,
            Kind::Upload => Self::Upload,
        }
    }
}

pub(crate) async fn run(context: &mut Context, command: Transform) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    match command.command {
        Command::Create {
            key,
            kind,
            description,
            source,
            reference,
            version_label,
        } => {
            let source = match source {
                Some(file) => {
                    let text = tokio::fs::read_to_string(&file).await;
                    Some(text.map_err(|error| Failure::file(&file, &error))?)
                }
                None => None,
            };
            let request = pb::CreateTransformRequest {
                key,
                kind: TransformKind::from(kind).into(),
                description,
                source,
                reference,
                version: version_label,
                request_id: None,
            };
            let answer = client.create_transform(request).await?;
            let made = answer.transform.clone().unwrap_or_default();
            versioned::made(context, ("CreateTransformResponse", &answer), answer.created, &made)?;
        }
        Command::Ls { prefix, all_versions } => {
            let request = pb::ListTransformsRequest {
                key_prefix: prefix,
                all_versions,
                page_size: 1_000,
                ..Default::default()
            };
            let mut transforms = Box::pin(client.transforms(request));
            while let Some(transform) = transforms.try_next().await? {
                show(context, &transform)?;
            }
        }
        Command::Show { transform, source } => {
            let found = client.get_transform(names::transform(&transform)).await?;
            if !source {
                show(context, &found)?;
                return Ok(Code::Done);
            }
            context.output.message(pb::Transform::NAME, &found)?;
            // Code has lines, each of which is one here.
            found.source().lines().try_for_each(|line| context.output.line(line))?;
        }
        Command::Rm { transform } => {
            // One version, whichever the name means now.
            let found = client.get_transform(names::transform(&transform)).await?;
            let request = pb::DeleteTransformRequest {
                transform: Some(names::transform(&found.uid)),
                ..Default::default()
            };
            client.delete_transform(request).await?;
            deleted(context, &found)?;
        }
    }
    Ok(Code::Done)
}

impl Versioned for pb::Transform {
    const NAME: &'static str = "Transform";

    fn listed(&self) -> String {
        let named = named(self.created_at.as_ref(), &self.key, &self.version);
        format!("{}  {named}", self.uid)
    }
}
