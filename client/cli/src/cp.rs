//! `artifactctl cp`

use artifactd_client::{
    Artifact, Client, DownloadOptions, Reason, SaveOptions, Saved,
    domain::{ArtifactRef, VersionName},
};

use crate::{
    Context,
    exit::{Code, Failure},
    progress::Shown,
    put,
};

/// Copy an artifact to another key or storage, as an artifact of its own
///
/// Where the storage has the content, nothing travels. Otherwise it comes here, into the
/// folder for temporary files, and goes there; it is checked on both ways. Kind, description
/// and media type come with it; annotations, aliases and older versions stay where they are
/// (`annotate --from` brings the first). To bring all of it, versions too, and leave
/// nothing behind, use `storage move`.
#[derive(Debug, clap::Args)]
pub(crate) struct Cp {
    /// The artifact
    artifact: String,
    /// [STORAGE::]KEY of which it becomes the next version; below it when it ends with `/`,
    /// and under the same key for `STORAGE::`
    target: String,
    /// Label of the version; its number unless set
    #[arg(long, value_name = "LABEL")]
    version_label: Option<String>,
}

pub(crate) async fn run(context: &mut Context, command: Cp) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let source = client.get(&command.artifact).await?;
    let target = target(&command.target, &source)?;
    let shown = Shown::new(context, &client, &command.artifact);
    let options = SaveOptions {
        version: command.version_label,
        description: source.description.clone(),
        kind: Some(source.kind),
        visibility: source.visibility,
        ..target
    };
    let copied = match source.n_objects {
        None => copy_file(&shown.client, &source, options).await,
        Some(_) => copy_folder(&shown.client, &source, options).await,
    };
    shown.finish().await;
    put::print(&mut context.output, &copied?)
}

/// Where a copy goes.
fn target(text: &str, source: &Artifact) -> Result<SaveOptions, Failure> {
    let whole = match text {
        storage if storage.ends_with("::") => {
            let key = source.key.as_deref();
            let key = key.ok_or_else(|| Failure::usage(format!("{} has no key: give one", source.uid)))?;
            format!("{storage}{key}")
        }
        folder if folder.ends_with('/') => format!("{folder}{}", source.local_name()?),
        whole => whole.to_owned(),
    };
    match whole.parse() {
        Ok(ArtifactRef::Key {
            storage,
            key,
            version: VersionName::Latest,
        }) => Ok(SaveOptions {
            storage: storage.map(|storage| storage.to_string()),
            key: Some(key.to_string()),
            ..SaveOptions::default()
        }),
        Ok(_) => Err(Failure::usage(format!(
            "`{text}` names an artifact: a copy needs a key, and no version"
        ))),
        Err(error) => Err(Failure::usage(format!("`{text}`: {error}"))),
    }
}

async fn copy_file(client: &Client, source: &Artifact, mut options: SaveOptions) -> Result<Saved, Failure> {
    options.media_type = Some(source.media_type.clone());
    match client.claim(source.sha256, options.clone()).await {
        Err(error) if error.reason() == Some(Reason::ContentNotHeld) => {}
        claimed => return Ok(claimed?),
    }
    let here = Here::make()?;
    let file = here.0.path().join("content");
    client
        .download_with(source.uid, &file, DownloadOptions::default())
        .await?;
    options.sha256 = Some(source.sha256);
    Ok(client.save_file(&file, options).await?)
}

async fn copy_folder(client: &Client, source: &Artifact, mut options: SaveOptions) -> Result<Saved, Failure> {
    // The server has compared its names already.
    options.allow_case_collisions = true;
    let storage = match &options.storage {
        Some(storage) => storage.clone(),
        None => client.server_info().await?.default_storage,
    };
    if storage == source.storage {
        return Ok(client.change_folder(source.uid, Vec::new(), options).await?.saved);
    }
    let here = Here::make()?;
    let folder = here.0.path().join("content");
    client
        .download_with(source.uid, &folder, DownloadOptions::default())
        .await?;
    Ok(client.save_folder(&folder, options).await?.saved)
}

/// A folder for what is on its way, gone when the command ends.
struct Here(tempfile::TempDir);

impl Here {
    fn make() -> Result<Self, Failure> {
        let made = tempfile::Builder::new().prefix("artifactctl-cp-").tempdir();
        made.map(Self)
            .map_err(|error| Failure::file(&std::env::temp_dir(), &error))
    }
}
