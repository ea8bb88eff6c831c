//! `artifactctl schemas`

use artifactd_client::messages as pb;
use clap::Subcommand;
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
};

/// The slot of the columns of a table.
const COLUMNS: &str = "columns";

/// Schemas: which features the columns of tables must be; a table is saved under one by `put --schema`
#[derive(Debug, clap::Args)]
pub(crate) struct Schemas {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add one. It never changes
    Create {
        /// Its name
        name: String,
        /// Registered features that a table must have as columns
        #[arg(required_unless_present = "optional")]
        features: Vec<String>,
        /// One that it may have
        #[arg(long, value_name = "FEATURE")]
        optional: Vec<String>,
        /// It may have no other columns
        #[arg(long)]
        closed: bool,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
    },
    /// List them by name
    Ls {
        /// What their names begin with
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show one, with its columns
    Show {
        /// Its name
        name: String,
    },
    /// Say in what the table of an artifact breaks one
    Check {
        /// Its name
        name: String,
        /// The artifact
        artifact: String,
    },
    /// Delete one under which nothing was saved
    Rm {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(context: &mut Context, command: Schemas) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    match command.command {
        Command::Create {
            name,
            features,
            optional,
            closed,
            description,
        } => {
            let slot = pb::SchemaSlot {
                slot: COLUMNS.to_owned(),
                features: columns(features, optional),
                closed,
            };
            let request = pb::CreateSchemaRequest {
                name,
                description,
                slots: vec![slot],
                request_id: None,
            };
            show(context, &client.create_schema(request).await?)?;
        }
        Command::Ls { prefix } => {
            let request = pb::ListSchemasRequest {
                name_prefix: prefix,
                page_size: 1_000,
                ..Default::default()
            };
            let mut schemas = Box::pin(client.schemas(request));
            while let Some(schema) = schemas.try_next().await? {
                show(context, &schema)?;
            }
        }
        Command::Show { name } => {
            let schema = client.get_schema(name).await?;
            show(context, &schema)?;
            for slot in &schema.slots {
                for feature in &slot.features {
                    context.output.line(&listed(&slot.slot, feature))?;
                }
            }
        }
        Command::Check { name, artifact } => {
            let faults = client.check_schema(name, artifact.as_str()).await?;
            for fault in &faults {
                context.output.message("SchemaFault", fault)?;
                let line = format!("{}  {}  {}", fault.slot, fault.name, fault.description);
                context.output.line(&line)?;
            }
            return Ok(if faults.is_empty() { Code::Done } else { Code::Differs });
        }
        Command::Rm { name } => {
            client.delete_schema(&name).await?;
            context.output.line(&format!("deleted {name}"))?;
        }
    }
    Ok(Code::Done)
}

fn columns(required: Vec<String>, optional: Vec<String>) -> Vec<pb::SchemaFeature> {
    let column = |name, optional| pb::SchemaFeature {
        name,
        optional,
        dtype: String::new(),
    };
    let required = required.into_iter().map(|name| column(name, false));
    required
        .chain(optional.into_iter().map(|name| column(name, true)))
        .collect()
}

fn show(context: &mut Context, schema: &pb::Schema) -> Result<(), Failure> {
    context.output.message("Schema", schema)?;
    let features: usize = schema.slots.iter().map(|slot| slot.features.len()).sum();
    let closed = if schema.slots.iter().any(|slot| slot.closed) {
        "  closed"
    } else {
        ""
    };
    let description = schema.description.as_deref().map(|text| format!("  {text}"));
    let line = format!(
        "{}  {features} columns{closed}{}",
        schema.name,
        description.unwrap_or_default()
    );
    context.output.line(&line)
}

fn listed(slot: &str, feature: &pb::SchemaFeature) -> String {
    let optional = if feature.optional { "  optional" } else { "" };
    format!("{slot}  {}  {}{optional}", feature.name, feature.dtype)
}
