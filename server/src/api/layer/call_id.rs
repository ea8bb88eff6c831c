//! The id of a call.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::registry::random;

const CHARS_MAX: usize = 128;

/// The id under which a call is logged. Only letters, digits, `.`, `_` and `-`,
/// so that it can forge nothing in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallId(String);

impl CallId {
    /// The header in which a caller gives an id, and gets it back.
    pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// Takes an id that was made here.
    pub(crate) fn new(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The id that the caller gave, if it is one and the only one; else a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(Self::HEADER).iter();
        match (given.next().and_then(|id| id.to_str().ok()), given.next()) {
            (Some(id), None) if is_plain(id) => Self(id.to_owned()),
            _ => Self::draw(),
        }
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("call ids are plain ASCII")
    }

    fn draw() -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random())))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=CHARS_MAX).contains(&id.len()) && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[&str]) -> CallId {
        let mut headers = HeaderMap::new();
        for id in given {
            headers.append(CallId::HEADER, HeaderValue::from_bytes(id.as_bytes()).unwrap());
        }
        CallId::of(&headers)
    }

    #[test]
    fn a_plain_id_is_kept() {
        let longest = "x".repeat(CHARS_MAX);
        for id in ["a", "A.b_c-9", longest.as_str()] {
            assert_eq!(of(&[id]).as_str(), id);
        }
    }

    #[test]
    fn anything_else_gives_way_to_a_new_id() {
        let long = "x".repeat(CHARS_MAX + 1);
        let refused: [&[&str]; 8] = [
            &[],
            &[""],
            &[&long],
            &["a b"],
            &["\tx"],
            &["é"],
            &["a=b"],
            &["one", "two"],
        ];
        let mut seen = std::collections::HashSet::new();
        for given in refused {
            let id = of(given);
            assert_eq!(id.as_str().len(), 32, "{given:?}");
            assert!(seen.insert(id.as_str().to_owned()), "{given:?}");
        }
    }
}
