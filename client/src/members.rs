//! Files of a folder: listed page by page, and many of them read in one stream.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use artifactd_domain::{ArtifactRef, crc32c, crc32c_append, manifest::Member};
use artifactd_proto::{
    Chunk, Messages, Received,
    aside::BodyAside,
    v1::{self as pb, read_members_response::Message},
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    Artifact, Client, Error, IntoReference, MemberRange, MembersOptions, ReadMembersOptions, Result, convert,
    download::MESSAGE_BYTES_MAX, fetch::in_time,
};

/// Files fetched at once, the most that the server gives.
const PAGE_MEMBERS: i32 = 1_000;

/// A piece of a file of a folder, checked against its crc32c.
#[derive(Debug, Clone)]
pub struct MemberPiece {
    /// Number of the range that was asked for, from 0; else of the file in this stream.
    pub number: u64,
    /// The file.
    pub member: Arc<Member>,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// The bytes; none where a file or range is empty.
    pub bytes: Bytes,
    /// Whether it is the last of its file or range.
    pub is_last: bool,
}

/// Files of a folder that are being read: a stream of their pieces, in order.
#[derive(Debug)]
pub struct Members {
    artifact: Artifact,
    messages: Messages<pb::ReadMembersResponse>,
    /// Files or ranges that have begun.
    begun: u64,
    open: Option<Open>,
    /// Pieces that were checked and not handed out.
    checked: VecDeque<MemberPiece>,
}

/// A file that has begun and not ended.
#[derive(Debug)]
struct Open {
    number: u64,
    member: Arc<Member>,
    offset: u64,
    end: u64,
}

impl Open {
    fn next(&mut self, bytes: Bytes) -> MemberPiece {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        MemberPiece {
            number: self.number,
            member: Arc::clone(&self.member),
            offset,
            bytes,
            is_last: self.offset == self.end,
        }
    }
}

impl Client {
    /// The files of a folder in the order of the bytes of their paths; pages are
    /// fetched as they are needed.
    pub fn list_members(
        &self,
        artifact: impl IntoReference,
        options: MembersOptions,
    ) -> BoxStream<'static, Result<Member>> {
        let reference = match artifact.into_reference() {
            Ok(reference) => reference,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let first = Listing {
            client: self.clone(),
            reference,
            options,
            waiting: VecDeque::new(),
            next: Some(String::new()),
        };
        let members = stream::try_unfold(first, |mut listing| async move {
            loop {
                if let Some(member) = listing.waiting.pop_front() {
                    return Ok(Some((member, listing)));
                }
                if !listing.fetch().await? {
                    return Ok(None);
                }
            }
        });
        members.boxed()
    }

    /// Reads files of a folder, or parts of them, in one stream.
    ///
    /// A cut stream is taken up by a new call: with the rest of the ranges, or with
    /// `start` and `if_match`.
    pub async fn read_members(&self, artifact: impl IntoReference, options: ReadMembersOptions) -> Result<Members> {
        let message = request(artifact.into_reference()?, options)?;
        let call = || async {
            let mut answer = self.contents().read_members(message.clone()).await?;
            let mut messages = match BodyAside::take(answer.extensions_mut()) {
                Some(body) => Messages::of_server(body, MESSAGE_BYTES_MAX),
                // An answer of headers alone has told its status there.
                None => return Err(Error::Answer("files without a body".to_owned())),
            };
            let Some(Received::Message(pb::ReadMembersResponse {
                message: Some(Message::Head(pb::MembersHead { artifact })),
            })) = messages.message().await?
            else {
                return Err(Error::Answer("files without a head".to_owned()));
            };
            Ok(Members {
                artifact: convert::some(artifact)?,
                messages,
                begun: 0,
                open: None,
                checked: VecDeque::new(),
            })
        };
        self.inner.retry.run("ReadMembers", || in_time(self, call())).await
    }
}

fn request(reference: ArtifactRef, options: ReadMembersOptions) -> Result<pb::ReadMembersRequest> {
    let ReadMembersOptions {
        ranges,
        prefix,
        glob,
        start,
        if_match,
        include_hidden,
        is_run_input,
    } = options;
    let too_large = |_| Error::Input("a position is too large".to_owned());
    let ranges = ranges.into_iter().map(|MemberRange { path, offset, length }| {
        let length = length.map(i64::try_from).transpose().map_err(too_large)?;
        Ok(pb::MemberRange { path, offset, length })
    });
    let (start_path, start_offset) = start.map_or((None, 0), |(path, offset)| (Some(path), offset));
    Ok(pb::ReadMembersRequest {
        artifact: Some(convert::reference(reference)),
        ranges: ranges.collect::<Result<_>>()?,
        prefix,
        glob,
        start_path,
        start_offset: i64::try_from(start_offset).map_err(too_large)?,
        if_match,
        chunk_bytes: 0,
        include_hidden,
        is_run_input,
    })
}

impl Members {
    /// The folder.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged {
            uid: self.artifact.uid.to_string(),
            what: what.into(),
        }
    }

    fn accept(&mut self, received: Received<pb::ReadMembersResponse>) -> Result<()> {
        match received {
            Received::Chunk(chunk) => self.take_chunk(chunk),
            Received::Message(pb::ReadMembersResponse { message }) => match message {
                Some(Message::Chunk(chunk)) => self.take_chunk(chunk.into()),
                Some(Message::Begin(begin)) => self.begin(begin),
                Some(Message::Small(pb::SmallMembers { members })) => {
                    members.into_iter().try_for_each(|part| self.take_small(part))
                }
                Some(Message::Head(_)) | None => Err(Error::Answer("a message that brings no file".to_owned())),
            },
        }
    }

    /// A file that begins.
    fn opened(&mut self, begin: pb::MemberBegin) -> Result<Open> {
        let pb::MemberBegin {
            number,
            member,
            offset,
            length,
        } = begin;
        if self.open.is_some() {
            return Err(self.damaged("a file ended early"));
        }
        if u64::try_from(number) != Ok(self.begun) {
            return Err(self.damaged("a file is missing or came twice"));
        }
        let member = member.ok_or_else(|| Error::Answer("a beginning without its file".to_owned()))?;
        let member = Arc::new(convert::member(member)?);
        let impossible = || Error::Answer(format!("`{}` has an impossible range", member.path));
        let offset = u64::try_from(offset).map_err(|_| impossible())?;
        let length = u64::try_from(length).map_err(|_| impossible())?;
        let end = offset.checked_add(length).filter(|end| *end <= member.size_bytes);
        let end = end.ok_or_else(impossible)?;
        let number = self.begun;
        self.begun += 1;
        Ok(Open {
            number,
            member,
            offset,
            end,
        })
    }

    fn begin(&mut self, begin: pb::MemberBegin) -> Result<()> {
        let mut open = self.opened(begin)?;
        if open.offset == open.end {
            self.checked.push_back(open.next(Bytes::new()));
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    fn take_small(&mut self, part: pb::SmallMember) -> Result<()> {
        let pb::SmallMember {
            begin,
            content,
            crc32c: sum,
        } = part;
        let begin = begin.ok_or_else(|| Error::Answer("a file without its beginning".to_owned()))?;
        let mut open = self.opened(begin)?;
        if open.end - open.offset != content.len() as u64 || crc32c(&content) != sum {
            return Err(self.damaged(format!("`{}` does not match its crc32c", open.member.path)));
        }
        self.checked.push_back(open.next(content));
        Ok(())
    }

    fn take_chunk(&mut self, chunk: Chunk) -> Result<()> {
        let Chunk {
            data,
            crc32c: sum,
            offset,
        } = chunk;
        let Some(mut open) = self.open.take() else {
            return Err(self.damaged("a chunk of no file"));
        };
        if offset.is_some_and(|offset| u64::try_from(offset) != Ok(open.offset)) {
            return Err(self.damaged("a chunk is missing or came twice"));
        }
        if sum.is_some_and(|sum| sum != data.iter().fold(0, |sum, piece| crc32c_append(sum, piece))) {
            return Err(self.damaged("a chunk does not match its crc32c"));
        }
        if data.iter().map(|piece| piece.len() as u64).sum::<u64>() > open.end - open.offset {
            return Err(self.damaged("more bytes came than were promised"));
        }
        let pieces = data.into_iter().filter(|piece| !piece.is_empty());
        self.checked.extend(pieces.map(|piece| open.next(piece)));
        self.open = Some(open).filter(|open| open.offset < open.end);
        Ok(())
    }
}

impl Stream for Members {
    type Item = Result<MemberPiece>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<MemberPiece>>> {
        loop {
            if let Some(piece) = self.checked.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            match ready!(self.messages.poll_message(cx)) {
                Ok(Some(message)) => self.accept(message)?,
                Ok(None) if self.open.take().is_some() => {
                    return Poll::Ready(Some(Err(self.damaged("the stream ended early"))));
                }
                Ok(None) => return Poll::Ready(None),
                Err(status) => {
                    // Nothing comes after this error.
                    self.open = None;
                    return Poll::Ready(Some(Err(status.into())));
                }
            }
        }
    }
}

/// A list that is fetched page by page.
struct Listing {
    client: Client,
    reference: ArtifactRef,
    options: MembersOptions,
    waiting: VecDeque<Member>,
    /// Token of the next page; empty for the first, `None` after the last.
    next: Option<String>,
}

impl Listing {
    /// Fetches a page; false when there is none.
    async fn fetch(&mut self) -> Result<bool> {
        let Some(page_token) = self.next.take() else {
            return Ok(false);
        };
        let MembersOptions {
            prefix,
            glob,
            include_hidden,
        } = self.options.clone();
        let message = pb::ListMembersRequest {
            artifact: Some(convert::reference(self.reference.clone())),
            prefix,
            glob,
            page_size: PAGE_MEMBERS,
            page_token,
            include_hidden,
        };
        let client = &self.client;
        let call = |request| {
            let mut artifacts = client.artifacts();
            async move { artifacts.list_members(request).await }
        };
        let asks_for_all = message.prefix.is_empty() && message.glob.is_none();
        let page = client.call("ListMembers", message, call).await?;
        // Where nothing is left out, a page may only be empty at the end.
        if asks_for_all && page.members.is_empty() && !page.next_page_token.is_empty() {
            return Err(Error::Answer("an empty page before the end".to_owned()));
        }
        let members = page.members.into_iter().map(convert::member);
        self.waiting = members.collect::<Result<_>>()?;
        self.next = Some(page.next_page_token).filter(|token| !token.is_empty());
        Ok(true)
    }
}
