//! The conversation of one save of a folder.
//!
//! Every message but the beginning of a file and its chunks is answered by one, in
//! order. The server reads no further when eight answers wait, so fewer messages
//! than that are without an answer at any time, and answers are taken while a
//! message waits to be sent: neither side can wait for the other for ever.

mod contents;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use artifactd_proto::v1::{self as pb, save_folder_request::Message as Asked, save_folder_response::Message as Answer};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    FolderProgress,
    group::{Group, Item},
};
use crate::{
    Client, Error, Result, convert,
    events::{Event, Teller},
};

/// Messages whose answer has not come; the server lets 8 answers wait.
const UNANSWERED_MAX: usize = 6;

/// Messages between this and the connection.
const MESSAGES_AHEAD: usize = 2;

/// How long nothing is said while files are hashed; the server ends silent calls.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What is saved.
pub(super) struct Plan {
    pub(super) header: pb::SaveFolderHeader,
    pub(super) items: Arc<[Item]>,
    /// Of all files when the call began.
    pub(super) bytes: u64,
}

/// Who hears of progress, and what all conversations of one call have sent.
pub(super) struct Watch<'a> {
    pub(super) progress: &'a (dyn Fn(FolderProgress) + Send + Sync),
    pub(super) events: &'a Teller,
    pub(super) sent_files: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
}

/// What was sent and is not answered.
enum Pending {
    Header,
    Entries(Group),
    /// Entries, but none.
    SignOfLife,
    /// Numbers and sizes of files.
    Files(Vec<(i64, u64)>),
    Commit,
}

struct Conversation<'a> {
    plan: &'a Plan,
    watch: &'a Watch<'a>,
    asked: mpsc::Sender<pb::SaveFolderRequest>,
    answers: Streaming<pb::SaveFolderResponse>,
    /// Answers that came while a message waited to be sent.
    early: VecDeque<Answer>,
    pending: VecDeque<Pending>,
    /// Groups of which something is wanted.
    wanted: VecDeque<(Group, Vec<i64>)>,
    saved: Option<pb::SaveArtifactResponse>,
    listed_files: u64,
    /// What the server has of what was listed: files and bytes.
    arrived: (u64, u64),
}

/// Holds a whole conversation.
pub(super) async fn hold(client: &Client, plan: &Plan, watch: &Watch<'_>) -> Result<pb::SaveArtifactResponse> {
    let mut reading = (!plan.items.is_empty()).then(|| Group::start(&plan.items, 0));
    let mut conversation = Conversation::open(client, plan, watch).await?;
    conversation
        .ask(Asked::Header(plan.header.clone()), Pending::Header)
        .await?;
    // A request that was finished before may be answered at once.
    conversation.settle_all().await?;
    while let Some(next) = reading.take().filter(|_| conversation.saved.is_none()) {
        let group = conversation.wait_for(next).await?;
        let end = group.end();
        reading = (end < plan.items.len()).then(|| Group::start(&plan.items, end));
        conversation.list(group).await?;
        // The server looks at these entries while it gets the contents of those before.
        conversation.send_wanted_before().await?;
    }
    if conversation.saved.is_none() {
        conversation.finish().await?;
    }
    conversation
        .saved
        .ok_or_else(|| Error::Answer("a commit without its artifact".to_owned()))
}

impl<'a> Conversation<'a> {
    async fn open(client: &Client, plan: &'a Plan, watch: &'a Watch<'a>) -> Result<Self> {
        let (asked, waiting) = mpsc::channel(MESSAGES_AHEAD);
        let answers = client.artifacts().save_folder(ReceiverStream::new(waiting)).await?;
        Ok(Self {
            plan,
            watch,
            asked,
            answers: answers.into_inner(),
            early: VecDeque::new(),
            pending: VecDeque::new(),
            wanted: VecDeque::new(),
            saved: None,
            listed_files: 0,
            arrived: (0, 0),
        })
    }

    async fn list(&mut self, mut group: Group) -> Result<()> {
        let entries = std::mem::take(&mut group.entries);
        self.ask(Asked::Entries(pb::FolderEntries { entries }), Pending::Entries(group))
            .await
    }

    /// Waits for a group that is being read, and gives signs of life meanwhile.
    async fn wait_for(&mut self, mut reading: oneshot::Receiver<Result<Group>>) -> Result<Group> {
        loop {
            match tokio::time::timeout(SILENCE_MAX, &mut reading).await {
                Ok(Ok(read)) => return read,
                // A runtime that ends takes its threads with it.
                Ok(Err(_)) => return Err(Error::Input("the files cannot be read any more".to_owned())),
                Err(_) => {
                    let nothing = Asked::Entries(pb::FolderEntries::default());
                    self.ask(nothing, Pending::SignOfLife).await?;
                }
            }
        }
    }

    /// Sends what is wanted of all groups but the last.
    async fn send_wanted_before(&mut self) -> Result<()> {
        while self.unanswered_groups() > 1 {
            self.settle().await?;
        }
        self.send_wanted().await
    }

    fn unanswered_groups(&self) -> usize {
        let groups = self.pending.iter();
        groups.filter(|pending| matches!(pending, Pending::Entries(_))).count()
    }

    async fn finish(&mut self) -> Result<()> {
        self.settle_all().await?;
        self.send_wanted().await?;
        // No file may be refused once the commit is sent.
        self.settle_all().await?;
        self.ask(Asked::Commit(pb::FolderCommit {}), Pending::Commit).await?;
        self.settle_all().await
    }

    /// Sends a message that will be answered.
    async fn ask(&mut self, message: Asked, pending: Pending) -> Result<()> {
        while self.pending.len() >= UNANSWERED_MAX {
            self.settle().await?;
        }
        self.send(message).await?;
        self.pending.push_back(pending);
        Ok(())
    }

    /// Sends a message, and takes what is answered meanwhile.
    async fn send(&mut self, message: Asked) -> Result<()> {
        let message = pb::SaveFolderRequest { message: Some(message) };
        loop {
            tokio::select! {
                biased;
                room = self.asked.reserve() => match room {
                    Ok(room) => {
                        room.send(message);
                        return Ok(());
                    }
                    // The server has ended the call, and its last answer says why.
                    Err(_) => break,
                },
                answer = next(&mut self.answers) => self.early.push_back(answer?),
            }
        }
        loop {
            next(&mut self.answers).await?;
        }
    }

    async fn settle_all(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Takes the next answer.
    async fn settle(&mut self) -> Result<()> {
        let answer = match self.early.pop_front() {
            Some(answer) => answer,
            None => next(&mut self.answers).await?,
        };
        match (self.pending.pop_front(), answer) {
            (Some(Pending::Header), Answer::Begun(_)) | (Some(Pending::SignOfLife), Answer::Wanted(_)) => {}
            (Some(Pending::Header | Pending::Commit), Answer::Saved(saved)) => self.saved = Some(saved),
            (Some(Pending::Entries(group)), Answer::Wanted(pb::FolderWanted { numbers })) => {
                self.listed_files = group.end() as u64;
                self.note_held(&group, &numbers);
                if !numbers.is_empty() {
                    self.wanted.push_back((group, numbers));
                }
            }
            (Some(Pending::Files(files)), Answer::Results(pb::FolderResults { results })) => {
                self.note(&files, results)?;
            }
            _ => return Err(Error::Answer("an answer to what was not asked".to_owned())),
        }
        self.tell();
        Ok(())
    }

    /// Notes the files of a group of which nothing is wanted.
    fn note_held(&mut self, group: &Group, wanted: &[i64]) {
        let bytes: u64 = wanted.iter().map(|number| group.bytes_of(*number)).sum();
        self.arrived.0 += (group.end() - group.first).saturating_sub(wanted.len()) as u64;
        self.arrived.1 += group.bytes().saturating_sub(bytes);
    }

    /// Notes files that were taken; the first that was refused is the error.
    fn note(&mut self, files: &[(i64, u64)], results: Vec<pb::FolderFileResult>) -> Result<()> {
        let answered = results.iter().map(|result| result.number);
        if !answered.eq(files.iter().map(|(number, _)| *number)) {
            return Err(Error::Answer("results of other files".to_owned()));
        }
        for (result, (number, size_bytes)) in results.into_iter().zip(files) {
            if let Some(status) = result.error {
                let path = self.plan.items[*number as usize].path.as_str();
                return Err(about(path, convert::status_in_message(status).into()));
            }
            self.watch.sent_files.fetch_add(1, Ordering::Relaxed);
            self.watch.sent_bytes.fetch_add(*size_bytes, Ordering::Relaxed);
            self.arrived.0 += 1;
            self.arrived.1 += size_bytes;
        }
        Ok(())
    }

    fn tell(&self) {
        (self.watch.progress)(FolderProgress {
            files: self.plan.items.len() as u64,
            bytes: self.plan.bytes,
            listed_files: self.listed_files,
            sent_files: self.watch.sent_files.load(Ordering::Relaxed),
            sent_bytes: self.watch.sent_bytes.load(Ordering::Relaxed),
        });
        let (files, bytes) = self.arrived;
        self.watch.events.tell(Event::Arrived { files, bytes });
    }
}

/// The next answer. The call never ends well before all was answered.
async fn next(answers: &mut Streaming<pb::SaveFolderResponse>) -> Result<Answer> {
    match answers.message().await? {
        Some(pb::SaveFolderResponse { message: Some(answer) }) => Ok(answer),
        Some(_) => Err(Error::Answer("an answer without content".to_owned())),
        None => Err(Status::unavailable("the answers ended early").into()),
    }
}

/// A refusal that says which file was refused.
fn about(path: &str, refused: Error) -> Error {
    match refused {
        Error::Refused {
            code,
            reason,
            message,
            field,
            request_id,
            retry_after,
        } => Error::Refused {
            message: format!("{path}: {message}"),
            code,
            reason,
            field,
            request_id,
            retry_after,
        },
        other => other,
    }
}
