//! HTTP/2 by hand, for what no client library would send.
//!
//! `call` sends one well-formed HTTP/2 request whose gRPC part may be anything;
//! `Frames` sends any frames, well-formed or not.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Status;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of HTTP/2 frames.
#[expect(missing_docs, reason = "the names are those of RFC 9113")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Data = 0,
    Headers = 1,
    Priority = 2,
    RstStream = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

/// The flag that ends a stream (and acknowledges settings and pings).
pub const END_STREAM: u8 = 1;
/// The flag that ends a header block.
pub const END_HEADERS: u8 = 4;

/// What a call by hand was answered.
#[derive(Debug)]
pub struct Answer {
    /// Status of HTTP.
    pub http_status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Status of gRPC, from trailers or from an answer of headers alone.
    pub status: Option<Status>,
    /// The body.
    pub body: Vec<u8>,
}

/// Puts the prefix of a gRPC message before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// Sends one request over a connection of its own.
///
/// # Panics
/// When no answer comes in time.
pub async fn call(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Result<Answer, h2::Error> {
    timeout(ANSWER_TIMEOUT, call_within(address, path, headers, body))
        .await
        .expect("an answer in time")
}

async fn call_within(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Result<Answer, h2::Error> {
    let stream = TcpStream::connect(address).await.expect("reach the server");
    let (sender, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a request");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a header name");
        request
            .headers_mut()
            .insert(name, http::HeaderValue::from_bytes(value).expect("a header value"));
    }
    let (answer, mut upload) = sender.ready().await?.send_request(request, false)?;
    // The server may answer and reset before it has taken the whole body.
    let _ = upload.send_data(Bytes::copy_from_slice(body), true);
    let answer = collect(answer.await?).await;
    connection.abort();
    answer
}

async fn collect(answer: http::Response<h2::RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?;
    let status = trailers
        .as_ref()
        .and_then(Status::from_header_map)
        .or_else(|| Status::from_header_map(&head.headers));
    Ok(Answer {
        http_status: head.status.as_u16(),
        headers: head.headers,
        status,
        body,
    })
}

/// A connection that sends whatever frames a test likes.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    received: BytesMut,
    /// Streams that the server has reset.
    reset: BTreeSet<u32>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server said why: an error code of HTTP/2.
    GoAway(u32),
    /// The server closed it.
    Closed,
    /// The server keeps it open.
    Open,
}

impl Frames {
    /// Connects, with preface and empty settings.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("reach the server");
        let mut frames = Self {
            stream,
            received: BytesMut::new(),
            reset: BTreeSet::new(),
        };
        frames.send(PREFACE).await.expect("send the preface");
        frames
            .send(&frame(Kind::Settings, 0, 0, &[]))
            .await
            .expect("send settings");
        frames
    }

    /// Sends bytes as they are. Fails once the server has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match timeout(ANSWER_TIMEOUT, self.stream.write_all(bytes)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends the same bytes again and again, until the server had enough.
    /// What it sends meanwhile is read, so that neither side waits for the other.
    pub async fn flood(mut self, times: usize, mut bytes: impl FnMut(u32) -> Vec<u8>) -> Ending {
        for number in 0..times {
            if self.send(&bytes(number as u32)).await.is_err() {
                return self.ending(Duration::from_secs(2)).await.unless_open();
            }
            if number % 64 == 63
                && let ending @ (Ending::GoAway(_) | Ending::Closed) = self.ending(Duration::from_millis(1)).await
            {
                return ending;
            }
        }
        self.ending(Duration::from_secs(2)).await
    }

    /// Reads until the connection ends, or until nothing came for `quiet`.
    pub async fn ending(&mut self, quiet: Duration) -> Ending {
        loop {
            if let Some(code) = self.read_frames() {
                return Ending::GoAway(code);
            }
            match timeout(quiet, self.stream.read_buf(&mut self.received)).await {
                Err(_) => return Ending::Open,
                Ok(Ok(0) | Err(_)) => return Ending::Closed,
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Reads until the server resets a stream; answers whether it does so in time.
    pub async fn is_reset(&mut self, stream: u32, within: Duration) -> bool {
        let reset = async {
            while !self.reset.contains(&stream) {
                if self
                    .stream
                    .read_buf(&mut self.received)
                    .await
                    .is_ok_and(|read| read > 0)
                {
                    self.read_frames();
                } else {
                    return false;
                }
            }
            true
        };
        timeout(within, reset).await.unwrap_or(false)
    }

    /// Reads what is there, without waiting.
    pub fn drain(&mut self) {
        while self.stream.try_read_buf(&mut self.received).is_ok_and(|read| read > 0) {
            self.read_frames();
        }
    }

    /// How many streams the server has reset so far.
    pub fn resets(&self) -> usize {
        self.reset.len()
    }

    /// Takes note of whole frames; answers the code of the one that ends the connection.
    fn read_frames(&mut self) -> Option<u32> {
        while let Some((kind, stream, payload)) = self.next_frame() {
            if kind == Kind::RstStream as u8 {
                self.reset.insert(stream);
            } else if kind == Kind::GoAway as u8 {
                return Some(error_code(&payload));
            }
        }
        None
    }

    /// Kind, stream and payload.
    fn next_frame(&mut self) -> Option<(u8, u32, Bytes)> {
        let head = self.received.get(..9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, stream) = (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        if self.received.len() < 9 + len {
            return None;
        }
        self.received.advance(9);
        Some((kind, stream, self.received.split_to(len).freeze()))
    }
}

impl Ending {
    fn unless_open(self) -> Self {
        if self == Self::Open { Self::Closed } else { self }
    }
}

fn error_code(payload: &[u8]) -> u32 {
    payload
        .get(4..8)
        .map_or(0, |code| u32::from_be_bytes([code[0], code[1], code[2], code[3]]))
}

/// One frame.
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind as u8, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The header block of a gRPC call, without any compression.
pub fn header_block(path: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are entries of the static table.
    let mut block = vec![0x83, 0x86];
    literal(&mut block, &[0x04], path);
    literal(&mut block, &[0x01], "127.0.0.1");
    literal(&mut block, &[0x0f, 0x10], "application/grpc");
    literal(&mut block, &[0x00, 2, b't', b'e'], "trailers");
    block
}

/// The same with one more header.
pub fn header_block_with(path: &str, name: &str, value: &str) -> Vec<u8> {
    let mut block = header_block(path);
    let length = u8::try_from(name.len()).expect("a short name");
    literal(&mut block, &[&[0x00, length], name.as_bytes()].concat(), value);
    block
}

fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend_from_slice(name);
    block.push(u8::try_from(value.len()).expect("a short value"));
    block.extend_from_slice(value.as_bytes());
}
