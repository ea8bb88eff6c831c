//! crc32c per block, which guards each read, and of bytes on the wire.

use std::sync::LazyLock;

use crc_fast::{CrcAlgorithm::Crc32Iscsi as CASTAGNOLI, Digest, checksum, checksum_combine};

/// Bytes that one stored crc32c covers; the last block of a content may be shorter.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// crc32c of each block of bytes that arrive in pieces of any size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockChecksums {
    whole: Vec<u32>,
    /// That of the last block, which has `fill` bytes so far.
    last: u32,
    fill: usize,
}

impl BlockChecksums {
    /// Takes the next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let (head, tail) = piece.split_at(piece.len().min(BLOCK_BYTES - self.fill));
            self.last = crc32c_append(self.last, head);
            self.fill += head.len();
            if self.fill == BLOCK_BYTES {
                self.end_block();
            }
            piece = tail;
        }
    }

    /// crc32c of all bytes together.
    pub fn of_all(&self) -> u32 {
        let whole = self.whole.iter().copied();
        let whole = whole.reduce(|first, second| combine_crc32c(first, second, BLOCK_BYTES));
        match whole {
            Some(whole) if self.fill > 0 => combine_crc32c(whole, self.last, self.fill),
            Some(whole) => whole,
            None => self.last,
        }
    }

    /// Takes bytes whose blocks are known. False, and nothing taken, when these
    /// end inside a block, which the others would have to complete.
    pub(crate) fn append(&mut self, next: &Self) -> bool {
        if self.fill > 0 {
            return false;
        }
        self.whole.extend_from_slice(&next.whole);
        (self.last, self.fill) = (next.last, next.fill);
        true
    }

    fn end_block(&mut self) {
        self.whole.push(self.last);
        self.last = 0;
        self.fill = 0;
    }

    /// The sums, the last one that of a shorter block if there is one.
    pub fn finish(mut self) -> Vec<u32> {
        if self.fill > 0 {
            self.end_block();
        }
        self.whole
    }
}

/// crc32c (Castagnoli) of some bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CASTAGNOLI, bytes) as u32
}

/// crc32c of bytes and those that follow them, given that of the first.
pub fn crc32c_append(first: u32, next: &[u8]) -> u32 {
    // What the state of a sum is before its last step, which turns all bits over.
    let mut digest = Digest::new_with_init_state(CASTAGNOLI, u64::from(!first));
    digest.update(next);
    digest.finalize() as u32
}

/// crc32c of two pieces that follow each other, the second of `second_len` bytes.
pub fn combine_crc32c(first: u32, second: u32, second_len: usize) -> u32 {
    if second_len != BLOCK_BYTES {
        return combine(first, second, second_len);
    }
    // What a block does to the sum before it is linear: each bit has its part in the result.
    let bits = (0..u32::BITS).filter(|bit| first >> bit & 1 == 1);
    bits.fold(second, |sum, bit| sum ^ AFTER_BLOCK[bit as usize])
}

fn combine(first: u32, second: u32, second_len: usize) -> u32 {
    checksum_combine(CASTAGNOLI, first.into(), second.into(), second_len as u64) as u32
}

/// What becomes of each bit of a sum when a block of sum 0 follows.
static AFTER_BLOCK: LazyLock<[u32; 32]> =
    LazyLock::new(|| std::array::from_fn(|bit| combine(1 << bit, 0, BLOCK_BYTES)));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_checksum() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn combined_checksums_are_those_of_the_whole(a in prop::collection::vec(any::<u8>(), 0..300), b in prop::collection::vec(any::<u8>(), 0..300)) {
            let whole = [a.clone(), b.clone()].concat();
            prop_assert_eq!(combine_crc32c(crc32c(&a), crc32c(&b), b.len()), crc32c(&whole));
            prop_assert_eq!(crc32c_append(crc32c(&a), &b), crc32c(&whole));
        }

        /// Long enough for each of the ways in which the library folds, from every address.
        #[test]
        fn checksums_are_those_of_another_library(start in 0..64usize, len in 0..5000usize, cut: prop::sample::Index) {
            let bytes: Vec<u8> = (0..start + len).map(|at| (at * at / 7 + at) as u8).collect();
            let bytes = &bytes[start..];
            let (head, tail) = bytes.split_at(cut.index(len + 1));
            let other = crc32c::crc32c(bytes);
            prop_assert_eq!(crc32c(bytes), other);
            prop_assert_eq!(crc32c_append(crc32c(head), tail), other);
            prop_assert_eq!(combine_crc32c(crc32c(head), crc32c(tail), tail.len()), other);
        }

        #[test]
        fn a_whole_block_is_combined_like_any_other_piece(first: u32, second: u32) {
            prop_assert_eq!(combine_crc32c(first, second, BLOCK_BYTES), crc32c::crc32c_combine(first, second, BLOCK_BYTES));
        }
    }
}
