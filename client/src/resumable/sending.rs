//! Sends the missing parts of an upload over several streams.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use artifactd_proto::v1 as pb;
use futures::future::try_join_all;

use super::{
    file::LocalFile,
    part_stream::PartStream,
    parts::{self, Part},
    patience::Patience,
    watch::Watch,
};
use crate::{Client, Error, Reason, Result};

pub(super) struct Sending<'a> {
    client: &'a Client,
    uid: &'a str,
    file: &'a LocalFile,
    watch: &'a Watch<'a>,
    patience: Duration,
    /// Parts that no stream has taken.
    waiting: Mutex<VecDeque<Part>>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        client: &'a Client,
        upload: &'a pb::Upload,
        file: &'a LocalFile,
        watch: &'a Watch<'a>,
        patience: Duration,
    ) -> Result<Self> {
        if upload.durable_bytes.unsigned_abs() > file.size_bytes {
            return Err(file.changed("more of it was uploaded than there is"));
        }
        Ok(Self {
            client,
            uid: &upload.uid,
            file,
            watch,
            patience,
            waiting: Mutex::new(parts::missing(upload, file.size_bytes).collect()),
        })
    }

    /// Sends all of them. The first failure that does not pass ends all streams.
    pub(super) async fn run(&self, streams: usize) -> Result<()> {
        try_join_all((0..streams).map(|number| self.work(number))).await?;
        Ok(())
    }

    /// Sends parts over one stream at a time for as long as there are any.
    async fn work(&self, connection: usize) -> Result<()> {
        let turns = &self.client.inner.content_turns;
        let _turn = turns.acquire().await.expect("the semaphore is never closed");
        let mut stream = None;
        while let Some(part) = self.next() {
            self.deliver(part, connection, &mut stream).await?;
        }
        if let Some(stream) = stream {
            PartStream::finish(stream).await;
        }
        Ok(())
    }

    fn next(&self) -> Option<Part> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Sends a part until it is durable, over a new stream after each failure.
    async fn deliver(&self, part: Part, connection: usize, stream: &mut Option<PartStream>) -> Result<()> {
        let mut patience = Patience::new(&self.client.inner.retry, self.patience);
        let mut is_first = true;
        loop {
            let delivered = self.try_deliver(part, connection, stream, is_first).await;
            let error = match delivered {
                Ok(sent_now) => {
                    patience.succeeded();
                    self.watch.durable(part.size_bytes, sent_now);
                    return Ok(());
                }
                Err(error) => error,
            };
            *stream = None;
            is_first = false;
            if !passes(&error) || !patience.wait(&error).await {
                return Err(error);
            }
        }
    }

    /// Whether it was sent: the acknowledgement may be all that was lost of a try before.
    async fn try_deliver(
        &self,
        part: Part,
        connection: usize,
        stream: &mut Option<PartStream>,
        is_first: bool,
    ) -> Result<bool> {
        if !is_first && self.is_durable(&part).await? {
            return Ok(false);
        }
        self.send(part, connection, stream).await.map(|()| true)
    }

    async fn send(&self, part: Part, connection: usize, stream: &mut Option<PartStream>) -> Result<()> {
        let stream = match stream {
            Some(stream) => stream,
            None => stream.insert(PartStream::open(self.client, connection, self.uid, part.offset).await?),
        };
        stream.send(self.file, part).await
    }

    /// Whether a part need not be sent: it is there, or all were and somebody completes them.
    async fn is_durable(&self, part: &Part) -> Result<bool> {
        let upload = self.client.fetch_upload(self.uid, false).await?;
        Ok(upload.state() != pb::UploadState::Open || parts::holds(&upload, part.number, part.end()))
    }
}

/// Whether a part may go through at another try. In order, an offset is wrong when the
/// acknowledgement of what came before was lost; a chunk can be damaged on its way.
fn passes(error: &Error) -> bool {
    let reasons = [Reason::OffsetMismatch, Reason::ChunkChecksumMismatch];
    error.is_retryable() || error.reason().is_some_and(|reason| reasons.contains(&reason))
}
