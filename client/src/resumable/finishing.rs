//! Sends what is missing of an upload, and completes it.

use std::time::Duration;

use artifactd_domain::Sha256;
use artifactd_proto::v1 as pb;

use super::{
    UploadOptions, UploadProgress,
    file::LocalFile,
    parts::{self, Sums},
    patience::Patience,
    reading::Reading,
    sending::Sending,
    watch::Watch,
};
use crate::{Client, Error, Reason, Result, Saved, convert};

/// Streams that one upload may have at most.
const STREAMS_MAX: usize = 16;

/// How long the server waits in one call before it says that an upload is not complete yet.
pub(crate) const COMPLETION_WAIT: Duration = Duration::from_secs(25);

/// How long to wait before it is asked again.
pub(crate) const COMPLETION_PAUSE: Duration = Duration::from_millis(250);

/// When the file is compared with what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// Before any of it travels.
    First,
    /// While it does, as an upload of another file is thrown away.
    Meanwhile,
}

/// What became of an upload.
pub(super) enum Finished {
    Saved(Box<Saved>),
    /// Parts of it are not of this file.
    OfAnotherFile(Error),
}

/// One call that finishes an upload of a file.
pub(super) struct Finishing<'a> {
    client: &'a Client,
    file: &'a LocalFile,
    declared: Option<Sha256>,
    options: &'a UploadOptions,
    progress: &'a (dyn Fn(UploadProgress) + Send + Sync),
}

impl<'a> Finishing<'a> {
    pub(super) fn new(
        client: &'a Client,
        (file, declared): (&'a LocalFile, Option<Sha256>),
        options: &'a UploadOptions,
        progress: &'a (dyn Fn(UploadProgress) + Send + Sync),
    ) -> Self {
        Self {
            client,
            file,
            declared,
            options,
            progress,
        }
    }

    fn patience(&self) -> Patience<'a> {
        Patience::new(&self.client.inner.retry, self.options.patience)
    }

    /// Goes on until it is an artifact of this very file.
    pub(super) async fn run(&self, mut upload: pb::Upload, compare: Compare) -> Result<Finished> {
        let declared_size = upload.save.as_ref().and_then(|save| save.size);
        if declared_size.is_some_and(|size| size.unsigned_abs() != self.file.size_bytes) {
            return Err(self.file.changed("it has another size"));
        }
        let is_saved = upload.state() == pb::UploadState::Saved;
        let had_bytes = parts::durable_bytes(&upload) > 0;
        let mut durable = Sums::default();
        if had_bytes && !is_saved {
            upload = self
                .client
                .find_upload_with_sums(&upload.uid, &mut self.patience())
                .await?;
            durable = parts::sums(&upload, self.file.size_bytes);
        }
        let watch = Watch::new(&upload, self.file, (self.progress, &self.client.events));
        let mut reading = Reading::start(self.file, self.declared, durable);
        if compare == Compare::First
            && let Err(error) = reading.compared().await
        {
            return self.of_another_file(error).await;
        }
        let saved = match self.finish(upload, &mut reading, &watch).await {
            Ok(saved) => saved,
            Err(error) if had_bytes && !is_saved => return self.of_another_file(error).await,
            Err(error) => return Err(error),
        };
        if saved.artifact.sha256 != reading.sha256().await? {
            return Err(self.file.changed("what was saved has another sha256"));
        }
        watch.finish();
        Ok(Finished::Saved(Box::new(saved)))
    }

    /// What an upload that had bytes before failed with, which may be that they are not of this
    /// file. A file that is being written to is no better in another upload.
    async fn of_another_file(&self, error: Error) -> Result<Finished> {
        match error {
            Error::FileChanged { .. } if self.file.check_unchanged().await.is_ok() => {
                Ok(Finished::OfAnotherFile(error))
            }
            error => Err(error),
        }
    }

    async fn finish(&self, mut upload: pb::Upload, reading: &mut Reading, watch: &Watch<'_>) -> Result<Saved> {
        let mut patience = self.patience();
        loop {
            let completed = match self.send(&upload, reading, watch).await {
                Ok(()) => self.complete(&upload.uid, reading, watch).await,
                Err(error) => Err(error),
            };
            match completed {
                Ok(saved) => return convert::saved(saved),
                Err(error) => {
                    // Another one may complete it, or have left a part that is not what it was.
                    let goes_on = matches!(error.reason(), Some(Reason::UploadIncomplete | Reason::UploadNotOpen));
                    if !goes_on || !patience.wait(&error).await {
                        return Err(self.file.explain(error, self.declared.is_some()));
                    }
                    upload = self.client.find_upload(&upload.uid, &mut self.patience()).await?;
                }
            }
        }
    }

    /// Sends all parts that are not durable, unless those that are turn out to be others.
    async fn send(&self, upload: &pb::Upload, reading: &mut Reading, watch: &Watch<'_>) -> Result<()> {
        if upload.state() != pb::UploadState::Open {
            return reading.compared().await;
        }
        let streams = if upload.parallel {
            self.options.streams.clamp(1, STREAMS_MAX)
        } else {
            1
        };
        let sending = Sending::new(self.client, upload, self.file, watch, self.options.patience)?;
        let mut sent = std::pin::pin!(sending.run(streams));
        tokio::select! {
            biased;
            compared = reading.compared() => compared?,
            sent = &mut sent => {
                sent?;
                return reading.compared().await;
            }
        }
        sent.await
    }

    async fn complete(&self, uid: &str, reading: &mut Reading, watch: &Watch<'_>) -> Result<pb::SaveArtifactResponse> {
        let sha256 = reading.sha256().await?;
        self.file.check_unchanged().await?;
        let message = pb::CompleteUploadRequest {
            uid: uid.to_owned(),
            sha256: Some(sha256.to_string()),
            size: Some(self.file.size()?),
        };
        let client = self.client;
        let call = |request| {
            let mut uploads = client.uploads(0);
            async move { uploads.complete_upload(request).await }
        };
        let timeout = client.inner.call_timeout + COMPLETION_WAIT;
        let complete = || client.call_within(timeout, "CompleteUpload", message.clone(), call);
        loop {
            let answer = self.patience().run(complete).await?;
            if let Some(saved) = answer.saved {
                return Ok(saved);
            }
            watch.hashed(answer.hashed_bytes.unsigned_abs());
            tokio::time::sleep(COMPLETION_PAUSE).await;
        }
    }
}
