//! Batches that become an artifact.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightDescriptor,
    encode::{DictionaryHandling, FlightDataEncoderBuilder},
    error::FlightError,
};
use arrow_schema::SchemaRef;
use artifactd_proto::flight::v1::{self as pb, put_answer::Answer};
use futures::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use prost::Message;

use super::packed;
use crate::{Client, Error, Result, SaveOptions, Saved, convert};

/// Batches of one schema, however somebody has them.
pub trait IntoBatches {
    /// The batches, in order.
    fn into_batches(self) -> BoxStream<'static, Result<RecordBatch>>;
}

impl IntoBatches for RecordBatch {
    fn into_batches(self) -> BoxStream<'static, Result<RecordBatch>> {
        vec![self].into_batches()
    }
}

impl IntoBatches for Vec<RecordBatch> {
    fn into_batches(self) -> BoxStream<'static, Result<RecordBatch>> {
        stream::iter(self.into_iter().map(Ok)).boxed()
    }
}

impl<S> IntoBatches for std::pin::Pin<Box<S>>
where
    S: Stream<Item = Result<RecordBatch>> + Send + ?Sized + 'static,
{
    fn into_batches(self) -> BoxStream<'static, Result<RecordBatch>> {
        self.boxed()
    }
}

impl IntoBatches for super::Batches {
    fn into_batches(self) -> BoxStream<'static, Result<RecordBatch>> {
        self.boxed()
    }
}

impl Client {
    /// Saves a table that comes in batches. The suffix of the key or file name says how it
    /// is stored: `.parquet` (also without any), `.arrow`, `.feather` or `.arrows`. The same
    /// rows make the same file, whatever the batches.
    ///
    /// It is durable once this answers. Batches are sent once: after a cut, call it again
    /// with the same request id.
    pub async fn put_batches(
        &self,
        schema: SchemaRef,
        batches: impl IntoBatches,
        options: SaveOptions,
    ) -> Result<Saved> {
        let header = convert::save_header(options);
        let write = pb::WriteTable {
            save: Some(header),
            replace: None,
            replace_etag: None,
        };
        let descriptor = FlightDescriptor::new_cmd(packed("WriteTable", &write));
        // What stops the batches is the caller's to hear, and not what the server made of it.
        let stopped: Arc<Mutex<Option<Error>>> = Arc::default();
        let there = Arc::clone(&stopped);
        let batches = batches.into_batches().map_err(move |error| {
            let what = error.to_string();
            *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            FlightError::ProtocolError(what)
        });
        let messages = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_dictionary_handling(DictionaryHandling::Resend)
            .with_flight_descriptor(Some(descriptor))
            .build(batches);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let feeding = tokio::spawn(feed(messages.boxed(), sender));
        let messages = stream::unfold(Some(receiver), |receiver| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Some(message)) => Some((message, Some(receiver))),
                Some(None) => None,
                // A feeder that went away has not said that this is all.
                None => Some((broken(), None)),
            }
        });
        let _turn = self.turn().await;
        let answered = self.answer(messages).await;
        feeding.abort();
        if let Some(error) = stopped.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        answered
    }

    async fn answer(&self, messages: impl Stream<Item = arrow_flight::FlightData> + Send + 'static) -> Result<Saved> {
        let mut answers = self.flight(0).do_put(messages).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            let answer = pb::PutAnswer::decode(answer.app_metadata);
            let answer = answer.map_err(|error| Error::Answer(format!("an answer cannot be read: {error}")))?;
            if let Some(Answer::Saved(saved)) = answer.answer {
                return convert::saved(saved);
            }
        }
        Err(Error::Answer(
            "the answer ended without what became of the table".to_owned(),
        ))
    }
}

/// Sends messages, and says when they are all.
async fn feed(
    mut messages: BoxStream<'static, std::result::Result<arrow_flight::FlightData, FlightError>>,
    to: tokio::sync::mpsc::Sender<Option<arrow_flight::FlightData>>,
) {
    while let Some(message) = messages.next().await {
        match message {
            Ok(message) => {
                if to.send(Some(message)).await.is_err() {
                    return;
                }
            }
            Err(_) => {
                let _ = to.send(Some(broken())).await;
                return;
            }
        }
    }
    let _ = to.send(None).await;
}

/// A message that is none: the server refuses all that came before it.
fn broken() -> arrow_flight::FlightData {
    arrow_flight::FlightData::new().with_data_header(vec![0xff; 8])
}
