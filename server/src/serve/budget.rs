//! A budget for frames of HTTP/2 that carry nothing.
//!
//! Each ping and each change of settings is answered, and each one costs a look. The
//! library bounds their memory and not their number. Good callers measure the line
//! with pings while content flows, so content that moves earns new ones.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::accept::PREFACE;

/// Frames at once, and what the budget never exceeds.
const FRAMES_MAX: u64 = 1_000;

/// Frames that every second earns.
const FRAMES_PER_SECOND: u64 = 100;

/// Bytes moved, either way, that earn a frame.
const BYTES_PER_FRAME: u64 = 1_024;

const HEAD_BYTES: usize = 9;

/// A connection that ends when its budget is spent.
#[derive(Debug)]
pub(super) struct Budgeted<S> {
    stream: S,
    peer: SocketAddr,
    meter: Meter,
    has_written: bool,
}

impl<S> Budgeted<S> {
    pub(super) fn new(stream: S, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            meter: Meter::new(),
            has_written: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Budgeted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.meter.read(&buf.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        tracing::info!(peer = %self.peer, "Closed a connection: too many frames that carry nothing");
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Budgeted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.has_written = true;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.meter.moved(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        self.meter.moved(written);
        Poll::Ready(Ok(written))
    }

    /// Not before the first write over HTTP/2.
    ///
    /// The library asks once, before it writes, how short a message has to be to be
    /// copied beside its head and its trailers: below 256 bytes where parts can be
    /// written at once, else below 1,024. Most answers lie in between, and each would
    /// go out in two writes and wake its caller twice. Later, for content, it asks at
    /// each write.
    fn is_write_vectored(&self) -> bool {
        let may = self.has_written || matches!(self.meter.at, At::Elsewhere);
        may && self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is left of a budget, and where in a frame the peer is.
#[derive(Debug)]
struct Meter {
    frames: u64,
    /// Bytes moved that have not earned a frame yet.
    bytes: u64,
    counted_at: Instant,
    at: At,
}

#[derive(Debug)]
enum At {
    /// In the preface, which so many bytes of are there.
    Preface(usize),
    /// In the head of a frame, of which so many bytes are there.
    Head([u8; HEAD_BYTES], usize),
    /// In the rest of a frame.
    Payload(usize),
    /// It is not HTTP/2.
    Elsewhere,
}

impl Meter {
    fn new() -> Self {
        Self {
            frames: FRAMES_MAX,
            bytes: 0,
            counted_at: Instant::now(),
            at: At::Preface(0),
        }
    }

    fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Follows what the peer sends; false once the budget is spent.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = match &mut self.at {
                At::Elsewhere => return true,
                At::Preface(seen) => {
                    let rest = &PREFACE[*seen..];
                    let taken = rest.len().min(bytes.len());
                    *seen += taken;
                    if rest[..taken] != bytes[..taken] {
                        self.at = At::Elsewhere;
                    } else if taken == rest.len() {
                        self.at = At::Head([0; HEAD_BYTES], 0);
                    }
                    taken
                }
                At::Head(head, seen) => {
                    let taken = (HEAD_BYTES - *seen).min(bytes.len());
                    head[*seen..*seen + taken].copy_from_slice(&bytes[..taken]);
                    *seen += taken;
                    if *seen == HEAD_BYTES {
                        let head = *head;
                        self.at = begin(head);
                        if carries_nothing(head) && !self.spend() {
                            return false;
                        }
                    }
                    taken
                }
                At::Payload(left) => {
                    let taken = (*left).min(bytes.len());
                    *left -= taken;
                    if *left == 0 {
                        self.at = At::Head([0; HEAD_BYTES], 0);
                    }
                    self.bytes += taken as u64;
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        true
    }

    fn spend(&mut self) -> bool {
        if self.frames == 0 {
            self.earn();
        }
        match self.frames.checked_sub(1) {
            Some(left) => {
                self.frames = left;
                true
            }
            None => false,
        }
    }

    /// Counts what came in since it was last counted.
    fn earn(&mut self) {
        let millis = u64::try_from(self.counted_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let by_time = millis.saturating_mul(FRAMES_PER_SECOND) / 1_000;
        let by_bytes = self.bytes / BYTES_PER_FRAME;
        if by_time + by_bytes > 0 {
            self.frames = by_time.saturating_add(by_bytes).min(FRAMES_MAX);
            self.bytes = 0;
            self.counted_at = Instant::now();
        }
    }
}

fn begin(head: [u8; HEAD_BYTES]) -> At {
    match u32::from_be_bytes([0, head[0], head[1], head[2]]) {
        0 => At::Head([0; HEAD_BYTES], 0),
        len => At::Payload(len as usize),
    }
}

/// Pings, settings, priorities, and kinds that nobody knows; answers to ours do not count.
fn carries_nothing(head: [u8; HEAD_BYTES]) -> bool {
    const PRIORITY: u8 = 2;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const CONTINUATION: u8 = 9;
    const ACK: u8 = 1;
    match head[3] {
        PING | SETTINGS => head[4] & ACK == 0,
        PRIORITY => true,
        kind => kind > CONTINUATION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn opened() -> Meter {
        let mut meter = Meter::new();
        assert!(meter.read(PREFACE));
        meter
    }

    fn data(len: usize) -> Vec<u8> {
        let mut frame = (len as u32).to_be_bytes()[1..].to_vec();
        frame.extend([0, 0, 0, 0, 0, 1]);
        frame.resize(HEAD_BYTES + len, PING[3]);
        frame
    }

    #[test]
    fn a_flood_spends_the_budget_however_it_is_cut() {
        let flood = PING.repeat(2_000);
        for step in [1, 7, 17, 1_000, flood.len()] {
            let mut meter = opened();
            let taken = flood.chunks(step).take_while(|piece| meter.read(piece)).count() * step;
            let expected = FRAMES_MAX as usize * PING.len();
            assert!(taken < expected + expected / 2, "{taken} bytes in steps of {step}");
            assert!(
                step == flood.len() || taken + step >= expected,
                "{taken} in steps of {step}"
            );
        }
    }

    #[test]
    fn content_earns_pings_and_answers_cost_nothing() {
        let mut meter = opened();
        for _ in 0..5_000 {
            assert!(meter.read(&PING));
            assert!(meter.read(&data(2_000)));
        }
        for _ in 0..5_000 {
            assert!(meter.read(&PING));
            meter.moved(2_000);
        }
        let mut meter = opened();
        let mut answer = PING;
        answer[4] = 1;
        assert!(meter.read(&answer.repeat(5_000)));
    }

    #[test]
    fn what_is_not_http_2_is_not_counted() {
        let mut meter = Meter::new();
        assert!(meter.read(b"POST / HTTP/1.1\r\n"));
        assert!(meter.read(&PING.repeat(5_000)));
    }
}
