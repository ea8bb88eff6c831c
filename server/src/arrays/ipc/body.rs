//! The body of one message: held as it lies in memory, or fetched bit by bit.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{FORMAT, Message};
use crate::arrays::{
    error::{ArrayError, Result},
    source::Source,
};

/// Gives ranges of the body of a message.
pub(super) trait BodyReader {
    /// Bytes of it. The range lies inside.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

impl BodyReader for Bytes {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.slice(range.start as usize..range.end as usize))
    }
}

/// Where ranges of a body come from.
pub(super) enum Body {
    /// From here.
    Held(Held),
    /// From the file, in which it begins at this byte.
    Fetched(Box<Source>, u64),
}

impl BodyReader for Body {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Self::Held(held) => held.read(range),
            Self::Fetched(source, start) => source.read(start + range.start..start + range.end),
        }
    }
}

/// All bytes of a body, in the pieces in which they were fetched.
pub(super) struct Held {
    /// Each with the byte at which it begins.
    pieces: Vec<(u64, Bytes)>,
    bytes: u64,
}

impl Held {
    /// Fetches a range of a file.
    pub(super) fn gather(source: &Source, range: Range<u64>) -> Result<Self> {
        if range.end > source.size_bytes() {
            return Err(ArrayError::malformed(FORMAT, "a message lies behind the end"));
        }
        let bytes = range.end - range.start;
        let (mut pieces, mut held) = (Vec::new(), 0);
        while held < bytes {
            let mut piece = source.read_some(range.start + held)?;
            piece.truncate(usize::try_from(bytes - held).unwrap_or(usize::MAX));
            let start = held;
            held += piece.len() as u64;
            pieces.push((start, piece));
        }
        Ok(Self { pieces, bytes })
    }

    /// How many there are.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The message that the body is with its header.
    pub(super) fn message(&self, header: Bytes) -> Message {
        Message {
            header,
            body: self.pieces.iter().map(|(_, piece)| piece.clone()).collect(),
            body_bytes: self.bytes as usize,
        }
    }
}

impl BodyReader for Held {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let beyond = || ArrayError::Internal("a read behind the end of a body".to_owned());
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let behind = self.pieces.partition_point(|(start, _)| *start <= range.start);
        let first = behind.checked_sub(1).ok_or_else(beyond)?;
        let (start, piece) = &self.pieces[first];
        let (from, bytes) = ((range.start - start) as usize, (range.end - range.start) as usize);
        if let Some(end) = from.checked_add(bytes).filter(|end| *end <= piece.len()) {
            return Ok(piece.slice(from..end));
        }
        let mut joined = BytesMut::with_capacity(bytes);
        joined.extend_from_slice(piece.get(from..).ok_or_else(beyond)?);
        for (_, piece) in &self.pieces[first + 1..] {
            let missing = bytes - joined.len();
            joined.extend_from_slice(&piece[..missing.min(piece.len())]);
            if joined.len() == bytes {
                return Ok(joined.freeze());
            }
        }
        Err(beyond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::source::Place;

    fn held(content: &Bytes, cuts: &[usize]) -> Held {
        let (mut pieces, mut start) = (Vec::new(), 0);
        for end in cuts.iter().copied().chain([content.len()]) {
            pieces.push((start as u64, content.slice(start..end)));
            start = end;
        }
        Held {
            pieces,
            bytes: content.len() as u64,
        }
    }

    #[test]
    fn ranges_are_those_of_the_whole_wherever_it_is_cut() {
        let content = Bytes::from_static(b"0123456789");
        for cuts in [&[][..], &[1], &[5], &[3, 6], &[1, 2, 9]] {
            let held = held(&content, cuts);
            for start in 0..=10 {
                for end in start..=10 {
                    let read = held.read(start..end).unwrap();
                    assert_eq!(read, content.slice(start as usize..end as usize), "{cuts:?}");
                }
            }
            assert!(held.read(9..11).is_err());
        }
    }

    #[test]
    fn a_body_behind_the_end_is_refused() {
        let source = Source::new(Place::here(Bytes::from_static(b"0123456789")));
        let message = Held::gather(&source, 2..9).unwrap().message(Bytes::new());
        assert_eq!((message.body.concat(), message.body_bytes), (b"2345678".to_vec(), 7));
        assert!(Held::gather(&source, 2..11).is_err());
    }
}
