//! Content that looks random and can be made again from its seed.

use artifactd_domain::Sha256;
use bytes::Bytes;

/// Sizes around every border that matters: nothing, one byte, a checksum block,
/// a chunk, and several chunks, each with its neighbours.
pub const EDGE_SIZES: [usize; 11] = [
    0, 1, 262_143, 262_144, 262_145, 1_048_575, 1_048_576, 1_048_577, 5_242_879, 5_242_880, 5_242_881,
];

/// `len` bytes that only `seed` decides. Equal seeds give equal beginnings.
pub fn content(seed: u64, len: usize) -> Bytes {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// The digest of content as the server writes it.
pub fn digest(content: &[u8]) -> String {
    Sha256::of(content).to_string()
}

/// A small generator of repeatable choices (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose choices only `seed` decides.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound as u64) as usize
    }
}
