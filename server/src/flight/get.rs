//! DoGet: the batches of a ticket.

use arrow_flight::{FlightData, Ticket};
use artifactd_proto::{aside::BodyAside, flight::v1 as pb, v1::ErrorReason};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName};
use prost::Message as _;
use tonic::{Code, Request, Response, Status, body::Body, metadata::MetadataMap};

use super::{
    Flight,
    frames::{GetBody, Outgoing, outgoing},
    running::OneRun,
    ticket,
};
use crate::{
    api::{self, layer::CallId, status},
    arrays::{Encoder, Form, Message},
    registry::{Caller, RegistryError, TableBatch, TableStream},
    storage::ReadCounter,
};

/// Messages of callers that say nothing else.
const MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Largest messages that a caller can have, and smallest.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const MESSAGE_BYTES_MIN: usize = 64 * 1024;

/// What a message has beside its batch.
const FRAME_BYTES: usize = 512;

const MAX_MESSAGE: &str = "artifactd-max-message-bytes";
const RESUME: &str = "artifactd-resume-bin";
const STORAGE_BYTES: HeaderName = HeaderName::from_static("artifactd-storage-bytes");
const STORAGE_REQUESTS: HeaderName = HeaderName::from_static("artifactd-storage-requests");

pub(super) async fn get(
    flight: &Flight,
    caller: Caller,
    request: Request<Ticket>,
) -> Result<Response<stream::Empty<Result<FlightData, Status>>>, Status> {
    let call_id = api::call_id(&caller);
    let message_bytes = message_bytes(request.metadata(), &call_id)?;
    let resume = resume(request.metadata(), &call_id)?;
    let read = flight.tickets.open(&request.get_ref().ticket, &caller, &call_id)?;
    let (of, selection) = read.table().ok_or_else(|| ticket::invalid(&call_id))?;
    let run = flight.running.begin(read.id);
    let opened = async {
        let open = flight.registry.open_table(&caller, &of).await?;
        let plan = open.plan(&selection)?;
        open.read(plan, message_bytes - FRAME_BYTES, resume).await
    };
    let batches = opened.await.map_err(|error| status::from_registry(error, &call_id))?;
    let mut answer = Response::new(stream::empty());
    BodyAside::put(
        answer.extensions_mut(),
        Body::new(GetBody::new(Sending::begin(batches, run, call_id))),
    );
    Ok(answer)
}

/// The most bytes of a message that a caller takes.
fn message_bytes(metadata: &MetadataMap, call_id: &CallId) -> Result<usize, Status> {
    let Some(wish) = metadata.get(MAX_MESSAGE) else {
        return Ok(MESSAGE_BYTES);
    };
    let wish = wish.to_str().ok().and_then(|wish| wish.parse::<u64>().ok());
    let wish = wish.ok_or_else(|| status::field(call_id, MAX_MESSAGE, "must be a number of bytes"))?;
    Ok(usize::try_from(wish)
        .unwrap_or(usize::MAX)
        .clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX))
}

/// The row at which a stream goes on, and the rows before it.
fn resume(metadata: &MetadataMap, call_id: &CallId) -> Result<Option<(u64, u64)>, Status> {
    let refused = || status::field(call_id, RESUME, "must be the BatchInfo of a batch");
    let Some(last) = metadata.get_bin(RESUME) else {
        return Ok(None);
    };
    let last = last.to_bytes().map_err(|_| refused())?;
    let pb::BatchInfo { next_row, rows, .. } = pb::BatchInfo::decode(last).map_err(|_| refused())?;
    match (u64::try_from(next_row), u64::try_from(rows)) {
        (Ok(next_row), Ok(rows)) => Ok(Some((next_row, rows))),
        _ => Err(refused()),
    }
}

/// An answer on its way.
struct Sending {
    batches: TableStream,
    encoder: Encoder,
    run: OneRun,
    call_id: CallId,
    began: bool,
}

impl Sending {
    fn begin(
        batches: TableStream,
        run: OneRun,
        call_id: CallId,
    ) -> impl futures::Stream<Item = Result<Outgoing, Status>> + Send + 'static {
        let sending = Self {
            encoder: Encoder::new(batches.plan().schema()),
            batches,
            run,
            call_id,
            began: false,
        };
        stream::unfold(Some(sending), |sending| async move {
            let mut sending = sending?;
            match sending.next().await {
                Ok(pieces @ Outgoing::Pieces(_)) => Some((Ok(pieces), Some(sending))),
                Ok(end) => Some((Ok(end), None)),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Outgoing, Status> {
        if !std::mem::replace(&mut self.began, true) {
            return Ok(Outgoing::Pieces(outgoing(self.encoder.schema(), &[])));
        }
        let next = tokio::select! {
            biased;
            () = self.run.cancel.cancelled() => {
                let (code, reason) = (Code::Cancelled, ErrorReason::Cancelled);
                return Err(status::status(&self.call_id, code, reason, "the read was cancelled by CancelFlightInfo"));
            }
            next = next(&mut self.batches) => next,
        };
        match next {
            None => Ok(Outgoing::End(trailers(self.batches.cost()))),
            Some(Err(error)) => Err(status::from_registry(error, &self.call_id)),
            Some(Ok(Next::Body(piece))) => Ok(Outgoing::Pieces(vec![piece])),
            Some(Ok(Next::Batch(batch))) => self.messages(batch),
        }
    }

    fn messages(&mut self, batch: TableBatch) -> Result<Outgoing, Status> {
        let info = batch_info(&batch, self.batches.cost()).encode_to_vec();
        let encoded = match batch.form {
            Form::Stored(message) => vec![message],
            Form::Lying(header, body) => vec![Message {
                header,
                body: Vec::new(),
                body_bytes: (body.end - body.start) as usize,
            }],
            Form::Batch(batch) => {
                let encoded = self.encoder.encode(&batch);
                encoded.map_err(|error| status::from_registry(error.into(), &self.call_id))?
            }
        };
        let last = encoded.len() - 1;
        let messages = encoded.into_iter().enumerate();
        let pieces = messages.flat_map(|(number, message)| {
            // What was read belongs to the batch; dictionaries come before it.
            outgoing(message, if number == last { &info } else { &[] })
        });
        Ok(Outgoing::Pieces(pieces.collect()))
    }
}

/// What comes next of a read.
enum Next {
    /// More of the message that was begun.
    Body(Bytes),
    Batch(TableBatch),
}

async fn next(batches: &mut TableStream) -> Option<Result<Next, RegistryError>> {
    if let Some(piece) = batches.next_of_body().await {
        return Some(piece.map(Next::Body));
    }
    batches.next().await.map(|batch| batch.map(Next::Batch))
}

fn batch_info(batch: &TableBatch, cost: &ReadCounter) -> pb::BatchInfo {
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    pb::BatchInfo {
        first_row: integer(batch.first_row),
        next_row: integer(batch.next_row),
        rows: integer(batch.rows),
        storage_bytes: integer(cost.bytes()),
        storage_requests: integer(cost.requests()),
    }
}

/// What the whole read has cost.
fn trailers(cost: &ReadCounter) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(STORAGE_BYTES, cost.bytes().into());
    trailers.insert(STORAGE_REQUESTS, cost.requests().into());
    trailers
}
