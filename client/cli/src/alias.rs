//! `artifactctl alias`

use artifactd_client::{Alias as Pointer, AliasIs, ToMessage, domain::Uid};
use clap::Subcommand;

use crate::{
    Context,
    exit::{Code, Failure},
    output::time,
};

/// Name a version so that the name can be moved: `cells.h5ad@@prod`
#[derive(Debug, clap::Args)]
pub(crate) struct Alias {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Point an alias to a version of its family, or move it there
    Set {
        /// The version: by key or stem alone the latest one
        artifact: String,
        /// The alias
        name: String,
        #[command(flatten)]
        only: Only,
    },
    /// List the aliases of a family
    Ls {
        /// Any artifact of the family
        artifact: String,
    },
    /// Show who moved aliases, when, from where and to where; newest first
    Log {
        /// Any artifact of the family
        artifact: String,
        /// Of this alias only
        name: Option<String>,
        /// At most so many
        #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
    },
    /// Remove an alias
    Rm {
        /// Any artifact of the family
        artifact: String,
        /// The alias
        name: String,
        #[command(flatten)]
        only: Only,
    },
}

/// What the alias must be like, so that nobody's move is undone unseen.
#[derive(Debug, clap::Args)]
struct Only {
    /// Fail unless there is no alias of this name
    #[arg(long)]
    if_absent: bool,
    /// Fail unless it points to this version
    #[arg(long, value_name = "UID", conflicts_with = "if_absent")]
    if_at: Option<Uid>,
}

impl From<Only> for AliasIs {
    fn from(only: Only) -> Self {
        match only.if_at {
            Some(uid) => Self::Uid(uid),
            None if only.if_absent => Self::Absent,
            None => Self::Anything,
        }
    }
}

pub(crate) async fn run(context: &mut Context, command: Alias) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    match command.command {
        Command::Set { artifact, name, only } => {
            show(context, &client.set_alias(&artifact, &name, only.into()).await?)?;
        }
        Command::Ls { artifact } => {
            for alias in client.aliases(&artifact).await? {
                show(context, &alias)?;
            }
        }
        Command::Log { artifact, name, limit } => {
            for change in client.alias_changes(&artifact, name.as_deref(), limit).await? {
                context.output.message("AliasChange", &change.to_message())?;
                let uid = |uid: Option<Uid>| uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string());
                context.output.line(&format!(
                    "{}  {}  {} -> {}  {}",
                    time(change.changed_at),
                    change.name,
                    uid(change.from),
                    uid(change.to),
                    change.changed_by
                ))?;
            }
        }
        Command::Rm { artifact, name, only } => {
            let removed = client.delete_alias(&artifact, &name, only.into()).await?;
            context.output.message("Alias", &removed.to_message())?;
            context
                .output
                .line(&format!("removed {}  {}", removed.name, removed.uid))?;
        }
    }
    Ok(Code::Done)
}

fn show(context: &mut Context, alias: &Pointer) -> Result<(), Failure> {
    context.output.message("Alias", &alias.to_message())?;
    context
        .output
        .line(&format!("{}  {}  @@{}", alias.name, alias.uid, alias.version))
}
