//! Times as RFC 3339 writes them, dates, and durations.

const NANOSECONDS: i128 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// The nanoseconds from 1970 UTC to `2026-01-31T12:00:00.25+01:00`, or to midnight of a date.
pub(super) fn time(text: &str) -> Option<i128> {
    let date = text.get(..10)?;
    let midnight = days(date)? * DAY_SECONDS;
    let Some(rest) = text.get(10..).filter(|rest| !rest.is_empty()) else {
        return Some(i128::from(midnight) * NANOSECONDS);
    };
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hours, minutes, seconds] = numbers::<3>(clock, ':')?;
    // A leap second is the one after it.
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            (nanoseconds(&rest[..digits])?, &rest[digits..])
        }
    };
    let seconds = midnight + hours * 3600 + minutes * 60 + seconds - offset(zone)?;
    Some(i128::from(seconds) * NANOSECONDS + fraction)
}

/// The days from 1970 to `2026-01-31`, by the calendar that is in use today.
pub(super) fn days(text: &str) -> Option<i64> {
    let widths: Vec<usize> = text.split('-').map(str::len).collect();
    let [year, month, day] = numbers::<3>(text, '-')?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if widths != [4, 2, 2] || year == 0 || !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March end with the leap day.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The nanoseconds of `1.5s`.
pub(super) fn duration(text: &str) -> Option<i128> {
    let text = text.strip_suffix('s')?;
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || whole.len() > 12 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let magnitude = whole * NANOSECONDS + nanoseconds(fraction)?;
    Some(if is_negative { -magnitude } else { magnitude })
}

/// One to nine digits after the point of a second.
fn nanoseconds(digits: &str) -> Option<i128> {
    let is_fraction = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_fraction.then(|| format!("{digits:0<9}").parse().expect("nine digits"))
}

/// The seconds by which a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("+", zone) => (1, zone),
        ("-", zone) => (-1, zone),
        _ => return None,
    };
    let [hours, minutes] = numbers::<2>(zone, ':')?;
    (zone.len() == 5 && hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// So many numbers of two or four digits, with a sign between them.
fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let parts = text.split(between).map(|part| {
        let is_number = matches!(part.len(), 2 | 4) && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse().expect("a few digits"))
    });
    parts.collect::<Option<Vec<i64>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2026-11-24t03:57:06z", 1_795_492_626),
            ("2026-11-24T04:57:06+01:00", 1_795_492_626),
            ("2026-11-23T22:27:06-05:30", 1_795_492_626),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(time(text), Some(seconds * NANOSECONDS), "{text}");
        }
        assert_eq!(time("1970-01-01T00:00:00.25Z"), Some(250_000_000));
        assert_eq!(time("1970-01-01T00:00:00.000000001Z"), Some(1));
        assert_eq!(time("1969-12-31T23:59:59.999999999Z"), Some(-1));
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days("1899-12-31").unwrap();
        for year in 1900..2101 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(days) = days(&format!("{year}-{month:02}-{day:02}")) {
                        expected += 1;
                        assert_eq!(days, expected, "{year}-{month}-{day}");
                    }
                }
            }
        }
        assert_eq!(days("1970-01-01"), Some(0));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026",
            "2026-1-1",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "0000-01-01",
            "2026-01-01T",
            "2026-01-01T12:00Z",
            "2026-01-01T12:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T12:60:00Z",
            "2026-01-01T12:00:61Z",
            "2026-01-01T12:00:00.Z",
            "2026-01-01T12:00:00.1234567890Z",
            "2026-01-01T12:00:00+1:00",
            "2026-01-01T12:00:00+0100",
            "2026-01-01T12:00:00ZZ",
            "2026-01-01 12:00:00Z",
            "-026-01-01",
            "２026-01-01",
            "2026-01-01é",
        ] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    #[test]
    fn durations_are_seconds() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("1.5s", Some(1_500_000_000)),
            ("-0.000000001s", Some(-1)),
            ("20s", Some(20_000_000_000)),
            ("20", None),
            ("s", None),
            ("1.s", None),
            ("1m", None),
            ("1.0000000001s", None),
            ("9999999999999s", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
