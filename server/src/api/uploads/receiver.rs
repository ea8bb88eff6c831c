//! The stream of one who writes to an upload.

use std::time::{Duration, Instant};

use artifactd_proto::{
    Chunk, Messages, Received,
    v1::{self as pb, ErrorReason, write_upload_request::Message as Asked},
};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::{
    super::{
        Api,
        chunks::{CHUNK_BYTES_MAX, check_sum, out_of_order},
        layer::{BYTES_PER_SECOND_MIN, CallId},
        status,
    },
    Answer, position,
};
use crate::registry::{Data, RegistryError, UploadWriter};

/// The receiving half of a stream that writes. It has a task of its own, so that what
/// came is put in order when its caller goes away.
pub(super) struct Receiver {
    api: Api,
    messages: Messages<pb::WriteUploadRequest>,
    answers: mpsc::Sender<Answer>,
    call_id: CallId,
    pace: Pace,
}

/// How fast a caller sends: one that keeps its stream open by a byte now and then holds a
/// turn that others wait for.
#[derive(Debug, Default)]
struct Pace {
    /// How long the server waited for the caller, and what came in that time.
    waited: Duration,
    bytes: u64,
}

impl Receiver {
    pub(super) fn new(
        api: &Api,
        messages: Messages<pb::WriteUploadRequest>,
        answers: mpsc::Sender<Answer>,
        call_id: CallId,
    ) -> Self {
        Self {
            api: api.clone(),
            messages,
            answers,
            call_id,
            pace: Pace::default(),
        }
    }

    pub(super) async fn run(mut self, mut writer: UploadWriter) {
        let received = self.receive(&mut writer).await;
        let is_all = matches!(received, Ok(true));
        let ended = writer.end(is_all).await.map_err(|error| self.refused(error));
        if let Err(status) = received.and(ended) {
            // Whoever went away needs no answer.
            let _ = self.answers.send(Err(status)).await;
        }
    }

    /// Takes messages to the end; says whether the content ends there.
    async fn receive(&mut self, writer: &mut UploadWriter) -> Result<bool, Status> {
        loop {
            let since = Instant::now();
            let message = tokio::select! {
                message = next(&self.api, &mut self.messages, &self.call_id) => message?,
                () = writer.superseded() => return Err(self.refused(writer.fenced())),
            };
            self.pace.waited += since.elapsed();
            let chunk = match message {
                None => return Ok(false),
                Some(Received::Chunk(chunk)) => chunk,
                Some(Received::Message(pb::WriteUploadRequest { message })) => match message {
                    Some(Asked::Chunk(chunk)) => chunk.into(),
                    Some(Asked::End(pb::WriteUploadEnd {})) => return self.nothing_more().await.map(|()| true),
                    Some(Asked::Header(_)) => return Err(out_of_order(&self.call_id, "a second header")),
                    None => return Err(out_of_order(&self.call_id, "a message of no known kind")),
                },
            };
            if !self.take(writer, chunk).await? {
                // Why is told by its acknowledgements.
                return Ok(false);
            }
        }
    }

    async fn take(&mut self, writer: &mut UploadWriter, chunk: Chunk) -> Result<bool, Status> {
        let Chunk {
            data,
            crc32c: sum,
            offset,
        } = chunk;
        if let Some(offset) = offset {
            let offset = position(offset, "chunk.offset", &self.call_id)?;
            writer.jump(offset).map_err(|error| self.refused(error))?;
        }
        let data = Data::new(data);
        self.pace.bytes += data.size_bytes();
        self.check_pace()?;
        if data.size_bytes() > CHUNK_BYTES_MAX as u64 {
            let bytes = data.size_bytes();
            let message = format!("a chunk has {bytes} bytes, at most {CHUNK_BYTES_MAX} are taken");
            let (code, reason) = (Code::ResourceExhausted, ErrorReason::MessageTooLarge);
            return Err(status::status(&self.call_id, code, reason, message));
        }
        check_sum(data.crc32c(), sum, "chunk.crc32c", &self.call_id)?;
        writer.put(data).await.map_err(|error| self.refused(error))
    }

    fn check_pace(&mut self) -> Result<(), Status> {
        let patience = self.api.registry.limits.stream_idle_timeout;
        if self.pace.waited < patience {
            return Ok(());
        }
        let Pace { bytes, .. } = std::mem::take(&mut self.pace);
        if bytes as f64 >= patience.as_secs_f64() * BYTES_PER_SECOND_MIN as f64 {
            return Ok(());
        }
        Err(self.refused(RegistryError::StreamIdle(patience)))
    }

    async fn nothing_more(&mut self) -> Result<(), Status> {
        match next(&self.api, &mut self.messages, &self.call_id).await? {
            None => Ok(()),
            Some(_) => Err(out_of_order(&self.call_id, "a message after the last one")),
        }
    }

    fn refused(&self, error: RegistryError) -> Status {
        status::from_registry(error, &self.call_id)
    }
}

/// The next message of a stream, waited for as long as a caller may be silent.
pub(super) async fn next<M: Message + Default>(
    api: &Api,
    messages: &mut Messages<M>,
    call_id: &CallId,
) -> Result<Option<Received<M>>, Status> {
    let next = async {
        let next = messages.message().await;
        next.map_err(|made| status::from_tonic(&made, call_id))
    };
    api.within_idle(call_id, next).await
}
