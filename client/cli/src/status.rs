//! `artifactctl status`

use artifactd_client::{ToMessage, UploadState};
use futures::TryStreamExt;

use crate::{
    Context,
    exit::{Code, Failure},
    output::{size, time},
    unfinished,
};

/// Show whether the server answers, and which uploads are not finished
#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

pub(crate) async fn run(context: &mut Context, _: Status) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let info = client.server_info().await?;
    let output = &mut context.output;
    output.message("ServerInfo", &info.to_message())?;
    let space = context.settings.space.as_ref().unwrap_or(&info.default_space);
    output.line(&format!(
        "server   {} (artifactd {})",
        context.settings.endpoint, info.version
    ))?;
    output.line(&format!("space    {space}"))?;
    output.line(&format!("storage  {}", info.default_storage))?;
    let mut uploads = Box::pin(client.list_uploads());
    while let Some(upload) = uploads.try_next().await? {
        if upload.state == UploadState::Saved {
            continue;
        }
        output.message("Upload", &upload.to_message())?;
        let name = upload
            .key
            .or(upload.file_name)
            .or(upload.description)
            .unwrap_or_default();
        let of = upload
            .size_bytes
            .map(|bytes| format!(" of {}", size(bytes)))
            .unwrap_or_default();
        let until = upload
            .expires_at
            .map(|at| format!(", until {}", time(at)))
            .unwrap_or_default();
        let durable = size(upload.durable_bytes);
        output.line(&format!("upload   {}  {durable}{of}{until}  {name}", upload.uid))?;
    }
    for begun in unfinished::all() {
        output.line(&format!("begun    {}", begun.path.display()))?;
    }
    Ok(Code::Done)
}
