//! Until when a caller waits.
//!
//! tonic passes over a `grpc-timeout` that it cannot read and bounds only the
//! head of an answer. Here a caller hears of a bad one, and a good one bounds the
//! whole call.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

const HEADER: &str = "grpc-timeout";
const DIGITS_MAX: usize = 8;

/// No timer is set for longer than this; the format allows for 11,415 years.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The time at which a caller gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(Instant);

/// Why a call is not even begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeadlineRefused {
    /// The timeout cannot be read.
    #[error("grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n")]
    Malformed,
    /// The deadline passed before the answer began.
    #[error("the deadline passed")]
    Passed,
}

impl Deadline {
    /// The deadline that these headers set.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, DeadlineRefused> {
        let mut given = headers.get_all(HEADER).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(DeadlineRefused::Malformed),
            (Some(text), None) => match read(text.as_bytes()).ok_or(DeadlineRefused::Malformed)? {
                Duration::ZERO => Err(DeadlineRefused::Passed),
                timeout => Ok(Some(Self(Instant::now() + timeout.min(LONGEST)))),
            },
        }
    }

    pub(super) fn at(self) -> Instant {
        self.0
    }
}

fn read(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Deadline>, DeadlineRefused> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().unwrap());
        Deadline::of(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        let expected = [
            ("2H", 7_200_000_000),
            ("2M", 120_000_000),
            ("2S", 2_000_000),
            ("2m", 2_000),
            ("2u", 2),
        ];
        for (text, micros) in expected {
            assert_eq!(read(text.as_bytes()), Some(Duration::from_micros(micros)), "{text}");
        }
        assert_eq!(read(b"00000002n"), Some(Duration::from_nanos(2)));
    }

    #[test]
    fn garbage_is_refused() {
        for text in [
            "",
            "S",
            "1",
            "-1S",
            "+1S",
            "abc",
            "1.5S",
            "1 S",
            "123456789S",
            "1s",
            "1h",
            "é",
        ] {
            assert_eq!(of(text), Err(DeadlineRefused::Malformed), "{text}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HEADER, "1S".parse().unwrap());
        twice.append(HEADER, "2S".parse().unwrap());
        assert_eq!(Deadline::of(&twice), Err(DeadlineRefused::Malformed));
    }

    #[test]
    fn a_huge_timeout_is_brought_down_and_an_empty_one_has_passed() {
        let latest = Instant::now() + LONGEST;
        let deadline = of("99999999H").unwrap().unwrap();
        assert!(deadline.at() >= latest && deadline.at() < latest + Duration::from_secs(60));
        assert_eq!(of("0n"), Err(DeadlineRefused::Passed));
        assert_eq!(Deadline::of(&HeaderMap::new()), Ok(None));
    }
}
