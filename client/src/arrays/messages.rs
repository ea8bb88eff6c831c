//! Messages of Flight on their way in, each body gathered once into memory as Arrow wants it.
//!
//! tonic would gather whole messages, so that bodies begin wherever heads end, and the
//! decoder would copy each once more to where its numbers are aligned. Here the bytes of a
//! body go from the frame in which they came to their place, while that frame is in the
//! caches.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use arrow_flight::{FlightData, error::FlightError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use http_body::Body as _;
use prost::{
    Message as _,
    encoding::{WireType, decode_varint},
};
use tonic::{Code, Status, body::Body};

/// The flag for compression, and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// The field of `FlightData` that is a body.
const BODY: u64 = 1000;

/// Where the decoder takes bodies as they are.
const ALIGNMENT: usize = 64;

/// The messages that a server sends, and after them its status.
pub(super) struct Messages {
    body: Body,
    message_bytes_max: usize,
    /// What came and was not looked at.
    frame: Bytes,
    coming: Option<Coming>,
    /// The first bytes of a message that is not known yet.
    prefix: BytesMut,
}

/// A message of which not everything came.
struct Coming {
    /// Bytes of it that are to come.
    left: usize,
    /// All but its body.
    fields: BytesMut,
    /// Where the field begins that is not whole.
    field: usize,
    body: Option<Gathered>,
}

/// A body, of which some came.
struct Gathered {
    bytes: BytesMut,
    /// Bytes in front of it, so that it begins where Arrow wants it.
    padding: usize,
    left: usize,
}

impl Messages {
    pub(super) fn new(body: Body, message_bytes_max: usize) -> Self {
        Self {
            body,
            message_bytes_max,
            frame: Bytes::new(),
            coming: None,
            prefix: BytesMut::with_capacity(PREFIX_BYTES),
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FlightData, Status>>> {
        loop {
            match self.take() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(Some(Err(Status::unknown("the answer ended without a status")))),
            };
            match frame.into_data() {
                Ok(data) => self.frame = data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(self.end(Status::from_header_map(&trailers)).err().map(Err));
                }
            }
        }
    }

    fn end(&self, status: Option<Status>) -> Result<(), Status> {
        match status {
            Some(status) if status.code() == Code::Ok => {}
            Some(status) => return Err(status),
            None => return Err(Status::unknown("the answer ended without a status")),
        }
        match self.coming.is_none() && self.prefix.is_empty() {
            true => Ok(()),
            false => Err(Status::internal("the answer ended within a message")),
        }
    }

    /// The message that ends in what came; nothing when more has to come.
    fn take(&mut self) -> Result<Option<FlightData>, Status> {
        if self.coming.is_none() {
            let missing = PREFIX_BYTES - self.prefix.len();
            self.prefix.put((&mut self.frame).take(missing));
            if self.prefix.len() < PREFIX_BYTES {
                return Ok(None);
            }
            self.coming = Some(Coming::begin(&mut self.prefix, self.message_bytes_max)?);
        }
        let coming = self.coming.as_mut().expect("it has begun");
        coming.take(&mut self.frame)?;
        match coming.left {
            0 => self.coming.take().map(Coming::whole).transpose(),
            _ => Ok(None),
        }
    }
}

impl Stream for Messages {
    type Item = Result<FlightData, FlightError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.poll_message(cx));
        Poll::Ready(message.map(|message| message.map_err(|status| FlightError::Tonic(Box::new(status)))))
    }
}

impl Coming {
    fn begin(prefix: &mut BytesMut, bytes_max: usize) -> Result<Self, Status> {
        match prefix.get_u8() {
            0 => {}
            flag => return Err(malformed(&format!("compression flag {flag}"))),
        }
        let left = prefix.get_u32() as usize;
        if left > bytes_max {
            let what = format!("a message has {left} bytes, the limit is {bytes_max}");
            return Err(Status::out_of_range(what));
        }
        Ok(Self {
            left,
            fields: BytesMut::new(),
            field: 0,
            body: None,
        })
    }

    /// Takes what belongs to this message out of a frame.
    fn take(&mut self, frame: &mut Bytes) -> Result<(), Status> {
        while self.left > 0 && frame.has_remaining() {
            match &mut self.body {
                Some(body) if body.left > 0 => self.left -= body.take(frame),
                _ => self.take_of_fields(frame)?,
            }
        }
        Ok(())
    }

    /// Takes as much of a field as is known to belong to it.
    fn take_of_fields(&mut self, frame: &mut Bytes) -> Result<(), Status> {
        let mut field = &self.fields[self.field..];
        let known = field.len();
        let missing = match missing(&mut field)? {
            Missing::Bytes(bytes) => bytes,
            Missing::Body(bytes) if self.body.is_some() || bytes > self.left => {
                return Err(malformed("a body that does not fit its message"));
            }
            Missing::Body(bytes) => {
                self.fields.truncate(self.field);
                self.body = Some(Gathered::begin(bytes));
                return Ok(());
            }
        };
        if missing == 0 {
            self.field += known;
            return Ok(());
        }
        if missing > self.left {
            return Err(malformed("a field that is longer than its message"));
        }
        let taken = missing.min(frame.len());
        self.fields.put(frame.split_to(taken));
        self.left -= taken;
        Ok(())
    }

    fn whole(self) -> Result<FlightData, Status> {
        let message = FlightData::decode(self.fields.freeze());
        let mut message = message.map_err(|error| malformed(&error.to_string()))?;
        if let Some(body) = self.body {
            message.data_body = body.bytes.freeze().slice(body.padding..);
        }
        Ok(message)
    }
}

impl Gathered {
    fn begin(left: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(left + ALIGNMENT);
        let padding = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        bytes.put_bytes(0, padding);
        Self { bytes, padding, left }
    }

    /// Takes what belongs to it; answers how much.
    fn take(&mut self, frame: &mut Bytes) -> usize {
        let taken = self.left.min(frame.len());
        self.bytes.extend_from_slice(&frame[..taken]);
        frame.advance(taken);
        self.left -= taken;
        taken
    }
}

/// What has to come next of a field.
enum Missing {
    /// So many bytes, none at its end.
    Bytes(usize),
    /// A body of so many bytes.
    Body(usize),
}

/// What is missing of a field that has begun so.
fn missing(field: &mut &[u8]) -> Result<Missing, Status> {
    let Some(key) = varint(field)? else {
        return Ok(Missing::Bytes(1));
    };
    let kind = WireType::try_from(key & 7).map_err(|error| malformed(&error.to_string()))?;
    let bytes = match kind {
        WireType::Varint => return Ok(Missing::Bytes(usize::from(varint(field)?.is_none()))),
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => match varint(field)? {
            None => return Ok(Missing::Bytes(1)),
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        },
        WireType::StartGroup | WireType::EndGroup => return Err(malformed("a group")),
    };
    Ok(match key >> 3 == BODY && matches!(kind, WireType::LengthDelimited) {
        true => Missing::Body(bytes),
        false => Missing::Bytes(bytes.saturating_sub(field.len())),
    })
}

/// A number, when all of it is there.
fn varint(from: &mut &[u8]) -> Result<Option<u64>, Status> {
    /// The longest one.
    const VARINT_BYTES_MAX: usize = 10;
    if from.len() < VARINT_BYTES_MAX && from.iter().all(|byte| byte & 0x80 != 0) {
        return Ok(None);
    }
    let number = decode_varint(from).map_err(|error| malformed(&error.to_string()))?;
    Ok(Some(number))
}

fn malformed(what: &str) -> Status {
    Status::internal(format!("protocol error: {what}"))
}

#[cfg(test)]
mod tests;
