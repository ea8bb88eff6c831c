//! One stream that writes parts of an upload, one after another.
//!
//! The next part begins when the one before is durable, so that a cut costs each
//! stream at most one.

use artifactd_proto::{
    ContentBody, Outgoing,
    aside::BodyAside,
    v1::{self as pb, write_upload_request::Message as Asked},
};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, body::Body};

use super::{file::LocalFile, parts::Part};
use crate::{
    Client, Error, Result,
    upload::{Buffers, CHUNKS_AHEAD},
};

pub(super) struct PartStream {
    /// Unset once the end of the content was said, after which the stream must end too.
    messages: Option<mpsc::Sender<Outgoing>>,
    acks: Streaming<pb::WriteUploadResponse>,
    buffers: Buffers,
}

fn outgoing(message: Asked) -> Outgoing {
    Outgoing::message(&pb::WriteUploadRequest { message: Some(message) })
}

impl PartStream {
    /// Opens one that begins at a position, over one of the client's connections.
    pub(super) async fn open(client: &Client, connection: usize, uid: &str, offset: u64) -> Result<Self> {
        let (messages, ready) = mpsc::channel(CHUNKS_AHEAD);
        let header = outgoing(Asked::Header(pb::WriteUploadHeader {
            uid: uid.to_owned(),
            offset: offset as i64,
        }));
        let body = stream::iter([header]).chain(ReceiverStream::new(ready));
        let mut request = Request::new(stream::empty());
        BodyAside::put(request.extensions_mut(), Body::new(ContentBody::of_client(body)));
        let acks = client.uploads(connection).write_upload(request).await?.into_inner();
        let mut stream = Self {
            messages: Some(messages),
            acks,
            buffers: Buffers::default(),
        };
        stream.ack(offset).await?;
        Ok(stream)
    }

    /// Sends a part, until it is durable.
    pub(super) async fn send(&mut self, file: &LocalFile, part: Part) -> Result<()> {
        let ended = || Error::Answer("an upload that ends before its last part".to_owned());
        let messages = if part.says_end {
            self.messages.take()
        } else {
            self.messages.clone()
        };
        let (file, messages) = (file.clone(), messages.ok_or_else(ended)?);
        let buffers = std::mem::take(&mut self.buffers);
        // The thread ends with the part, or when the stream takes no more.
        let mut reading = tokio::task::spawn_blocking(move || {
            let buffers = file.read(part, buffers, &messages)?;
            if part.says_end {
                // A server that has gone away needs no end.
                let _ = messages.blocking_send(outgoing(Asked::End(pb::WriteUploadEnd {})));
            }
            Ok::<_, Error>(buffers)
        });
        // A runtime that ends takes its threads with it.
        let ended = |error| Error::Input(format!("the file cannot be read any more: {error}"));
        tokio::select! {
            biased;
            read = &mut reading => self.buffers = read.map_err(ended)??,
            acked = self.ack(part.end()) => return acked,
        }
        self.ack(part.end()).await
    }

    /// Ends it; all that was sent is durable, so that nothing can go wrong any more.
    pub(super) async fn finish(self) {
        let Self { messages, mut acks, .. } = self;
        drop(messages);
        while let Ok(Some(_)) = acks.message().await {}
    }

    async fn ack(&mut self, position: u64) -> Result<()> {
        match self.acks.message().await? {
            Some(ack) if ack.durable_bytes.unsigned_abs() == position => Ok(()),
            Some(ack) => Err(Error::Answer(format!(
                "{} bytes are acknowledged where {position} were sent",
                ack.durable_bytes
            ))),
            None => Err(Status::unavailable("the acknowledgements ended early").into()),
        }
    }
}
