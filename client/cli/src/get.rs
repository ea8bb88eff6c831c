//! `artifactctl get`

use std::path::{Path, PathBuf};

use artifactd_client::{
    Artifact, Client, DownloadOptions, GetOptions, IfExists, IntoReference, ToMessage,
    domain::{ArtifactRef, manifest::MemberPath},
};

use crate::{
    Context,
    exit::{Code, Failure},
    output::{named, size},
    progress::Shown,
};

/// Download an artifact, a file or folder
///
/// Nothing is written over unless that was said; what is there and is the same is left as it
/// is. A download that was stopped goes on where it was when the same command is run again.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The artifact
    artifact: String,
    /// Where to; into it when it is a folder. The name of the artifact, here, unless set
    target: Option<PathBuf>,
    /// Only this file of a folder
    #[arg(long, value_name = "PATH")]
    member: Option<String>,
    /// Replace what is there, also a folder
    #[arg(long)]
    overwrite: bool,
    /// Streams over which a large file comes
    #[arg(long, default_value_t = 4, value_name = "NUMBER")]
    streams: usize,
    /// Find a hidden one by its key or stem too
    #[arg(long)]
    hidden: bool,
}

pub(crate) async fn run(context: &mut Context, command: Get) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let reference = command.artifact.as_str().into_reference()?;
    let target = target(&client, &command, &reference).await?;
    let options = DownloadOptions {
        streams: command.streams,
        if_exists: match command.overwrite {
            true => IfExists::Replace,
            false => IfExists::KeepSame,
        },
        member: command.member.clone(),
        include_hidden: command.hidden,
        ..DownloadOptions::default()
    };
    let shown = Shown::new(context, &client, &target.to_string_lossy());
    let got = shown.client.download_with(reference, &target, options).await;
    shown.finish().await;
    let got = got.map_err(|error| {
        let failure = Failure::from(error);
        match failure.code {
            Code::Conflict if target.exists() => failure.at("--overwrite replaces what is there"),
            _ => failure,
        }
    })?;
    context.output.message("Artifact", &got.artifact.to_message())?;
    let what = if got.was_there { "unchanged" } else { "got" };
    let line = format!(
        "{what} {}  {}  {}",
        target.display(),
        size(got.artifact.size_bytes),
        named(&got.artifact)
    );
    context.output.line(&line)?;
    Ok(Code::Done)
}

async fn target(client: &Client, command: &Get, reference: &ArtifactRef) -> Result<PathBuf, Failure> {
    let inside = match &command.target {
        Some(target) if !target.is_dir() && !ends_in_slash(target) => return Ok(target.clone()),
        Some(folder) => folder.clone(),
        None => PathBuf::new(),
    };
    Ok(inside.join(name(client, command, reference).await?))
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// The name under which it is written. What the user named himself is believed more than
/// what the server calls it.
async fn name(client: &Client, command: &Get, reference: &ArtifactRef) -> Result<String, Failure> {
    if let Some(member) = &command.member {
        let path: Result<MemberPath, _> = member.parse();
        let path = path.map_err(|error| Failure::usage(format!("`{member}`: {error}")))?;
        return Ok(path.file_name().to_owned());
    }
    if let ArtifactRef::Key { key, .. } = reference {
        return Ok(key.file_name().to_owned());
    }
    let options = GetOptions {
        include_hidden: command.hidden,
    };
    let artifact: Artifact = client.get_with(reference.clone(), options).await?;
    Ok(artifact.local_name()?)
}
