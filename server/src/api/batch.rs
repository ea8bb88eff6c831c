//! `BatchSave`: messages of small files, each answered with a result per file.

use artifactd_proto::v1::{self as pb, batch_save_result::Result as Outcome};
use futures::{Stream, stream};
use tonic::{Status, Streaming};
use tonic_types::pb as rpc;

use super::{Api, artifacts::save_response, call_id, convert, status};
use crate::{
    registry::{BatchItem, Caller, Saved},
    storage::PACKED_CONTENT_BYTES_END,
};

/// Files in one message: they are committed together, which holds up other writers.
const ITEMS_MAX: usize = 500;

/// Answers the messages of a call one after the other. The first error ends it.
pub(super) fn answers(
    api: Api,
    caller: Caller,
    messages: Streaming<pb::BatchSaveRequest>,
) -> impl Stream<Item = Result<pb::BatchSaveResponse, Status>> {
    stream::try_unfold((api, caller, messages), |(api, caller, mut messages)| async move {
        let call_id = call_id(&caller);
        let next = async {
            let next = messages.message().await;
            next.map_err(|made| status::from_tonic(&made, &call_id))
        };
        let Some(request) = api.within_idle(&call_id, next).await? else {
            return Ok(None);
        };
        let answer = api.save_some(&caller, request).await?;
        Ok(Some((answer, (api, caller, messages))))
    })
}

impl Api {
    async fn save_some(&self, caller: &Caller, request: pb::BatchSaveRequest) -> Result<pb::BatchSaveResponse, Status> {
        let call_id = call_id(caller);
        if request.items.len() > ITEMS_MAX {
            let rule = format!("has {} items, at most {ITEMS_MAX} are taken", request.items.len());
            return Err(status::field(&call_id, "items", rule));
        }
        let read = request.items.into_iter().map(|item| {
            let pb::BatchSaveItem {
                header,
                content,
                crc32c,
            } = item;
            let bytes_max = PACKED_CONTENT_BYTES_END as usize - 1;
            convert::small_file(header, content, crc32c, bytes_max, &call_id)
        });
        let read: Vec<Result<BatchItem, Status>> = read.collect();
        let mut refused = Vec::with_capacity(read.len());
        let mut sound = Vec::with_capacity(read.len());
        for item in read {
            match item {
                Ok(item) => {
                    sound.push(item);
                    refused.push(None);
                }
                Err(status) => refused.push(Some(status)),
            }
        }
        let (registry, by) = (std::sync::Arc::clone(&self.registry), caller.clone());
        let saved = self
            .to_the_end(&call_id, async move { Ok(registry.save_batch(&by, sound).await) })
            .await?;
        let mut saved = saved.into_iter();
        let results = refused.into_iter().map(|refused| match refused {
            Some(status) => Err(status),
            None => {
                let result = saved.next().expect("there is one for each sound item");
                result.map_err(|error| status::from_registry(error, &call_id))
            }
        });
        let results = results.map(result).collect();
        Ok(pb::BatchSaveResponse { results })
    }
}

fn result(saved: Result<Saved, Status>) -> pb::BatchSaveResult {
    let outcome = match saved {
        Ok(saved) => Outcome::Saved(save_response(saved)),
        Err(status) => Outcome::Error(in_message(&status)),
    };
    pb::BatchSaveResult { result: Some(outcome) }
}

/// A status as part of an answer: what its details hold already, if it has some.
pub(super) fn in_message(status: &Status) -> rpc::Status {
    use prost::Message;
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}
