//! Parts that wait to be written.

use std::{
    fs::File,
    io::{self, IoSlice},
};

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;

/// Parts below this size are copied together.
const JOIN_BYTES: usize = 16 * 1024;

/// The most parts that Linux writes in one call.
const PARTS_PER_CALL_MAX: usize = 1024;

/// Parts that wait to be written, in order.
///
/// Large parts are kept as they came. Small ones are joined, since a part of one
/// byte would otherwise cost a write of its own and keep the whole message alive
/// that it came in.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    parts: Vec<Bytes>,
    joined: BytesMut,
    bytes: usize,
}

impl Gathered {
    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next part.
    pub(crate) fn push(&mut self, part: Bytes) {
        self.bytes += part.len();
        if part.len() < JOIN_BYTES {
            self.joined.extend_from_slice(&part);
        } else {
            self.end_joined();
            self.parts.push(part);
        }
    }

    /// Gives all that waits, and waits for more.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.end_joined();
        self.bytes = 0;
        std::mem::take(&mut self.parts)
    }

    fn end_joined(&mut self) {
        if !self.joined.is_empty() {
            self.parts.push(self.joined.split().freeze());
        }
    }
}

/// Writes parts one behind another to a file, in as few calls as may be: a page that two
/// parts share is then touched once. Answers where they end.
pub(super) fn write_all_at(file: &File, parts: &[Bytes], mut at: u64) -> io::Result<u64> {
    for parts in parts.chunks(PARTS_PER_CALL_MAX) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut slices = &mut slices[..];
        // Parts without bytes are none to the kernel, which would answer that it wrote nothing.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match rustix::io::pwritev(file, slices, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn parts_are_written_one_behind_another_however_many_there_are() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"before", 0).unwrap();
        let parts: Vec<Bytes> = (0..3_000u32)
            .map(|number| Bytes::from(vec![number as u8; number as usize % 7]))
            .collect();
        let end = write_all_at(&file, &parts, 6).unwrap();
        let expected = [&b"before"[..], &parts.concat()].concat();
        let mut written = vec![0; expected.len()];
        file.read_exact_at(&mut written, 0).unwrap();
        assert_eq!(
            (end, file.metadata().unwrap().len()),
            (expected.len() as u64, expected.len() as u64)
        );
        assert_eq!(written, expected);
        assert_eq!(write_all_at(&file, &[Bytes::new()], 3).unwrap(), 3);
    }

    #[test]
    fn small_parts_are_joined_and_the_order_is_kept() {
        let mut gathered = Gathered::default();
        let large = Bytes::from(vec![7; JOIN_BYTES]);
        for part in [&b"ab"[..], b"", b"c"] {
            gathered.push(Bytes::copy_from_slice(part));
        }
        gathered.push(large.clone());
        gathered.push(Bytes::from_static(b"d"));
        assert_eq!(gathered.bytes(), JOIN_BYTES + 4);
        assert_eq!(
            gathered.take(),
            [Bytes::from_static(b"abc"), large, Bytes::from_static(b"d")]
        );
        assert_eq!((gathered.bytes(), gathered.take().len()), (0, 0));
    }

    #[test]
    fn a_million_parts_of_one_byte_are_one() {
        let mut gathered = Gathered::default();
        for _ in 0..1_000_000 {
            gathered.push(Bytes::from_static(b"x"));
        }
        assert_eq!(gathered.take().iter().map(Bytes::len).collect::<Vec<_>>(), [1_000_000]);
    }
}
