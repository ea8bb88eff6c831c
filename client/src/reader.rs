//! Content whose size nobody knows before its end, such as that of a pipe.
//!
//! What is read cannot be read again, so it is kept until it is durable: it goes up as an
//! upload, part by part, and the next part is read while one is on its way.

use std::{io, path::Path};

use artifactd_domain::{Sha256, Sha256Hasher, crc32c};
use artifactd_proto::v1 as pb;
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, try_join};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    Client, Error, Reason, Result, SaveOptions, Saved, convert,
    events::Event,
    resumable::{COMPLETION_PAUSE, COMPLETION_WAIT},
};

/// Content up to here goes in one message.
const SMALL_BYTES_MAX: usize = 1024 * 1024;

/// Largest part that is kept in memory; three are at once.
const PART_BYTES_MAX: i64 = 8 * 1024 * 1024;

impl Client {
    /// Saves what a reader gives, to its end. It is kept only once all of it was read: a
    /// reader that fails, or a call that is dropped, saves nothing.
    ///
    /// ```no_run
    /// # async fn pipe(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// use artifactd_client::SaveOptions;
    ///
    /// let saved = client.save_reader(tokio::io::stdin(), SaveOptions::key("logs/today.txt")).await?;
    /// println!("{} bytes", saved.artifact.size_bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn save_reader(&self, mut reader: impl AsyncRead + Unpin + Send, options: SaveOptions) -> Result<Saved> {
        self.events.tell(Event::Begun { files: 1, bytes: None });
        let first = read_part(&mut reader, SMALL_BYTES_MAX + 1).await?;
        if first.len() <= SMALL_BYTES_MAX {
            let moved_bytes = first.len() as u64;
            let saved = self.unwatched().save_bytes(first, options).await?;
            self.events.tell(Event::Done { moved_bytes });
            return Ok(saved);
        }
        let declared = options.sha256;
        let upload = self.begin_upload(options).await?;
        if !(1..=PART_BYTES_MAX).contains(&upload.part_bytes) {
            return Err(Error::Answer(format!("parts of {} bytes", upload.part_bytes)));
        }
        self.events.tell(Event::UploadBegun {
            uid: upload.uid.clone(),
        });
        let mut reader = io::Cursor::new(first).chain(reader);
        let sent = self.send_parts(&upload, &mut reader).await;
        let (sha256, size_bytes) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                // Nobody could go on with it. One that stays expires.
                let _ = self.abort_upload(&upload.uid).await;
                return Err(error);
            }
        };
        let complete = pb::CompleteUploadRequest {
            uid: upload.uid,
            sha256: Some(declared.unwrap_or(sha256).to_string()),
            size: Some(size_bytes as i64),
        };
        let saved = self.complete_parts(complete).await?;
        self.events.tell(Event::Done {
            moved_bytes: size_bytes,
        });
        convert::saved(saved)
    }

    async fn begin_upload(&self, options: SaveOptions) -> Result<pb::Upload> {
        let message = pb::CreateUploadRequest {
            save: Some(convert::save_header(options)),
            parallel: false,
            part_bytes: 0,
        };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.create_upload(request).await }
        };
        self.call("CreateUpload", message, call).await
    }

    /// Sends all parts. Answers the sha256 of what was read, and its bytes.
    async fn send_parts(
        &self,
        upload: &pb::Upload,
        reader: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(Sha256, u64)> {
        let part_bytes = upload.part_bytes as usize;
        let (mut hasher, mut offset) = (Sha256Hasher::default(), 0);
        let mut sending: BoxFuture<'_, Result<()>> = Box::pin(async { Ok(()) });
        let mut current = read_part(reader, part_bytes).await?;
        loop {
            // Only what follows tells whether a part is the last.
            let (next, ()) = try_join(read_part(reader, part_bytes), sending).await?;
            hasher.update(&current);
            let size_bytes = current.len() as u64;
            let message = pb::UploadPartRequest {
                uid: upload.uid.clone(),
                offset: offset as i64,
                crc32c: Some(crc32c(&current)),
                data: current,
                is_last: next.is_empty(),
            };
            let is_last = message.is_last;
            sending = Box::pin(self.send_part(message));
            offset += size_bytes;
            if is_last {
                sending.await?;
                return Ok((hasher.finish(), offset));
            }
            current = next;
        }
    }

    /// Sends a part until it is durable.
    async fn send_part(&self, message: pb::UploadPartRequest) -> Result<()> {
        let _turn = self.turn().await;
        let end = message.offset + message.data.len() as i64;
        let mut tries = 0;
        loop {
            let call = |request| {
                let mut uploads = self.uploads(0);
                async move { uploads.upload_part(request).await }
            };
            let Err(error) = self.call("UploadPart", message.clone(), call).await else {
                break;
            };
            // Its acknowledgement may be all that was lost, which the next try is told.
            let was_lost = matches!(error.reason(), Some(Reason::OffsetMismatch | Reason::UploadNotOpen));
            if was_lost && self.get_upload(&message.uid).await?.durable_bytes as i64 >= end {
                break;
            }
            tries += 1;
            if !self.wait(tries, &error).await {
                return Err(error);
            }
        }
        self.events.tell(Event::Arrived {
            files: 0,
            bytes: end as u64,
        });
        Ok(())
    }

    async fn complete_parts(&self, message: pb::CompleteUploadRequest) -> Result<pb::SaveArtifactResponse> {
        let timeout = self.inner.call_timeout + COMPLETION_WAIT;
        loop {
            let call = |request| {
                let mut uploads = self.uploads(0);
                async move { uploads.complete_upload(request).await }
            };
            let answer = self
                .call_within(timeout, "CompleteUpload", message.clone(), call)
                .await?;
            if let Some(saved) = answer.saved {
                return Ok(saved);
            }
            self.events.tell(Event::Hashed {
                bytes: answer.hashed_bytes.unsigned_abs(),
            });
            tokio::time::sleep(COMPLETION_PAUSE).await;
        }
    }
}

/// Reads so many bytes; fewer at the end.
async fn read_part(reader: &mut (impl AsyncRead + Unpin), bytes: usize) -> Result<Bytes> {
    let mut part = BytesMut::with_capacity(bytes);
    while part.len() < bytes {
        let rest = (bytes - part.len()) as u64;
        let read = (&mut *reader).take(rest).read_buf(&mut part).await;
        if read.map_err(|error| Error::file(Path::new("the input"), error))? == 0 {
            break;
        }
    }
    Ok(part.freeze())
}
