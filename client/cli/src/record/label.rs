//! `artifactctl label`

use std::path::{Path, PathBuf};

use artifactd_client::messages::{self as pb, LabelFormat, LabelMatch};
use clap::{Subcommand, ValueEnum};
use futures::TryStreamExt;

use super::{names, said};
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Labels and their registries
#[derive(Debug, clap::Args)]
pub(crate) struct Label {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a label
    Create(Create),
    /// List labels by name
    Ls {
        /// What their names begin with
        #[arg(default_value = "")]
        prefix: String,
        /// Their registry; ULabel unless set
        #[arg(long, short)]
        registry: Option<String>,
        /// Only those somewhere below this one
        #[arg(long, value_name = "[REGISTRY:]NAME")]
        below: Option<String>,
    },
    /// Show one
    Show {
        /// The label, as [REGISTRY:]NAME
        label: String,
    },
    /// Delete one that nothing uses
    Rm {
        /// The label, as [REGISTRY:]NAME
        label: String,
    },
    /// Say which labels texts mean: by name, identifier or synonym
    Resolve {
        /// The texts
        #[arg(required = true)]
        texts: Vec<String>,
        /// The registry; ULabel unless set
        #[arg(long, short)]
        registry: Option<String>,
    },
    /// Add the labels of a file (OBO, TSV or CSV) to a registry
    Import {
        /// The registry
        registry: String,
        /// The file
        file: PathBuf,
        /// How it is written; as its name ends unless set
        #[arg(long)]
        format: Option<Format>,
        /// Bring labels that are there already up to the file
        #[arg(long)]
        update: bool,
        /// Only check the file, and say what it holds
        #[arg(long)]
        check: bool,
    },
    /// List the registries by name
    Registries,
    /// Add a registry
    CreateRegistry {
        /// Its name, as dtypes say it
        name: String,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
        /// Answer one that is there
        #[arg(long)]
        allow_existing: bool,
    },
    /// Delete a registry without labels
    RmRegistry {
        /// Its name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The label, as [REGISTRY:]NAME
    label: String,
    /// Its identifier in an ontology
    #[arg(long, value_name = "ID")]
    ontology_id: Option<String>,
    /// A short form of its name
    #[arg(long)]
    abbreviation: Option<String>,
    /// Free text
    #[arg(long, short)]
    description: Option<String>,
    /// Where it comes from
    #[arg(long)]
    reference: Option<String>,
    /// Another name of it
    #[arg(long = "synonym", value_name = "NAME")]
    synonyms: Vec<String>,
    /// A label right above it, of the same registry
    #[arg(long = "parent", value_name = "NAME")]
    parents: Vec<String>,
    /// Answer one that is there
    #[arg(long)]
    allow_existing: bool,
}

/// How a file of labels is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Obo,
    Tsv,
    Csv,
}

impl Format {
    fn of(file: &Path) -> Result<Self, Failure> {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "obo" => Ok(Self::Obo),
            "tsv" => Ok(Self::Tsv),
            "csv" => Ok(Self::Csv),
            _ => Err(Failure::usage(format!(
                "{}: its name does not tell the format; give --format",
                file.display()
            ))),
        }
    }
}

impl From<Format> for LabelFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Obo => Self::Obo,
            Format::Tsv => Self::Tsv,
            Format::Csv => Self::Csv,
        }
    }
}

pub(crate) async fn run(context: &mut Context, command: Label) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    match command.command {
        Command::Create(create) => show(context, &client.create_label(create.into()).await?)?,
        Command::Ls {
            prefix,
            registry,
            below,
        } => {
            let ancestor = below.as_deref().map(names::label);
            let request = pb::ListLabelsRequest {
                registry: registry.or_else(|| ancestor.as_ref().and_then(|label| label.registry.clone())),
                name_prefix: prefix,
                ancestor,
                page_size: 1_000,
                ..Default::default()
            };
            let mut labels = Box::pin(client.labels(request));
            while let Some(label) = labels.try_next().await? {
                show(context, &label)?;
            }
        }
        Command::Show { label } => show(context, &client.get_label(names::label(&label)).await?)?,
        Command::Rm { label } => {
            let request = pb::DeleteLabelRequest {
                label: Some(names::label(&label)),
                ..Default::default()
            };
            client.delete_label(request).await?;
            context.output.line(&format!("deleted {label}"))?;
        }
        Command::Resolve { texts, registry } => {
            let request = pb::ResolveLabelsRequest {
                registry,
                texts: texts.clone(),
            };
            for (text, resolved) in texts.iter().zip(client.resolve_labels(request).await?) {
                context.output.message("ResolvedLabel", &resolved)?;
                let how = match resolved.r#match() {
                    LabelMatch::Unspecified => "unknown".to_owned(),
                    LabelMatch::Ambiguous => "a synonym of several".to_owned(),
                    LabelMatch::Name | LabelMatch::OntologyId | LabelMatch::Synonym => {
                        said::label(&resolved.label.unwrap_or_default())
                    }
                };
                context.output.line(&format!("{text}  {how}"))?;
            }
        }
        Command::Import {
            registry,
            file,
            format,
            update,
            check,
        } => {
            let format = match format {
                Some(format) => format,
                None => Format::of(&file)?,
            };
            let header = pb::ImportLabelsHeader {
                registry,
                format: LabelFormat::from(format).into(),
                update_existing: update,
                validate_only: check,
            };
            let content = tokio::fs::read(&file).await;
            let content = content.map_err(|error| Failure::file(&file, &error))?;
            let done = client.import_labels(header, content).await?;
            context.output.message("ImportLabelsResponse", &done)?;
            context.output.line(&format!(
                "{} created, {} updated, {} unchanged, {} skipped",
                done.created, done.updated, done.unchanged, done.skipped
            ))?;
        }
        Command::Registries => {
            let mut registries = Box::pin(client.label_registries());
            while let Some(registry) = registries.try_next().await? {
                show_registry(context, &registry)?;
            }
        }
        Command::CreateRegistry {
            name,
            description,
            allow_existing,
        } => {
            let request = pb::CreateLabelRegistryRequest {
                name,
                description,
                allow_existing,
                request_id: None,
            };
            show_registry(context, &client.create_label_registry(request).await?)?;
        }
        Command::RmRegistry { name } => {
            let request = pb::DeleteLabelRegistryRequest {
                name: name.clone(),
                ..Default::default()
            };
            client.delete_label_registry(request).await?;
            context.output.line(&format!("deleted {name}"))?;
        }
    }
    Ok(Code::Done)
}

impl From<Create> for pb::CreateLabelRequest {
    fn from(create: Create) -> Self {
        let pb::LabelName { registry, name, .. } = names::label(&create.label);
        let parents = create.parents.into_iter().map(|name| pb::LabelName {
            registry: registry.clone(),
            name: Some(name),
            ..Default::default()
        });
        Self {
            parents: parents.collect(),
            registry,
            name: name.unwrap_or_default(),
            ontology_id: create.ontology_id,
            abbreviation: create.abbreviation,
            description: create.description,
            reference: create.reference,
            synonyms: create.synonyms,
            allow_existing: create.allow_existing,
            request_id: None,
        }
    }
}

fn show(context: &mut Context, label: &pb::Label) -> Result<(), Failure> {
    context.output.message("Label", label)?;
    let mut line = label.name.clone();
    if let Some(id) = &label.ontology_id {
        line.push_str(&format!("  {id}"));
    }
    if !label.parents.is_empty() {
        let parents: Vec<&str> = label.parents.iter().map(pb::LabelName::name).collect();
        line.push_str(&format!("  below {}", parents.join(", ")));
    }
    context.output.line(&line)
}

fn show_registry(context: &mut Context, registry: &pb::LabelRegistry) -> Result<(), Failure> {
    context.output.message("LabelRegistry", registry)?;
    let line = format!("{}  {}", registry.name, registry.description());
    context.output.line(line.trim_end())
}
