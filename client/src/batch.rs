//! Many small files in few messages.

use std::mem;

use artifactd_domain::crc32c;
use artifactd_proto::v1::{self as pb, batch_save_result::Result as Outcome};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Client, Error, Result, SaveOptions, Saved, convert};

/// Files in one message.
const ITEMS_MAX: usize = 500;

/// Bytes of contents in one message.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Contents from this size on are not packed, and go alone.
const PACKED_BYTES_END: usize = 1024 * 1024;

/// Files that go in messages, with their places among all.
#[derive(Default)]
struct Plan {
    messages: Vec<pb::BatchSaveRequest>,
    numbers: Vec<usize>,
    alone: Vec<(usize, Bytes, SaveOptions)>,
}

impl Plan {
    fn of(files: Vec<(Bytes, SaveOptions)>) -> Self {
        let (mut plan, mut items, mut bytes) = (Self::default(), Vec::new(), 0);
        for (number, (content, options)) in files.into_iter().enumerate() {
            if content.len() >= PACKED_BYTES_END {
                plan.alone.push((number, content, options));
                continue;
            }
            if items.len() == ITEMS_MAX || bytes + content.len() > MESSAGE_BYTES_MAX {
                plan.close(mem::take(&mut items));
                bytes = 0;
            }
            bytes += content.len();
            plan.numbers.push(number);
            items.push(pb::BatchSaveItem {
                header: Some(pb::SaveHeader {
                    size: Some(content.len() as i64),
                    ..convert::save_header(options)
                }),
                crc32c: Some(crc32c(&content)),
                content,
            });
        }
        plan.close(items);
        plan
    }

    fn close(&mut self, items: Vec<pb::BatchSaveItem>) {
        if !items.is_empty() {
            self.messages.push(pb::BatchSaveRequest { items });
        }
    }
}

impl Client {
    /// Saves some contents, each for itself; a result for each, in their order.
    ///
    /// Small ones share messages, objects and commits, which is many times faster
    /// than a call for each. An error of the whole call, such as a server that is
    /// away, is the error of this function; some may be saved all the same.
    pub async fn save_many(&self, files: Vec<(Bytes, SaveOptions)>) -> Result<Vec<Result<Saved>>> {
        let mut results: Vec<Option<Result<Saved>>> = files.iter().map(|_| None).collect();
        let Plan {
            messages,
            numbers,
            alone,
        } = Plan::of(files);
        let call = || self.send_batch(messages.clone());
        let saved = self.inner.retry.run("BatchSave", call).await?;
        if saved.len() != numbers.len() {
            let (answers, asked) = (saved.len(), numbers.len());
            return Err(Error::Answer(format!("{answers} results for {asked} files")));
        }
        for (number, result) in numbers.into_iter().zip(saved) {
            results[number] = Some(result);
        }
        for (number, content, options) in alone {
            results[number] = Some(self.save_bytes(content, options).await);
        }
        Ok(results
            .into_iter()
            .map(|result| result.expect("each has one"))
            .collect())
    }

    /// Sends all messages and collects the results; requests have ids, so it may be tried again.
    async fn send_batch(&self, messages: Vec<pb::BatchSaveRequest>) -> Result<Vec<Result<Saved>>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let timeout = self.inner.call_timeout * messages.len().try_into().unwrap_or(u32::MAX);
        let mut request = tonic::Request::new(stream::iter(messages));
        request.set_timeout(timeout);
        let answers = self.artifacts().batch_save(request).await?.into_inner();
        let results = answers
            .map_ok(|answer| {
                stream::iter(
                    answer
                        .results
                        .into_iter()
                        .map(|result| Ok::<_, tonic::Status>(outcome(result))),
                )
            })
            .try_flatten();
        Ok(results.boxed().try_collect().await?)
    }
}

fn outcome(result: pb::BatchSaveResult) -> Result<Saved> {
    match result.result {
        Some(Outcome::Saved(saved)) => convert::saved(saved),
        Some(Outcome::Error(status)) => Err(convert::status_in_message(status).into()),
        None => Err(Error::Answer("a result without content".to_owned())),
    }
}
