//! Calls of Arrow Flight over a stock client, and tables to call them with.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightInfo, SchemaResult, Ticket,
    decode::{DecodedPayload, FlightDataDecoder},
    encode::FlightDataEncoderBuilder,
    flight_service_client::FlightServiceClient,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use artifactd_proto::{
    flight::v1::{self as pb, put_answer::Answer},
    v1::{Artifact, SaveArtifactResponse},
};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use prost_types::Any;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{
    Calls,
    calls::{Line, answer, by_uid, keyed},
    failure::{Failure, Outcome},
};

/// A message of `artifactd.flight.v1` in the opaque bytes in which it travels.
pub fn packed(name: &str, message: &impl Message) -> Vec<u8> {
    let type_url = format!("type.googleapis.com/artifactd.flight.v1.{name}");
    let value = message.encode_to_vec();
    Any { type_url, value }.encode_to_vec()
}

/// The command that reads.
pub fn read_command(read: &pb::ReadArray) -> FlightDescriptor {
    FlightDescriptor::new_cmd(packed("ReadArray", read))
}

/// What a DoGet gave.
#[derive(Debug, Default)]
pub struct Got {
    /// The batches.
    pub batches: Vec<RecordBatch>,
    /// What was said of each.
    pub infos: Vec<pb::BatchInfo>,
    /// Bytes of the largest message.
    pub largest_message: usize,
    /// Bytes that were fetched from the storage, and requests for them.
    pub cost: (u64, u64),
}

impl Got {
    /// How many rows came.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The values of a column of integers.
    pub fn integers(&self, column: &str) -> Vec<i64> {
        use arrow_array::{cast::AsArray, types::Int64Type};
        let of_batch = |batch: &RecordBatch| {
            let column = batch.column_by_name(column).expect("the column is there");
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        self.batches.iter().flat_map(of_batch).collect()
    }
}

impl Calls {
    /// The service, with room for large messages.
    pub fn flight(&self) -> FlightServiceClient<Line> {
        FlightServiceClient::new(self.channel.clone()).max_decoding_message_size(32 << 20)
    }

    /// Where to read.
    pub async fn flight_info(&self, descriptor: FlightDescriptor) -> Outcome<FlightInfo> {
        answer(self.flight().get_flight_info(descriptor)).await
    }

    /// The schema of what would be read.
    pub async fn flight_schema(&self, descriptor: FlightDescriptor) -> Outcome<SchemaResult> {
        answer(self.flight().get_schema(descriptor)).await
    }

    /// The only ticket of what is to be read.
    ///
    /// # Panics
    /// When there are several.
    pub async fn ticket(&self, read: &pb::ReadArray) -> Outcome<Ticket> {
        let info = self.flight_info(read_command(read)).await?;
        assert_eq!(info.endpoint.len(), 1, "one endpoint");
        Ok(info.endpoint[0].ticket.clone().expect("endpoints have tickets"))
    }

    /// Reads a ticket to its end.
    pub async fn do_get(&self, ticket: Ticket) -> Outcome<Got> {
        self.do_get_with(ticket, MetadataMap::new()).await
    }

    /// The same with headers.
    pub async fn do_get_with(&self, ticket: Ticket, headers: MetadataMap) -> Outcome<Got> {
        let mut request = Request::new(ticket);
        *request.metadata_mut() = headers;
        let call = async {
            let answer = self.flight().do_get(request).await?;
            got(answer).await.map(Response::new)
        };
        answer(call).await
    }

    /// Reads a selection, whatever its endpoints.
    pub async fn read_table(&self, read: &pb::ReadArray) -> Outcome<Got> {
        let info = self.flight_info(read_command(read)).await?;
        let mut all = Got::default();
        for endpoint in info.endpoint {
            let got = self.do_get(endpoint.ticket.unwrap_or_default()).await?;
            all.batches.extend(got.batches);
            all.infos.extend(got.infos);
            all.largest_message = all.largest_message.max(got.largest_message);
            all.cost = (all.cost.0 + got.cost.0, all.cost.1 + got.cost.1);
        }
        Ok(all)
    }

    /// Sends the messages of a DoPut as they are; all answers.
    pub async fn do_put_raw(&self, messages: Vec<FlightData>) -> Outcome<Vec<Answer>> {
        let call = async {
            let answers = self.flight().do_put(stream::iter(messages)).await?.into_inner();
            let answers: Vec<_> = answers.try_collect().await?;
            Ok(Response::new(answers))
        };
        let answers: Vec<arrow_flight::PutResult> = answer(call).await?;
        let decoded = answers.into_iter().map(|answer| {
            let answer = pb::PutAnswer::decode(answer.app_metadata).expect("an answer");
            answer.answer.expect("an answer says something")
        });
        Ok(decoded.collect())
    }

    /// Puts batches as a command says.
    ///
    /// # Panics
    /// When the last answer is none of a save.
    pub async fn do_put(&self, write: &pb::WriteTable, batches: &[RecordBatch]) -> Outcome<SaveArtifactResponse> {
        let descriptor = FlightDescriptor::new_cmd(packed("WriteTable", write));
        let messages = put_messages(descriptor, batches).await;
        match self.do_put_raw(messages).await?.pop() {
            Some(Answer::Saved(saved)) => Ok(saved),
            other => panic!("the last answer is {other:?}"),
        }
    }

    /// Runs an action; its only answer.
    pub async fn do_action(&self, name: &str, body: &impl Message) -> Outcome<Vec<u8>> {
        let action = Action::new(name.to_owned(), body.encode_to_vec());
        let call = async {
            let answers = self.flight().do_action(action).await?.into_inner();
            let answers: Vec<arrow_flight::Result> = answers.try_collect().await?;
            Ok(Response::new(answers))
        };
        let mut answers = answer(call).await?;
        Ok(answers.remove(0).body.to_vec())
    }
}

/// Puts as many rows of [`numbered`].
///
/// # Panics
/// When they are refused.
pub async fn put(calls: &Calls, key: &str, rows: i64) -> Artifact {
    let write = pb::WriteTable {
        save: Some(keyed(key)),
        ..Default::default()
    };
    let saved = calls.do_put(&write, &[numbered(0..rows)]).await;
    saved.expect("it is saved").artifact.expect("there is one")
}

/// What reads all of a table.
pub fn all_of(uid: &str) -> pb::ReadArray {
    pb::ReadArray {
        artifact: Some(by_uid(uid)),
        ..Default::default()
    }
}

/// The messages that an honest client sends.
pub async fn put_messages(descriptor: FlightDescriptor, batches: &[RecordBatch]) -> Vec<FlightData> {
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .with_schema(batches[0].schema())
        .build(stream::iter(batches.to_vec()).map(Ok));
    encoder.try_collect().await.expect("batches can be encoded")
}

/// Takes an answer to its end.
///
/// # Errors
/// The status that ends it.
pub async fn got(answer: Response<tonic::Streaming<FlightData>>) -> Result<Got, Status> {
    let mut messages = answer.into_inner();
    let (mut all, mut got) = (Vec::new(), Got::default());
    while let Some(message) = messages.message().await? {
        got.largest_message = got.largest_message.max(message.encoded_len());
        all.push(Ok(message));
    }
    let trailers = messages.trailers().await?.unwrap_or_default();
    let number = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    got.cost = (
        number("artifactd-storage-bytes").expect("bytes in the trailers"),
        number("artifactd-storage-requests").expect("requests in the trailers"),
    );
    let mut decoder = FlightDataDecoder::new(stream::iter(all));
    while let Some(message) = decoder.try_next().await.expect("messages make sense") {
        if let DecodedPayload::RecordBatch(batch) = message.payload {
            got.batches.push(batch);
            let info = pb::BatchInfo::decode(message.inner.app_metadata).expect("a BatchInfo");
            got.infos.push(info);
        }
    }
    Ok(got)
}

/// Takes the refusal out of an outcome that must be one.
///
/// # Panics
/// When it is none.
pub fn refused<T>(outcome: Outcome<T>) -> Failure {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(failure) => failure,
    }
}

/// The columns of [`numbered`].
pub fn numbered_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("half", DataType::Float64, true),
        Field::new("word", DataType::Utf8, true),
    ]))
}

/// A table whose rows are known by their numbers.
pub fn numbered(rows: std::ops::Range<i64>) -> RecordBatch {
    const WORDS: [&str; 4] = ["lung", "liver", "", "heart"];
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from_iter_values(rows.clone())),
        Arc::new(Float64Array::from_iter(
            rows.clone().map(|row| (row % 3 != 0).then_some(row as f64 / 2.0)),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.map(|row| format!("{} {row}", WORDS[row as usize % 4])),
        )),
    ];
    RecordBatch::try_new(numbered_schema(), columns.to_vec()).expect("the columns fit")
}
