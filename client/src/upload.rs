//! Content on its way to the server.
//!
//! What fits into one message goes in one. Larger content is read ahead on a
//! thread of its own, which also takes the checksums, so that reading, sending
//! and the server's work overlap.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use artifactd_domain::{Sha256, crc32c};
use artifactd_proto::v1 as pb;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{Artifact, Client, Error, IntoReference, ReplaceOptions, Result, SaveOptions, Saved, convert};

const CHUNK_BYTES: usize = 1024 * 1024;

/// Largest content that travels in one message.
const SMALL_BYTES_MAX: usize = 1024 * 1024;

/// Chunks that are read ahead of the connection.
const CHUNKS_AHEAD: usize = 3;

impl Client {
    /// Saves some bytes under a key.
    pub async fn save(&self, content: impl Into<Bytes>, key: impl Into<String>) -> Result<Saved> {
        self.save_bytes(content, SaveOptions::key(key)).await
    }

    /// Saves some bytes.
    pub async fn save_bytes(&self, content: impl Into<Bytes>, options: SaveOptions) -> Result<Saved> {
        let (content, mut header) = (content.into(), convert::save_header(options));
        header.size = Some(size_of(content.len() as u64)?);
        if content.len() <= SMALL_BYTES_MAX {
            return self.save_small(header, content).await;
        }
        self.save_stream(header, Source::Bytes(content)).await
    }

    /// Saves a file. Its name gives the suffix unless the options name one.
    pub async fn save_file(&self, path: impl AsRef<Path>, mut options: SaveOptions) -> Result<Saved> {
        let path = path.as_ref();
        if options.file_name.is_none() && options.key.is_none() {
            options.file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        let metadata = tokio::fs::metadata(path)
            .await
            .map_err(|error| Error::file(path, error))?;
        if !metadata.is_file() {
            return Err(Error::Input(format!("{} is no regular file", path.display())));
        }
        if metadata.len() <= SMALL_BYTES_MAX as u64 {
            let content = tokio::fs::read(path).await.map_err(|error| Error::file(path, error))?;
            return self.save_bytes(content, options).await;
        }
        let mut header = convert::save_header(options);
        header.size = Some(size_of(metadata.len())?);
        self.save_stream(header, Source::File(path.to_owned())).await
    }

    /// Makes an artifact of content that the server already holds.
    pub async fn claim(&self, sha256: Sha256, options: SaveOptions) -> Result<Saved> {
        let mut header = convert::save_header(SaveOptions {
            sha256: Some(sha256),
            ..options
        });
        header.claim = true;
        self.save_small(header, Bytes::new()).await
    }

    async fn save_small(&self, header: pb::SaveHeader, content: Bytes) -> Result<Saved> {
        let crc32c = Some(crc32c(&content));
        let message = pb::SaveSmallArtifactRequest {
            header: Some(header),
            content,
            crc32c,
        };
        let call = || async {
            Ok(self
                .artifacts()
                .save_small_artifact(self.request(message.clone()))
                .await?
                .into_inner())
        };
        convert::saved(self.inner.retry.run(call).await?)
    }

    async fn save_stream(&self, header: pb::SaveHeader, source: Source) -> Result<Saved> {
        use pb::save_artifact_request::Message;
        let call = || async {
            let _turn = self
                .inner
                .content_turns
                .acquire()
                .await
                .expect("the semaphore is never closed");
            let message = |message| pb::SaveArtifactRequest { message: Some(message) };
            let sending = Sending::start(source.clone());
            let pieces = sending.pieces.map(move |piece| {
                message(match piece {
                    Piece::Chunk(chunk) => Message::Chunk(chunk),
                    Piece::Trailer(trailer) => Message::Trailer(trailer),
                })
            });
            let first = stream::iter([message(Message::Header(header.clone()))]);
            let answer = self.artifacts().save_artifact(first.chain(pieces)).await;
            // A file that cannot be read ends the stream early; say that, not what the server made of it.
            if let Some(error) = sending.failure.lock().expect("no holder panics").take() {
                return Err(error);
            }
            Ok(answer?.into_inner())
        };
        convert::saved(self.inner.retry.run(call).await?)
    }

    /// Replaces the content of an artifact by some bytes. False when they were the same.
    pub async fn replace_bytes(
        &self,
        artifact: impl IntoReference,
        content: impl Into<Bytes>,
        options: ReplaceOptions,
    ) -> Result<(Artifact, bool)> {
        let content = content.into();
        let size = size_of(content.len() as u64)?;
        self.replace_stream(artifact, size, Source::Bytes(content), options)
            .await
    }

    /// Replaces the content of an artifact by that of a file. False when it was the same.
    pub async fn replace_file(
        &self,
        artifact: impl IntoReference,
        path: impl AsRef<Path>,
        mut options: ReplaceOptions,
    ) -> Result<(Artifact, bool)> {
        let path = path.as_ref();
        let metadata = tokio::fs::metadata(path)
            .await
            .map_err(|error| Error::file(path, error))?;
        if options.file_name.is_none() {
            options.file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        self.replace_stream(
            artifact,
            size_of(metadata.len())?,
            Source::File(path.to_owned()),
            options,
        )
        .await
    }

    async fn replace_stream(
        &self,
        artifact: impl IntoReference,
        size: i64,
        source: Source,
        options: ReplaceOptions,
    ) -> Result<(Artifact, bool)> {
        use pb::replace_artifact_request::Message;
        let ReplaceOptions {
            etag,
            file_name,
            media_type,
            request_id,
        } = options;
        let header = pb::ReplaceHeader {
            request_id: Some(request_id.unwrap_or_else(convert::draw_request_id)),
            artifact: Some(convert::reference(artifact.into_reference()?)),
            etag,
            file_name,
            media_type,
            size: Some(size),
            sha256: None,
        };
        let call = || async {
            let _turn = self
                .inner
                .content_turns
                .acquire()
                .await
                .expect("the semaphore is never closed");
            let message = |message| pb::ReplaceArtifactRequest { message: Some(message) };
            let sending = Sending::start(source.clone());
            let pieces = sending.pieces.map(move |piece| {
                message(match piece {
                    Piece::Chunk(chunk) => Message::Chunk(chunk),
                    Piece::Trailer(trailer) => Message::Trailer(trailer),
                })
            });
            let first = stream::iter([message(Message::Header(header.clone()))]);
            let answer = self.artifacts().replace_artifact(first.chain(pieces)).await;
            if let Some(error) = sending.failure.lock().expect("no holder panics").take() {
                return Err(error);
            }
            Ok(answer?.into_inner())
        };
        let replaced = self.inner.retry.run(call).await?;
        Ok((convert::some(replaced.artifact)?, replaced.changed))
    }
}

fn size_of(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Error::Input("the content is too large".to_owned()))
}

/// Content that can be sent again.
#[derive(Debug, Clone)]
enum Source {
    Bytes(Bytes),
    File(PathBuf),
}

enum Piece {
    Chunk(pb::ContentChunk),
    Trailer(pb::ContentTrailer),
}

/// Content that is being read, and why reading stopped if it did.
struct Sending {
    pieces: Box<dyn Stream<Item = Piece> + Send + Unpin>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Sending {
    fn start(source: Source) -> Self {
        let (pieces, ready) = mpsc::channel(CHUNKS_AHEAD);
        let failure = Arc::new(Mutex::new(None));
        let failed = Arc::clone(&failure);
        // The thread ends with the content, or when nobody takes its chunks any more.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read(source, &pieces) {
                *failed.lock().expect("no holder panics") = Some(error);
            }
        });
        Self {
            pieces: Box::new(ReceiverStream::new(ready)),
            failure,
        }
    }
}

fn read(source: Source, pieces: &mpsc::Sender<Piece>) -> Result<()> {
    let mut offset = 0;
    let mut send = |data: Bytes| {
        let chunk = pb::ContentChunk {
            crc32c: Some(crc32c(&data)),
            offset: Some(offset),
            data,
        };
        offset += chunk.data.len() as i64;
        pieces.blocking_send(Piece::Chunk(chunk)).is_ok()
    };
    match source {
        Source::Bytes(mut content) => {
            while !content.is_empty() {
                if !send(content.split_to(content.len().min(CHUNK_BYTES))) {
                    return Ok(());
                }
            }
        }
        Source::File(path) => {
            let failed = |error| Error::file(&path, error);
            let mut file = File::open(&path).map_err(failed)?;
            loop {
                let data = next_chunk(&mut file).map_err(failed)?;
                if data.is_empty() {
                    break;
                }
                if !send(data) {
                    return Ok(());
                }
            }
        }
    }
    let trailer = pb::ContentTrailer {
        sha256: None,
        size: Some(offset),
    };
    // A server that has gone away needs no trailer.
    let _ = pieces.blocking_send(Piece::Trailer(trailer));
    Ok(())
}

fn next_chunk(file: &mut File) -> std::io::Result<Bytes> {
    let mut data = BytesMut::zeroed(CHUNK_BYTES);
    let mut filled = 0;
    while filled < data.len() {
        match file.read(&mut data[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    data.truncate(filled);
    Ok(data.freeze())
}
