//! A content that is read on over every cut.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use artifactd_domain::Sha256;
use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{
    Artifact, Client, Content, IntoReference, ReadOptions, Result,
    events::Event,
    fetch::{Source, in_time},
};

/// Content that is being read: a stream of bytes, each chunk checked against its crc32c.
/// After a cut it goes on with the next byte, within the tries of the client.
pub struct SteadyContent {
    artifact: Artifact,
    sha256: Sha256,
    is_whole: bool,
    bytes: BoxStream<'static, Result<Bytes>>,
}

impl SteadyContent {
    /// Whose content it is.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// sha256 of the whole content, also where a range is read.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Whether all of the content is read, so that it must have this sha256.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl std::fmt::Debug for SteadyContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteadyContent")
            .field("artifact", &self.artifact)
            .finish_non_exhaustive()
    }
}

impl Stream for SteadyContent {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.bytes.poll_next_unpin(cx)
    }
}

/// What is left to read.
struct Rest {
    client: Client,
    source: Source,
    content: Option<Content>,
    position: u64,
    end: u64,
    moved_bytes: u64,
    tries: u32,
}

impl Client {
    /// Opens a content, or a range of it, and reads on over cuts. The sha256 of the whole is
    /// the caller's to check.
    pub async fn open_steady(&self, artifact: impl IntoReference, options: ReadOptions) -> Result<SteadyContent> {
        let member = options.member.clone();
        let content = self.open_content(artifact, options).await?;
        let source = Source::of_content(&content, member);
        let (position, end) = (content.offset, content.end);
        self.events.tell(Event::Begun {
            files: 1,
            bytes: Some(end - position),
        });
        let (artifact, sha256) = (content.artifact().clone(), source.sha256);
        let is_whole = position == 0 && end == source.size_bytes;
        let rest = Rest {
            client: self.clone(),
            content: Some(content),
            source,
            position,
            end,
            moved_bytes: 0,
            tries: 0,
        };
        Ok(SteadyContent {
            artifact,
            sha256,
            is_whole,
            bytes: stream::try_unfold(rest, Rest::next).boxed(),
        })
    }
}

impl Rest {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            match self.read().await {
                Ok(Some(data)) => {
                    self.tries = 0;
                    self.position += data.len() as u64;
                    self.moved_bytes += data.len() as u64;
                    self.client.events.tell(Event::Arrived {
                        files: 0,
                        bytes: self.moved_bytes,
                    });
                    return Ok(Some((data, self)));
                }
                Ok(None) => {
                    let moved_bytes = self.moved_bytes;
                    self.client.events.tell(Event::Done { moved_bytes });
                    return Ok(None);
                }
                Err(error) => {
                    self.content = None;
                    self.tries += 1;
                    if !self.client.wait(self.tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        let content = match &mut self.content {
            Some(content) => content,
            // Only the end was lost.
            None if self.position == self.end => return Ok(None),
            None => {
                let rest = self.source.open(&self.client, self.position..self.end).await?;
                self.content.insert(rest)
            }
        };
        in_time(&self.client, content.try_next()).await
    }
}
