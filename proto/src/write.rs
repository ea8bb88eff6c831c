//! Messages on their way out, whose content is not copied.
//!
//! The head of a chunk and its bytes are two parts of a body, so that the bytes
//! go to the connection as they are.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, stream::BoxStream};
use http::HeaderMap;
use http_body::{Body, Frame};
use prost::{
    Message,
    encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use tonic::Status;

use crate::messages::{CHUNK, CRC32C, DATA, OFFSET};

/// Room for the prefix of a message and all of a chunk but its bytes.
const HEAD_BYTES: usize = 48;

/// A message in two parts.
#[derive(Debug, Clone)]
pub struct Outgoing {
    head: Bytes,
    data: Bytes,
}

impl Outgoing {
    /// A chunk of content.
    pub fn chunk(data: Bytes, crc32c: u32, offset: i64) -> Self {
        let sum_bytes = encoding::fixed32::encoded_len(CRC32C, &crc32c);
        let offset_bytes = encoding::int64::encoded_len(OFFSET, &offset);
        let data_bytes = key_len(DATA) + encoded_len_varint(data.len() as u64) + data.len();
        let chunk_bytes = (sum_bytes + offset_bytes + data_bytes) as u64;
        let message_bytes = key_len(CHUNK) as u64 + encoded_len_varint(chunk_bytes) as u64 + chunk_bytes;
        let mut head = BytesMut::with_capacity(HEAD_BYTES);
        put_prefix(&mut head, message_bytes);
        encode_key(CHUNK, WireType::LengthDelimited, &mut head);
        encode_varint(chunk_bytes, &mut head);
        encoding::fixed32::encode(CRC32C, &crc32c, &mut head);
        encoding::int64::encode(OFFSET, &offset, &mut head);
        encode_key(DATA, WireType::LengthDelimited, &mut head);
        encode_varint(data.len() as u64, &mut head);
        Self {
            head: head.freeze(),
            data,
        }
    }

    /// The same, which keeps something until it was sent.
    pub fn keeping(self, kept: impl Send + 'static) -> Self {
        let head = Bytes::from_owner(Keeping {
            bytes: self.head,
            _kept: kept,
        });
        Self { head, ..self }
    }

    /// Any other message.
    pub fn message(message: &impl Message) -> Self {
        let mut head = BytesMut::with_capacity(HEAD_BYTES + message.encoded_len());
        put_prefix(&mut head, message.encoded_len() as u64);
        message.encode(&mut head).expect("a buffer grows");
        Self {
            head: head.freeze(),
            data: Bytes::new(),
        }
    }
}

struct Keeping<T> {
    bytes: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Keeping<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// No compression, and the length.
fn put_prefix(head: &mut BytesMut, message_bytes: u64) {
    head.put_u8(0);
    head.put_u32(u32::try_from(message_bytes).expect("messages are small"));
}

/// A body of messages.
pub struct ContentBody {
    messages: Option<BoxStream<'static, Result<Outgoing, Status>>>,
    /// Bytes of the chunk whose head was given last.
    data: Bytes,
    with_status: bool,
}

impl ContentBody {
    /// The body of a request.
    pub fn of_client(messages: impl Stream<Item = Outgoing> + Send + 'static) -> Self {
        Self::new(futures::StreamExt::map(messages, Ok), false)
    }

    /// The body of an answer, which ends with a status: that of the first error, if there is one.
    pub fn of_server(messages: impl Stream<Item = Result<Outgoing, Status>> + Send + 'static) -> Self {
        Self::new(messages, true)
    }

    fn new(messages: impl Stream<Item = Result<Outgoing, Status>> + Send + 'static, with_status: bool) -> Self {
        Self {
            messages: Some(Box::pin(messages)),
            data: Bytes::new(),
            with_status,
        }
    }

    fn end(&mut self, status: &Status) -> Option<Result<Frame<Bytes>, Status>> {
        self.messages = None;
        if !self.with_status {
            return None;
        }
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Some(added.map(|()| Frame::trailers(trailers)))
    }
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(messages.as_mut().poll_next(cx)) {
            Some(Ok(Outgoing { head, data })) => {
                self.data = data;
                Some(Ok(Frame::data(head)))
            }
            Some(Err(status)) => self.end(&status),
            None => self.end(&Status::ok("")),
        })
    }
}
