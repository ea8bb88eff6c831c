//! Configuration: read once at start, checked whole, then passed explicitly.
//!
//! Three sources give settings, each stronger than the one before: a TOML file,
//! the environment (`ARTIFACTD_SECTION__KEY`), flags. The file is the one that
//! `--config` names, else `artifactd.toml` in the current folder when there is
//! one, else none. Every setting has a default, so an empty configuration serves.
//!
//! Nothing is guessed: an unknown name, a value of another type or a combination
//! that cannot work is an error, and all errors are reported at once, each with
//! its place. A value is checked also when a stronger source overrides it.

mod database;
mod error;
mod gc;
mod limits;
mod log;
mod parse;
mod server;
mod settings;
mod source;
mod storage;
mod uploads;

use std::path::PathBuf;

pub use self::{
    error::{ConfigError, ConfigErrors, Place},
    gc::GcConfig,
    limits::LimitsConfig,
    log::{LogConfig, LogFormat},
    server::{Origins, ServerConfig},
    source::Sources,
    storage::StorageConfig,
    uploads::UploadsConfig,
};
use self::{parse::Raw, settings::Settings};
pub use crate::{db::DatabaseConfig, storage::Secret};

const DATA_DIR: &str = "./artifactd-data";

/// Everything that a server is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the embedded database, the embedded storage and the master key.
    pub data_dir: PathBuf,
    /// The listener and its limits.
    pub server: ServerConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// The default storage.
    pub storage: StorageConfig,
    /// Limits of calls and their content.
    pub limits: LimitsConfig,
    /// Uploads.
    pub uploads: UploadsConfig,
    /// When garbage is collected.
    pub gc: GcConfig,
    /// The log.
    pub log: LogConfig,
    /// The master key, when the environment gives one.
    pub master_key: Option<Secret>,
}

impl Config {
    /// Reads and checks all sources.
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        let mut settings = Settings::new(sources);
        let data_dir = settings.take("data_dir", parse::path);
        let data_dir = data_dir.map_or_else(|| PathBuf::from(DATA_DIR), |dir| dir.value);
        let config = Self {
            server: ServerConfig::take(&mut settings),
            database: database::take(&mut settings, &data_dir),
            storage: StorageConfig::take(&mut settings, &data_dir),
            limits: LimitsConfig::take(&mut settings),
            uploads: UploadsConfig::take(&mut settings),
            gc: GcConfig::take(&mut settings),
            log: LogConfig::take(&mut settings),
            master_key: take_master_key(&mut settings),
            data_dir,
        };
        settings.finish()?;
        Ok(config)
    }
}

/// The key is taken from the environment only: a file of settings is copied
/// around and a flag is seen by every user of the machine.
fn take_master_key(settings: &mut Settings) -> Option<Secret> {
    let key = settings.take("master_key", |raw| match raw {
        Raw::Untyped(_) => parse::secret(raw),
        _ => Err("is taken from the environment or from the data folder, not from a file of settings".to_owned()),
    })?;
    if let Err(message) = crate::master_key::check(&key.value) {
        settings.refuse(&key.place, message);
    }
    Some(key.value)
}

#[cfg(test)]
mod tests;
