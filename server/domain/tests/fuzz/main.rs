//! Loops over mutated input: whatever it is, parsing ends in a value that keeps
//! its promises or in a refusal, and never in a panic.
//!
//! The mutations are drawn from a seed, so a failure can be seen again;
//! `ARTIFACTD_FUZZ_ROUNDS` and `ARTIFACTD_FUZZ_SEED` change count and seed.

mod filters;
mod names;
mod pages;

/// Draws numbers that are the same in each run.
pub(crate) struct Random(u64);

impl Random {
    fn seeded() -> Self {
        Self(setting("ARTIFACTD_FUZZ_SEED", 0x5eed) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    pub(crate) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    pub(crate) fn char(&mut self) -> char {
        let end = [0x80, 0x3000, 0x11_0000][self.below(3)];
        char::from_u32(self.below(end) as u32).unwrap_or('x')
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

/// How often to try.
fn rounds(default: u64) -> u64 {
    setting("ARTIFACTD_FUZZ_ROUNDS", default)
}
