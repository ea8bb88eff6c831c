//! Content on its way to the server.
//!
//! What fits into one message goes in one. Larger content is read ahead on a
//! thread of its own, which also takes the checksums, so that reading, sending
//! and the server's work overlap.

use std::{
    collections::VecDeque,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use artifactd_domain::{Sha256, crc32c};
use artifactd_proto::{
    ContentBody, Outgoing,
    aside::{BodyAside, ClientAside},
    v1::{self as pb, artifact_service_client::ArtifactServiceClient},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, future::BoxFuture, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, body::Body};

use crate::{
    Artifact, Client, Error, IntoReference, ReplaceOptions, Result, SaveOptions, Saved, convert,
    events::{Event, Teller},
    line::Line,
};

pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;

/// Largest content that travels in one message.
const SMALL_BYTES_MAX: usize = 1024 * 1024;

/// Chunks that are read ahead of the connection.
pub(crate) const CHUNKS_AHEAD: usize = 3;

/// Chunks that are on their way at once: those ahead, and what the connection holds.
const CHUNKS_SENDING: usize = CHUNKS_AHEAD + 4;

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
            let bytes = content.len() as u64;
            self.events.tell(Event::Begun {
                files: 1,
                bytes: Some(bytes),
            });
            let saved = self.save_small(header, content).await?;
            self.events.tell(Event::Done { moved_bytes: bytes });
            return Ok(saved);
        }
        self.save_stream(header, Source::Bytes(content)).await
    }

    /// Saves a file. Its name gives the suffix unless the options name one.
    pub async fn save_file(&self, path: impl AsRef<Path>, mut options: SaveOptions) -> Result<Saved> {
        let path = path.as_ref();
        if options.file_name.is_none() && options.key.is_none() {
            options.file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        match look(path).await? {
            Found::Small(content) => self.save_bytes(content, options).await,
            Found::Large(size) => {
                let mut header = convert::save_header(options);
                header.size = Some(size_of(size)?);
                self.save_stream(header, Source::File(path.to_owned())).await
            }
        }
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
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.save_small_artifact(request).await }
        };
        convert::saved(self.call("SaveSmallArtifact", message, call).await?)
    }

    async fn save_stream(&self, header: pb::SaveHeader, source: Source) -> Result<Saved> {
        use pb::save_artifact_request::Message;
        fn outgoing(message: Message) -> Outgoing {
            Outgoing::message(&pb::SaveArtifactRequest { message: Some(message) })
        }
        let content = OutgoingContent {
            method: "SaveArtifact",
            events: self.events.clone(),
            header: outgoing(Message::Header(header)),
            trailer: |trailer| outgoing(Message::Trailer(trailer)),
            source,
        };
        let saved = self.send(&content, |service, request| {
            Box::pin(async move { service.save_artifact(request).await })
        });
        convert::saved(saved.await?)
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
        fn outgoing(message: Message) -> Outgoing {
            Outgoing::message(&pb::ReplaceArtifactRequest { message: Some(message) })
        }
        let content = OutgoingContent {
            method: "ReplaceArtifact",
            events: self.events.clone(),
            header: outgoing(Message::Header(header)),
            trailer: |trailer| outgoing(Message::Trailer(trailer)),
            source,
        };
        let replaced = self.send(&content, |service, request| {
            Box::pin(async move { service.replace_artifact(request).await })
        });
        let replaced = replaced.await?;
        Ok((convert::some(replaced.artifact)?, replaced.changed))
    }

    /// Sends a content in one call, which is made again while that may help.
    async fn send<M: Send + 'static, T>(&self, content: &OutgoingContent, call: ContentCall<M, T>) -> Result<T> {
        let attempt = || async {
            let _turn = self
                .inner
                .content_turns
                .acquire()
                .await
                .expect("the semaphore is never closed");
            let (body, failure) = content.start();
            let mut request = Request::new(stream::empty());
            BodyAside::put(request.extensions_mut(), body);
            let answer = call(&mut self.artifacts(), request).await;
            // A file that cannot be read ends the stream early; say that, not what the server made of it.
            if let Some(error) = failure.lock().expect("no holder panics").take() {
                return Err(error);
            }
            Ok(answer?.into_inner())
        };
        let bytes = content.source.size_bytes();
        self.events.tell(Event::Begun { files: 1, bytes });
        let answer = self.inner.retry.run(content.method, attempt).await?;
        self.events.tell(Event::Done {
            moved_bytes: bytes.unwrap_or_default(),
        });
        Ok(answer)
    }
}

/// A call whose request is content; tonic sees no message of it.
type ContentCall<M, T> = for<'s> fn(
    &'s mut ArtifactServiceClient<ClientAside<Line>>,
    Request<stream::Empty<M>>,
) -> BoxFuture<'s, std::result::Result<Response<T>, Status>>;

fn size_of(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Error::Input("the content is too large".to_owned()))
}

/// What a file holds.
enum Found {
    /// All of what fits into one message.
    Small(Vec<u8>),
    /// So many bytes.
    Large(u64),
}

/// Looks at a file, off the threads of the runtime, and once: each time costs two wake-ups.
async fn look(path: &Path) -> Result<Found> {
    let owned = path.to_owned();
    let look = move || {
        let metadata = std::fs::metadata(&owned).map_err(|error| Error::file(&owned, error))?;
        if !metadata.is_file() {
            return Err(Error::Input(format!("{} is no regular file", owned.display())));
        }
        if metadata.len() > SMALL_BYTES_MAX as u64 {
            return Ok(Found::Large(metadata.len()));
        }
        let content = std::fs::read(&owned).map_err(|error| Error::file(&owned, error))?;
        Ok(Found::Small(content))
    };
    let looked = tokio::task::spawn_blocking(look).await;
    // A runtime that ends takes its threads with it.
    looked.map_err(|error| Error::file(path, std::io::Error::other(error)))?
}

/// Content that can be sent again.
#[derive(Debug, Clone)]
enum Source {
    Bytes(Bytes),
    File(PathBuf),
}

impl Source {
    /// How much there is to send, as far as that can be told.
    fn size_bytes(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(path) => std::fs::metadata(path).ok().map(|metadata| metadata.len()),
        }
    }
}

/// A content with what goes before and after it.
struct OutgoingContent {
    /// The call that carries it.
    method: &'static str,
    events: Teller,
    header: Outgoing,
    trailer: fn(pb::ContentTrailer) -> Outgoing,
    source: Source,
}

/// Why reading stopped, if it did.
type Failure = Arc<Mutex<Option<Error>>>;

impl OutgoingContent {
    /// Begins to read: a body of messages, and what may have ended it early.
    fn start(&self) -> (Body, Failure) {
        let (messages, ready) = mpsc::channel(CHUNKS_AHEAD);
        let (failure, source, trailer) = (Failure::default(), self.source.clone(), self.trailer);
        let (failed, events) = (Arc::clone(&failure), self.events.clone());
        // The thread ends with the content, or when nobody takes its chunks any more.
        tokio::task::spawn_blocking(move || match read(source, &messages, &events) {
            Ok(size) => {
                let size = Some(size);
                // A server that has gone away needs no trailer.
                let _ = messages.blocking_send(trailer(pb::ContentTrailer { sha256: None, size }));
            }
            Err(error) => *failed.lock().expect("no holder panics") = Some(error),
        });
        let messages = stream::iter([self.header.clone()]).chain(ReceiverStream::new(ready));
        (Body::new(ContentBody::of_client(messages)), failure)
    }
}

/// Reads a content to its end, or until nobody takes its chunks. Answers how much was read.
fn read(source: Source, messages: &mpsc::Sender<Outgoing>, events: &Teller) -> Result<i64> {
    let mut offset = 0;
    let mut send = |data: Bytes| {
        let bytes = data.len() as i64;
        let sum = crc32c(&data);
        let chunk = Outgoing::chunk(data, sum, offset);
        offset += bytes;
        let is_taken = messages.blocking_send(chunk).is_ok();
        events.tell(Event::Arrived {
            files: 0,
            bytes: offset.unsigned_abs(),
        });
        is_taken
    };
    match source {
        Source::Bytes(mut content) => {
            while !content.is_empty() && send(content.split_to(content.len().min(CHUNK_BYTES))) {}
        }
        Source::File(path) => {
            let failed = |error| Error::file(&path, error);
            let (mut file, mut buffers) = (File::open(&path).map_err(failed)?, Buffers::default());
            loop {
                let data = next_chunk(&mut file, buffers.free()).map_err(failed)?;
                buffers.keep(&data);
                if data.is_empty() || !send(data) {
                    break;
                }
            }
        }
    }
    Ok(offset)
}

/// Fills memory from a file; fewer bytes at its end.
pub(crate) fn next_chunk(file: &mut impl Read, mut data: BytesMut) -> std::io::Result<Bytes> {
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

/// Memory of chunks that were sent, used again: fresh memory costs as much as reading into it.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    used: VecDeque<Bytes>,
}

impl Buffers {
    /// Memory for a chunk.
    pub(crate) fn free(&mut self) -> BytesMut {
        if self.used.len() > CHUNKS_SENDING
            && let Some(oldest) = self.used.pop_front()
            && let Ok(mut free) = oldest.try_into_mut()
        {
            free.resize(CHUNK_BYTES, 0);
            return free;
        }
        BytesMut::zeroed(CHUNK_BYTES)
    }

    /// Remembers a chunk that is about to be sent.
    pub(crate) fn keep(&mut self, data: &Bytes) {
        self.used.push_back(data.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_only_when_its_chunk_was_sent() {
        let mut buffers = Buffers::default();
        let mut sent: Vec<Bytes> = (0..=CHUNKS_SENDING as u8)
            .map(|number| {
                let mut data = buffers.free();
                data.fill(number);
                let data = data.freeze();
                buffers.keep(&data);
                data
            })
            .collect();
        // The first is still on its way.
        buffers.free().fill(9);
        assert!(sent[0].iter().all(|byte| *byte == 0));
        let place = sent.remove(1).as_ptr();
        buffers.keep(&Bytes::new());
        assert_eq!(buffers.free().as_ptr(), place);
    }
}
