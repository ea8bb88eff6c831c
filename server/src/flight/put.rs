//! DoPut: batches that become an artifact.

use std::{sync::Arc, time::Duration};

use arrow_flight::{FlightData, FlightDescriptor, PutResult, flight_descriptor::DescriptorType};
use artifactd_proto::{
    aside::BodyAside,
    flight::v1::{self as pb, put_answer::Answer},
    v1::{ErrorReason, ReplaceArtifactResponse, ReplaceHeader, SaveHeader},
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use prost::Message;
use tokio::task::JoinHandle;
use tonic::{Code, Extensions, Status};

use super::{
    Flight,
    descriptor::{kind, unpack},
    frames::PutMessages,
};
use crate::{
    api::{self, convert, layer::CallId, status},
    registry::{Caller, NewTable, RegistryError, Target, WriteProgress, Written},
};

const WRITE_TABLE: &str = "artifactd.flight.v1.WriteTable";

/// How often a sender hears how far its table is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn put(
    flight: &Flight,
    caller: Caller,
    extensions: &mut Extensions,
) -> Result<BoxStream<'static, Result<PutResult, Status>>, Status> {
    let call_id = api::call_id(&caller);
    let mut messages = PutMessages::new(BodyAside::take(extensions).unwrap_or_default());
    let idle = flight.registry.limits.stream_idle_timeout;
    let first = tokio::time::timeout(idle, messages.next()).await;
    let first = first.unwrap_or_else(|_| Err(status::from_registry(RegistryError::StreamIdle(idle), &call_id)));
    let first = first.map_err(|made| passed_on(made, &call_id))?;
    let first = first.ok_or_else(|| status::from_registry(RegistryError::StreamIncomplete, &call_id))?;
    let FlightData {
        flight_descriptor,
        data_header,
        ..
    } = first;
    let descriptor = flight_descriptor.ok_or_else(|| {
        let reason = ErrorReason::FieldRequired;
        status::field_with(
            &call_id,
            reason,
            "flight_descriptor",
            "is required in the first message",
        )
    })?;
    let table = NewTable {
        target: target(&descriptor, &call_id)?,
        schema: data_header,
        messages: rest(messages, call_id.clone()),
    };
    let (registry, progress) = (Arc::clone(&flight.registry), WriteProgress::default());
    let there = progress.clone();
    let writing = flight
        .registry
        .spawn(async move { registry.write_table(&caller, table, there).await });
    Ok(answers(writing, progress, call_id))
}

/// A status that was made here passes; one that tonic made gets its reason.
fn passed_on(made: Status, call_id: &CallId) -> Status {
    match made.details() {
        [] => status::from_tonic(&made, call_id),
        _ => made,
    }
}

/// What a descriptor wants to be made.
fn target(descriptor: &FlightDescriptor, call_id: &CallId) -> Result<Target, Status> {
    match kind(descriptor, call_id)? {
        DescriptorType::Path => {
            let [key] = descriptor.path.as_slice() else {
                return Err(status::field(call_id, "descriptor.path", "must be one key"));
            };
            let header = SaveHeader {
                key: Some(key.clone()),
                ..SaveHeader::default()
            };
            new_artifact(header, call_id)
        }
        _ => {
            let rule = format!("is no google.protobuf.Any of {WRITE_TABLE}");
            let write: Option<pb::WriteTable> = unpack(WRITE_TABLE, &descriptor.cmd);
            let write = write.ok_or_else(|| status::field(call_id, "descriptor.cmd", rule))?;
            let pb::WriteTable {
                save,
                replace,
                replace_etag,
            } = write;
            let save = save.unwrap_or_default();
            match replace {
                None => new_artifact(save, call_id),
                Some(artifact) => {
                    let header = ReplaceHeader {
                        artifact: Some(artifact),
                        etag: replace_etag,
                        request_id: save.request_id,
                        file_name: save.file_name,
                        media_type: save.media_type,
                        ..ReplaceHeader::default()
                    };
                    Ok(Target::Replace(Box::new(convert::replacement(header, call_id)?)))
                }
            }
        }
    }
}

fn new_artifact(header: SaveHeader, call_id: &CallId) -> Result<Target, Status> {
    for (field, is_set) in [
        ("save.size", header.size.is_some()),
        ("save.sha256", header.sha256.is_some()),
        ("save.claim", header.claim),
    ] {
        if is_set {
            return Err(status::field(
                call_id,
                field,
                "must be unset: the server makes the file",
            ));
        }
    }
    let (new, _) = convert::new_artifact(header, call_id)?;
    Ok(Target::New(Box::new(new)))
}

/// The messages behind the first.
fn rest(messages: PutMessages, call_id: CallId) -> BoxStream<'static, Result<(Bytes, Bytes), RegistryError>> {
    let source = |status: Status| RegistryError::Source(Box::new(status));
    stream::unfold(Some((messages, call_id)), move |state| async move {
        let (mut messages, call_id) = state?;
        match messages.next().await {
            Ok(None) => None,
            Ok(Some(message)) => {
                let message = (message.data_header, message.data_body);
                Some((Ok(message), Some((messages, call_id))))
            }
            Err(made) => Some((Err(source(passed_on(made, &call_id))), None)),
        }
    })
    // What carries metadata alone says nothing of the table.
    .filter(|message| std::future::ready(!matches!(message, Ok((header, _)) if header.is_empty())))
    .boxed()
}

type Writing = JoinHandle<Result<Written, RegistryError>>;

fn answers(
    writing: Writing,
    progress: WriteProgress,
    call_id: CallId,
) -> BoxStream<'static, Result<PutResult, Status>> {
    stream::unfold(Some((writing, progress, (0, 0), call_id)), |state| async move {
        let (mut writing, progress, mut said, call_id) = state?;
        loop {
            match tokio::time::timeout(PROGRESS_EVERY, &mut writing).await {
                Ok(written) => return Some((last_answer(written, &call_id), None)),
                Err(_) if progress.get() == said => {}
                Err(_) => {
                    said = progress.get();
                    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                    let how_far = pb::PutProgress {
                        rows: integer(said.0),
                        bytes: integer(said.1),
                    };
                    let state = (writing, progress, said, call_id);
                    return Some((Ok(put_result(Answer::Progress(how_far))), Some(state)));
                }
            }
        }
    })
    .boxed()
}

fn last_answer(
    written: Result<Result<Written, RegistryError>, tokio::task::JoinError>,
    call_id: &CallId,
) -> Result<PutResult, Status> {
    let internal = |_| {
        let what = "internal error; see the log";
        status::status(call_id, Code::Internal, ErrorReason::Internal, what)
    };
    let written = written.map_err(internal)?;
    let written = written.map_err(|error| status::from_registry(error, call_id))?;
    Ok(put_result(match written {
        Written::Saved(saved) => Answer::Saved(api::save_response(*saved)),
        Written::Replaced(replaced) => Answer::Replaced(ReplaceArtifactResponse {
            artifact: Some(convert::artifact(replaced.artifact)),
            changed: replaced.changed,
        }),
    }))
}

fn put_result(answer: Answer) -> PutResult {
    PutResult {
        app_metadata: pb::PutAnswer { answer: Some(answer) }.encode_to_vec().into(),
    }
}
