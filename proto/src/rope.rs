//! Bytes that came in pieces and stay in pieces.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Pieces below this size are copied together: each would otherwise keep the
/// buffer alive that it was received in, however small it is.
const JOIN_BYTES: usize = 4 * 1024;

/// A row of pieces, read from the front and written at the back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rope {
    pieces: VecDeque<Bytes>,
    /// Small pieces after the others.
    joined: BytesMut,
    bytes: usize,
}

impl Rope {
    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < JOIN_BYTES {
            self.joined.extend_from_slice(&piece);
        } else {
            self.end_joined();
            self.pieces.push_back(piece);
        }
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the first `bytes`, of which there must be as many.
    pub(crate) fn split_to(&mut self, bytes: usize) -> Self {
        assert!(bytes <= self.bytes, "a split lies inside");
        self.end_joined();
        let mut head = Self::default();
        while head.bytes < bytes {
            let mut piece = self.pieces.pop_front().expect("the pieces add up to the bytes");
            if head.bytes + piece.len() > bytes {
                let rest = piece.split_off(bytes - head.bytes);
                self.pieces.push_front(rest);
            }
            head.bytes += piece.len();
            head.pieces.push_back(piece);
        }
        self.bytes -= bytes;
        head
    }

    /// The pieces, none of them empty.
    pub(crate) fn into_pieces(mut self) -> Vec<Bytes> {
        self.end_joined();
        self.pieces.into()
    }

    /// Makes what was joined readable.
    fn end_joined(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push_back(self.joined.split().freeze());
        }
    }
}

/// Reads what was split off; nothing of that is still being joined.
impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.bytes - self.joined.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "nothing is read behind the end");
        self.bytes -= count;
        while count > 0 {
            let piece = self.pieces.front_mut().expect("the pieces add up to the bytes");
            let step = count.min(piece.len());
            piece.advance(step);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            count -= step;
        }
    }
}
