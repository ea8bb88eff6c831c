//! `SaveFolder`: a conversation, each message of which is one step of the registry's.
//!
//! The conversation runs in a task of its own, so that what came is put in order when
//! its caller goes away.

use artifactd_proto::v1::{
    self as pb, ErrorReason, save_folder_request::Message as Asked, save_folder_response::Message as Answer,
};
use bytes::Bytes;
use futures::{Stream, stream};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::{
    Api,
    artifacts::save_response,
    batch::in_message,
    call_id,
    chunks::{CHUNK_BYTES_MAX, check_sum, out_of_order},
    convert,
    layer::CallId,
    status,
};
use crate::registry::{Caller, Data, FolderBegun, FolderSave, RegistryError};

/// Entries in one message.
const ENTRIES_MAX: usize = 4_096;

/// Answers that wait to be taken; the server reads no further then.
const ANSWERS_WAITING_MAX: usize = 8;

type Step = Result<Option<Answer>, Status>;

/// Answers the messages of a call, in order.
pub(super) fn answers(
    api: Api,
    caller: Caller,
    messages: Streaming<pb::SaveFolderRequest>,
) -> impl Stream<Item = Result<pb::SaveFolderResponse, Status>> {
    let (answers, waiting) = mpsc::channel(ANSWERS_WAITING_MAX);
    let call_id = call_id(&caller);
    let conversation = Conversation {
        call_id: call_id.clone(),
        api: api.clone(),
        messages,
        answers,
    };
    drop(api.registry.spawn(conversation.run(caller)));
    stream::unfold(Some(waiting), move |waiting| {
        let call_id = call_id.clone();
        async move {
            let mut waiting = waiting?;
            Some(match waiting.recv().await {
                Some(Ok(message)) => {
                    let is_last = matches!(message, Answer::Saved(_));
                    let message = Some(message);
                    (Ok(pb::SaveFolderResponse { message }), (!is_last).then_some(waiting))
                }
                Some(Err(status)) => (Err(status), None),
                None => (Err(defect(&call_id)), None),
            })
        }
    })
}

/// The conversation ended without a last word.
fn defect(call_id: &CallId) -> Status {
    status::status(
        call_id,
        Code::Internal,
        ErrorReason::Internal,
        "internal error; see the log",
    )
}

struct Conversation {
    api: Api,
    call_id: CallId,
    messages: Streaming<pb::SaveFolderRequest>,
    answers: mpsc::Sender<Result<Answer, Status>>,
}

impl Conversation {
    async fn run(mut self, caller: Caller) {
        let last = match self.begin(&caller).await {
            Err(status) => Err(status),
            Ok(FolderBegun::Before(saved)) => Ok(Answer::Saved(save_response(*saved))),
            Ok(FolderBegun::Save(save)) => match self.converse(save).await {
                Some(last) => last,
                // Nobody is there to hear of it.
                None => return,
            },
        };
        // Whoever went away needs no answer.
        let _ = self.answers.send(last).await;
    }

    async fn begin(&mut self, caller: &Caller) -> Result<FolderBegun, Status> {
        let Some(Asked::Header(header)) = self.next().await? else {
            return Err(self.out_of_order("the first message must be the header"));
        };
        let new = convert::new_folder(header, &self.call_id)?;
        let begun = self.api.registry.begin_folder(caller, new).await;
        begun.map_err(|error| self.refused(error))
    }

    /// Goes on until the commit or the first error. `None` when the caller went away.
    async fn converse(&mut self, mut save: Box<FolderSave>) -> Option<Result<Answer, Status>> {
        let mut answer = Ok(Some(Answer::Begun(pb::FolderBegun {})));
        loop {
            let sent = match answer {
                Ok(None) => Ok(()),
                Ok(Some(answer)) => self.answers.send(Ok(answer)).await,
                Err(status) => {
                    save.abandon().await;
                    return Some(Err(status));
                }
            };
            if sent.is_err() {
                save.abandon().await;
                return None;
            }
            answer = match self.next().await {
                Ok(Some(Asked::Commit(pb::FolderCommit {}))) => {
                    let saved = save.commit().await.map_err(|error| self.refused(error));
                    return Some(saved.map(|saved| Answer::Saved(save_response(saved))));
                }
                Ok(Some(asked)) => self.step(&mut save, asked).await,
                Ok(None) => Err(self.refused(RegistryError::StreamIncomplete)),
                Err(status) => Err(status),
            };
        }
    }

    /// The next message; a message of no known kind is out of order.
    async fn next(&mut self) -> Result<Option<Asked>, Status> {
        let (api, messages, call_id) = (&self.api, &mut self.messages, &self.call_id);
        let next = async {
            let next = messages.message().await;
            next.map_err(|made| status::from_tonic(&made, call_id))
        };
        match api.within_idle(call_id, next).await? {
            None => Ok(None),
            Some(pb::SaveFolderRequest { message: Some(asked) }) => Ok(Some(asked)),
            Some(_) => Err(self.out_of_order("a message of no known kind")),
        }
    }

    async fn step(&self, save: &mut FolderSave, asked: Asked) -> Step {
        let refused = |error| self.refused(error);
        match asked {
            Asked::Header(_) => Err(self.out_of_order("a second header")),
            Asked::Commit(_) => unreachable!("it ends the conversation"),
            Asked::Entries(pb::FolderEntries { entries }) => {
                if entries.len() > ENTRIES_MAX {
                    let rule = format!("has {} entries, at most {ENTRIES_MAX} are taken", entries.len());
                    return Err(status::field(&self.call_id, "entries", rule));
                }
                let edits = entries
                    .into_iter()
                    .map(|entry| convert::folder_edit(entry, &self.call_id));
                let wanted = save.list(edits.collect::<Result<_, _>>()?).await.map_err(refused)?;
                Ok(Some(wants(wanted)))
            }
            Asked::Withdrawal(pb::FolderWithdrawal { numbers }) => {
                let numbers: Vec<u64> = numbers.into_iter().map(unsigned).collect();
                let wanted = save.withdraw(&numbers).await.map_err(refused)?;
                Ok(Some(wants(wanted)))
            }
            Asked::Files(pb::FolderFiles { files }) => self.take(save, files).await.map(Some),
            Asked::FileBegin(pb::FolderFileBegin { number }) => {
                save.begin_file(unsigned(number)).map_err(refused)?;
                Ok(None)
            }
            Asked::Chunk(chunk) => self.take_chunk(save, chunk).await.map(|()| None),
            Asked::FileEnd(pb::FolderFileEnd {}) => {
                let (number, result) = save.end_file().await.map_err(refused)?;
                save.advance().await.map_err(refused)?;
                let results = vec![self.result(number, result)];
                Ok(Some(Answer::Results(pb::FolderResults { results })))
            }
        }
    }

    async fn take(&self, save: &mut FolderSave, files: Vec<pb::FolderFile>) -> Result<Answer, Status> {
        let mut results = Vec::with_capacity(files.len());
        for pb::FolderFile {
            number,
            content,
            crc32c,
        } in files
        {
            let number = unsigned(number);
            let sound = check_sum(
                artifactd_domain::crc32c(&content),
                crc32c,
                "files.crc32c",
                &self.call_id,
            );
            let taken = match sound {
                Err(damaged) => Err(RegistryError::Source(Box::new(damaged))),
                Ok(()) => self.put(save, number, content).await?,
            };
            results.push(self.result(number, taken));
        }
        save.advance().await.map_err(|error| self.refused(error))?;
        Ok(Answer::Results(pb::FolderResults { results }))
    }

    async fn put(
        &self,
        save: &mut FolderSave,
        number: u64,
        content: Bytes,
    ) -> Result<Result<(), RegistryError>, Status> {
        // Contents share the memory of their message, and must not keep all of it for long.
        let put = save.put(number, content).await;
        put.map_err(|error| self.refused(error))
    }

    /// Takes a chunk. What is wrong with one is told at the end of its file.
    async fn take_chunk(&self, save: &mut FolderSave, chunk: pb::ContentChunk) -> Result<(), Status> {
        let Some(received) = save.received() else {
            return Err(self.out_of_order("a chunk of no file"));
        };
        let pb::ContentChunk { data, crc32c, offset } = chunk;
        let data = Data::new(vec![data]);
        let sound = if data.size_bytes() > CHUNK_BYTES_MAX as u64 {
            Err(status::status(
                &self.call_id,
                Code::ResourceExhausted,
                ErrorReason::MessageTooLarge,
                format!(
                    "a chunk has {} bytes, at most {CHUNK_BYTES_MAX} are taken",
                    data.size_bytes()
                ),
            ))
        } else if offset.is_some_and(|offset| u64::try_from(offset) != Ok(received)) {
            let rule = format!("is not the number of bytes before it, {received}");
            Err(status::field_with(
                &self.call_id,
                ErrorReason::OffsetMismatch,
                "chunk.offset",
                rule,
            ))
        } else {
            check_sum(data.crc32c(), crc32c, "chunk.crc32c", &self.call_id)
        };
        match sound {
            Ok(()) => save.put_piece(data).await,
            Err(damaged) => save.refuse_file(RegistryError::Source(Box::new(damaged))).await,
        }
        Ok(())
    }

    fn result(&self, number: u64, result: Result<(), RegistryError>) -> pb::FolderFileResult {
        let error = result.err().map(|error| in_message(&self.refused(error)));
        pb::FolderFileResult {
            number: signed(number),
            error,
        }
    }

    fn refused(&self, error: RegistryError) -> Status {
        status::from_registry(error, &self.call_id)
    }

    fn out_of_order(&self, what: &str) -> Status {
        out_of_order(&self.call_id, what)
    }
}

fn wants(numbers: Vec<u64>) -> Answer {
    let numbers = numbers.into_iter().map(signed).collect();
    Answer::Wanted(pb::FolderWanted { numbers })
}

/// Numbers count entries that were in memory, so they fit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A negative number is that of no entry.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
