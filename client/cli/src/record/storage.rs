//! `artifactctl storage`

use artifactd_client::{Result as Called, SaveOptions, Saved, ToMessage, domain::SaveOutcome, messages as pb};
use clap::Subcommand;
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
    output::{named, size},
};

/// Storages: roots where bytes live, and files in them that are artifacts where they lie
#[derive(Debug, clap::Args)]
pub(crate) struct Storage {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register a root: a folder of the server's machine, `s3://bucket/prefix` (or az://, gs://), or an http(s) URL
    Register {
        /// Its name
        name: String,
        /// The root
        root: String,
        /// The server writes objects to it; files lie in place otherwise
        #[arg(long)]
        managed: bool,
        /// The server never writes or removes anything below it, as ever with http(s)
        #[arg(long, conflicts_with = "managed")]
        read_only: bool,
        /// Region of a bucket of S3
        #[arg(long)]
        region: Option<String>,
        /// Endpoint of the service of a bucket, where it is not the service's own
        #[arg(long = "bucket-endpoint", value_name = "URL")]
        bucket_endpoint: Option<String>,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
    },
    /// List storages by name
    Ls,
    /// Show one
    Show {
        /// Its name
        name: String,
    },
    /// Forget one in which there is nothing; its files stay
    Rm {
        /// Its name
        name: String,
    },
    /// Make a file, below a root that is not managed, an artifact where it lies
    Add {
        /// A path of the server's machine, or a URL
        uri: String,
        /// All files below it are one artifact, a folder
        #[arg(long)]
        folder: bool,
        /// Each file below it is an artifact
        #[arg(long, conflicts_with = "folder")]
        each: bool,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
        /// Label of the version
        #[arg(long, conflicts_with = "each")]
        version_label: Option<String>,
    },
    /// Move an artifact, with all its versions, to a storage that the server writes
    Move {
        /// The artifact
        artifact: String,
        /// Name of the storage
        storage: String,
    },
}

pub(crate) async fn run(context: &mut Context, command: Storage) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    match command.command {
        Command::Register {
            name,
            root,
            managed,
            read_only,
            region,
            bucket_endpoint,
            description,
        } => {
            let request = pb::RegisterStorageRequest {
                name,
                root,
                region,
                endpoint: bucket_endpoint,
                managed,
                description,
                request_id: None,
                read_only,
            };
            show(context, &client.register_storage(request).await?)?;
        }
        Command::Ls => {
            for storage in client.storages().await? {
                show(context, &storage)?;
            }
        }
        Command::Show { name } => show(context, &client.get_storage(name).await?)?,
        Command::Rm { name } => {
            let request = pb::DeleteStorageRequest {
                name: name.clone(),
                ..Default::default()
            };
            client.delete_storage(request).await?;
            context.output.line(&format!("forgot {name}"))?;
        }
        Command::Move { artifact, storage } => {
            let (moved, copied_bytes) = client.move_artifact(artifact.as_str(), &storage).await?;
            context.output.message("Artifact", &moved.to_message())?;
            let copied = size(copied_bytes);
            let line = format!("moved {}  {}  to {storage}, {copied} copied", moved.uid, named(&moved));
            context.output.line(&line)?;
        }
        Command::Add {
            uri,
            folder,
            each,
            description,
            version_label,
        } => {
            let options = SaveOptions {
                description,
                version: version_label,
                ..SaveOptions::default()
            };
            if each {
                let mut files = Box::pin(client.register_files(&uri, options));
                let mut ended = Code::Done;
                while let Some((key, result)) = files.try_next().await? {
                    if !registered(context, &key, result)? {
                        ended = Code::Partly;
                    }
                }
                return Ok(ended);
            }
            let saved = match folder {
                true => client.register_folder(uri, options).await?,
                false => client.register_file(uri, options).await?,
            };
            show_saved(context, &saved)?;
        }
    }
    Ok(Code::Done)
}

/// Tells what became of one of many files; false when it is no artifact.
fn registered(context: &mut Context, key: &str, result: Called<Saved>) -> Result<bool, Failure> {
    match result {
        Ok(saved) => show_saved(context, &saved).map(|()| true),
        Err(error) => {
            crate::exit::report(&Failure::from(error).at(key));
            Ok(false)
        }
    }
}

fn show_saved(context: &mut Context, saved: &Saved) -> Result<(), Failure> {
    context.output.message("SaveArtifactResponse", &saved.to_message())?;
    let what = match saved.outcome {
        SaveOutcome::Created => "registered",
        SaveOutcome::NewVersion => "new version",
        SaveOutcome::Existing => "existing",
    };
    let line = format!("{what} {}  {}", saved.artifact.uid, named(&saved.artifact));
    context.output.line(&line)
}

fn show(context: &mut Context, storage: &pb::Storage) -> Result<(), Failure> {
    context.output.message("Storage", storage)?;
    let facts = [
        (storage.managed, "managed"),
        (storage.read_only, "read-only"),
        (storage.keeps_versions, "keeps versions"),
        (storage.default, "default"),
        (!storage.open, "not open"),
    ];
    let facts: Vec<&str> = facts.into_iter().filter(|(is, _)| *is).map(|(_, fact)| fact).collect();
    let line = format!("{}  {}  {}", storage.name, storage.root, facts.join(", "));
    context.output.line(line.trim_end())
}
