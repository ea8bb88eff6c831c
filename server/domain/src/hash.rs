//! Digests of content: sha256 is its identity.

use std::{fmt, str::FromStr};

use sha2::{
    Digest,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::BlockChecksums;

/// sha256 of a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest whose bytes these are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(sha2::Sha256::digest(content).into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its text.
    pub fn hex(&self) -> HexDigits {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
            pair[1] = HEX_DIGITS[usize::from(byte & 15)];
        }
        HexDigits(digits)
    }
}

/// Why a text is no sha256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 lower-case hexadecimal digits")]
pub struct DigestRefused;

impl FromStr for Sha256 {
    type Err = DigestRefused;
    fn from_str(text: &str) -> Result<Self, DigestRefused> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| DigestRefused)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn hex_value(digit: u8) -> Result<u8, DigestRefused> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestRefused),
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The text of a sha256, without memory of its own: a list needs three for each artifact.
#[derive(Clone, Copy)]
pub struct HexDigits([u8; 64]);

impl HexDigits {
    /// All of them.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl fmt::Debug for HexDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// How the hash of an artifact was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashType {
    /// sha256 of every byte of one file.
    Sha256,
    /// sha256 of a folder: over the digests of the pages of its manifest.
    Sha256Manifest,
}

impl HashType {
    /// The integer that stands for it in the database.
    pub fn code(self) -> i16 {
        match self {
            Self::Sha256 => 1,
            Self::Sha256Manifest => 2,
        }
    }

    /// The type that an integer in the database stands for.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Sha256, Self::Sha256Manifest]
            .into_iter()
            .find(|hash_type| hash_type.code() == code)
    }
}

/// What hashing a whole content gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentDigest {
    /// Its identity.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// crc32c of each block of [`BLOCK_BYTES`](crate::BLOCK_BYTES), the last one possibly shorter; empty for empty content.
    pub block_crc32c: Vec<u32>,
}

/// Hashes content that arrives in pieces of any size.
#[derive(Clone, Default)]
pub struct ContentHasher {
    sha256: sha2::Sha256,
    size_bytes: u64,
    blocks: BlockChecksums,
}

impl ContentHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.update_sha256(piece);
        self.blocks.update(piece);
    }

    /// Takes the next pieces, whose checksums were taken from their first byte on.
    pub fn update_summed<'p>(&mut self, pieces: impl Iterator<Item = &'p [u8]>, sums: &BlockChecksums) {
        let summed = self.blocks.append(sums);
        for piece in pieces {
            self.update_sha256(piece);
            if !summed {
                self.blocks.update(piece);
            }
        }
    }

    fn update_sha256(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.size_bytes += piece.len() as u64;
    }

    /// Bytes seen so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The digests of all that was seen.
    pub fn finish(self) -> ContentDigest {
        ContentDigest {
            sha256: Sha256(self.sha256.finalize().into()),
            size_bytes: self.size_bytes,
            block_crc32c: self.blocks.finish(),
        }
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// Hashes content whose blocks nobody will ask for.
#[derive(Debug, Clone, Default)]
pub struct Sha256Hasher(sha2::Sha256);

impl Sha256Hasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all that was seen.
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }

    /// What a hasher elsewhere needs to go on from here, of some 100 bytes. Whoever can
    /// change it decides the digest.
    pub fn state(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }

    /// Goes on from a state; `None` when it is none.
    pub fn resume(state: &[u8]) -> Option<Self> {
        let state = SerializedState::<sha2::Sha256>::try_from(state).ok()?;
        sha2::Sha256::deserialize(&state).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BLOCK_BYTES, crc32c};

    #[test]
    fn known_digests() {
        assert_eq!(
            Sha256::of(b"").to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn only_lower_case_hexadecimal_of_the_right_length_is_a_digest() {
        let good = Sha256::of(b"x").to_string();
        assert_eq!(good.parse(), Ok(Sha256::of(b"x")));
        let upper = good.to_uppercase();
        let long = format!("{good}0");
        let other = format!("{}g", &good[..63]);
        let wide = format!("{}ä", &good[..62]);
        for refused in ["", "sha256:", &good[1..], &upper, &long, &other, &wide] {
            assert_eq!(refused.parse::<Sha256>(), Err(DigestRefused), "{refused}");
        }
    }

    #[test]
    fn there_is_one_checksum_for_each_block_and_none_for_nothing() {
        for (size, blocks) in [(0, 0), (1, 1), (BLOCK_BYTES, 1), (BLOCK_BYTES + 1, 2)] {
            let mut hasher = ContentHasher::new();
            hasher.update(&vec![7; size]);
            assert_eq!(hasher.finish().block_crc32c.len(), blocks);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn digests_do_not_depend_on_the_pieces(size in 0usize..900_000, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let content: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(size + 1)).chain([size]).collect();
            ends.sort_unstable();
            let (mut hasher, mut summed) = (ContentHasher::new(), ContentHasher::new());
            let mut start = 0;
            for end in ends {
                let piece = &content[start..end];
                hasher.update(piece);
                let mut sums = BlockChecksums::default();
                sums.update(piece);
                prop_assert_eq!(sums.of_all(), crc32c(piece));
                summed.update_summed(piece.chunks(100_000), &sums);
                start = end;
            }
            let digest = hasher.finish();
            prop_assert_eq!(&digest, &summed.finish());
            prop_assert_eq!(digest.sha256, Sha256::of(&content));
            prop_assert_eq!(digest.size_bytes, size as u64);
            prop_assert_eq!(digest.block_crc32c, content.chunks(BLOCK_BYTES).map(crc32c).collect::<Vec<_>>());
        }

        #[test]
        fn a_hasher_goes_on_from_the_state_of_another(content in prop::collection::vec(any::<u8>(), 0..1_000), cut in any::<prop::sample::Index>()) {
            let (head, tail) = content.split_at(cut.index(content.len() + 1));
            let mut first = Sha256Hasher::default();
            first.update(head);
            let state = first.state();
            let mut second = Sha256Hasher::resume(&state).unwrap();
            second.update(tail);
            prop_assert_eq!(second.finish(), Sha256::of(&content));
            prop_assert!(Sha256Hasher::resume(&state[1..]).is_none());
        }
    }
}
