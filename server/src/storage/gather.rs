//! Parts that wait to be written.

use bytes::{Bytes, BytesMut};

/// Parts below this size are copied together.
const JOIN_BYTES: usize = 16 * 1024;

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

#[cfg(test)]
mod tests {
    use super::*;

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
