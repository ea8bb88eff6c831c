//! `artifactctl put`

use std::path::{Path, PathBuf};

use artifactd_client::{
    Client, Error, SaveOptions, Saved, SavedAsFolder, Skipped, ToMessage, UploadOptions,
    domain::{IfContentExists, Kind, SaveOutcome, Sha256},
};
use clap::ValueEnum;

use crate::{
    Context,
    exit::{Code, Failure},
    output::{Output, named, plain},
    progress::Shown,
    unfinished::Unfinished,
};

/// Files from this size on go up in parts that need not be sent again.
const IN_PARTS_BYTES: u64 = 16 << 20;

/// Save a file, a folder, or standard input as the next version of its key
///
/// A folder becomes one artifact, of which only contents travel that the server does not
/// have. A large file goes on where it was when the same command is run again.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// File or folder; `-` for standard input
    source: PathBuf,
    /// Key; the name of the file or folder unless set
    key: Option<String>,
    /// What it is about
    #[arg(long, short)]
    description: Option<String>,
    /// What it is
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// Uid or stem of the family of which this is the next version
    #[arg(long, value_name = "UID")]
    revises: Option<String>,
    /// Label of the version; its number unless set
    #[arg(long, value_name = "LABEL")]
    version_label: Option<String>,
    /// Storage; the default one of the space unless set
    #[arg(long)]
    storage: Option<String>,
    /// Media type; guessed from the suffix unless set
    #[arg(long)]
    media_type: Option<String>,
    /// Schema that the table must keep to
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// sha256 that the content must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    /// What to do when the same content is an artifact already
    #[arg(long, value_enum, default_value_t = IfContentExistsArg::Return)]
    if_content_exists: IfContentExistsArg,
    /// Takes a folder with names that differ only in case, which not every file system can hold
    #[arg(long)]
    allow_case_collisions: bool,
    /// Every file of the folder as an artifact of its own, under KEY/<path>
    #[arg(long)]
    each: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArg {
    Dataset,
    Model,
    Code,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IfContentExistsArg {
    Return,
    Create,
    Fail,
}

impl Put {
    /// Whether the same command goes on after it was stopped.
    pub(crate) fn goes_on(&self) -> bool {
        self.source != Path::new("-")
    }

    fn options(&self) -> Result<SaveOptions, Failure> {
        let revises = self.revises.as_deref().map(|text| {
            let uid = text.parse().map(artifactd_client::Revises::Uid);
            let stem = || text.parse().map(artifactd_client::Revises::Stem);
            uid.or_else(|_| stem())
                .map_err(|_| Failure::usage(format!("`{text}` is neither a uid nor a stem")))
        });
        Ok(SaveOptions {
            key: self.key.clone(),
            description: self.description.clone(),
            kind: self.kind.map(|kind| match kind {
                KindArg::Dataset => Kind::Dataset,
                KindArg::Model => Kind::Model,
                KindArg::Code => Kind::Code,
            }),
            revises: revises.transpose()?,
            version: self.version_label.clone(),
            storage: self.storage.clone(),
            media_type: self.media_type.clone(),
            schema: self.schema.clone(),
            allow_case_collisions: self.allow_case_collisions,
            if_content_exists: match self.if_content_exists {
                IfContentExistsArg::Return => IfContentExists::ReturnExisting,
                IfContentExistsArg::Create => IfContentExists::Create,
                IfContentExistsArg::Fail => IfContentExists::Fail,
            },
            sha256: self.sha256,
            ..SaveOptions::default()
        })
    }
}

pub(crate) async fn run(context: &mut Context, command: Put) -> Result<Code, Failure> {
    let mut options = command.options()?;
    if command.source == Path::new("-") {
        return put_input(context, options).await;
    }
    let source = &command.source;
    let metadata = std::fs::metadata(source).map_err(|error| Failure::file(source, &error))?;
    if !metadata.is_dir() && command.each {
        return Err(Failure::usage(format!(
            "--each needs a folder, {} is none",
            source.display()
        )));
    }
    if options.key.is_none() && options.revises.is_none() {
        options.key = Some(name_of(source)?);
    }
    let client = context.settings.connect().await?;
    if command.each {
        return put_each(context, &client, source, options).await;
    }
    if metadata.is_dir() {
        return put_folder(context, &client, source, options).await;
    }
    put_file(context, &client, source, options, metadata.len()).await
}

/// The name of a file or folder, which becomes a key.
fn name_of(source: &Path) -> Result<String, Failure> {
    let whole = source.canonicalize().map_err(|error| Failure::file(source, &error))?;
    // The name as it was given, unless it ends in none, as `.` and `..` do.
    let name = source.file_name().or(whole.file_name());
    let name = name.ok_or_else(|| Failure::usage(format!("{} has no name: give a key", source.display())))?;
    let text = name.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        let shown = name.to_string_lossy();
        Failure::usage(format!("the name `{shown}` is not UTF-8 and can be no key: give one"))
    })
}

async fn put_input(context: &mut Context, options: SaveOptions) -> Result<Code, Failure> {
    if options.key.is_none() && options.description.is_none() && options.revises.is_none() {
        return Err(Failure::usage("standard input has no name: give a key"));
    }
    let client = context.settings.connect().await?;
    let shown = Shown::new(context, &client, options.key.as_deref().unwrap_or("-"));
    let saved = shown.client.save_reader(tokio::io::stdin(), options).await;
    shown.finish().await;
    print(&mut context.output, &saved?)
}

async fn put_file(
    context: &mut Context,
    client: &Client,
    source: &Path,
    mut options: SaveOptions,
    size_bytes: u64,
) -> Result<Code, Failure> {
    if options.key.is_none() {
        options.file_name = source.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    }
    let shown = Shown::new(context, client, &source.to_string_lossy());
    let saved = if size_bytes < IN_PARTS_BYTES {
        shown.client.save_file(source, options).await
    } else {
        let unfinished = Unfinished::of(&context.settings, source, &options)?;
        options.request_id = Some(unfinished.request_id().to_owned());
        let upload = UploadOptions::default();
        let saved = shown.client.upload_file_with(source, options, upload, |_| {}).await;
        match &saved {
            Ok(_) | Err(Error::FileChanged { .. }) => unfinished.forget(),
            // Whatever was refused will be refused again under this id.
            Err(error) if !error.is_retryable() && error.reason().is_some() => unfinished.forget(),
            Err(_) => {}
        }
        saved
    };
    shown.finish().await;
    print(&mut context.output, &saved?)
}

async fn put_folder(
    context: &mut Context,
    client: &Client,
    source: &Path,
    options: SaveOptions,
) -> Result<Code, Failure> {
    let shown = Shown::new(context, client, &source.to_string_lossy());
    let saved = shown.client.save_folder(source, options).await;
    shown.finish().await;
    let SavedAsFolder { saved, skipped, .. } = saved?;
    warn_of(source, &skipped);
    print(&mut context.output, &saved)
}

async fn put_each(
    context: &mut Context,
    client: &Client,
    source: &Path,
    options: SaveOptions,
) -> Result<Code, Failure> {
    let shown = Shown::new(context, client, &source.to_string_lossy());
    let saved = shown.client.save_dir(source, options).await;
    shown.finish().await;
    let saved = saved?;
    warn_of(source, &saved.skipped);
    let mut code = Code::Done;
    for (path, result) in saved.files {
        match result {
            Ok(saved) => {
                print(&mut context.output, &saved)?;
            }
            Err(error) => {
                let failure = Failure::from(error).at(&source.join(path).to_string_lossy());
                crate::exit::report(&failure);
                code = Code::Partly;
            }
        }
    }
    Ok(code)
}

/// Prints what became of a save.
pub(crate) fn print(output: &mut Output, saved: &Saved) -> Result<Code, Failure> {
    output.message("SaveArtifactResponse", &saved.to_message())?;
    let what = match saved.outcome {
        SaveOutcome::Created => "created",
        SaveOutcome::NewVersion => "new version",
        SaveOutcome::Existing => "existing",
    };
    let artifact = &saved.artifact;
    let not_applied = match saved.not_applied.as_slice() {
        [] => String::new(),
        fields => format!(" (not applied: {})", fields.join(", ")),
    };
    output.line(&format!("{what} {}  {}{not_applied}", artifact.uid, named(artifact)))?;
    Ok(Code::Done)
}

/// Says what was left out of a folder.
#[expect(clippy::print_stderr, reason = "a warning is no output")]
fn warn_of(source: &Path, skipped: &[(PathBuf, Skipped)]) {
    for (path, why) in skipped {
        let why = match why {
            Skipped::EmptyFolder => "an empty folder",
            Skipped::NotRegular => "no regular file",
            Skipped::NotUnicode => "a name that is not UTF-8",
            _ => "no file",
        };
        let path = source.join(path);
        eprintln!("artifactctl: left out {}: {why}", plain(&path.to_string_lossy()));
    }
}
