//! A folder as one artifact, or a change of one.
//!
//! Every file is hashed here, the server says which contents it does not have, and
//! only these travel. It is all or nothing: a file that cannot be read, or that the
//! server refuses, ends the call. After a cut the conversation begins again under the
//! same request id; what came before it is not wanted again.

mod conversation;
mod group;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use artifactd_domain::{ArtifactRef, Uid, manifest::MemberPath};
use artifactd_proto::v1 as pb;
use bytes::Bytes;

use self::{
    conversation::{Plan, Watch},
    group::{Item, Source},
};
use crate::{
    Client, Error, Result, SaveOptions, Saved, Skipped, convert,
    events::Event,
    folder::{look, name_of},
};

/// A folder that was saved as one artifact.
#[derive(Debug)]
pub struct SavedAsFolder {
    /// What became of it.
    pub saved: Saved,
    /// What is no file and was left out, by its path below the folder.
    pub skipped: Vec<(PathBuf, Skipped)>,
    /// Bytes of contents that the server did not have and took.
    pub sent_bytes: u64,
}

/// How far the save of a folder has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderProgress {
    /// Files, or edits, of the whole call.
    pub files: u64,
    /// Bytes of all files when the call began.
    pub bytes: u64,
    /// Files or edits that the server knows of; they are told again after a cut.
    pub listed_files: u64,
    /// Files that the server did not have and took.
    pub sent_files: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
}

/// A change of one file of a folder.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FolderEdit {
    /// The folder has this file, also in place of another one.
    PutFile {
        /// Path in the folder.
        path: String,
        /// The file here.
        from: PathBuf,
    },
    /// The folder has a file of these bytes, also in place of another one.
    PutBytes {
        /// Path in the folder.
        path: String,
        /// The content.
        content: Bytes,
    },
    /// The folder has nothing there any more.
    Remove {
        /// Path in the folder.
        path: String,
    },
    /// The folder has a file that some artifact of the storage has.
    Copy {
        /// Path in the folder.
        path: String,
        /// The artifact that has it.
        artifact: ArtifactRef,
        /// Path of the file in it; unset when it is a file itself.
        member: Option<String>,
    },
}

impl Client {
    /// Saves a folder as one artifact; contents that the server has do not travel.
    ///
    /// The key is that of the options, else the name of the folder, unless they name
    /// a family. Links and empty folders are left out and reported.
    pub async fn save_folder(&self, folder: impl AsRef<Path>, options: SaveOptions) -> Result<SavedAsFolder> {
        self.save_folder_with(folder, options, |_| {}).await
    }

    /// Saves a folder as one artifact, and tells how far it has come whenever the
    /// server has answered.
    pub async fn save_folder_with(
        &self,
        folder: impl AsRef<Path>,
        mut options: SaveOptions,
        progress: impl Fn(FolderProgress) + Send + Sync,
    ) -> Result<SavedAsFolder> {
        let folder = folder.as_ref().to_owned();
        if options.key.is_none() && options.revises.is_none() {
            options.key = Some(name_of(&folder)?);
        }
        let (found, skipped) = look(&folder).await?;
        let bytes = found.iter().map(|file| file.size_bytes).sum();
        let items = found.into_iter().map(|file| {
            Ok(Item {
                path: member_path(&file.path)?,
                source: Source::File(folder.join(file.relative)),
            })
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        let (saved, sent_bytes) = self.save_items(None, (items, bytes), options, &progress).await?;
        Ok(SavedAsFolder {
            saved,
            skipped,
            sent_bytes,
        })
    }

    /// Saves a change of a folder; all that is not named stays as it is in `base`.
    ///
    /// The result is the next version of the family of `base`, unless the options say
    /// otherwise. Edits may come in any order, one for each path.
    pub async fn change_folder(
        &self,
        base: Uid,
        edits: Vec<FolderEdit>,
        options: SaveOptions,
    ) -> Result<SavedAsFolder> {
        let mut items = edits.into_iter().map(item).collect::<Result<Vec<_>>>()?;
        items.sort_by(|left, right| left.path.cmp(&right.path));
        if let Some([twice, _]) = items.array_windows().find(|[one, other]| one.path == other.path) {
            return Err(Error::Input(format!("`{}` is changed twice", twice.path)));
        }
        let (saved, sent_bytes) = self.save_items(Some(base), (items, 0), options, &|_| {}).await?;
        Ok(SavedAsFolder {
            saved,
            skipped: Vec::new(),
            sent_bytes,
        })
    }

    async fn save_items(
        &self,
        base: Option<Uid>,
        (items, bytes): (Vec<Item>, u64),
        options: SaveOptions,
        progress: &(dyn Fn(FolderProgress) + Send + Sync),
    ) -> Result<(Saved, u64)> {
        let header = pb::SaveFolderHeader {
            allow_case_collisions: options.allow_case_collisions,
            save: Some(convert::save_header(options)),
            base_uid: base.map(|uid| uid.to_string()),
        };
        let plan = Plan {
            header,
            bytes,
            items: items.into(),
        };
        self.events.tell(Event::Begun {
            files: plan.items.len() as u64,
            // Of a change only what is put can travel, and nobody looked at it yet.
            bytes: plan.header.base_uid.is_none().then_some(bytes),
        });
        let watch = Watch {
            progress,
            events: &self.events,
            sent_files: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        };
        let call = || async {
            let _turn = self
                .inner
                .content_turns
                .acquire()
                .await
                .expect("the semaphore is never closed");
            Box::pin(conversation::hold(self, &plan, &watch)).await
        };
        let saved = self.inner.retry.run("SaveFolder", call).await?;
        let sent_bytes = watch.sent_bytes.load(Ordering::Relaxed);
        self.events.tell(Event::Done {
            moved_bytes: sent_bytes,
        });
        Ok((convert::saved(saved)?, sent_bytes))
    }
}

fn item(edit: FolderEdit) -> Result<Item> {
    let (path, source) = match edit {
        FolderEdit::PutFile { path, from } => (path, Source::File(from)),
        FolderEdit::PutBytes { path, content } => (path, Source::Bytes(content)),
        FolderEdit::Remove { path } => (path, Source::Nothing),
        FolderEdit::Copy { path, artifact, member } => {
            let artifact = Some(convert::reference(artifact));
            (path, Source::Copy(pb::FolderCopy { artifact, path: member }))
        }
    };
    let path = member_path(&path)?;
    Ok(Item { path, source })
}

fn member_path(path: &str) -> Result<MemberPath> {
    path.parse()
        .map_err(|error| Error::Input(format!("`{path}` cannot be a path in a folder: {error}")))
}
