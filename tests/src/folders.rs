//! Saves of folders: step by step, or whole.

use std::collections::BTreeMap;

use artifactd_domain::manifest::{Member, Paging};
use artifactd_proto::v1::{
    self as pb, folder_entry::Content, save_folder_request::Message as Asked, save_folder_response::Message as Answer,
};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{Calls, Outcome, calls::honest_chunks, content::digest};

/// Files of this size and more come in chunks.
const SMALL_BYTES_END: usize = 1 << 20;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

const ENTRIES_MAX: usize = 1_000;

/// Files of a folder by their paths.
pub type Files = BTreeMap<String, Bytes>;

/// A save of a folder that a test leads step by step.
#[derive(Debug)]
pub struct FolderCall {
    asked: Option<mpsc::Sender<pb::SaveFolderRequest>>,
    answers: Streaming<pb::SaveFolderResponse>,
    /// Numbers of entries that were wanted and not sent yet.
    pub wanted: Vec<i64>,
    /// Bytes of contents that were sent.
    pub sent_bytes: usize,
}

/// A header with a key and nothing else.
pub fn folder(key: &str) -> pb::SaveFolderHeader {
    pb::SaveFolderHeader {
        save: Some(crate::calls::keyed(key)),
        base_uid: None,
        ..Default::default()
    }
}

/// A change of a folder.
pub fn change_of(uid: &str) -> pb::SaveFolderHeader {
    pb::SaveFolderHeader {
        save: Some(pb::SaveHeader::default()),
        base_uid: Some(uid.to_owned()),
        ..Default::default()
    }
}

/// An honest entry.
pub fn entry(path: &str, content: &[u8]) -> pb::FolderEntry {
    with(
        path,
        Content::File(pb::FolderFileIdentity {
            size: content.len() as i64,
            sha256: digest(content),
        }),
    )
}

/// Takes a file away.
pub fn removal(path: &str) -> pb::FolderEntry {
    with(path, Content::Remove(true))
}

/// A file that an artifact has.
pub fn copy(path: &str, artifact: pb::ArtifactRef, source: Option<&str>) -> pb::FolderEntry {
    let copy = pb::FolderCopy {
        artifact: Some(artifact),
        path: source.map(str::to_owned),
    };
    with(path, Content::Copy(copy))
}

fn with(path: &str, content: Content) -> pb::FolderEntry {
    pb::FolderEntry {
        path: path.to_owned(),
        content: Some(content),
    }
}

/// A whole file.
pub fn file(number: i64, content: &[u8]) -> pb::FolderFile {
    pb::FolderFile {
        number,
        content: Bytes::copy_from_slice(content),
        crc32c: Some(artifactd_domain::crc32c(content)),
    }
}

/// Files named by numbers, of some sizes.
pub fn files(count: u64, sizes: &[usize]) -> Files {
    (0..count)
        .map(|number| {
            let size = sizes[number as usize % sizes.len()];
            let path = format!("part {}/{number:06}.bin", number % 7);
            (path, crate::content::content(number, size))
        })
        .collect()
}

/// What the hash of a folder must be.
///
/// # Panics
/// When it is no folder.
pub fn digest_of(files: &Files) -> String {
    let mut paging = Paging::new();
    for (path, content) in files {
        let member = Member {
            path: path.parse().expect("a path of a member"),
            size_bytes: content.len() as u64,
            sha256: digest(content).parse().expect("a digest"),
        };
        paging.push(member).expect("files come in order");
    }
    paging.finish().expect("a folder has files").1.sha256.to_string()
}

impl FolderCall {
    /// Opens the call and sends the header.
    pub async fn begin(calls: &Calls, header: pb::SaveFolderHeader) -> Outcome<Self> {
        let mut call = Self::open(calls).await?;
        match call.ask(Asked::Header(header)).await? {
            Answer::Begun(_) => Ok(call),
            other => panic!("expected a beginning, got {other:?}"),
        }
    }

    /// Opens the call and sends nothing.
    pub async fn open(calls: &Calls) -> Outcome<Self> {
        let (asked, waiting) = mpsc::channel(4);
        let answers = calls.artifacts().save_folder(ReceiverStream::new(waiting)).await?;
        Ok(Self {
            asked: Some(asked),
            answers: answers.into_inner(),
            wanted: Vec::new(),
            sent_bytes: 0,
        })
    }

    /// Sends a message that is not answered.
    pub async fn send(&mut self, message: Asked) {
        let message = pb::SaveFolderRequest { message: Some(message) };
        if let Some(asked) = &self.asked {
            // A server that has answered already takes no more.
            let _ = asked.send(message).await;
        }
    }

    /// Sends a message and waits for its answer.
    ///
    /// # Panics
    /// When the call ends without one.
    pub async fn ask(&mut self, message: Asked) -> Outcome<Answer> {
        self.send(message).await;
        self.answer().await
    }

    /// The next answer.
    ///
    /// # Panics
    /// When the call ends without one.
    pub async fn answer(&mut self) -> Outcome<Answer> {
        let next = tokio::time::timeout(std::time::Duration::from_secs(120), self.answers.message());
        let message = next.await.expect("the server answers")?.expect("an answer");
        Ok(message.message.expect("an answer has content"))
    }

    /// Sends entries, and notes what is wanted.
    ///
    /// # Panics
    /// When the answer is another.
    pub async fn list(&mut self, entries: Vec<pb::FolderEntry>) -> Outcome<Vec<i64>> {
        match self.ask(Asked::Entries(pb::FolderEntries { entries })).await? {
            Answer::Wanted(pb::FolderWanted { numbers }) => {
                self.wanted.extend(&numbers);
                Ok(numbers)
            }
            other => panic!("expected wishes, got {other:?}"),
        }
    }

    /// Sends whole files; the result of each.
    ///
    /// # Panics
    /// When the answer is another, or of other files.
    pub async fn put(&mut self, files: Vec<pb::FolderFile>) -> Outcome<Vec<Outcome<()>>> {
        let numbers: Vec<i64> = files.iter().map(|file| file.number).collect();
        self.sent_bytes += files.iter().map(|file| file.content.len()).sum::<usize>();
        let answer = self.ask(Asked::Files(pb::FolderFiles { files })).await?;
        Ok(results(answer, &numbers))
    }

    /// Sends a file in chunks.
    ///
    /// # Panics
    /// When the answer is another, or of another file.
    pub async fn put_in_chunks(&mut self, number: i64, chunks: Vec<pb::ContentChunk>) -> Outcome<Outcome<()>> {
        self.send(Asked::FileBegin(pb::FolderFileBegin { number })).await;
        for chunk in chunks {
            self.sent_bytes += chunk.data.len();
            self.send(Asked::Chunk(chunk)).await;
        }
        let answer = self.ask(Asked::FileEnd(pb::FolderFileEnd {})).await?;
        Ok(results(answer, &[number]).remove(0))
    }

    /// Takes entries back.
    ///
    /// # Panics
    /// When the answer is another.
    pub async fn withdraw(&mut self, numbers: Vec<i64>) -> Outcome<Vec<i64>> {
        match self.ask(Asked::Withdrawal(pb::FolderWithdrawal { numbers })).await? {
            Answer::Wanted(pb::FolderWanted { numbers }) => Ok(numbers),
            other => panic!("expected wishes, got {other:?}"),
        }
    }

    /// Ends the call.
    ///
    /// # Panics
    /// When the answer is another.
    pub async fn commit(mut self) -> Outcome<pb::SaveArtifactResponse> {
        match self.ask(Asked::Commit(pb::FolderCommit {})).await? {
            Answer::Saved(saved) => Ok(saved),
            other => panic!("expected the artifact, got {other:?}"),
        }
    }

    /// Sends no more, and says so.
    pub async fn end(mut self) -> Outcome<Answer> {
        self.asked = None;
        self.answer().await
    }

    /// Sends the header; the answer, when the request was answered before.
    ///
    /// # Panics
    /// When the answer is another.
    pub async fn header(&mut self, header: pb::SaveFolderHeader) -> Outcome<Option<pb::SaveArtifactResponse>> {
        match self.ask(Asked::Header(header)).await? {
            Answer::Saved(saved) => Ok(Some(saved)),
            Answer::Begun(_) => Ok(None),
            other => panic!("expected a beginning, got {other:?}"),
        }
    }

    /// Sends a file in the way that its size wants.
    pub async fn put_any(&mut self, number: i64, content: &Bytes) -> Outcome<Outcome<()>> {
        if content.len() >= SMALL_BYTES_END {
            return self.put_in_chunks(number, honest_chunks(content)).await;
        }
        Ok(self.put(vec![file(number, content)]).await?.remove(0))
    }

    /// Lists files and sends what is wanted of them.
    pub async fn send_all(&mut self, all: &Files) -> Outcome<()> {
        let all: Vec<(&String, &Bytes)> = all.iter().collect();
        let mut first = 0;
        for some in all.chunks(ENTRIES_MAX) {
            let entries = some.iter().map(|(path, content)| entry(path, content)).collect();
            let wanted = self.list(entries).await?;
            let wanted = wanted
                .into_iter()
                .map(|number| (number, some[number as usize - first].1));
            self.send_files(wanted.collect()).await?;
            first += some.len();
        }
        Ok(())
    }

    async fn send_files(&mut self, wanted: Vec<(i64, &Bytes)>) -> Outcome<()> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        for (number, content) in wanted {
            if content.len() >= SMALL_BYTES_END {
                self.put_in_chunks(number, honest_chunks(content)).await??;
                continue;
            }
            if bytes + content.len() > MESSAGE_BYTES_MAX {
                self.put_group(std::mem::take(&mut group)).await?;
                bytes = 0;
            }
            bytes += content.len();
            group.push(file(number, content));
        }
        self.put_group(group).await
    }

    async fn put_group(&mut self, group: Vec<pb::FolderFile>) -> Outcome<()> {
        if group.is_empty() {
            return Ok(());
        }
        self.put(group).await?.into_iter().collect()
    }
}

fn results(answer: Answer, numbers: &[i64]) -> Vec<Outcome<()>> {
    let Answer::Results(pb::FolderResults { results }) = answer else {
        panic!("expected results, got {answer:?}");
    };
    let named: Vec<i64> = results.iter().map(|result| result.number).collect();
    assert_eq!(named, numbers, "a result for each file, in order");
    let outcome = |result: pb::FolderFileResult| match result.error {
        None => Ok(()),
        Some(status) => {
            let details = status.encode_to_vec().into();
            Err(Status::with_details(status.code.into(), status.message, details).into())
        }
    };
    results.into_iter().map(outcome).collect()
}

impl Calls {
    /// Saves a folder: lists all files and sends what is wanted.
    pub async fn save_folder(&self, header: pb::SaveFolderHeader, files: &Files) -> Outcome<pb::SaveArtifactResponse> {
        let mut call = FolderCall::open(self).await?;
        if let Some(saved) = call.header(header).await? {
            return Ok(saved);
        }
        call.send_all(files).await?;
        call.commit().await
    }

    /// Puts a file into a folder: its next version.
    pub async fn put_into_folder(&self, uid: &str, path: &str, content: &Bytes) -> Outcome<pb::SaveArtifactResponse> {
        let mut call = FolderCall::begin(self, change_of(uid)).await?;
        call.send_all(&Files::from([(path.to_owned(), content.clone())]))
            .await?;
        call.commit().await
    }

    /// Every file of a folder that a list shows, page by page.
    pub async fn list_members(&self, request: pb::ListMembersRequest) -> Outcome<Vec<pb::Member>> {
        let (mut members, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListMembersRequest {
                page_token,
                ..request.clone()
            };
            let page = self.members_page(request).await?;
            members.extend(page.members);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(members);
            }
        }
    }

    /// One page of files.
    pub async fn members_page(&self, request: pb::ListMembersRequest) -> Outcome<pb::ListMembersResponse> {
        Ok(self.artifacts().list_members(request).await?.into_inner())
    }

    /// Reads a file of a folder.
    pub async fn read_member(&self, artifact: pb::ArtifactRef, path: &str) -> Outcome<Vec<u8>> {
        let request = pb::ReadContentRequest {
            artifact: Some(artifact),
            member: Some(path.to_owned()),
            ..Default::default()
        };
        Ok(self.read_raw(request).await?.bytes)
    }
}
