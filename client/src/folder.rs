//! The files of a folder, each as an artifact of its own.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    Client, Error, Result, SaveOptions, Saved, Skipped,
    events::Event,
    walk::{Found, Walked, walk},
};

/// Files below this size are read into memory and saved together.
const SMALL_BYTES_END: u64 = 1024 * 1024;

/// Bytes of small files that are in memory at once.
const READ_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Small files that are saved together.
const READ_FILES_MAX: usize = 2_000;

/// What became of the files of a folder.
#[derive(Debug, Default)]
pub struct SavedFolder {
    /// A result for each regular file, by its path below the folder, in the order of paths.
    pub files: Vec<(PathBuf, Result<Saved>)>,
    /// What is no file, by its path below the folder.
    pub skipped: Vec<(PathBuf, Skipped)>,
}

impl Client {
    /// Saves every file of a folder as an artifact of its own under `<key>/<path>`.
    ///
    /// The key is that of the options, else the name of the folder; the other options
    /// go for every file. Files with the same content are all kept. `Input` when the
    /// options name one file: `revises`, `file_name`, `sha256`, `request_id`.
    pub async fn save_dir(&self, folder: impl AsRef<Path>, options: SaveOptions) -> Result<SavedFolder> {
        let folder = folder.as_ref().to_owned();
        let prefix = prefix(&folder, &options)?;
        let (found, skipped) = look(&folder).await?;
        let mut saved = SavedFolder {
            files: Vec::with_capacity(found.len()),
            skipped,
        };
        self.events.tell(Event::Begun {
            files: found.len() as u64,
            bytes: Some(found.iter().map(|file| file.size_bytes).sum()),
        });
        let each = self.unwatched();
        let mut group: Vec<Found> = Vec::new();
        let (mut bytes, mut done_bytes) = (0, 0);
        for file in found {
            if file.size_bytes >= SMALL_BYTES_END {
                let options = of_file(&options, &prefix, &file);
                let result = each.save_file(folder.join(&file.relative), options).await;
                saved.files.push((file.relative, result));
                done_bytes += file.size_bytes;
                self.tell(&saved, done_bytes);
                continue;
            }
            if group.len() == READ_FILES_MAX || bytes + file.size_bytes > READ_BYTES_MAX {
                each.save_group(&folder, &prefix, &options, std::mem::take(&mut group), &mut saved)
                    .await?;
                done_bytes += bytes;
                self.tell(&saved, done_bytes);
                bytes = 0;
            }
            bytes += file.size_bytes;
            group.push(file);
        }
        each.save_group(&folder, &prefix, &options, group, &mut saved).await?;
        let moved_bytes = done_bytes + bytes;
        self.tell(&saved, moved_bytes);
        self.events.tell(Event::Done { moved_bytes });
        saved.files.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(saved)
    }

    fn tell(&self, saved: &SavedFolder, bytes: u64) {
        let files = saved.files.len() as u64;
        self.events.tell(Event::Arrived { files, bytes });
    }

    async fn save_group(
        &self,
        folder: &Path,
        prefix: &str,
        options: &SaveOptions,
        group: Vec<Found>,
        saved: &mut SavedFolder,
    ) -> Result<()> {
        let paths: Vec<PathBuf> = group.iter().map(|file| folder.join(&file.relative)).collect();
        let read = tokio::task::spawn_blocking(move || {
            let read = |path: PathBuf| std::fs::read(&path).map_err(|error| Error::file(&path, error));
            paths.into_iter().map(read).collect::<Vec<_>>()
        });
        let read = read
            .await
            .map_err(|error| Error::file(folder, io::Error::other(error)))?;
        let (mut sent, mut files) = (Vec::new(), Vec::new());
        for (file, content) in group.into_iter().zip(read) {
            match content {
                Ok(content) => {
                    files.push((Bytes::from(content), of_file(options, prefix, &file)));
                    sent.push(file.relative);
                }
                Err(error) => saved.files.push((file.relative, Err(error))),
            }
        }
        let results = self.save_many(files).await?;
        saved.files.extend(sent.into_iter().zip(results));
        Ok(())
    }
}

/// Walks a folder, off the threads of the runtime.
pub(crate) async fn look(folder: &Path) -> Result<Walked> {
    let owned = folder.to_owned();
    let walked = tokio::task::spawn_blocking(move || walk(&owned)).await;
    // A runtime that ends takes its threads with it.
    walked.map_err(|error| Error::file(folder, io::Error::other(error)))?
}

fn prefix(folder: &Path, options: &SaveOptions) -> Result<String> {
    let of_one = [
        ("revises", options.revises.is_some()),
        ("file_name", options.file_name.is_some()),
        ("sha256", options.sha256.is_some()),
        ("request_id", options.request_id.is_some()),
    ];
    if let Some((name, _)) = of_one.iter().find(|(_, given)| *given) {
        return Err(Error::Input(format!("`{name}` belongs to one file, not to a folder")));
    }
    if let Some(key) = &options.key {
        return Ok(key.trim_end_matches('/').to_owned());
    }
    name_of(folder)
}

/// The name of a folder, also where its path ends with none (`.`).
pub(crate) fn name_of(folder: &Path) -> Result<String> {
    let whole = folder.canonicalize().map_err(|error| Error::file(folder, error))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::Input(format!("{} has no name that can be a key", folder.display())))?;
    Ok(name.to_owned())
}

fn of_file(options: &SaveOptions, prefix: &str, file: &Found) -> SaveOptions {
    SaveOptions {
        key: Some(format!("{prefix}/{}", file.path)),
        ..options.clone()
    }
}
