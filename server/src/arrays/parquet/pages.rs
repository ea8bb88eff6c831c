//! Pages on their way to the decoder, each looked at before it is unpacked.
//!
//! A page says itself how large it will be, and the decoder takes as much memory. So
//! the header of each is read here first; one that is too large ends the read.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf, Bytes};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

use super::thrift;
use crate::arrays::{budget::UNIT_BYTES_MAX, error::ArrayError, source::Source};

/// Headers are small, but for the statistics in some.
const HEADER_BYTES: u64 = 4 * 1024;
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// Values of one column that may be unpacked for one batch: a row that holds a list of
/// more is not read.
pub(super) const VALUES_MAX: u64 = 1 << 24;

/// The file, as the decoder reads it.
#[derive(Debug, Clone)]
pub(super) struct PageFile {
    source: Arc<Source>,
    /// Where pages begin that are read in one piece, sorted: the others' headers come first.
    page_starts: Arc<[u64]>,
    /// Whether a row can have several values of a column.
    has_lists: bool,
    /// Values whose pages were opened since the batch began.
    values: Arc<AtomicU64>,
    /// Why the last read failed: the decoder keeps the text of that alone.
    failed: Arc<Mutex<Option<ArrayError>>>,
}

impl PageFile {
    pub(super) fn new(source: Source, mut page_starts: Vec<u64>, has_lists: bool) -> Self {
        page_starts.sort_unstable();
        Self {
            source: Arc::new(source),
            page_starts: page_starts.into(),
            has_lists,
            values: Arc::default(),
            failed: Arc::default(),
        }
    }

    /// A batch begins. Fails when nobody waits for it.
    pub(super) fn begin_batch(&self) -> crate::arrays::error::Result<()> {
        self.values.store(0, Ordering::Relaxed);
        self.source.check_cancelled()
    }

    /// What a decoder that failed was told, or what it says itself.
    pub(super) fn failure(&self, told: ArrayError) -> ArrayError {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().unwrap_or(told)
    }

    /// Tells the decoder of a failure, and keeps it.
    fn tell(&self, error: ArrayError) -> ParquetError {
        let told = ParquetError::General(error.to_string());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    }

    fn look(&self, header: &thrift::PageHeader) -> std::result::Result<(), ArrayError> {
        if header.unpacked_bytes > UNIT_BYTES_MAX {
            return Err(ArrayError::too_large("a page", header.unpacked_bytes, UNIT_BYTES_MAX));
        }
        // A flat page gives as many values as rows are asked for; one of lists may have to be read whole.
        if self.has_lists {
            let values = self.values.fetch_add(header.values, Ordering::Relaxed) + header.values;
            if values > VALUES_MAX {
                return Err(ArrayError::too_large("a list of values", values, VALUES_MAX));
            }
        }
        Ok(())
    }

    /// The header at `start`, checked, and whatever lies behind it in memory.
    fn header(&self, start: u64) -> std::result::Result<Bytes, ArrayError> {
        let mut most = HEADER_BYTES;
        loop {
            let end = start.saturating_add(most).min(self.source.size_bytes());
            if start >= end {
                return Err(ArrayError::malformed(super::FORMAT, "a page begins behind the end"));
            }
            let bytes = self.source.read(start..end)?;
            match thrift::check_page_header(&bytes) {
                Ok(header) => {
                    self.look(&header)?;
                    return Ok(bytes);
                }
                Err(error) if most >= HEADER_BYTES_MAX || end == self.source.size_bytes() => return Err(error),
                Err(_) => most *= 16,
            }
        }
    }
}

impl Length for PageFile {
    fn len(&self) -> u64 {
        self.source.size_bytes()
    }
}

impl ChunkReader for PageFile {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<HeaderReader> {
        Ok(HeaderReader {
            file: self.clone(),
            start,
            bytes: None,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length as u64 > UNIT_BYTES_MAX {
            return Err(self.tell(ArrayError::too_large("a page", length as u64, UNIT_BYTES_MAX)));
        }
        let end = start
            .checked_add(length as u64)
            .filter(|end| *end <= self.source.size_bytes());
        let end = end.ok_or_else(|| ParquetError::EOF("a page lies behind the end".to_owned()))?;
        let bytes = self.source.read(start..end).map_err(|error| self.tell(error))?;
        if self.page_starts.binary_search(&start).is_ok() {
            let header = thrift::check_page_header(&bytes).map_err(|error| self.tell(error))?;
            self.look(&header).map_err(|error| self.tell(error))?;
        }
        Ok(bytes)
    }
}

/// A header, read when it is: the decoder asks for readers that it does not use.
pub(super) struct HeaderReader {
    file: PageFile,
    start: u64,
    bytes: Option<Bytes>,
}

impl Read for HeaderReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = match &mut self.bytes {
            Some(bytes) => bytes,
            none => {
                let header = self.file.header(self.start);
                none.insert(header.map_err(|error| io::Error::other(self.file.tell(error)))?)
            }
        };
        let count = bytes.len().min(into.len());
        bytes.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
