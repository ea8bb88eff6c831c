//! Identifiers: a stem that all versions of a family share, and a suffix that
//! tells them apart.
//!
//! The alphabet is base62 in the order `0-9A-Za-z`, which is also byte order, so
//! that sorting the text sorts the versions.

use std::{fmt, str, str::FromStr};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const STEM_CHARS: usize = 16;
const SUFFIX_CHARS: usize = 4;

/// Characters that neighbours share: so many that few others come between them.
const NEIGHBOURHOOD_CHARS: usize = 4;

/// Why a text is no uid, stem or suffix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UidRefused {
    /// The text has another length.
    #[error("must be exactly {expected} characters long, got {got}")]
    Length {
        /// Number of characters that it must have.
        expected: usize,
        /// Number of bytes that it has.
        got: usize,
    },
    /// The text has a character outside 0-9, A-Z and a-z.
    #[error("may only hold the characters 0-9, A-Z and a-z")]
    Alphabet,
}

/// The 16 characters that all versions of one family share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stem([u8; STEM_CHARS]);

impl Stem {
    /// Draws a stem from random bytes, every stem being equally likely.
    ///
    /// Bytes that would favour some characters are passed over; `None` when too
    /// few are left (about one draw in 10^9), and the caller draws again.
    pub fn from_random_bytes(random: &[u8; 32]) -> Option<Self> {
        const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len() - 1) as u8;
        let mut fair = random.iter().filter(|byte| **byte <= FAIR);
        let mut stem = [0; STEM_CHARS];
        for slot in &mut stem {
            *slot = ALPHABET[usize::from(*fair.next()?) % ALPHABET.len()];
        }
        Some(Self(stem))
    }

    /// This stem in the neighbourhood of another: with the first characters of that.
    ///
    /// Stems that are drawn together share a neighbourhood, so that an index of them takes
    /// a thousand on a few pages and not each on its own. All characters are drawn by chance
    /// as before, and the 12 of a stem's own tell it from its neighbours.
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        self.0[..NEIGHBOURHOOD_CHARS].copy_from_slice(&other.0[..NEIGHBOURHOOD_CHARS]);
        self
    }

    /// The stem as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

/// The 4 characters that tell the versions of a family apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionSuffix([u8; SUFFIX_CHARS]);

impl VersionSuffix {
    /// The suffix of the first version, `0000`.
    pub const FIRST: Self = Self(*b"0000");

    /// The next suffix in base62; `None` after `zzzz`.
    pub fn successor(self) -> Option<Self> {
        let mut digits = self.0;
        for digit in digits.iter_mut().rev() {
            if *digit == b'z' {
                *digit = b'0';
            } else {
                let place = ALPHABET
                    .iter()
                    .position(|c| c == digit)
                    .expect("a suffix holds only base62");
                *digit = ALPHABET[place + 1];
                return Some(Self(digits));
            }
        }
        None
    }

    /// The suffix as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

/// The full identifier of one artifact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; STEM_CHARS + SUFFIX_CHARS]);

impl Uid {
    /// Joins a stem and a version suffix.
    pub fn new(stem: Stem, suffix: VersionSuffix) -> Self {
        let mut uid = [0; STEM_CHARS + SUFFIX_CHARS];
        uid[..STEM_CHARS].copy_from_slice(&stem.0);
        uid[STEM_CHARS..].copy_from_slice(&suffix.0);
        Self(uid)
    }

    /// The part that all versions share.
    pub fn stem(&self) -> Stem {
        Stem(self.0[..STEM_CHARS].try_into().expect("a uid begins with a stem"))
    }

    /// The part that tells versions apart.
    pub fn suffix(&self) -> VersionSuffix {
        VersionSuffix(self.0[STEM_CHARS..].try_into().expect("a uid ends with a suffix"))
    }

    /// The uid as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

/// Whether `text` reads as a stem or a uid.
pub(crate) fn reads_as_identifier(text: &str) -> bool {
    matches!(text.len(), 16 | 20) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("identifiers are ASCII")
}

fn parse<const CHARS: usize>(text: &str) -> Result<[u8; CHARS], UidRefused> {
    let bytes: [u8; CHARS] = text.as_bytes().try_into().map_err(|_| UidRefused::Length {
        expected: CHARS,
        got: text.len(),
    })?;
    if bytes.iter().all(u8::is_ascii_alphanumeric) {
        Ok(bytes)
    } else {
        Err(UidRefused::Alphabet)
    }
}

impl FromStr for Stem {
    type Err = UidRefused;
    fn from_str(text: &str) -> Result<Self, UidRefused> {
        parse(text).map(Self)
    }
}

impl FromStr for VersionSuffix {
    type Err = UidRefused;
    fn from_str(text: &str) -> Result<Self, UidRefused> {
        parse(text).map(Self)
    }
}

impl FromStr for Uid {
    type Err = UidRefused;
    fn from_str(text: &str) -> Result<Self, UidRefused> {
        parse(text).map(Self)
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for VersionSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stem({self})")
    }
}

impl fmt::Debug for VersionSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionSuffix({self})")
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn suffix(text: &str) -> VersionSuffix {
        text.parse().unwrap()
    }

    #[test]
    fn the_successor_crosses_digits_cases_and_places() {
        for (before, after) in [
            ("0000", "0001"),
            ("0009", "000A"),
            ("000Z", "000a"),
            ("000z", "0010"),
            ("0zzz", "1000"),
            ("9zzz", "A000"),
        ] {
            assert_eq!(suffix(before).successor(), Some(suffix(after)));
        }
    }

    #[test]
    fn there_is_no_suffix_after_the_last() {
        assert_eq!(suffix("zzzz").successor(), None);
    }

    #[test]
    fn texts_of_other_lengths_or_letters_are_refused() {
        assert_eq!("abc".parse::<Stem>(), Err(UidRefused::Length { expected: 16, got: 3 }));
        assert_eq!("0123456789abcde-".parse::<Stem>(), Err(UidRefused::Alphabet));
        assert_eq!(
            "0123456789abcdeä".parse::<Stem>(),
            Err(UidRefused::Length { expected: 16, got: 17 })
        );
        assert_eq!("0123456789abcdef000/".parse::<Uid>(), Err(UidRefused::Alphabet));
    }

    #[test]
    fn unfair_bytes_are_passed_over() {
        assert_eq!(Stem::from_random_bytes(&[255; 32]), None);
        assert_eq!(Stem::from_random_bytes(&[61; 32]).unwrap().as_str(), "z".repeat(16));
    }

    #[test]
    fn neighbours_share_their_beginning_alone() {
        let (one, other): (Stem, Stem) = ("0123456789abcdef".parse().unwrap(), "ZYXWVUTSRQPONMLK".parse().unwrap());
        assert_eq!(one.beside(other).as_str(), "ZYXW456789abcdef");
        assert_eq!(one.beside(one), one);
    }

    proptest! {
        #[test]
        fn the_successor_is_the_next_in_order(text in "[0-9A-Za-z]{4}") {
            let this = suffix(&text);
            let value = |s: VersionSuffix| s.as_str().bytes().fold(0u32, |sum, c| {
                sum * 62 + u32::try_from(ALPHABET.iter().position(|a| *a == c).unwrap()).unwrap()
            });
            match this.successor() {
                Some(next) => { prop_assert!(next > this); prop_assert_eq!(value(next), value(this) + 1); }
                None => prop_assert_eq!(text, "zzzz"),
            }
        }

        #[test]
        fn a_uid_is_its_stem_and_its_suffix(stem in "[0-9A-Za-z]{16}", end in "[0-9A-Za-z]{4}") {
            let uid: Uid = format!("{stem}{end}").parse().unwrap();
            prop_assert_eq!(uid, Uid::new(uid.stem(), uid.suffix()));
            prop_assert_eq!(uid.stem().to_string(), stem);
            prop_assert_eq!(uid.suffix().to_string(), end);
        }
    }
}
