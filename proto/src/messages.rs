//! Messages on their way in, decoded without copying the content in them.
//!
//! A message is gathered as the pieces in which it arrived. When it is a plain
//! chunk, its bytes are handed on as those pieces; every other message, and every
//! odd spelling of a chunk, goes through the ordinary decoder.

use std::{
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as _;
use prost::{
    Message,
    encoding::{WireType, decode_varint},
};
use tonic::{Code, Status, body::Body};

use crate::{rope::Rope, v1::ContentChunk};

/// The flag for compression, and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// The field of a content message that is a chunk.
pub(crate) const CHUNK: u32 = 2;
/// The fields of a chunk.
pub(crate) const DATA: u32 = 1;
pub(crate) const CRC32C: u32 = 2;
pub(crate) const OFFSET: u32 = 3;

/// A chunk of content, as the pieces in which it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub data: Vec<Bytes>,
    /// Their crc32c.
    pub crc32c: Option<u32>,
    /// Position of the first one in the content.
    pub offset: Option<i64>,
}

impl From<ContentChunk> for Chunk {
    fn from(chunk: ContentChunk) -> Self {
        let ContentChunk { data, crc32c, offset } = chunk;
        let data = vec![data];
        Self { data, crc32c, offset }
    }
}

/// A message of a stream that brings content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<M> {
    /// A plain chunk.
    Chunk(Chunk),
    /// Any message; also a chunk that was written in an unusual way.
    Message(M),
}

/// Who sends the messages.
#[derive(Debug)]
enum Sender {
    Client,
    Server,
}

/// The messages of one body.
#[derive(Debug)]
pub struct Messages<M> {
    /// Behind a lock because a body may not be shared; nobody ever waits for it.
    body: Mutex<Body>,
    sender: Sender,
    received: Rope,
    /// Length of the message that is coming in.
    coming: Option<usize>,
    message_bytes_max: usize,
    ended: bool,
    kind: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Messages<M> {
    /// The messages that a client sends.
    pub fn of_client(body: Body, message_bytes_max: usize) -> Self {
        Self::new(body, Sender::Client, message_bytes_max)
    }

    /// The messages that a server sends, and after them its status.
    pub fn of_server(body: Body, message_bytes_max: usize) -> Self {
        Self::new(body, Sender::Server, message_bytes_max)
    }

    fn new(body: Body, sender: Sender, message_bytes_max: usize) -> Self {
        Self {
            body: Mutex::new(body),
            sender,
            received: Rope::default(),
            coming: None,
            message_bytes_max,
            ended: false,
            kind: PhantomData,
        }
    }

    /// The next message, `None` after the last. Nothing comes after an error.
    pub async fn message(&mut self) -> Result<Option<Received<M>>, Status> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// See [`message`](Self::message).
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received<M>>, Status>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let polled = ready!(self.poll_next(cx));
        self.ended = !matches!(polled, Ok(Some(_)));
        Poll::Ready(polled)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received<M>>, Status>> {
        loop {
            if let Some(message) = self.whole_message()? {
                return Poll::Ready(decode(message).map(Some));
            }
            let body = self.body.get_mut().expect("no holder panics");
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(self.failed(status)),
                None => return Poll::Ready(self.end(None).map(|()| None)),
            };
            match frame.into_data() {
                Ok(data) => self.received.push(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(self.end(Some(&trailers)).map(|()| None));
                }
            }
        }
    }

    /// Takes a message out of what came, when all of it is there.
    fn whole_message(&mut self) -> Result<Option<Rope>, Status> {
        let length = match self.coming {
            Some(length) => length,
            None if self.received.bytes() < PREFIX_BYTES => return Ok(None),
            None => {
                let length = read_prefix(self.received.split_to(PREFIX_BYTES), self.message_bytes_max)?;
                *self.coming.insert(length)
            }
        };
        if self.received.bytes() < length {
            return Ok(None);
        }
        self.coming = None;
        Ok(Some(self.received.split_to(length)))
    }

    /// A caller that takes its call back has only ended its messages.
    fn failed(&self, status: Status) -> Result<Option<Received<M>>, Status> {
        match self.sender {
            Sender::Client if status.code() == Code::Cancelled => Ok(None),
            _ => Err(status),
        }
    }

    fn end(&self, trailers: Option<&HeaderMap>) -> Result<(), Status> {
        if let Sender::Server = self.sender {
            match trailers.and_then(Status::from_header_map) {
                Some(status) if status.code() == Code::Ok => {}
                Some(status) => return Err(status),
                None => return Err(Status::unknown("the answer ended without a status")),
            }
        }
        if self.coming.is_some() || self.received.bytes() > 0 {
            return Err(Status::internal("Unexpected EOF decoding stream."));
        }
        Ok(())
    }
}

fn read_prefix(mut prefix: Rope, bytes_max: usize) -> Result<usize, Status> {
    match prefix.get_u8() {
        0 => {}
        1 => {
            return Err(Status::internal(
                "protocol error: a compressed message where no compression was agreed",
            ));
        }
        flag => return Err(Status::internal(format!("protocol error: compression flag {flag}"))),
    }
    let length = prefix.get_u32() as usize;
    if length > bytes_max {
        return Err(Status::out_of_range(format!(
            "a message has {length} bytes, the limit is {bytes_max}"
        )));
    }
    Ok(length)
}

fn decode<M: Message + Default>(message: Rope) -> Result<Received<M>, Status> {
    if let Some(chunk) = plain_chunk(message.clone()) {
        return Ok(Received::Chunk(chunk));
    }
    match M::decode(message) {
        Ok(message) => Ok(Received::Message(message)),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// The chunk that a message is, when it holds nothing else and each field once.
fn plain_chunk(mut message: Rope) -> Option<Chunk> {
    let key = |field: u32, kind: WireType| u64::from(field << 3 | kind as u32);
    if decode_varint(&mut message).ok()? != key(CHUNK, WireType::LengthDelimited)
        || decode_varint(&mut message).ok()? != message.remaining() as u64
    {
        return None;
    }
    let (mut data, mut crc32c, mut offset) = (None, None, None);
    while message.has_remaining() {
        let found = decode_varint(&mut message).ok()?;
        if found == key(DATA, WireType::LengthDelimited) && data.is_none() {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            if length > message.remaining() {
                return None;
            }
            data = Some(message.split_to(length));
        } else if found == key(CRC32C, WireType::ThirtyTwoBit) && crc32c.is_none() && message.remaining() >= 4 {
            crc32c = Some(message.get_u32_le());
        } else if found == key(OFFSET, WireType::Varint) && offset.is_none() {
            offset = Some(decode_varint(&mut message).ok()?.cast_signed());
        } else {
            return None;
        }
    }
    Some(Chunk {
        data: data.unwrap_or_default().into_pieces(),
        crc32c,
        offset,
    })
}

#[cfg(test)]
mod tests;
