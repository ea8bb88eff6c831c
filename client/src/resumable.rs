//! Large files that arrive whatever happens on the way.
//!
//! A file goes up in parts, over several streams at once. What the server has
//! acknowledged is durable there, and is not sent again: not after a cut, and not by
//! another program that goes on with the same upload. The file is hashed here while
//! its parts travel, so that an upload of two different states of it never becomes an
//! artifact.

mod file;
mod part_stream;
mod parts;
mod sending;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use artifactd_domain::Sha256;
use artifactd_proto::v1 as pb;
use futures::{Stream, stream};

pub(crate) use self::parts::durable_bytes;
use self::{
    file::{Digest, LocalFile},
    sending::Sending,
};
use crate::{
    Client, Reason, Result, SaveOptions, Saved, convert,
    events::{Event, Teller},
};

/// Streams that one upload may have at most.
const STREAMS_MAX: usize = 16;

/// How long the server waits in one call before it says that an upload is not complete yet.
pub(crate) const COMPLETION_WAIT: Duration = Duration::from_secs(25);

/// How long to wait before it is asked again.
pub(crate) const COMPLETION_PAUSE: Duration = Duration::from_millis(250);

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
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            streams: 4,
            part_bytes: 0,
            in_order: false,
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
    /// Cuts, and a server that comes back in time, are overcome within the tries of the
    /// client ([`crate::Builder::tries_max`], counted anew with each part). To go on after
    /// this program has ended, set a request id and make the same call again:
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
    /// With its uid an upload is resumed by [`Client::resume_upload`]; progress tells
    /// it, and [`Client::list_uploads`] finds it.
    ///
    /// # Errors
    /// [`Error::FileChanged`](crate::Error::FileChanged) when the file is not the one with which the upload began;
    /// `REQUEST_ID_REUSED` when its size or the options are not. A file of another size is
    /// refused before anything travels, other bytes only when all of them are there: the
    /// upload then holds parts of both, and can only be aborted.
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
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.create_upload(request).await }
        };
        let begun = self.call("CreateUpload", message, call).await?;
        self.finish_upload(begun, (file, declared), upload.streams, &progress)
            .await
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
    /// [`Error::FileChanged`](crate::Error::FileChanged) when the file is not the one with which the upload began,
    /// as for [`Client::upload_file`].
    pub async fn resume_upload(&self, uid: impl Into<String>, path: impl AsRef<Path>) -> Result<Saved> {
        let streams = UploadOptions::default().streams;
        self.resume_upload_with(uid, path, streams, |_| {}).await
    }

    /// Goes on with an upload over so many streams, and tells how far it has come whenever
    /// the server has acknowledged some.
    pub async fn resume_upload_with(
        &self,
        uid: impl Into<String>,
        path: impl AsRef<Path>,
        streams: usize,
        progress: impl Fn(UploadProgress) + Send + Sync,
    ) -> Result<Saved> {
        let file = LocalFile::look(path.as_ref()).await?;
        let begun = self.fetch_upload(&uid.into()).await?;
        let declared = begun.save.as_ref().and_then(|save| save.sha256.as_deref());
        let declared = declared.map(convert::sha256).transpose()?;
        self.finish_upload(begun, (file, declared), streams, &progress).await
    }

    /// How far an upload is.
    pub async fn get_upload(&self, uid: impl Into<String>) -> Result<Upload> {
        convert::upload(self.fetch_upload(&uid.into()).await?)
    }

    /// The caller's uploads, the oldest first, also those that are artifacts, until they
    /// expire; pages are fetched as they are needed.
    pub fn list_uploads(&self) -> impl Stream<Item = Result<Upload>> + Send + use<> {
        let first = (self.clone(), VecDeque::new(), Some(String::new()));
        stream::try_unfold(first, |(client, mut waiting, mut next)| async move {
            loop {
                if let Some(upload) = waiting.pop_front() {
                    return Ok(Some((upload, (client, waiting, next))));
                }
                let Some(page_token) = next.take() else {
                    return Ok(None);
                };
                let page = client.fetch_uploads(page_token).await?;
                let uploads = page.uploads.into_iter().map(convert::upload);
                waiting = uploads.collect::<Result<_>>()?;
                next = Some(page.next_page_token).filter(|token| !token.is_empty());
            }
        })
    }

    /// Removes an upload that is no artifact, and what came of it.
    pub async fn abort_upload(&self, uid: impl Into<String>) -> Result<()> {
        let message = pb::AbortUploadRequest { uid: uid.into() };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.abort_upload(request).await }
        };
        self.call("AbortUpload", message, call).await?;
        Ok(())
    }

    async fn fetch_upload(&self, uid: &str) -> Result<pb::Upload> {
        let message = pb::GetUploadRequest { uid: uid.to_owned() };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.get_upload(request).await }
        };
        self.call("GetUpload", message, call).await
    }

    async fn fetch_uploads(&self, page_token: String) -> Result<pb::ListUploadsResponse> {
        let message = pb::ListUploadsRequest {
            page_size: 0,
            page_token,
        };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.list_uploads(request).await }
        };
        self.call("ListUploads", message, call).await
    }

    /// Sends what is missing and completes, until it is an artifact of this very file.
    async fn finish_upload(
        &self,
        mut upload: pb::Upload,
        (file, declared): (LocalFile, Option<Sha256>),
        streams: usize,
        progress: &(dyn Fn(UploadProgress) + Send + Sync),
    ) -> Result<Saved> {
        let watch = Watch::new(&upload, &file, (progress, &self.events))?;
        let mut digest = Digest::of(&file, declared);
        let mut tries = 0;
        let saved = loop {
            let sent = self.send_upload(&upload, &file, streams, &watch).await;
            let completed = match sent {
                Ok(()) => self.complete_upload(&upload.uid, &file, &mut digest, &watch).await,
                Err(error) => Err(error),
            };
            match completed {
                Ok(saved) => break convert::saved(saved)?,
                Err(error) => {
                    tries += 1;
                    // Another one may complete it, or have left a part that is not what it was.
                    let goes_on = matches!(error.reason(), Some(Reason::UploadIncomplete | Reason::UploadNotOpen));
                    if !goes_on || !self.inner.retry.pause(tries, &error).await {
                        return Err(file.explain(error, declared.is_some()));
                    }
                    upload = self.fetch_upload(&upload.uid).await?;
                }
            }
        };
        if saved.artifact.sha256 != digest.sha256().await? {
            return Err(file.changed("what was saved has another sha256"));
        }
        watch.finish();
        Ok(saved)
    }

    /// Sends all parts that are not durable.
    async fn send_upload(
        &self,
        upload: &pb::Upload,
        file: &LocalFile,
        streams: usize,
        watch: &Watch<'_>,
    ) -> Result<()> {
        if upload.state() != pb::UploadState::Open {
            return Ok(());
        }
        let streams = if upload.parallel {
            streams.clamp(1, STREAMS_MAX)
        } else {
            1
        };
        Sending::new(self, upload, file, watch)?.run(streams).await
    }

    async fn complete_upload(
        &self,
        uid: &str,
        file: &LocalFile,
        digest: &mut Digest,
        watch: &Watch<'_>,
    ) -> Result<pb::SaveArtifactResponse> {
        let sha256 = digest.sha256().await?;
        file.check_unchanged().await?;
        let message = pb::CompleteUploadRequest {
            uid: uid.to_owned(),
            sha256: Some(sha256.to_string()),
            size: Some(file.size()?),
        };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.complete_upload(request).await }
        };
        let timeout = self.inner.call_timeout + COMPLETION_WAIT;
        loop {
            let answer = self
                .call_within(timeout, "CompleteUpload", message.clone(), call)
                .await?;
            if let Some(saved) = answer.saved {
                return Ok(saved);
            }
            watch.hashed(answer.hashed_bytes.unsigned_abs());
            tokio::time::sleep(COMPLETION_PAUSE).await;
        }
    }
}

/// Who hears of progress, and what was told last.
struct Watch<'a> {
    progress: &'a (dyn Fn(UploadProgress) + Send + Sync),
    events: &'a Teller,
    told: Mutex<UploadProgress>,
}

impl<'a> Watch<'a> {
    /// Tells where an upload stands when a call begins.
    fn new(
        upload: &pb::Upload,
        file: &LocalFile,
        (progress, events): (&'a (dyn Fn(UploadProgress) + Send + Sync), &'a Teller),
    ) -> Result<Self> {
        let declared = upload.save.as_ref().and_then(|save| save.size);
        if declared.is_some_and(|size| size.unsigned_abs() != file.size_bytes) {
            return Err(file.changed("it has another size"));
        }
        events.tell(Event::Begun {
            files: 1,
            bytes: Some(file.size_bytes),
        });
        events.tell(Event::UploadBegun {
            uid: upload.uid.clone(),
        });
        let watch = Self {
            progress,
            events,
            told: Mutex::new(UploadProgress {
                uid: upload.uid.clone(),
                size_bytes: file.size_bytes,
                durable_bytes: durable_bytes(upload),
                sent_bytes: 0,
                hashed_bytes: 0,
            }),
        };
        watch.tell(|_| {});
        Ok(watch)
    }

    /// A part is durable, by what was sent in this call or before.
    fn durable(&self, bytes: u64, is_sent_now: bool) {
        self.tell(|now| {
            // A part that the server lost is told once.
            now.durable_bytes = (now.durable_bytes + bytes).min(now.size_bytes);
            now.sent_bytes += if is_sent_now { bytes } else { 0 };
        });
    }

    fn hashed(&self, bytes: u64) {
        self.tell(|now| now.hashed_bytes = now.hashed_bytes.max(bytes));
    }

    /// Changes and tells in one go, so that nobody hears of an earlier state later.
    fn tell(&self, change: impl FnOnce(&mut UploadProgress)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut told);
        (self.progress)(told.clone());
        self.events.tell(Event::Arrived {
            files: 0,
            bytes: told.durable_bytes,
        });
        if told.hashed_bytes > 0 {
            self.events.tell(Event::Hashed {
                bytes: told.hashed_bytes,
            });
        }
    }

    /// It is an artifact.
    fn finish(&self) {
        let moved_bytes = self.told.lock().unwrap_or_else(PoisonError::into_inner).sent_bytes;
        self.events.tell(Event::Done { moved_bytes });
    }
}
