//! Which database to open.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    error::Place,
    parse::{self, Raw},
    settings::{Placed, Settings},
};
use crate::{db::DatabaseConfig, storage::Secret};

const FILE_NAME: &str = "artifactd.sqlite3";
const CONNECTIONS_MAX: u64 = 16;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const ACQUIRE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Takes the settings of the database; a file in the data folder by default.
pub(super) fn take(settings: &mut Settings, data_dir: &Path) -> DatabaseConfig {
    let is_given = settings.has("database.url");
    let target = settings.take("database.url", target);
    let connections = settings.take("database.max_connections", parse::integer(2, 1_000));
    let acquire = settings.take("database.acquire_timeout", parse::duration(ACQUIRE_TIMEOUT_MAX));
    match target.map(|target| target.value) {
        Some(Target::Postgres(url)) => DatabaseConfig::Postgres {
            url,
            connections_max: u32::try_from(connections.map_or(CONNECTIONS_MAX, |placed| placed.value))
                .unwrap_or(u32::MAX),
            acquire_timeout: acquire.map_or(ACQUIRE_TIMEOUT, |placed| placed.value),
        },
        Some(Target::File(path)) => embedded(settings, path, connections, acquire),
        // A bad URL is one error, not one more for each setting beside it.
        None if is_given => DatabaseConfig::Sqlite(data_dir.join(FILE_NAME)),
        None => embedded(settings, data_dir.join(FILE_NAME), connections, acquire),
    }
}

enum Target {
    File(PathBuf),
    Postgres(Secret),
}

/// Nothing of the URL is quoted: it may hold a password.
fn target(raw: &Raw) -> Result<Target, String> {
    let url = parse::text(raw)?;
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Target::Postgres(Secret::new(url)));
    }
    let path = url
        .strip_prefix("sqlite:")
        .map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some("" | ":memory:") => Err("a database in memory forgets what it acknowledged".to_owned()),
        Some(path) if path.contains('?') => Err("options of SQLite cannot be set".to_owned()),
        Some(path) => Ok(Target::File(PathBuf::from(path))),
        None => Err("expected postgres://… or sqlite:…".to_owned()),
    }
}

/// The embedded database sizes its own pools.
fn embedded(
    settings: &mut Settings,
    path: PathBuf,
    connections: Option<Placed<u64>>,
    acquire: Option<Placed<Duration>>,
) -> DatabaseConfig {
    let places: [Option<Place>; 2] = [
        connections.map(|placed| placed.place),
        acquire.map(|placed| placed.place),
    ];
    for place in places.into_iter().flatten() {
        settings.refuse(&place, "is for postgres:// databases");
    }
    DatabaseConfig::Sqlite(path)
}
