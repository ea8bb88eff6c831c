//! `UploadService`.

mod receiver;

use artifactd_domain::crc32c;
use artifactd_proto::{
    Received,
    v1::{self as pb, upload_service_server::UploadService, write_upload_request::Message as Asked},
};
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use self::receiver::{Receiver, next};
use super::{
    Api,
    artifacts::save_response,
    call_id,
    chunks::{check_sum, messages, out_of_order},
    convert,
    layer::CallId,
    pages, status,
};
use crate::registry::{Completion, ContentTurn, Data, RegistryError, Upload, UploadState};

/// Answers that wait to be taken.
const ANSWERS_WAITING_MAX: usize = 8;

type Answer = Result<pb::WriteUploadResponse, Status>;

#[async_trait]
impl UploadService for Api {
    type WriteUploadStream = BoxStream<'static, Answer>;

    async fn create_upload(&self, request: Request<pb::CreateUploadRequest>) -> Result<Response<pb::Upload>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = convert::new_upload(request.into_inner(), &call_id)?;
        let created = self.registry.create_upload(&caller, new).await;
        let created = created.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(upload(created, &call_id)?))
    }

    async fn write_upload(
        &self,
        request: Request<Streaming<pb::WriteUploadRequest>>,
    ) -> Result<Response<Self::WriteUploadStream>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut messages = messages(request, &call_id)?;
        let first = next(self, &mut messages, &call_id).await?;
        let Some(Received::Message(pb::WriteUploadRequest {
            message: Some(Asked::Header(pb::WriteUploadHeader { uid, offset })),
        })) = first
        else {
            return Err(out_of_order(&call_id, "the first message must be the header"));
        };
        let offset = position(offset, "header.offset", &call_id)?;
        let opened = self.registry.write_upload(&caller, &uid, offset).await;
        let (writer, mut acks) = opened.map_err(|error| status::from_registry(error, &call_id))?;
        let (answers, waiting) = mpsc::channel(ANSWERS_WAITING_MAX);
        // Room for one is always there at first.
        let _ = answers.try_send(Ok(durable(offset)));
        let acknowledging = {
            let (answers, call_id) = (answers.clone(), call_id.clone());
            async move {
                while let Some(ack) = acks.recv().await {
                    let ack = ack.map(durable).map_err(|error| status::from_registry(error, &call_id));
                    if answers.send(ack).await.is_err() {
                        return;
                    }
                }
            }
        };
        drop(self.registry.spawn(acknowledging));
        let receiver = Receiver::new(self, messages, answers, call_id);
        drop(self.registry.spawn(receiver.run(writer)));
        Ok(Response::new(ReceiverStream::new(waiting).boxed()))
    }

    async fn upload_part(
        &self,
        request: Request<pb::UploadPartRequest>,
    ) -> Result<Response<pb::UploadPartResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let turn = request.extensions().get::<ContentTurn>().cloned();
        let turn = turn.expect("it waited for its turn on the way here");
        let pb::UploadPartRequest {
            uid,
            offset,
            data,
            crc32c: sum,
            is_last,
        } = request.into_inner();
        let offset = position(offset, "offset", &call_id)?;
        check_sum(crc32c(&data), sum, "crc32c", &call_id)?;
        let registry = std::sync::Arc::clone(&self.registry);
        // Once it has begun it goes on to its end, as others may not write meanwhile.
        let written = self.registry.spawn(async move {
            let part = (Data::new(vec![data]), is_last);
            registry.upload_part(&caller, (&uid, offset), part, turn).await
        });
        let written = written.await.unwrap_or(Err(RegistryError::StreamIncomplete));
        let end = written.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::UploadPartResponse {
            durable_bytes: integer(end),
        }))
    }

    async fn get_upload(&self, request: Request<pb::GetUploadRequest>) -> Result<Response<pb::Upload>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::GetUploadRequest { uid, part_sums } = request.into_inner();
        let found = if part_sums {
            self.registry.upload_with_sums(&caller, &uid).await
        } else {
            self.registry.upload(&caller, &uid).await
        };
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(upload(found, &call_id)?))
    }

    async fn list_uploads(
        &self,
        request: Request<pb::ListUploadsRequest>,
    ) -> Result<Response<pb::ListUploadsResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::ListUploadsRequest { page_size, page_token } = request.into_inner();
        let rows = usize::try_from(pages::rows(page_size, &call_id)?).unwrap_or(usize::MAX);
        let asks = format!("ListUploads {} {}", caller.principal.id, caller.space_id);
        let after = self.place(&page_token, &asks, &call_id)?;
        let listed = self.registry.uploads(&caller, after, rows).await;
        let (found, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        let uploads = found.into_iter().map(|found| upload(found, &call_id));
        Ok(Response::new(pb::ListUploadsResponse {
            uploads: uploads.collect::<Result<_, _>>()?,
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn complete_upload(
        &self,
        request: Request<pb::CompleteUploadRequest>,
    ) -> Result<Response<pb::CompleteUploadResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::CompleteUploadRequest { uid, sha256, size } = request.into_inner();
        let declared = convert::declared(sha256.as_ref(), size, &call_id)?;
        let refused = |error| status::from_registry(error, &call_id);
        let found = self.registry.upload(&caller, &uid).await.map_err(refused)?;
        let new = convert::stored_header(&found.header, &call_id)?;
        let completed = self.registry.complete_upload(&caller, &uid, new, declared).await;
        let answer = match completed.map_err(refused)? {
            Completion::Saved(saved) => pb::CompleteUploadResponse {
                saved: Some(save_response(*saved)),
                hashed_bytes: found.declared.size_bytes.map_or(0, integer),
                size: 0,
            },
            Completion::Finalizing {
                hashed_bytes,
                size_bytes,
            } => pb::CompleteUploadResponse {
                saved: None,
                hashed_bytes: integer(hashed_bytes),
                size: integer(size_bytes),
            },
        };
        Ok(Response::new(answer))
    }

    async fn abort_upload(
        &self,
        request: Request<pb::AbortUploadRequest>,
    ) -> Result<Response<pb::AbortUploadResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let aborted = self.registry.abort_upload(&caller, &request.into_inner().uid).await;
        aborted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::AbortUploadResponse {}))
    }
}

fn durable(bytes: u64) -> pb::WriteUploadResponse {
    pb::WriteUploadResponse {
        durable_bytes: integer(bytes),
    }
}

fn position(number: i64, field: &'static str, call_id: &CallId) -> Result<u64, Status> {
    u64::try_from(number).map_err(|_| status::field(call_id, field, "must not be negative"))
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn upload(upload: Upload, call_id: &CallId) -> Result<pb::Upload, Status> {
    let Upload {
        uid,
        state,
        storage,
        header,
        is_parallel,
        part_bytes,
        declared: _,
        durable_bytes,
        parts,
        part_crc32c,
        hashed_bytes,
        expires_at_us,
        created_at_us,
        saved,
    } = upload;
    Ok(pb::Upload {
        uid,
        state: match state {
            UploadState::Open => pb::UploadState::Open,
            UploadState::Finalizing => pb::UploadState::Finalizing,
            UploadState::Complete => pb::UploadState::Complete,
            UploadState::Saved => pb::UploadState::Saved,
        }
        .into(),
        save: Some(convert::header_message(&header, call_id)?),
        storage,
        parallel: is_parallel,
        part_bytes: integer(part_bytes),
        durable_bytes: integer(durable_bytes),
        parts: if is_parallel { ranges(&parts) } else { Vec::new() },
        hashed_bytes: integer(hashed_bytes),
        expires_at: Some(convert::timestamp(expires_at_us)),
        created_at: Some(convert::timestamp(created_at_us)),
        saved: saved.map(save_response),
        part_crc32c,
    })
}

/// Parts one after another as one range.
fn ranges(parts: &[(u64, u64)]) -> Vec<pb::PartRange> {
    let mut ranges: Vec<pb::PartRange> = Vec::new();
    for (number, _) in parts {
        let number = integer(*number);
        match ranges.last_mut() {
            Some(range) if range.last + 1 == number => range.last = number,
            _ => ranges.push(pb::PartRange {
                first: number,
                last: number,
            }),
        }
    }
    ranges
}
