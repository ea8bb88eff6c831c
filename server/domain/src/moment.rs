//! Dates and times as people and programs write them.
//!
//! A date is a number of days since 1970-01-01, a time one of microseconds, both
//! of the proleptic Gregorian calendar in UTC, from year 1 to 9999.

use std::fmt::Write;

const DAY_US: i64 = 86_400_000_000;

/// Why a text is no date or time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MomentRefused {
    /// It is no date.
    #[error("must be a date such as 2024-02-29")]
    Date,
    /// It is no time.
    #[error("must be a time with its zone, such as 2024-02-29T12:30:00Z or 2024-02-29T12:30:00.5+01:00")]
    Time,
}

/// Days since 1970 of a text such as `2024-02-29`.
pub fn read_date(text: &str) -> Result<i64, MomentRefused> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(MomentRefused::Date);
    }
    let (year, month, day) = (number(&bytes[..4]), number(&bytes[5..7]), number(&bytes[8..]));
    let (Some(year), Some(month), Some(day)) = (year, month, day) else {
        return Err(MomentRefused::Date);
    };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return Err(MomentRefused::Date);
    }
    Ok(days_before(year, month) + day - 1)
}

/// Microseconds since 1970 UTC of a text such as `2024-02-29T12:30:00Z` (RFC 3339).
///
/// Digits of a second after the sixth are cut off.
pub fn read_time(text: &str) -> Result<i64, MomentRefused> {
    const REFUSED: MomentRefused = MomentRefused::Time;
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || !matches!(bytes[10], b'T' | b't' | b' ') {
        return Err(REFUSED);
    }
    let days = read_date(&text[..10]).map_err(|_| REFUSED)?;
    if bytes[13] != b':' || bytes[16] != b':' {
        return Err(REFUSED);
    }
    let clock = (number(&bytes[11..13]), number(&bytes[14..16]), number(&bytes[17..19]));
    let (Some(hour @ 0..=23), Some(minute @ 0..=59), Some(second @ 0..=59)) = clock else {
        return Err(REFUSED);
    };
    let mut rest = &text[19..];
    let mut fraction_us = 0;
    if let Some(digits) = rest.strip_prefix('.') {
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        if end == 0 || end > 9 {
            return Err(REFUSED);
        }
        let padded = format!("{:0<6}", &digits[..end]);
        fraction_us = number(&padded.as_bytes()[..6]).ok_or(REFUSED)?;
        rest = &digits[end..];
    }
    let offset_minutes = read_offset(rest).ok_or(REFUSED)?;
    let seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
    let us = days * DAY_US + seconds * 1_000_000 + fraction_us;
    if !(FIRST_US..=LAST_US).contains(&us) {
        return Err(REFUSED);
    }
    Ok(us)
}

/// The first microsecond of the year 1.
const FIRST_US: i64 = -719_162 * DAY_US;

/// The last microsecond of the year 9999.
const LAST_US: i64 = 2_932_897 * DAY_US - 1;

/// Whether a number of days is a date of the years 1 to 9999.
pub fn is_date(days: i64) -> bool {
    (FIRST_US / DAY_US..=LAST_US / DAY_US).contains(&days)
}

/// Whether a number of microseconds is a time of the years 1 to 9999.
pub fn is_time(us: i64) -> bool {
    (FIRST_US..=LAST_US).contains(&us)
}

/// The text of a date.
pub fn write_date(days: i64) -> String {
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The text of a time in UTC, with as many digits of a second as it needs.
pub fn write_time(us: i64) -> String {
    let (days, of_day) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let mut text = write_date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(text, "T{hour:02}:{minute:02}:{second:02}");
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Minutes east of UTC of `Z`, `+01:00` or `-0130`.
fn read_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        5 if digits.as_bytes()[2] == b':' => (&digits[..2], &digits[3..]),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes) = (number(hours.as_bytes())?, number(minutes.as_bytes())?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    Some(number)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the first of a month. A year begins in March here, so that the
/// leap day is its last.
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * since_march + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let since_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * since_march + 2) / 5 + 1;
    let month = if since_march < 10 {
        since_march + 3
    } else {
        since_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_count_days() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-03-01", 11_017),
            ("2024-02-29", 19_782),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(read_date(text), Ok(days), "{text}");
            assert_eq!(write_date(days), text);
        }
        for refused in [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-1-1",
            "0000-01-01",
            "24-01-01",
            "2024/01/01",
        ] {
            assert!(read_date(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn times_have_a_zone() {
        for (text, same) in [
            ("2024-02-29T12:30:00Z", "2024-02-29T12:30:00Z"),
            ("2024-02-29 12:30:00.250+01:00", "2024-02-29T11:30:00.25Z"),
            ("2024-03-01T00:30:00-0130", "2024-03-01T02:00:00Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(write_time(read_time(text).unwrap()), same, "{text}");
        }
        for refused in [
            "2024-02-29",
            "2024-02-29T12:30:00",
            "2024-02-29T24:00:00Z",
            "2024-02-29T12:60:00Z",
            "2024-02-29T12:30:00.Z",
            "2024-02-29T12:30:00+25:00",
            "2024-02-30T12:30:00Z",
            "0001-01-01T00:00:00+01:00",
            "2024-02-29T12:30:00é",
        ] {
            assert!(read_time(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn every_date_reads_the_same(days in FIRST_US / DAY_US..=LAST_US / DAY_US) {
            prop_assert_eq!(read_date(&write_date(days)), Ok(days));
        }

        #[test]
        fn every_time_reads_the_same(us in FIRST_US..=LAST_US) {
            prop_assert_eq!(read_time(&write_time(us)), Ok(us));
        }
    }
}
