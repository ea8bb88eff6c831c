//! Batches on their way here: from several parts of a table at once, given in order.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightInfo, Ticket,
    decode::{DecodedPayload, FlightDataDecoder},
    error::FlightError,
};
use arrow_schema::SchemaRef;
use artifactd_proto::aside::BodyAside;
use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;
use tonic::{Request, metadata::MetadataValue};

use super::{FRAME_BYTES, MESSAGE_BYTES_MAX, messages::Messages};
use crate::{Client, Error, Result};

/// Batches of one part that wait to be taken.
const BATCHES_WAITING: usize = 2;

/// The rows of a read, in order. The first error ends them.
pub struct Batches {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batches({})", self.schema)
    }
}

impl Batches {
    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Stream for Batches {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

/// Reads all parts, some of them ahead.
pub(super) fn batches(client: Client, info: FlightInfo, schema: SchemaRef, streams: usize) -> Batches {
    let tickets = info
        .endpoint
        .into_iter()
        .map(|endpoint| endpoint.ticket.unwrap_or_default());
    let parts = stream::iter(tickets.enumerate()).map(move |(number, ticket)| {
        let client = client.clone();
        async move { Part::begin(client, number, ticket) }
    });
    let batches = parts.buffered(streams.max(1)).flat_map(|part| {
        stream::unfold(
            part,
            |mut batches| async move { Some((batches.recv().await?, batches)) },
        )
    });
    // Nobody waits for what comes behind an error.
    let batches = batches.scan(false, |failed, batch| {
        let over = std::mem::replace(failed, batch.is_err());
        std::future::ready((!over).then_some(batch))
    });
    Batches {
        schema,
        batches: batches.boxed(),
    }
}

/// One part of a table, read by a task of its own.
struct Part {
    client: Client,
    connection: usize,
    ticket: Ticket,
    /// What was said of the last batch that came: where to go on.
    last: Bytes,
    batches: mpsc::Sender<Result<RecordBatch>>,
}

impl Part {
    fn begin(client: Client, connection: usize, ticket: Ticket) -> mpsc::Receiver<Result<RecordBatch>> {
        let (batches, receiver) = mpsc::channel(BATCHES_WAITING);
        let part = Self {
            client,
            connection,
            ticket,
            last: Bytes::new(),
            batches,
        };
        tokio::spawn(part.run());
        receiver
    }

    /// Reads to the end, also over cuts.
    async fn run(mut self) {
        let mut tries = 0;
        loop {
            let before = self.last.clone();
            let error = match self.read().await {
                Ok(()) => return,
                Err(error) => error,
            };
            // What came shows that the way is good.
            tries = if before == self.last { tries + 1 } else { 1 };
            if !self.client.wait(tries, &error).await {
                let _ = self.batches.send(Err(error)).await;
                return;
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        let mut request = Request::new(self.ticket.clone());
        let metadata = request.metadata_mut();
        metadata.insert("artifactd-max-message-bytes", MESSAGE_BYTES_MAX.into());
        if !self.last.is_empty() {
            metadata.insert_bin("artifactd-resume-bin", MetadataValue::from_bytes(&self.last));
        }
        let mut answer = self.client.flight(self.connection).do_get(request).await?;
        let Some(body) = BodyAside::take(answer.extensions_mut()) else {
            return Err(Error::Answer("a table without a body".to_owned()));
        };
        let mut messages = FlightDataDecoder::new(Messages::new(body, MESSAGE_BYTES_MAX + FRAME_BYTES));
        while let Some(message) = messages.try_next().await.map_err(failed)? {
            if let DecodedPayload::RecordBatch(batch) = message.payload {
                let last = message.inner.app_metadata;
                if self.batches.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
                self.last = last;
            }
        }
        Ok(())
    }
}

fn failed(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) => (*status).into(),
        other => Error::Answer(format!("a batch cannot be read: {other}")),
    }
}
