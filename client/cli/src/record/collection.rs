//! `artifactctl collection`

use std::path::PathBuf;

use artifactd_client::{Client, DownloadOptions, DownloadedMember, IfExists, messages as pb};
use clap::Subcommand;
use futures::TryStreamExt;

use super::{
    names,
    versioned::{self, Versioned, deleted, named, show},
};
use crate::{
    Context,
    exit::{Code, Failure},
    output::size,
    progress::Shown,
};

/// Collections: ordered, versioned sets of artifacts
#[derive(Debug, clap::Args)]
pub(crate) struct Collection {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a collection, or its next version; the same again is answered as it is
    Create {
        /// Its key
        key: String,
        #[command(flatten)]
        members: Members,
        /// Free text
        #[arg(long, short)]
        description: Option<String>,
    },
    /// Append members: a new version
    Append {
        /// The collection
        collection: String,
        #[command(flatten)]
        members: Members,
    },
    /// List collections by key
    Ls {
        /// What their keys begin with
        #[arg(default_value = "")]
        prefix: String,
        /// All versions, not only the latest
        #[arg(long)]
        all_versions: bool,
        /// Only those that have this member
        #[arg(long, value_name = "ARTIFACT")]
        with: Option<String>,
    },
    /// Show one
    Show {
        /// Its uid, its stem or KEY[@@VERSION]
        collection: String,
    },
    /// List its members, in their order
    Members {
        /// Its uid, its stem or KEY[@@VERSION]
        collection: String,
    },
    /// Download all members into a folder, each under its key; goes on where it was
    Get {
        /// Its uid, its stem or KEY[@@VERSION]
        collection: String,
        /// The folder
        target: PathBuf,
        /// Replace what is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Delete a version; the artifacts stay
    Rm {
        /// Its uid, its stem or KEY[@@VERSION]
        collection: String,
    },
}

/// What becomes a member.
#[derive(Debug, clap::Args)]
struct Members {
    /// The artifacts, in their order
    artifacts: Vec<String>,
    /// Their latest versions, whichever these are, and not the ones of today
    #[arg(long)]
    follow_latest: bool,
    /// Label of the version
    #[arg(long)]
    version_label: Option<String>,
}

impl Members {
    fn messages(&self) -> Result<Vec<pb::NewCollectionMember>, Failure> {
        let member = |text: &String| {
            Ok(pb::NewCollectionMember {
                artifact: Some(names::artifact(text)?),
                follow_latest: self.follow_latest,
            })
        };
        self.artifacts.iter().map(member).collect()
    }
}

pub(crate) async fn run(context: &mut Context, command: Collection) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    match command.command {
        Command::Create {
            key,
            members,
            description,
        } => {
            let request = pb::CreateCollectionRequest {
                key,
                description,
                members: members.messages()?,
                version: members.version_label,
                request_id: None,
            };
            let answer = client.create_collection(request).await?;
            let made = answer.collection.clone().unwrap_or_default();
            versioned::made(context, ("CreateCollectionResponse", &answer), answer.created, &made)?;
        }
        Command::Append { collection, members } => {
            let request = pb::AppendToCollectionRequest {
                collection: Some(names::collection(&collection)),
                members: members.messages()?,
                version: members.version_label,
                ..Default::default()
            };
            show(context, &client.append_to_collection(request).await?)?;
        }
        Command::Ls {
            prefix,
            all_versions,
            with,
        } => {
            let request = pb::ListCollectionsRequest {
                key_prefix: prefix,
                all_versions,
                member: with.as_deref().map(names::artifact).transpose()?,
                page_size: 1_000,
                ..Default::default()
            };
            let mut collections = Box::pin(client.collections(request));
            while let Some(collection) = collections.try_next().await? {
                show(context, &collection)?;
            }
        }
        Command::Show { collection } => show(context, &client.get_collection(names::collection(&collection)).await?)?,
        Command::Members { collection } => {
            let mut members = Box::pin(client.collection_members(names::collection(&collection)));
            while let Some(member) = members.try_next().await? {
                context.output.message("CollectionMember", &member)?;
                context.output.line(&listed_member(&member))?;
            }
        }
        Command::Get {
            collection,
            target,
            overwrite,
        } => return download(context, &client, &collection, target, overwrite).await,
        Command::Rm { collection } => {
            // One version, whichever the name means now.
            let found = client.get_collection(names::collection(&collection)).await?;
            let request = pb::DeleteCollectionRequest {
                collection: Some(names::collection(&found.uid)),
                ..Default::default()
            };
            client.delete_collection(request).await?;
            deleted(context, &found)?;
        }
    }
    Ok(Code::Done)
}

/// Downloads every member under its key, or its uid where it has none.
async fn download(
    context: &mut Context,
    client: &Client,
    collection: &str,
    target: PathBuf,
    overwrite: bool,
) -> Result<Code, Failure> {
    let options = DownloadOptions {
        if_exists: match overwrite {
            true => IfExists::Replace,
            false => IfExists::KeepSame,
        },
        ..DownloadOptions::default()
    };
    let mut download = client
        .download_collection(names::collection(collection), target, options)
        .await?;
    loop {
        let shown = Shown::new(context, client, collection);
        let next = shown.client.download_next(&mut download).await;
        shown.finish().await;
        let Some(DownloadedMember { member, downloaded }) = next? else {
            return Ok(Code::Done);
        };
        let Some(got) = downloaded else {
            let text = format!("member {} ({}) is not there any more", member.place, member.uid_or_stem);
            return Err(Failure::new(Code::NotFound, text));
        };
        context.output.message("CollectionMember", &member)?;
        let what = if got.was_there { "unchanged" } else { "got" };
        let size = size(got.artifact.size_bytes);
        context.output.line(&format!("{what} {}  {size}", got.path.display()))?;
    }
}

impl Versioned for pb::Collection {
    const NAME: &'static str = "Collection";

    fn listed(&self) -> String {
        let named = named(self.created_at.as_ref(), &self.key, &self.version);
        format!("{}  {:>6} members  {named}", self.uid, self.n_members)
    }
}

fn listed_member(member: &pb::CollectionMember) -> String {
    let follows = if member.follows_latest { "  (latest)" } else { "" };
    match &member.artifact {
        Some(artifact) => format!(
            "{:>6}  {}  {}@@{}{follows}",
            member.place,
            artifact.uid,
            artifact.key.as_deref().unwrap_or("-"),
            artifact.version
        ),
        None => format!(
            "{:>6}  {}  is not there any more{follows}",
            member.place, member.uid_or_stem
        ),
    }
}
