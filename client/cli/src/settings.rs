//! Settings: flags and environment first, then the file.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use artifactd_client::{Builder, Client};
use serde::Deserialize;

use crate::{
    args::Global,
    exit::{Code, Failure},
};

const ENDPOINT: &str = "http://127.0.0.1:50051";

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    endpoint: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    space: Option<String>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    allow_token_without_tls: Option<bool>,
}

/// Where and as whom to call.
pub(crate) struct Settings {
    pub(crate) endpoint: String,
    token: Option<String>,
    pub(crate) space: Option<String>,
    run: Option<String>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    allow_token_without_tls: bool,
}

impl Settings {
    pub(crate) fn read(global: &Global) -> Result<Self, Failure> {
        let written = match &global.config {
            Some(path) => read(path)?,
            None => match file_of_user() {
                Some(path) if path.exists() => read(&path)?,
                _ => Written::default(),
            },
        };
        let client_certificate = match (written.client_certificate, written.client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Failure::usage("`client_certificate` and `client_key` need each other")),
        };
        // What is nearer to the command counts, in whichever form it was given.
        let token = match (&global.token, &global.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(read_token(file)?),
            (None, None) => match (written.token, written.token_file) {
                (Some(token), _) => Some(token),
                (None, Some(file)) => Some(read_token(&file)?),
                (None, None) => None,
            },
        };
        let set = |text: &String| !text.is_empty();
        let endpoint = global.endpoint.clone().filter(set).or(written.endpoint);
        Ok(Self {
            endpoint: endpoint.unwrap_or_else(|| ENDPOINT.to_owned()),
            token: token.filter(set),
            space: global.space.clone().filter(set).or(written.space).filter(set),
            run: global.run.clone().filter(set),
            ca_file: global.ca_file.clone().or(written.ca_file),
            client_certificate,
            allow_token_without_tls: written.allow_token_without_tls.unwrap_or_default(),
        })
    }

    /// Connects to the server.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let connected = self.builder()?.connect().await;
        let client = connected.map_err(|error| Failure::from(error).at(&self.endpoint))?;
        match &self.run {
            Some(run) => Ok(client.with_run(run)?),
            None => Ok(client),
        }
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let mut builder =
            Client::builder(&self.endpoint).user_agent(concat!("artifactctl/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        if self.allow_token_without_tls {
            builder = builder.allow_token_without_tls();
        }
        if let Some(space) = &self.space {
            builder = builder.space(space);
        }
        if let Some(file) = &self.ca_file {
            builder = builder.ca_certificate(read_file(file)?);
        }
        if let Some((certificate, key)) = &self.client_certificate {
            builder = builder.client_certificate(read_file(certificate)?, read_file(key)?);
        }
        Ok(builder)
    }
}

/// The file in the user's configuration folder.
fn file_of_user() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let below_home = || std::env::home_dir().map(|home| home.join(".config"));
    let folder = set.filter(|folder| folder.is_absolute()).or_else(below_home)?;
    Some(folder.join("artifactd/artifactctl.toml"))
}

fn read(path: &Path) -> Result<Written, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let refused = |error: toml::de::Error| Failure::usage(format!("{}: {}", path.display(), error.message()));
    let written: Written = toml::from_str(&text).map_err(refused)?;
    if written.token.is_some() {
        require_secret(path).map_err(|error| Failure::file(path, &error))??;
    }
    Ok(written)
}

fn read_token(path: &Path) -> Result<String, Failure> {
    require_secret(path).map_err(|error| Failure::file(path, &error))??;
    let token = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    Ok(token.trim().to_owned())
}

/// A key that others can read is none.
fn require_secret(path: &Path) -> io::Result<Result<(), Failure>> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(Ok(()));
    }
    let text = format!(
        "{} holds a key and can be read by others: take that away (chmod 600)",
        path.display()
    );
    Ok(Err(Failure::new(Code::Usage, text)))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::file(path, &error))
}
