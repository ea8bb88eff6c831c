//! Copies of artifacts on this machine, kept in step with the server.
//!
//! ```text
//! copies/<stem>/<uid>.<hash>/<name>    a file or folder, complete; versions lie side by side
//! copies/<stem>/<uid>.<hash>/.artifactd   what it is, and how its files looked when they were checked
//! locks/<uid>.<hash>                   shared by who uses the copy; its time is that of the last use
//! coming/<uid>.<hash>/                 a copy on its way in; one program has it
//! leaving/                             copies on their way out
//! names/<id>                           what a reference led to last, for who works offline
//! room                                 held by who makes room
//! ```
//!
//! A copy comes into `copies` in one step and is never changed there. It is made of hard
//! links where another version has the same file, so that a folder of which little changed
//! costs little; the files are read-only, as one that is written to would change in all
//! of them. All of that is only as safe as the disk is honest, so each use compares size,
//! time and inode of each file, and hashes what looks touched.

mod fill;
mod record;
mod room;
mod slot;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use artifactd_domain::ArtifactRef;

use self::{record::Record, slot::Slot};
use crate::{Artifact, Client, Error, GetOptions, IntoReference, Result};

/// Bytes that copies may take together, unless another bound is set.
const BYTES_MAX: u64 = 20 << 30;

/// Where copies are kept, and how many.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            folder: None,
            bytes_max: BYTES_MAX,
        }
    }
}

impl Settings {
    /// The folder that was set, else one below the user's caches.
    fn folder(&self) -> Result<PathBuf> {
        let of_user = || {
            let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let below_home = std::env::home_dir().map(|home| match cfg!(target_os = "macos") {
                true => home.join("Library/Caches"),
                false => home.join(".cache"),
            });
            let caches = set.filter(|folder| folder.is_absolute()).or(below_home)?;
            Some(caches.join("artifactd-client"))
        };
        let folder = self.folder.clone().or_else(of_user);
        folder.ok_or_else(|| Error::Input("no home folder to cache in: set a cache folder".to_owned()))
    }
}

/// How a copy is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// Asks no server: what the reference led to last is good enough. [`Error::NotCached`]
    /// when there is no good copy of it.
    pub offline: bool,
    /// Streams over which a large content or a folder comes: 4 unless set.
    pub streams: usize,
    /// Whether a key or stem may name a hidden artifact.
    pub include_hidden: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            offline: false,
            streams: 4,
            include_hidden: false,
        }
    }
}

/// A copy on this machine. It is not removed to make room before this is dropped.
#[derive(Debug)]
pub struct Cached {
    path: PathBuf,
    artifact: Artifact,
    moved_bytes: u64,
    /// Keeps the copy where it is.
    _lock: File,
}

impl Cached {
    /// The file or folder. It ends in the file name of the key. Whoever writes to it changes
    /// the cache: it is noticed and fetched again the next time.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is a copy of.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Bytes that travelled for it; none when the copy was fresh.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }
}

impl AsRef<Path> for Cached {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Client {
    /// A checked copy of an artifact on this machine, fetched if there is no fresh one.
    ///
    /// A fresh copy costs one small call. Of a folder of which another version is here only
    /// what differs travels. Programs that want the same copy at once fetch it once.
    ///
    /// ```no_run
    /// # async fn read(client: artifactd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let copy = client.cache("cells/pbmc68k.h5ad").await?;
    /// assert!(copy.path().ends_with("pbmc68k.h5ad"));
    /// let bytes = std::fs::read(copy.path())?;
    /// // Room is made for other copies only when this one is no longer held.
    /// drop(copy);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cache(&self, artifact: impl IntoReference) -> Result<Cached> {
        self.cache_with(artifact, CacheOptions::default()).await
    }

    /// The same with options.
    pub async fn cache_with(&self, artifact: impl IntoReference, options: CacheOptions) -> Result<Cached> {
        let reference = artifact.into_reference()?;
        let root = self.inner.cache.folder()?;
        let names = self.names(&reference);
        if options.offline {
            let not_cached = || Error::NotCached(named(&reference));
            let looked = blocking(move || offline(&root, &names)).await?;
            return looked.ok_or_else(not_cached);
        }
        let get = GetOptions {
            include_hidden: options.include_hidden,
        };
        let artifact = self.get_with(reference, get).await?;
        let slot = Slot::new(&root, &artifact)?;
        let uid_name = self.names(&artifact.uid.into());
        let (looked, looked_artifact) = (slot.clone(), artifact.clone());
        let fresh = blocking(move || {
            let lock = looked.lock(looked_artifact.size_bytes)?;
            let copy = fresh(&looked, &looked_artifact)?;
            for name in [names, uid_name] {
                record::note_name(&root, &name, &looked_artifact)?;
            }
            Ok((lock, copy))
        });
        let (lock, is_fresh) = fresh.await?;
        let moved_bytes = match is_fresh {
            true => 0,
            false => Box::pin(self.fill(&slot, &artifact, options.streams)).await?,
        };
        Ok(Cached {
            path: slot.path(),
            artifact,
            moved_bytes,
            _lock: lock,
        })
    }

    /// Under which names what a reference leads to is remembered.
    fn names(&self, reference: &ArtifactRef) -> String {
        let space = self.headers.get(&crate::line::SPACE);
        record::name_id(&[&self.inner.endpoint, space, &named(reference)])
    }
}

fn named(reference: &ArtifactRef) -> String {
    match reference {
        ArtifactRef::Uid(uid) => uid.to_string(),
        ArtifactRef::Stem(stem) => stem.to_string(),
        ArtifactRef::StemVersion { stem, version } => format!("{stem}@@{version}"),
        ArtifactRef::Key { storage, key, version } => {
            let storage = storage
                .as_ref()
                .map(|storage| format!("{storage}::"))
                .unwrap_or_default();
            let version = match version {
                artifactd_domain::VersionName::Latest => String::new(),
                artifactd_domain::VersionName::Label(label) => format!("@@{label}"),
            };
            format!("{storage}{key}{version}")
        }
    }
}

/// Whether the copy is there and as it was. One that was touched and is right is noted anew.
fn fresh(slot: &Slot, artifact: &Artifact) -> Result<bool> {
    let failed = |error| Error::file(&slot.copy(), error);
    let Some(mut record) = Record::read(&slot.copy()) else {
        return Ok(false);
    };
    if record.artifact.sha256 != artifact.sha256 || record.artifact.n_objects != artifact.n_objects {
        return Ok(false);
    }
    match record.check(&slot.path())? {
        record::Checked::AsItWas => Ok(true),
        record::Checked::Touched => {
            record.write(&slot.copy()).map_err(failed)?;
            Ok(true)
        }
        record::Checked::Wrong => Ok(false),
    }
}

/// What a reference led to last, if there is a good copy of it.
fn offline(root: &Path, name: &str) -> Result<Option<Cached>> {
    let Some(artifact) = record::named_before(root, name) else {
        return Ok(None);
    };
    let slot = Slot::new(root, &artifact)?;
    if !slot.copy().is_dir() {
        return Ok(None);
    }
    let lock = slot.lock(artifact.size_bytes)?;
    if !fresh(&slot, &artifact)? {
        return Ok(None);
    }
    Ok(Some(Cached {
        path: slot.path(),
        artifact,
        moved_bytes: 0,
        _lock: lock,
    }))
}

/// Does something with files on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    // A runtime that ends takes its threads with it.
    done.unwrap_or_else(|error| Err(Error::Input(format!("the cache cannot be read any more: {error}"))))
}

/// Makes the folder of the cache, which backups leave out.
fn make_root(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let tag = root.join("CACHEDIR.TAG");
    match File::options().write(true).create_new(true).open(tag) {
        Ok(mut file) => io::Write::write_all(&mut file, b"Signature: 8a477f597d28d172789f06886806bc55\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
