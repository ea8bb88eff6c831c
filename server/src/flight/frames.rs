//! Messages of Flight on the wire, with the bytes of batches as they are.
//!
//! tonic would copy each batch into one buffer. Here a message goes out as its head and
//! the pieces of its body; one that comes in is put together once.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use arrow_flight::FlightData;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, stream::BoxStream};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use tonic::{Status, body::Body};

use crate::arrays::Message;

/// Fields of `FlightData`.
const HEADER: u32 = 2;
const METADATA: u32 = 3;
const BODY: u32 = 1000;

/// The flag for compression, and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// Largest message of a DoPut.
pub(super) const PUT_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

fn field_len(field: u32, len: usize) -> usize {
    match len {
        0 => 0,
        len => key_len(field) + encoded_len_varint(len as u64) + len,
    }
}

fn put_field(field: u32, bytes: &[u8], into: &mut BytesMut) {
    if !bytes.is_empty() {
        encode_key(field, WireType::LengthDelimited, into);
        encode_varint(bytes.len() as u64, into);
        into.put_slice(bytes);
    }
}

/// A message of a DoGet, as the pieces in which it goes out.
pub(super) fn outgoing(message: Message, metadata: &[u8]) -> Vec<Bytes> {
    let Message {
        header,
        body,
        body_bytes,
    } = message;
    let head_bytes = field_len(HEADER, header.len()) + field_len(METADATA, metadata.len());
    let message_bytes = head_bytes + field_len(BODY, body_bytes);
    let mut head = BytesMut::with_capacity(PREFIX_BYTES + head_bytes + 16);
    head.put_u8(0);
    head.put_u32(u32::try_from(message_bytes).expect("batches are cut to fit"));
    put_field(HEADER, &header, &mut head);
    put_field(METADATA, metadata, &mut head);
    if body_bytes > 0 {
        encode_key(BODY, WireType::LengthDelimited, &mut head);
        encode_varint(body_bytes as u64, &mut head);
    }
    let mut pieces = Vec::with_capacity(1 + body.len());
    pieces.push(head.freeze());
    pieces.extend(body);
    pieces
}

/// The answer of a DoGet.
pub(super) struct GetBody {
    messages: Option<BoxStream<'static, Result<Outgoing, Status>>>,
    pieces: VecDeque<Bytes>,
}

/// What comes next in an answer.
pub(super) enum Outgoing {
    /// Pieces of messages.
    Pieces(Vec<Bytes>),
    /// The trailers of a good end.
    End(HeaderMap),
}

impl GetBody {
    pub(super) fn new(messages: impl Stream<Item = Result<Outgoing, Status>> + Send + 'static) -> Self {
        Self {
            messages: Some(Box::pin(messages)),
            pieces: VecDeque::new(),
        }
    }

    fn end(&mut self, status: &Status, mut trailers: HeaderMap) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.messages = None;
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }
}

impl http_body::Body for GetBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(messages) = &mut self.messages else {
                return Poll::Ready(None);
            };
            match ready!(messages.as_mut().poll_next(cx)) {
                Some(Ok(Outgoing::Pieces(pieces))) => self.pieces.extend(pieces),
                Some(Ok(Outgoing::End(trailers))) => return self.end(&Status::ok(""), trailers),
                Some(Err(status)) => return self.end(&status, HeaderMap::new()),
                None => return self.end(&Status::ok(""), HeaderMap::new()),
            }
        }
    }
}

/// The messages of a DoPut. A call that is taken back is no end of its messages.
pub(super) struct PutMessages {
    body: Body,
    received: BytesMut,
}

impl PutMessages {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            received: BytesMut::new(),
        }
    }

    /// The next message, `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            if let Some(message) = self.whole_message()? {
                return Ok(Some(message));
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame.transpose()? {
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.extend_from_slice(&data);
                    }
                }
                None if self.received.is_empty() => return Ok(None),
                None => return Err(Status::internal("Unexpected EOF decoding stream.")),
            }
        }
    }

    fn whole_message(&mut self) -> Result<Option<FlightData>, Status> {
        let Some(mut prefix) = self.received.get(..PREFIX_BYTES) else {
            return Ok(None);
        };
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
        if length > PUT_MESSAGE_BYTES_MAX {
            let what =
                format!("a batch has {length} bytes, at most {PUT_MESSAGE_BYTES_MAX} are taken: send smaller ones");
            return Err(Status::out_of_range(what));
        }
        if self.received.len() < PREFIX_BYTES + length {
            self.received.reserve(PREFIX_BYTES + length - self.received.len());
            return Ok(None);
        }
        self.received.advance(PREFIX_BYTES);
        let message = self.received.split_to(length).freeze();
        let message = FlightData::decode(message);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
