//! Builds every part once, in order, serves, and stops in order.
//!
//! Start: data folder and its lock, master key, database and storages, services,
//! listener. Stop: health says NOT_SERVING, the listener closes, connections are
//! told to go away, calls in flight have `drain_timeout`, then they are dropped,
//! then work that outlives its call is awaited.
//!
//! Every task is counted by one tracker, so nothing runs on after [`serve`].

mod accept;
mod app;
mod budget;
mod door;
mod health;
mod http;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpSocket};

use self::app::App;
use crate::{
    config::{Config, DatabaseConfig},
    data_dir::{DataDir, DataDirError, refuse_network},
    master_key::{MasterKey, MasterKeyError},
    registry::{GarbageLimits, HashSeal, Limits, Registry, RegistryConfig, RegistryError, StorageRoots},
};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: u32 = 1024;

/// How long work that outlives its calls is awaited at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a server does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be used.
    #[error("data folder")]
    DataDir(#[from] DataDirError),
    /// There is no master key.
    #[error("master key")]
    MasterKey(#[from] MasterKeyError),
    /// The database or a storage cannot be opened.
    #[error("cannot open what the server works on")]
    Registry(#[from] RegistryError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The descriptors of the services cannot be read.
    #[error("reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `shutdown` completes and what was under way has ended.
///
/// `ready` is told the bound address once calls are taken. Dropping the future
/// stops at once.
pub async fn serve(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let folder = DataDir::open(&config.data_dir)?;
    let key = MasterKey::load(config.master_key.as_ref(), folder.path())?;
    let registry = open_registry(&config, &key).await?;
    let listener = listen(config.server.listen)?;
    let app = App::new(&registry, &key);
    let sequencing = tokio::spawn(Arc::clone(&registry).sequence_events());
    let following = tokio::spawn({
        let registry = Arc::clone(&registry);
        async move { registry.follow_storages().await }
    });
    let collecting = tokio::spawn(Arc::clone(&registry).collect_forever());
    let noting = tokio::spawn(Arc::clone(&registry).note_epochs_forever());
    let indexing = tokio::spawn(Arc::clone(&registry).index_forever());
    let shutdown = async {
        shutdown.await;
        registry.end_watches();
    };
    let served = app.serve(listener, &config, ready, shutdown).await;
    sequencing.abort();
    following.abort();
    collecting.abort();
    noting.abort();
    indexing.abort();
    if tokio::time::timeout(FINISH_TIMEOUT, registry.finish()).await.is_err() {
        tracing::warn!("Work of ended calls did not finish within {FINISH_TIMEOUT:?}");
    }
    served
}

/// Opens the database, bringing its schema up to date, and the storages.
async fn open_registry(config: &Config, key: &MasterKey) -> Result<Arc<Registry>, ServeError> {
    refuse_network_database(config)?;
    let hash_seal = HashSeal::new(key);
    let config = RegistryConfig {
        hash_seal,
        ..registry_config(config)
    };
    Ok(Registry::open(config).await?)
}

/// What the registry is opened with, but for what needs the master key.
pub fn registry_config(config: &Config) -> RegistryConfig {
    let limits = &config.limits;
    RegistryConfig {
        database: config.database.clone(),
        storage_name: config.storage.name.to_string(),
        storage_root: config.storage.root.clone(),
        storage_roots: StorageRoots {
            allowed: config.storage.allowed.clone(),
            default: Some(config.storage.root.clone()),
            database: match &config.database {
                DatabaseConfig::Sqlite(path) => path.parent().map(ToOwned::to_owned),
                DatabaseConfig::Postgres { .. } => None,
            },
        },
        limits: Limits {
            content_bytes_max: limits.content_bytes_max,
            content_streams_max: limits.content_streams_max,
            content_waiting_max: limits.content_waiting_max,
            table_streams_max: limits.table_streams_max,
            content_wait: limits.content_wait,
            stream_idle_timeout: limits.stream_idle_timeout,
            upload_expiry: config.uploads.expiry,
        },
        garbage: GarbageLimits {
            grace: config.gc.grace,
            interval: config.gc.interval,
            requests_kept: config.gc.requests_kept,
        },
        hash_seal: HashSeal::default(),
    }
}

fn refuse_network_database(config: &Config) -> Result<(), DataDirError> {
    match &config.database {
        DatabaseConfig::Sqlite(path) => match path.parent() {
            Some(folder) if folder.is_dir() => refuse_network(folder),
            _ => Ok(()),
        },
        DatabaseConfig::Postgres { .. } => Ok(()),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restart must not wait for connections of the last run to expire.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| ServeError::Listen { address, source })
}

#[cfg(test)]
mod tests;
