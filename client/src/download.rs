//! Content on its way from the server, checked as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use artifactd_domain::{Sha256, Sha256Hasher, crc32c_append};
use artifactd_proto::{Chunk, Messages, Received, aside::BodyAside, v1 as pb};
use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use pb::read_content_response::Message;
use tokio::sync::mpsc;

use crate::{Artifact, Client, Error, IntoReference, ReadOptions, Result, convert, fetch::in_time};

/// Largest message that is read.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Pieces of chunks that may wait for the thread that hashes or writes them.
pub(crate) const CHUNKS_WAITING: usize = 16;

/// Content that is being read: a stream of bytes, each chunk checked against its crc32c.
#[derive(Debug)]
pub struct Content {
    artifact: Artifact,
    /// Of the whole, also where a range is read.
    pub(crate) sha256: Sha256,
    /// Of the whole.
    pub(crate) size_bytes: u64,
    pub(crate) offset: u64,
    pub(crate) end: u64,
    chunks: Messages<pb::ReadContentResponse>,
    /// The rest of the chunk that was checked last.
    checked: vec::IntoIter<Bytes>,
}

impl Content {
    /// Whose content it is.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Bytes that are still to come.
    pub fn remaining_bytes(&self) -> u64 {
        self.end - self.offset
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged {
            uid: self.artifact.uid.to_string(),
            what: what.into(),
        }
    }

    fn check(&self, message: Received<pb::ReadContentResponse>) -> Result<Vec<Bytes>> {
        let Chunk {
            data,
            crc32c: sum,
            offset,
        } = chunk_in(message)?;
        if offset.is_some_and(|offset| u64::try_from(offset) != Ok(self.offset)) {
            return Err(self.damaged("a chunk is missing or came twice"));
        }
        if sum.is_some_and(|sum| sum != data.iter().fold(0, |sum, piece| crc32c_append(sum, piece))) {
            return Err(self.damaged("a chunk does not match its crc32c"));
        }
        if data.iter().map(|piece| piece.len() as u64).sum::<u64>() > self.end - self.offset {
            return Err(self.damaged("more bytes came than were promised"));
        }
        Ok(data)
    }
}

fn chunk_in(message: Received<pb::ReadContentResponse>) -> Result<Chunk> {
    match message {
        Received::Chunk(chunk) => Ok(chunk),
        Received::Message(pb::ReadContentResponse {
            message: Some(Message::Chunk(chunk)),
        }) => Ok(chunk.into()),
        Received::Message(_) => Err(Error::Answer("a message that is no chunk".to_owned())),
    }
}

impl Stream for Content {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            if let Some(data) = self.checked.next() {
                self.offset += data.len() as u64;
                return Poll::Ready(Some(Ok(data)));
            }
            match ready!(self.chunks.poll_message(cx)) {
                Ok(Some(message)) => self.checked = self.check(message)?.into_iter(),
                Ok(None) if self.offset < self.end => {
                    return Poll::Ready(Some(Err(self.damaged("the stream ended early"))));
                }
                Ok(None) => return Poll::Ready(None),
                Err(status) => return Poll::Ready(Some(Err(status.into()))),
            }
        }
    }
}

impl Client {
    /// Opens the content of an artifact, or a range of it.
    pub async fn open_content(&self, artifact: impl IntoReference, options: ReadOptions) -> Result<Content> {
        let ReadOptions {
            offset,
            length,
            if_match,
            include_hidden,
            member,
            is_run_input,
        } = options;
        let length = length
            .map(i64::try_from)
            .transpose()
            .map_err(|_| Error::Input("length is too large".to_owned()))?;
        let message = pb::ReadContentRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            offset,
            length,
            if_match,
            chunk_bytes: 0,
            include_hidden,
            member,
            is_run_input,
        };
        let call = || async {
            let mut answer = self.contents().read_content(message.clone()).await?;
            let mut chunks = match BodyAside::take(answer.extensions_mut()) {
                Some(body) => Messages::of_server(body, MESSAGE_BYTES_MAX),
                // An answer of headers alone has told its status there.
                None => return Err(Error::Answer("content without a body".to_owned())),
            };
            let Some(Received::Message(pb::ReadContentResponse {
                message:
                    Some(Message::Head(pb::ContentHead {
                        artifact,
                        offset,
                        length,
                        member,
                    })),
            })) = chunks.message().await?
            else {
                return Err(Error::Answer("content without a head".to_owned()));
            };
            let impossible = |_| Error::Answer("a negative position".to_owned());
            let offset = u64::try_from(offset).map_err(impossible)?;
            let end = offset + u64::try_from(length).map_err(impossible)?;
            let artifact = convert::some(artifact)?;
            let (size_bytes, sha256) = match member.map(convert::member).transpose()? {
                Some(member) => (member.size_bytes, member.sha256),
                None => (artifact.size_bytes, artifact.sha256),
            };
            if end > size_bytes {
                return Err(Error::Answer(format!("a range up to {end} of {size_bytes} bytes")));
            }
            Ok(Content {
                artifact,
                sha256,
                size_bytes,
                offset,
                end,
                chunks,
                checked: Vec::new().into_iter(),
            })
        };
        self.inner.retry.run("ReadContent", || in_time(self, call())).await
    }

    /// Reads a whole content into memory, checked against its sha256.
    pub async fn read(&self, artifact: impl IntoReference) -> Result<Bytes> {
        self.read_whole(artifact, ReadOptions::default()).await
    }

    /// Reads a whole file of a folder into memory, checked against its sha256.
    pub async fn read_member(&self, artifact: impl IntoReference, path: impl Into<String>) -> Result<Bytes> {
        let options = ReadOptions {
            member: Some(path.into()),
            ..ReadOptions::default()
        };
        self.read_whole(artifact, options).await
    }

    async fn read_whole(&self, artifact: impl IntoReference, options: ReadOptions) -> Result<Bytes> {
        let content = self.open_content(artifact, options).await?;
        let (expected, uid, size) = (content.sha256, content.artifact.uid, content.remaining_bytes());
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0).min(1 << 30));
        let actual = take(self, content, |data| {
            bytes.extend_from_slice(&data);
            Ok(())
        });
        require(expected, actual.await?, uid)?;
        Ok(bytes.freeze())
    }

    /// Reads a range of a content into memory; fewer bytes at its end.
    pub async fn read_range(&self, artifact: impl IntoReference, offset: i64, length: u64) -> Result<Bytes> {
        let options = ReadOptions {
            offset,
            length: Some(length),
            ..ReadOptions::default()
        };
        let mut content = self.open_content(artifact, options).await?;
        let mut parts = Vec::new();
        while let Some(data) = in_time(self, content.try_next()).await? {
            parts.push(data);
        }
        Ok(if parts.len() == 1 {
            parts.into_iter().next().unwrap_or_default()
        } else {
            parts.concat().into()
        })
    }

    /// Reads a whole content, keeps nothing, and checks its sha256. Answers the artifact.
    pub async fn check(&self, artifact: impl IntoReference) -> Result<Artifact> {
        let content = self.open_content(artifact, ReadOptions::default()).await?;
        let artifact = content.artifact.clone();
        require(artifact.sha256, take(self, content, |_| Ok(())).await?, artifact.uid)?;
        Ok(artifact)
    }
}

fn require(expected: Sha256, actual: Sha256, uid: artifactd_domain::Uid) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::Damaged {
        uid: uid.to_string(),
        what: format!("sha256 is {actual}, expected {expected}"),
    })
}

/// Takes all chunks, hashing them on a thread of their own.
async fn take(client: &Client, mut content: Content, mut keep: impl FnMut(Bytes) -> Result<()>) -> Result<Sha256> {
    let (chunks, mut waiting) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hasher = Sha256Hasher::default();
        while let Some(chunk) = waiting.blocking_recv() {
            hasher.update(&chunk);
        }
        hasher.finish()
    });
    while let Some(data) = in_time(client, content.try_next()).await? {
        keep(data.clone())?;
        chunks.send(data).await.expect("the hashing thread takes all chunks");
    }
    drop(chunks);
    Ok(hashing.await.expect("hashing does not panic"))
}
