//! A storage in a local folder.
//!
//! Bytes go to a staging file in the same file system, which is fsynced, renamed
//! without replacing anything, and made permanent by an fsync of its folder:
//! after that, and only then, the object exists. Larger content does this on
//! other threads while more comes in.
//!
//! Small content is written under its own name at once, on the thread that has it:
//! file and name are one commit of the file system's journal then, and after a
//! rename they would be two. A crash before the last fsync leaves an object that
//! may lack bytes and that no row names: garbage, like a staging file.
//!
//! A failed fsync is final. Linux drops the pages that could not be written and
//! reports success the next time, so the staging file is thrown away.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use artifactd_domain::Suffix;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    FinishedObject, ObjectName, ObjectWriter, PendingObject, StorageError, StoredObject, Unfinished,
    error::Result,
    gather::{self, Gathered},
    local_parts::UPLOADS_FOLDER,
    name::{FOLDERS, NOTE, OBJECTS_FOLDER, SYSTEM_FOLDER},
};
use crate::{blocking::in_place, fault};

const STAGING_FOLDER: &str = "staging";

/// Longest time between making a staging file and locking it.
const LOCK_DELAY_MAX: Duration = Duration::from_millis(100);

/// Folders of objects that are listed at once.
const SHARDS_AT_ONCE: usize = 16;

/// Bytes that are gathered before a visit to the blocking pool.
const WRITE_BYTES: usize = 1024 * 1024;

/// Bytes after which the disk is set to work while more are coming in.
const WRITE_BACK_BYTES: u64 = 32 * 1024 * 1024;

/// Writes objects below one folder.
#[derive(Debug, Clone)]
pub(crate) struct LocalWriter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    system_path: PathBuf,
    system: OwnedFd,
    staged: AtomicU64,
}

impl LocalWriter {
    /// Opens the folder at `root`, making it and its parts durable where they are missing.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let system_path = root.join(SYSTEM_FOLDER);
        make_durable_folder(&system_path.join(STAGING_FOLDER))?;
        make_object_folders(&system_path)?;
        let system = rustix::fs::open(&system_path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| StorageError::from_write("open the storage folder", error))?;
        remove_abandoned(&system_path.join(STAGING_FOLDER))?;
        Ok(Self {
            inner: Arc::new(Inner {
                system_path,
                system,
                staged: AtomicU64::new(0),
            }),
        })
    }
}

impl LocalWriter {
    /// Makes a file, by its path below the server's folder, an object.
    pub(super) fn publish_file(&self, file: File, relative: String, name: &ObjectName) -> Result<()> {
        let staged = Staged { file, name: relative };
        self.inner.publish(&staged, name)
    }

    /// A new file of this process, and its path.
    pub(super) fn stage_file(&self, name: &ObjectName) -> Result<(File, PathBuf)> {
        let Staged { file, name } = self.inner.stage(name)?;
        Ok((file, self.inner.system_path.join(name)))
    }
}

/// Makes the folders of objects that are missing, and their names permanent.
///
/// The names are synced at every start: a start that was killed may have made
/// folders that nobody synced, and objects in them would go with them.
fn make_object_folders(system_path: &Path) -> Result<()> {
    for folder in FOLDERS {
        make_shards(system_path, &system_path.join(folder))?;
    }
    sync_folder(system_path)
}

fn make_shards(system_path: &Path, objects: &Path) -> Result<()> {
    let staging_device = device(&system_path.join(STAGING_FOLDER))?;
    for shard in 0..=u8::MAX {
        let folder = objects.join(format!("{shard:02x}"));
        if !folder.is_dir() {
            make_folder(&folder)?;
        }
        if device(&folder)? != staging_device {
            let source = io::Error::other(format!("{} is on another file system than staging", folder.display()));
            return Err(StorageError::Io {
                context: "open the storage folder",
                source,
            });
        }
    }
    sync_folder(objects)
}

fn device(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path);
    metadata
        .map(|metadata| metadata.dev())
        .map_err(|error| StorageError::from_write("open the storage folder", error))
}

/// Removes staging files whose process has ended: a living one holds their lock.
///
/// A file that was made this moment may not be locked yet, so it is left alone.
fn remove_abandoned(staging: &Path) -> Result<()> {
    for entry in list_files(staging)? {
        let Ok(file) = File::options().write(true).open(entry.path()) else {
            continue;
        };
        let age = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map(|at| at.elapsed().unwrap_or_default());
        let old = age.is_ok_and(|age| age > LOCK_DELAY_MAX);
        if old && !is_owned(&file) {
            std::fs::remove_file(entry.path())
                .map_err(|error| StorageError::from_write("remove an abandoned file", error))?;
        }
    }
    Ok(())
}

/// Whether a living process writes to a staging file: it holds the lock.
fn is_owned(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| StorageError::from_write("make a storage folder", error))
}

/// Makes a folder and its missing ancestors, and their names permanent.
pub(super) fn make_durable_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make_durable_folder(parent)?;
    make_folder(path)?;
    sync_folder(parent)
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StorageError::from_write("make a storage folder durable", error))
}

impl Inner {
    fn stage(&self, name: &ObjectName) -> Result<Staged> {
        // The counter tells apart two tries at one name in one process.
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let staging_name = format!("{STAGING_FOLDER}/{}.{number:x}", name.file_name());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.system, &staging_name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StorageError::from_write("make a staging file", error))?;
        // Tells other processes that this file has an owner. File systems without locks keep what is abandoned.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        fault::point("local.staging_created");
        Ok(Staged {
            file: File::from(file),
            name: staging_name,
        })
    }

    /// Writes all of a small object. Nothing is left of one that could not be made durable.
    fn write_whole(&self, name: &ObjectName, parts: &[Bytes]) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.system, name.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let file = match made {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::EXIST) => {
                return Err(StorageError::Exists {
                    object: name.to_string(),
                });
            }
            Err(error) => return Err(StorageError::from_write("name an object", error)),
        };
        fault::point("local.created");
        let written = write_at(&file, parts, 0)
            .and_then(|()| sync_file(&file))
            .and_then(|()| self.sync_folder_of(name));
        if written.is_err() {
            // One that cannot be removed is garbage that `verify` lists.
            let _ = unlink(self, name.as_str());
        }
        fault::point("local.written");
        written
    }

    fn unstage(&self, staged: &Staged) {
        // A file that cannot be removed is listed as unfinished.
        let _ = rustix::fs::unlinkat(&self.system, &staged.name, AtFlags::empty());
    }

    /// The last steps, in the order that makes a crash between any two harmless.
    fn publish(&self, staged: &Staged, name: &ObjectName) -> Result<()> {
        sync_file(&staged.file)?;
        self.rename(staged, name)?;
        fault::point("local.after_rename");
        self.sync_folder_of(name)?;
        fault::point("local.after_folder_fsync");
        Ok(())
    }

    fn rename(&self, staged: &Staged, name: &ObjectName) -> Result<()> {
        let renamed = rustix::fs::renameat_with(
            &self.system,
            &staged.name,
            &self.system,
            name.as_str(),
            RenameFlags::NOREPLACE,
        );
        match renamed {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Err(StorageError::Exists {
                object: name.to_string(),
            }),
            Err(rustix::io::Errno::INVAL) => self.link(staged, name),
            Err(error) => Err(StorageError::from_write("name an object", error)),
        }
    }

    /// The same for file systems that cannot rename without replacing.
    fn link(&self, staged: &Staged, name: &ObjectName) -> Result<()> {
        match rustix::fs::linkat(
            &self.system,
            &staged.name,
            &self.system,
            name.as_str(),
            AtFlags::empty(),
        ) {
            Ok(()) => {
                self.unstage(staged);
                Ok(())
            }
            Err(rustix::io::Errno::EXIST) => Err(StorageError::Exists {
                object: name.to_string(),
            }),
            Err(error) => Err(StorageError::from_write("name an object", error)),
        }
    }

    fn sync_folder_of(&self, name: &ObjectName) -> Result<()> {
        let folder = rustix::fs::openat(
            &self.system,
            name.folder(),
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        folder
            .and_then(rustix::fs::fsync)
            .map_err(|error| StorageError::from_write("make an object's name durable", error))
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    fn begin(&self, name: ObjectName) -> Box<dyn PendingObject> {
        Box::new(PendingLocal {
            inner: Arc::clone(&self.inner),
            name,
            staged: None,
            waiting: Gathered::default(),
            handed_bytes: 0,
            synced_bytes: 0,
            syncing: None,
        })
    }

    async fn list_unfinished(&self) -> Result<Vec<Unfinished>> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let staged = list_files(&inner.system_path.join(STAGING_FOLDER))?;
            let staged = staged.iter().filter(|entry| !is_probe(entry)).map(staging_file);
            let parted = list_files(&inner.system_path.join(UPLOADS_FOLDER))?;
            let parted = parted.iter().filter_map(file_of_parts);
            staged
                .chain(parted)
                .filter(|entry: &io::Result<_>| !matches!(entry, Err(error) if error.kind() == io::ErrorKind::NotFound))
                .collect::<io::Result<Vec<_>>>()
                .map_err(|source| StorageError::Io {
                    context: "list staging files",
                    source,
                })
        })
        .await
    }

    async fn abort_unfinished(&self, unfinished: &Unfinished) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let name = match unfinished.name.parse::<ObjectName>() {
            Ok(object) => format!("{UPLOADS_FOLDER}/{}", object.file_name()),
            Err(_) => format!("{STAGING_FOLDER}/{}", unfinished.name),
        };
        blocking(move || unlink(&inner, &name)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let name = name.to_string();
        blocking(move || unlink(&inner, &name)).await
    }

    fn list_objects(&self) -> BoxStream<'static, Result<Vec<StoredObject>>> {
        let inner = Arc::clone(&self.inner);
        let shards = |folder| (0..=u8::MAX).map(move |shard| format!("{folder}/{shard:02x}"));
        let shards: Vec<String> = FOLDERS.into_iter().flat_map(shards).collect();
        let some: Vec<Vec<String>> = shards.chunks(SHARDS_AT_ONCE).map(<[_]>::to_vec).collect();
        let listed = futures::stream::iter(some).then(move |shards| {
            let inner = Arc::clone(&inner);
            blocking(move || list_shards(&inner.system_path, &shards))
        });
        listed.boxed()
    }

    async fn note(&self) -> Result<Option<String>> {
        let path = self.inner.system_path.join(NOTE);
        blocking(move || match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|source| StorageError::Io {
                context: "read a storage's note",
                source,
            }),
        })
        .await
    }

    async fn keep_note(&self, words: String) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let failed = |error: io::Error| StorageError::from_write("keep a storage's note", error);
            let staged = inner.stage(&ObjectName::new(crate::registry::random(), &Suffix::default()))?;
            let kept = staged
                .file
                .write_all_at(words.as_bytes(), 0)
                .and_then(|()| staged.file.sync_all())
                .and_then(|()| Ok(rustix::fs::renameat(&inner.system, &staged.name, &inner.system, NOTE)?));
            if kept.is_err() {
                inner.unstage(&staged);
            }
            kept.map_err(failed)?;
            sync_folder(&inner.system_path)
        })
        .await
    }

    async fn probe(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let staged = inner.stage(&probe())?;
            let result = staged
                .file
                .write_all_at(b"probe", 0)
                .and_then(|()| staged.file.sync_all());
            inner.unstage(&staged);
            result.map_err(|error| StorageError::from_write("write a probe", error))
        })
        .await
    }
}

fn list_files(folder: &Path) -> Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect).map_err(|source| StorageError::Io {
            context: "list a storage folder",
            source,
        }),
    }
}

/// The objects in some folders, in the order of their names.
fn list_shards(system: &Path, shards: &[String]) -> Result<Vec<StoredObject>> {
    let mut objects = Vec::new();
    for shard in shards {
        let files = list_files(&system.join(shard))?;
        objects.extend(files.iter().filter_map(|file| stored_object(shard, file)));
    }
    objects.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(objects)
}

/// What a storage is probed with; not garbage, as it goes at once.
fn probe() -> ObjectName {
    ObjectName::new([0; 16], &Suffix::default())
}

fn is_probe(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.to_string_lossy().starts_with(probe().file_name())
}

fn staging_file(entry: &std::fs::DirEntry) -> io::Result<Unfinished> {
    let metadata = entry.metadata()?;
    Ok(Unfinished {
        name: entry.file_name().to_string_lossy().into_owned(),
        store_upload_id: None,
        since: metadata.modified()?,
        size_bytes: Some(metadata.len()),
        is_owned: is_owned(&File::open(entry.path())?),
    })
}

/// The parts of an object. Whether somebody needs them says its upload, not a lock, which
/// to try would turn a writer away.
fn file_of_parts(entry: &std::fs::DirEntry) -> Option<io::Result<Unfinished>> {
    let file = entry.file_name();
    let file = file.to_str()?;
    let name: ObjectName = format!("{OBJECTS_FOLDER}/{}/{file}", file.get(..2)?).parse().ok()?;
    let metadata = entry.metadata();
    Some(metadata.and_then(|metadata| {
        Ok(Unfinished {
            name: name.to_string(),
            store_upload_id: None,
            since: metadata.modified()?,
            size_bytes: Some(metadata.len()),
            is_owned: false,
        })
    }))
}

fn stored_object(folder: &str, entry: &std::fs::DirEntry) -> Option<StoredObject> {
    let name = format!("{folder}/{}", entry.file_name().to_str()?).parse().ok()?;
    let metadata = entry.metadata().ok()?;
    Some(StoredObject {
        name,
        size_bytes: metadata.len(),
        modified: metadata.modified().ok()?,
    })
}

fn unlink(inner: &Inner, name: &str) -> Result<()> {
    match rustix::fs::unlinkat(&inner.system, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(StorageError::from_write("remove a file", error)),
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.expect("storage work does not panic")
}

/// A staging file; its name is relative to the server's folder.
#[derive(Debug)]
struct Staged {
    file: File,
    name: String,
}

/// An object on its way into a folder.
///
/// What was gathered is written where it was gathered: the kernel copies it faster than
/// another thread is woken, and at most [`WRITE_BYTES`] and one part are in memory.
struct PendingLocal {
    inner: Arc<Inner>,
    name: ObjectName,
    staged: Option<Arc<Staged>>,
    waiting: Gathered,
    handed_bytes: u64,
    synced_bytes: u64,
    syncing: Option<JoinHandle<Result<()>>>,
}

impl PendingLocal {
    async fn write_waiting(&mut self) -> Result<()> {
        let staged = self.staged().await?;
        let offset = self.handed_bytes;
        self.handed_bytes += self.waiting.bytes() as u64;
        let parts = self.waiting.take();
        in_place(|| write_at(&staged.file, &parts, offset))?;
        self.start_write_back().await
    }

    async fn staged(&mut self) -> Result<Arc<Staged>> {
        if let Some(staged) = &self.staged {
            return Ok(Arc::clone(staged));
        }
        let (inner, name) = (Arc::clone(&self.inner), self.name.clone());
        let staged = Arc::new(blocking(move || inner.stage(&name)).await?);
        self.staged = Some(Arc::clone(&staged));
        Ok(staged)
    }

    /// Lets the disk write while more bytes come in, so that the last fsync is short.
    async fn start_write_back(&mut self) -> Result<()> {
        if self.handed_bytes - self.synced_bytes < WRITE_BACK_BYTES {
            return Ok(());
        }
        join(&mut self.syncing).await?;
        self.synced_bytes = self.handed_bytes;
        let staged = self.staged().await?;
        self.syncing = Some(spawn_blocking(move || {
            staged
                .file
                .sync_data()
                .map_err(|error| StorageError::from_write("make a file durable", error))
        }));
        Ok(())
    }
}

async fn join(task: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match task.take() {
        Some(task) => task.await.expect("storage work does not panic"),
        None => Ok(()),
    }
}

fn sync_file(file: &File) -> Result<()> {
    fault::point("local.before_fsync");
    file.sync_all()
        .map_err(|error| StorageError::from_write("make a file durable", error))?;
    fault::point("local.after_fsync");
    Ok(())
}

fn write_at(file: &File, parts: &[Bytes], offset: u64) -> Result<()> {
    let written = gather::write_all_at(file, parts, offset);
    fault::point("local.mid_write");
    written
        .map(|_| ())
        .map_err(|error| StorageError::from_write("write a file", error))
}

#[async_trait]
impl PendingObject for PendingLocal {
    async fn put_part(&mut self, data: Bytes) -> Result<()> {
        self.waiting.push(data);
        if self.waiting.bytes() >= WRITE_BYTES {
            self.write_waiting().await
        } else {
            Ok(())
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<FinishedObject> {
        join(&mut self.syncing).await?;
        let (inner, name) = (Arc::clone(&self.inner), self.name.clone());
        let (offset, staged) = (self.handed_bytes, self.staged.take());
        let size_bytes = offset + self.waiting.bytes() as u64;
        let parts = self.waiting.take();
        let finished = FinishedObject {
            name: self.name.clone(),
            size_bytes,
            store_etag: None,
        };
        let Some(staged) = staged else {
            // Waking another thread would cost as much again as writing a few bytes.
            return in_place(|| inner.write_whole(&name, &parts)).map(|()| finished);
        };
        let work = move || {
            let published = write_at(&staged.file, &parts, offset).and_then(|()| inner.publish(&staged, &name));
            if published.is_err() {
                inner.unstage(&staged);
            }
            published
        };
        blocking(work).await.map(|()| finished)
    }

    async fn abort(mut self: Box<Self>) {
        // The outcome of writes that are thrown away does not matter.
        let _ = join(&mut self.syncing).await;
    }
}

impl Drop for PendingLocal {
    fn drop(&mut self) {
        if let Some(staged) = &self.staged {
            self.inner.unstage(staged);
        }
    }
}
