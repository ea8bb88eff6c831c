//! A whole folder on its way from the server.
//!
//! It is written beside its target by a thread of its own, which checks every file
//! and at the end the digest of the whole, and appears under its name complete or not
//! at all. Files are not forced to the disk one by one, which would take longer than
//! all the rest: a machine that loses its power soon after may lose some.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use artifactd_domain::{
    Sha256Hasher,
    manifest::{ManifestDigest, ManifestRefused, Member, Paging},
};
use futures::TryStreamExt;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Artifact, Client, Error, IntoReference, MemberPiece, Members, ReadMembersOptions, Result, convert,
    download::CHUNKS_WAITING,
};

impl Client {
    /// Downloads a folder to `target`, which must not exist and appears whole and
    /// checked, or not at all. A cut stream goes on where it stopped.
    pub async fn download_folder(&self, artifact: impl IntoReference, target: impl AsRef<Path>) -> Result<Artifact> {
        let (reference, target) = (artifact.into_reference()?, target.as_ref().to_owned());
        let _turn = self
            .inner
            .content_turns
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let members = self.read_members(reference, ReadMembersOptions::default()).await?;
        let artifact = members.artifact().clone();
        let mut writing = Writing::start(target, artifact.clone());
        let fetched = self.fetch(members, &artifact, &mut writing).await;
        writing.finish(fetched).await?;
        Ok(artifact)
    }

    /// Hands all pieces to the thread that writes them, or until it has stopped.
    async fn fetch(&self, mut members: Members, artifact: &Artifact, writing: &mut Writing) -> Result<()> {
        let (mut tries, mut reached) = (0, None::<(Arc<Member>, u64)>);
        loop {
            match members.try_next().await {
                Ok(Some(piece)) => {
                    // Only a file that had come to its end goes on with nothing.
                    let has_come = |(member, _): &(Arc<Member>, u64)| member.path == piece.member.path;
                    if piece.bytes.is_empty() && reached.as_ref().is_some_and(has_come) {
                        continue;
                    }
                    tries = 0;
                    reached = Some((Arc::clone(&piece.member), piece.offset + piece.bytes.len() as u64));
                    if !writing.write(Write::Piece(piece)).await {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    tries += 1;
                    if !self.inner.retry.wait(tries, &error).await {
                        return Err(error);
                    }
                    let start = reached.as_ref();
                    let options = ReadMembersOptions {
                        start: start.map(|(member, offset)| (member.path.to_string(), *offset)),
                        if_match: Some(artifact.content_etag.clone()),
                        include_hidden: true,
                        ..ReadMembersOptions::default()
                    };
                    members = self.read_members(artifact.uid, options).await?;
                }
            }
        }
    }
}

/// What the writing thread does next.
enum Write {
    Piece(MemberPiece),
    /// All has come.
    Finish,
}

/// A thread that writes and checks files in order. What it wrote goes when it is
/// left without a last word.
struct Writing {
    orders: mpsc::Sender<Write>,
    done: JoinHandle<Result<()>>,
}

impl Writing {
    fn start(target: PathBuf, artifact: Artifact) -> Self {
        let (orders, mut waiting) = mpsc::channel(CHUNKS_WAITING);
        let done = tokio::task::spawn_blocking(move || {
            let mut part = PartFolder::beside(&target, &artifact)?;
            while let Some(order) = waiting.blocking_recv() {
                match order {
                    Write::Piece(piece) => part.take(&piece)?,
                    Write::Finish => return part.keep(&target, &artifact),
                }
            }
            Ok(())
        });
        Self { orders, done }
    }

    /// False when the thread has stopped; its outcome says why.
    async fn write(&mut self, order: Write) -> bool {
        self.orders.send(order).await.is_ok()
    }

    /// Keeps what was written if all was fetched. Waits until nothing is left otherwise.
    async fn finish(mut self, fetched: Result<()>) -> Result<()> {
        if fetched.is_ok() {
            self.write(Write::Finish).await;
        }
        drop(self.orders);
        let written = self.done.await.expect("writing does not panic");
        fetched.and(written)
    }
}

/// A folder under another name, removed unless it is kept.
struct PartFolder {
    path: PathBuf,
    uid: String,
    open: Option<Open>,
    paging: Paging,
    /// The folder that was made last, in which most often the next file is as well.
    made: PathBuf,
    is_kept: bool,
}

/// A file that is being written.
struct Open {
    file: File,
    hasher: Sha256Hasher,
    written: u64,
}

impl PartFolder {
    fn beside(target: &Path, artifact: &Artifact) -> Result<Self> {
        let failed = |error| Error::file(target, error);
        require_absent(target).map_err(failed)?;
        let name = target
            .file_name()
            .ok_or_else(|| failed(io::Error::other("a download needs a folder name")))?;
        let name = format!(".{}.{}.part", name.to_string_lossy(), convert::draw_request_id());
        let path = target.with_file_name(name);
        fs::create_dir(&path).map_err(failed)?;
        Ok(Self {
            made: path.clone(),
            path,
            uid: artifact.uid.to_string(),
            open: None,
            paging: Paging::new(),
            is_kept: false,
        })
    }

    fn damaged(&self, what: String) -> Error {
        let uid = self.uid.clone();
        Error::Damaged { uid, what }
    }

    fn take(&mut self, piece: &MemberPiece) -> Result<()> {
        let member = &piece.member;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create(member)?,
        };
        if open.written != piece.offset {
            return Err(self.damaged(format!("a piece of `{}` is missing or came twice", member.path)));
        }
        let failed = |error| Error::file(member.path.as_str().as_ref(), error);
        open.file.write_all(&piece.bytes).map_err(failed)?;
        open.hasher.update(&piece.bytes);
        open.written += piece.bytes.len() as u64;
        if !piece.is_last {
            self.open = Some(open);
            return Ok(());
        }
        let actual = open.hasher.finish();
        if actual != member.sha256 {
            let (path, expected) = (&member.path, member.sha256);
            return Err(self.damaged(format!("sha256 of `{path}` is {actual}, expected {expected}")));
        }
        let paged = self.paging.push(Member::clone(member));
        paged.map(drop).map_err(|refused| self.damaged(refused.to_string()))
    }

    /// Makes the file of a member. Its path was parsed, so it leads nowhere else, and
    /// nothing but what this made is in the folder, so no link does.
    fn create(&mut self, member: &Member) -> Result<Open> {
        let path = self.path.join(member.path.as_str());
        let failed = |error| Error::file(&path, error);
        let folder = path.parent().unwrap_or(&self.path);
        if folder != self.made {
            fs::create_dir_all(folder).map_err(failed)?;
            self.made = folder.to_owned();
        }
        let file = File::options().write(true).create_new(true).open(&path);
        Ok(Open {
            file: file.map_err(failed)?,
            hasher: Sha256Hasher::default(),
            written: 0,
        })
    }

    fn keep(mut self, target: &Path, artifact: &Artifact) -> Result<()> {
        let expected = artifact.n_objects.map(|n_objects| ManifestDigest {
            sha256: artifact.sha256,
            size_bytes: artifact.size_bytes,
            n_objects,
        });
        let actual = std::mem::take(&mut self.paging).finish();
        let refused = |refused: ManifestRefused| self.damaged(refused.to_string());
        if Some(actual.map_err(refused)?.1) != expected || self.open.is_some() {
            return Err(self.damaged("files are missing or too many".to_owned()));
        }
        let failed = |error| Error::file(target, error);
        require_absent(target).map_err(failed)?;
        fs::rename(&self.path, target).map_err(failed)?;
        self.is_kept = true;
        Ok(())
    }
}

/// A rename would silently take the place of an empty folder.
fn require_absent(target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Drop for PartFolder {
    fn drop(&mut self) {
        if !self.is_kept {
            // A part that cannot be removed has a name that says what it is.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
