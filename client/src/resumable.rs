//! Large files that arrive whatever happens on the way.
//!
//! A file goes up in parts, over several streams at once. What the server has
//! acknowledged is durable there, and is not sent again: not after a cut, and not by
//! another program that goes on with the same upload. The file is read once more here
//! while its parts travel: what is durable is compared with it, and all of it is hashed,
//! so that an upload of two different states of it never becomes an artifact.

mod calls;
mod file;
mod finishing;
mod part_stream;
mod parts;
mod patience;
mod reading;
mod sending;
mod watch;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use artifactd_proto::v1 as pb;

use self::{
    file::LocalFile,
    finishing::{Finished, Finishing},
    patience::Patience,
};
pub(crate) use self::{
    finishing::{COMPLETION_PAUSE, COMPLETION_WAIT},
    parts::durable_bytes,
};
use crate::{Client, Result, SaveOptions, Saved, convert};

/// How long an upload waits for a server that does not come back, unless another time is set.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a file is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadOptions {
    /// Parts that travel at once, each over a stream of its own: 4 unless set, at most 16.
    /// After a cut, each stream may send one part again.
    pub streams: usize,
    /// Wish for the bytes of a part; the server's choice when 0.
    pub part_bytes: u64,
    /// Sends the parts one after another. It is slower over a long line; but at most one
    /// part is sent again, and object stores need not be read back to be hashed.
    pub in_order: bool,
    /// How long a part, or a call, is tried again while the server or the line does not come
    /// back; a minute unless set. A client that may not try again does not.
    pub patience: Duration,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            streams: 4,
            part_bytes: 0,
            in_order: false,
            patience: PATIENCE,
        }
    }
}

/// How far an upload is, as the one who sends it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadProgress {
    /// The upload, to go on with it later.
    pub uid: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes that are durable, also those that came before this call. They never become fewer.
    pub durable_bytes: u64,
    /// Bytes that this call made durable.
    pub sent_bytes: u64,
    /// Bytes that the server has hashed, once all are durable.
    pub hashed_bytes: u64,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadState {
    /// It takes parts.
    Open,
    /// Its bytes are put together and hashed.
    Finalizing,
    /// Its bytes are whole, and no artifact yet: resume it, or abort it.
    Complete,
    /// It is an artifact.
    Saved,
}

/// An upload as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// Its id.
    pub uid: String,
    /// How far it is.
    pub state: UploadState,
    /// Key that the artifact shall have.
    pub key: Option<String>,
    /// Description that the artifact shall have.
    pub description: Option<String>,
    /// Name of the file.
    pub file_name: Option<String>,
    /// Storage into which it goes.
    pub storage: String,
    /// Whether its parts come one after another.
    pub in_order: bool,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// Bytes of the content, where they were declared.
    pub size_bytes: Option<u64>,
    /// Bytes that are durable.
    pub durable_bytes: u64,
    /// Bytes that were hashed while it is finalizing.
    pub hashed_bytes: u64,
    /// When it goes; each part puts this off.
    pub expires_at: Option<SystemTime>,
    /// When it was made.
    pub created_at: Option<SystemTime>,
    /// What became of it.
    pub saved: Option<Saved>,
}

impl Client {
    /// Saves a large file in parts, so that a cut costs little.
    ///
    /// Cuts, and a server that comes back in time, are overcome ([`UploadOptions::patience`]).
    /// To go on after this program has ended, set a request id and make the same call again:
    ///
    /// ```no_run
    /// # async fn resume() -> Result<(), artifactd_client::Error> {
    /// use artifactd_client::{Client, SaveOptions};
    ///
    /// let client = Client::connect("http://127.0.0.1:50051").await?;
    /// let options = SaveOptions {
    ///     // The same in every run of this program, for this file.
    ///     request_id: Some("nightly-2026-11-23".to_owned()),
    ///     ..SaveOptions::key("cells/large.h5ad")
    /// };
    /// // The first run begins an upload; each later one sends what is not durable yet,
    /// // or answers with the artifact when there is nothing left to do.
    /// let saved = client.upload_file("large.h5ad", options).await?;
    /// println!("{}", saved.artifact.uid);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What came before is compared with the file. Where it has other bytes by now, the
    /// upload is aborted and begun anew by itself.
    ///
    /// With its uid an upload is resumed by [`Client::resume_upload`]; progress tells
    /// it, and [`Client::list_uploads`] finds it.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` when the size of the file or the options are not those with which
    /// the upload began; [`Error::FileChanged`](crate::Error::FileChanged) when the file is
    /// written to while it travels, or is not the one that was saved under this request id.
    pub async fn upload_file(&self, path: impl AsRef<Path>, options: SaveOptions) -> Result<Saved> {
        self.upload_file_with(path, options, UploadOptions::default(), |_| {})
            .await
    }

    /// Saves a large file in parts, and tells how far it has come whenever the server has
    /// acknowledged some.
    ///
    /// To go on under the same request id, the wish for the bytes of a part and the order
    /// must be those of the first call.
    pub async fn upload_file_with(
        &self,
        path: impl AsRef<Path>,
        mut options: SaveOptions,
        upload: UploadOptions,
        progress: impl Fn(UploadProgress) + Send + Sync,
    ) -> Result<Saved> {
        let path = path.as_ref();
        if options.file_name.is_none() && options.key.is_none() {
            options.file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        let file = LocalFile::look(path).await?;
        let declared = options.sha256;
        let mut header = convert::save_header(options);
        header.size = Some(file.size()?);
        let message = pb::CreateUploadRequest {
            save: Some(header),
            parallel: !upload.in_order,
            part_bytes: i64::try_from(upload.part_bytes).unwrap_or(i64::MAX),
        };
        let mut is_anew = false;
        loop {
            let begun = Patience::new(&self.inner.retry, upload.patience)
                .run(|| self.create_upload(message.clone()))
                .await?;
            let uid = begun.uid.clone();
            let finishing = Finishing::new(self, (&file, declared), &upload, &progress);
            match Box::pin(finishing.run(begun, finishing::Compare::Meanwhile)).await? {
                Finished::Saved(saved) => return Ok(*saved),
                Finished::OfAnotherFile(error) if is_anew => return Err(error),
                Finished::OfAnotherFile(_) => self.remove_upload(&uid).await?,
            }
            is_anew = true;
        }
    }

    /// Goes on with an upload of a file, from wherever it was begun.
    ///
    /// ```no_run
    /// # async fn resume(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let uploads: Vec<_> = client.list_uploads().try_collect().await?;
    /// for upload in uploads.iter().filter(|upload| upload.saved.is_none()) {
    ///     if let Some(name) = &upload.file_name {
    ///         client.resume_upload(&upload.uid, name).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::FileChanged`](crate::Error::FileChanged) when the file is not the one with
    /// which the upload began. That is found before any of it travels, so that the upload can
    /// still be resumed with the right one.
    pub async fn resume_upload(&self, uid: impl Into<String>, path: impl AsRef<Path>) -> Result<Saved> {
        self.resume_upload_with(uid, path, UploadOptions::default(), |_| {})
            .await
    }

    /// Goes on with an upload, and tells how far it has come whenever the server has
    /// acknowledged some. The bytes of a part and the order are those with which it began.
    pub async fn resume_upload_with(
        &self,
        uid: impl Into<String>,
        path: impl AsRef<Path>,
        upload: UploadOptions,
        progress: impl Fn(UploadProgress) + Send + Sync,
    ) -> Result<Saved> {
        let file = LocalFile::look(path.as_ref()).await?;
        let mut patience = Patience::new(&self.inner.retry, upload.patience);
        let begun = self.find_upload(&uid.into(), &mut patience).await?;
        let declared = begun.save.as_ref().and_then(|save| save.sha256.as_deref());
        let declared = declared.map(convert::sha256).transpose()?;
        let finishing = Finishing::new(self, (&file, declared), &upload, &progress);
        match Box::pin(finishing.run(begun, finishing::Compare::First)).await? {
            Finished::Saved(saved) => Ok(*saved),
            Finished::OfAnotherFile(error) => Err(error),
        }
    }
}
