//! Small texts that travel with an artifact.

use std::{fmt, str::FromStr};

const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;
const MEDIA_TYPE_BYTES_MAX: usize = 255;
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextRefused {
    /// It is too long.
    #[error("must have at most {max} bytes, got {got}")]
    TooLong {
        /// Largest number of bytes.
        max: usize,
        /// Number of bytes that it has.
        got: usize,
    },
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It holds a character that is not allowed.
    #[error("{0}")]
    Characters(&'static str),
}

/// Free text, at most 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Description(String);

impl FromStr for Description {
    type Err = TextRefused;
    fn from_str(text: &str) -> Result<Self, TextRefused> {
        within(text, DESCRIPTION_BYTES_MAX)?;
        if text.contains('\0') {
            return Err(TextRefused::Characters("must not hold NUL characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A media type such as `text/csv; charset=utf-8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaType(String);

impl FromStr for MediaType {
    type Err = TextRefused;
    fn from_str(text: &str) -> Result<Self, TextRefused> {
        const SHAPE: TextRefused = TextRefused::Characters("must read `type/subtype` in visible ASCII");
        within(text, MEDIA_TYPE_BYTES_MAX)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(SHAPE);
        }
        let essence = text.split(';').next().unwrap_or_default().trim_end();
        let (kind, subtype) = essence.split_once('/').ok_or(SHAPE)?;
        if is_token(kind) && is_token(subtype) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SHAPE)
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

/// The name under which a caller can repeat a mutation: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl FromStr for RequestId {
    type Err = TextRefused;
    fn from_str(text: &str) -> Result<Self, TextRefused> {
        if text.is_empty() {
            return Err(TextRefused::Empty);
        }
        within(text, REQUEST_ID_BYTES_MAX)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TextRefused::Characters("may only hold visible ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

fn within(text: &str, max: usize) -> Result<(), TextRefused> {
    if text.len() > max {
        Err(TextRefused::TooLong { max, got: text.len() })
    } else {
        Ok(())
    }
}

/// Whether a character makes the text around it read in another order, which
/// lets a name pose as another one.
pub(crate) fn changes_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character shows nothing where it stands, so that two names that
/// look the same differ: zero-width spaces and joiners, fillers, variation
/// selectors, tags, and the blank of braille.
pub(crate) fn takes_no_room(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

impl Description {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MediaType {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RequestId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_have_64_kib_and_no_nul() {
        assert!("x".repeat(64 * 1024).parse::<Description>().is_ok());
        assert!("x".repeat(64 * 1024 + 1).parse::<Description>().is_err());
        assert!("a\0b".parse::<Description>().is_err());
    }

    #[test]
    fn media_types_have_a_type_and_a_subtype() {
        for accepted in [
            "text/csv",
            "application/vnd.apache.parquet",
            "text/plain; charset=utf-8",
        ] {
            assert!(accepted.parse::<MediaType>().is_ok(), "{accepted}");
        }
        for refused in ["", "text", "/", "text/", "te xt/csv", "text/csv\r\nx: y", "text/ü"] {
            assert!(refused.parse::<MediaType>().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn request_ids_are_visible_ascii() {
        assert!("run-1/step:2".parse::<RequestId>().is_ok());
        for refused in ["", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(refused.parse::<RequestId>().is_err(), "{refused:?}");
        }
    }
}
