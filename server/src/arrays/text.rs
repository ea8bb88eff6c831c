//! Text of a table on its way in: unpacked, bounded, from any place that is known.

use std::{
    io::{self, Read},
    sync::Arc,
};

use artifactd_domain::TextPacking;
use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::{
    budget::{RATIO_FREE_BYTES, RATIO_MAX},
    error::{ArrayError, Result},
    source::{Place, Source},
};

/// Text that is taken in at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Largest line: a record with all that is quoted in it.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest window over which zstd may repeat itself; those of its levels are not larger.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// About how much text lies between two marks.
pub(crate) const MARK_BYTES: u64 = 1024 * 1024;

/// A place in a text at which a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The row.
    pub(crate) row: u64,
    /// Its first byte.
    pub(crate) byte: u64,
    /// Its line.
    pub(crate) line: u64,
}

/// Text that is read from some place to the end.
pub(crate) struct Text {
    format: &'static str,
    unpacked: Box<dyn Read + Send>,
    /// What was taken in and not given yet.
    window: Vec<u8>,
    /// How much of it was given.
    given: usize,
    /// The place of its first byte in the whole text.
    window_start: u64,
    at_end: bool,
}

impl Text {
    /// The text of a file, from a byte on when it is not packed.
    pub(crate) fn new(place: Place, packing: TextPacking, format: &'static str, from: u64) -> Result<Self> {
        let source = Source::new(place);
        let packed_bytes = source.size_bytes();
        let file = FileReader {
            source: Arc::new(source),
            next: from,
            bytes: Bytes::new(),
        };
        let most = RATIO_FREE_BYTES.max(packed_bytes.saturating_mul(RATIO_MAX));
        let unpacked: Box<dyn Read + Send> = match packing {
            TextPacking::Plain => Box::new(file),
            TextPacking::Gzip => Box::new(Bounded::new(flate2::read::MultiGzDecoder::new(file), most)),
            TextPacking::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(file);
                let mut decoder = decoder.map_err(|error| ArrayError::from_io(format, error))?;
                let limited = decoder.window_log_max(ZSTD_WINDOW_LOG_MAX);
                limited.map_err(|error| ArrayError::from_io(format, error))?;
                Box::new(Bounded::new(decoder, most))
            }
        };
        Ok(Self {
            format,
            unpacked,
            window: Vec::new(),
            given: 0,
            window_start: from,
            at_end: false,
        })
    }

    /// What is here and was not given. Not all of it may be there yet.
    pub(crate) fn here(&self) -> &[u8] {
        &self.window[self.given..]
    }

    /// Whether nothing follows what is here.
    pub(crate) fn is_last(&self) -> bool {
        self.at_end
    }

    /// The place of what is here in the whole text.
    pub(crate) fn byte(&self) -> u64 {
        self.window_start + self.given as u64
    }

    /// Marks the first bytes of what is here as given.
    pub(crate) fn give(&mut self, bytes: usize) {
        self.given += bytes;
    }

    /// Takes in more. Fails when there is a line that is too long.
    pub(crate) fn take_in(&mut self) -> Result<()> {
        if self.at_end {
            return Ok(());
        }
        self.window.drain(..self.given);
        self.window_start += self.given as u64;
        self.given = 0;
        let had = self.window.len();
        if had > LINE_BYTES_MAX {
            return Err(ArrayError::too_large("a line", had as u64, LINE_BYTES_MAX as u64));
        }
        // Twice as much each time, so that a long line is not looked through too often.
        let wanted = CHUNK_BYTES.max(had);
        let mut more = self.unpacked.by_ref().take(wanted as u64);
        let came = more.read_to_end(&mut self.window);
        let came = came.map_err(|error| ArrayError::from_io(self.format, error))?;
        self.at_end = came < wanted;
        Ok(())
    }
}

struct FileReader {
    source: Arc<Source>,
    next: u64,
    bytes: Bytes,
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.next < self.source.size_bytes() {
            self.bytes = self.source.read_some(self.next)?;
            self.next += self.bytes.len() as u64;
        }
        let count = self.bytes.len().min(into.len());
        self.bytes.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// A reader that gives no more than a certain number of bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R, left: u64) -> Self {
        Self { inner, left }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(ArrayError::Bomb(RATIO_MAX).into()),
        }
        Ok(count)
    }
}

/// What byte order marks at the beginning of a text say: how long that of UTF-8 is.
pub(crate) fn mark_bytes(text: &[u8], format: &'static str) -> Result<usize> {
    match text {
        [0xef, 0xbb, 0xbf, ..] => Ok(3),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(ArrayError::unsupported(format, "UTF-16")),
        _ => Ok(0),
    }
}
