//! Fetches a copy, and lets it take its place.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    blocking, fresh,
    record::{Record, RecordedFile, look},
    room::{make_room, remove_all, set_aside},
    slot::{Slot, lock_of},
};
use crate::{
    Artifact, Client, Error, Result,
    fetch::{Base, IfExists, Part, Place, Source, Tree, Watch, fetch_folder, fetch_part, sync_folder},
};

impl Client {
    /// Fetches a copy that is not there or not right. Its lock is held. Answers the bytes
    /// that travelled.
    pub(super) async fn fill(&self, slot: &Slot, artifact: &Artifact, streams: usize) -> Result<u64> {
        let (root, bytes_max, needed) = (slot.root.clone(), self.inner.cache.bytes_max, artifact.size_bytes);
        let make_room = move |needed: u64| {
            let root = root.clone();
            blocking(move || make_room(&root, bytes_max, needed).map_err(|error| Error::file(&root, error)))
        };
        let coming = slot.coming();
        let made = coming.parent().map(fs::create_dir_all).unwrap_or(Ok(()));
        made.map_err(|error| Error::file(&coming, error))?;
        let (tree, waited) = Tree::open(coming).await?;
        let tree = Arc::new(tree);
        if waited {
            let (slot, artifact) = (slot.clone(), artifact.clone());
            // Whoever had it may have finished it.
            if blocking(move || fresh(&slot, &artifact)).await? {
                tree.discard();
                return Ok(0);
            }
        }
        make_room(needed).await?;
        let files = artifact.n_objects.unwrap_or(1);
        let watch = Watch::begin(&self.events, files, artifact.size_bytes);
        self.fetch_copy(slot, artifact, &tree, streams, &watch).await?;
        let (slot, artifact, done) = (slot.clone(), artifact.clone(), Arc::clone(&tree));
        blocking(move || {
            let failed = |error| Error::file(&slot.copy(), error);
            let record = describe(&slot, &artifact, &done)?;
            take_place(&slot, &record, &done).map_err(failed)
        })
        .await?;
        // Others may have come in meanwhile.
        make_room(0).await?;
        Ok(watch.finish())
    }

    /// Fetches the file or folder to where a tree has its files.
    async fn fetch_copy(
        &self,
        slot: &Slot,
        artifact: &Artifact,
        tree: &Arc<Tree>,
        streams: usize,
        watch: &Watch,
    ) -> Result<()> {
        if artifact.n_objects.is_some() {
            let owned = slot.clone();
            let (base, _held) = blocking(move || base(&owned)).await?;
            return Box::pin(fetch_folder(self, artifact, tree, Some(Arc::new(base)), streams, watch)).await;
        }
        let source = Source::of_artifact(artifact);
        let path = tree.part_of_all();
        let (part, _) = Part::open(path, artifact.sha256, artifact.size_bytes).await?;
        let part = Arc::new(part);
        fetch_part(self, &source, None, &part, streams, watch).await?;
        let target = tree.files().join(slot.name());
        blocking(move || {
            let failed = |error| Error::file(&target, error);
            let place = Place::new(&target, IfExists::Replace).map_err(failed)?;
            part.become_file(&place, false).map_err(failed)
        })
        .await?;
        watch.completed(1);
        Ok(())
    }
}

/// The files of the copies of a family that was used last and of this copy itself, and
/// what keeps them where they are.
fn base(slot: &Slot) -> Result<(Base, Vec<fs::File>)> {
    let (mut base, mut held) = (Base::default(), Vec::new());
    let copies = fs::read_dir(slot.family()).into_iter().flatten().flatten();
    let mut others: Vec<_> = copies
        .filter_map(|entry| {
            let id = entry.file_name().into_string().ok()?;
            let lock = fs::File::open(lock_of(&slot.root, &id)).ok()?;
            let used = lock.metadata().and_then(|lock| lock.modified()).ok()?;
            Some((id == slot.id(), used, lock, entry.path()))
        })
        .collect();
    others.sort_by_key(|(is_this, used, ..)| (*is_this, *used));
    for (_, _, lock, copy) in others.into_iter().rev().take(2) {
        if lock.try_lock_shared().is_err() {
            continue;
        }
        held.push(lock);
        let Some(record) = Record::read(&copy) else {
            continue;
        };
        // Their names differ where a version has another key.
        let Some(files) = content_of(&copy) else {
            continue;
        };
        for (file, path) in record.good_files(&files) {
            base.add(file.sha256, file.stamp.size_bytes, path);
        }
    }
    Ok((base, held))
}

/// The file or folder in a copy: all but its record.
fn content_of(copy: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(copy).ok()?.flatten();
    let names = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".artifactd"));
    names.map(|entry| entry.path()).next()
}

/// Makes all files read-only, and says how they look then.
fn describe(slot: &Slot, artifact: &Artifact, tree: &Tree) -> Result<Record> {
    let files = tree.files();
    let is_folder = artifact.n_objects.is_some();
    let content = if is_folder { files } else { files.join(slot.name()) };
    let failed = |error| Error::file(&content, error);
    let gone = || failed(io::ErrorKind::NotFound.into());
    let found = look(&content, is_folder)?.ok_or_else(gone)?;
    let digests = tree.take_digests();
    let described = found.into_iter().map(|(path, stamp)| {
        let place = if path.is_empty() {
            content.clone()
        } else {
            content.join(&path)
        };
        fs::set_permissions(&place, fs::Permissions::from_mode(0o444)).map_err(failed)?;
        let sha256 = if is_folder {
            digests.get(&path).copied()
        } else {
            Some(artifact.sha256)
        };
        Ok(RecordedFile {
            sha256: sha256.ok_or_else(gone)?,
            path,
            stamp,
        })
    });
    Ok(Record {
        artifact: artifact.clone(),
        files: described.collect::<Result<_>>()?,
    })
}

/// Puts the copy together, makes it durable, and lets it take its place in one step.
fn take_place(slot: &Slot, record: &Record, tree: &Tree) -> io::Result<()> {
    let made = tree.beside("copy");
    remove_all(&made)?;
    fs::create_dir(&made)?;
    if record.artifact.n_objects.is_some() {
        fs::rename(tree.files(), made.join(slot.name()))?;
        record.write(&made)?;
        tree.sync()?;
    } else {
        let file = made.join(slot.name());
        fs::rename(tree.files().join(slot.name()), &file)?;
        fs::File::open(&file)?.sync_all()?;
        record.write(&made)?;
        sync_folder(&made)?;
    }
    let copy = slot.copy();
    let family = slot.family();
    fs::create_dir_all(&family)?;
    match fs::rename(&made, &copy) {
        Ok(()) => {}
        // One that is not right gives way; who has its path finds the right one there.
        Err(_) => match renameat_with(CWD, &made, CWD, &copy, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(_) => {
                remove_all(&set_aside(&slot.root, &copy)?)?;
                fs::rename(&made, &copy)?;
            }
        },
    }
    sync_folder(&family)?;
    sync_folder(&slot.root.join("copies"))?;
    tree.discard();
    Ok(())
}
