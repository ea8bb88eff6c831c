//! What the cells of a column are: the first kind that all of them fit, in the order
//! of pyarrow, so that both read the same table.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, NullArray,
    builder::{
        BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, Time32SecondBuilder,
        TimestampNanosecondBuilder, TimestampSecondBuilder,
    },
};
use arrow_schema::{DataType, TimeUnit};

/// Cells that say that there is no value, for all columns but those of text.
const NULLS: [&[u8]; 17] = [
    b"",
    b"#N/A",
    b"#N/A N/A",
    b"#NA",
    b"-1.#IND",
    b"-1.#QNAN",
    b"-NaN",
    b"-nan",
    b"1.#IND",
    b"1.#QNAN",
    b"N/A",
    b"NA",
    b"NULL",
    b"NaN",
    b"n/a",
    b"nan",
    b"null",
];

/// Kinds from the narrowest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Int,
    Bool,
    Date,
    Time,
    Timestamp,
    TimestampNanos,
    Float,
    Text,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Null,
        Self::Int,
        Self::Bool,
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampNanos,
        Self::Float,
        Self::Text,
    ];

    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Int => DataType::Int64,
            Self::Bool => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time32(TimeUnit::Second),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Second, None),
            Self::TimestampNanos => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }

    pub(super) fn of_data_type(data_type: &DataType) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.data_type() == *data_type)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Which kinds a column can still be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) const ANY: Self = Self(0x1ff);

    /// The narrowest.
    pub(super) fn narrowest(self) -> Kind {
        Kind::ALL[self.0.trailing_zeros().min(8) as usize]
    }

    /// Leaves out those that a cell is not.
    pub(super) fn see(&mut self, cell: &[u8]) {
        if self.0 != Kind::Text.bit() {
            self.0 &= kinds_of(cell);
        }
    }
}

/// All kinds that a cell is of.
fn kinds_of(cell: &[u8]) -> u16 {
    const INT: u16 = Kind::Int.bit() | Kind::Float.bit() | Kind::Text.bit();
    if is_null(cell) {
        return Kinds::ANY.0;
    }
    if int(cell).is_some() {
        let as_bool = if boolean(cell).is_some() { Kind::Bool.bit() } else { 0 };
        return INT | as_bool;
    }
    if float(cell).is_some() {
        return Kind::Float.bit() | Kind::Text.bit();
    }
    if boolean(cell).is_some() {
        return Kind::Bool.bit() | Kind::Text.bit();
    }
    let mut kinds = Kind::Text.bit();
    let mut add = |kind: Kind, fits: bool| kinds |= if fits { kind.bit() } else { 0 };
    add(Kind::Date, date(cell).is_some());
    add(Kind::Time, time(cell).is_some());
    add(Kind::Timestamp, timestamp(cell).is_some_and(|at| at.nanos.is_none()));
    add(
        Kind::TimestampNanos,
        timestamp(cell).and_then(Timestamp::in_nanos).is_some(),
    );
    kinds
}

pub(super) fn is_null(cell: &[u8]) -> bool {
    const LONGEST: usize = 8;
    cell.len() <= LONGEST && NULLS.contains(&cell)
}

fn trimmed(cell: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = cell.iter().position(|byte| !is_blank(byte)).unwrap_or(cell.len());
    let end = cell
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    &cell[start..end]
}

fn int(cell: &[u8]) -> Option<i64> {
    let cell = trimmed(cell);
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(cell).ok()?.parse().ok()
}

fn float(cell: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(trimmed(cell)).ok()?;
    // No number begins so, and Rust takes it for one.
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

fn boolean(cell: &[u8]) -> Option<bool> {
    match trimmed(cell) {
        b"1" | b"True" | b"TRUE" | b"true" => Some(true),
        b"0" | b"False" | b"FALSE" | b"false" => Some(false),
        _ => None,
    }
}

fn digits(cell: &[u8]) -> Option<u32> {
    cell.iter().try_fold(0u32, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u32::from(byte - b'0')),
        _ => None,
    })
}

/// Days since 1970 of `YYYY-MM-DD`.
fn date(cell: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = cell else {
        return None;
    };
    let year = i64::from(digits(&[*y1, *y2, *y3, *y4])?);
    let (month, day) = (digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=12).contains(&month) || !(1..=days[month as usize - 1]).contains(&day) {
        return None;
    }
    // Years that begin in March end with their leap day.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = i64::from((153 * month + 2) / 5 + day - 1);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    i32::try_from(days).ok()
}

/// Seconds of `hh:mm` and `hh:mm:ss`.
fn time(cell: &[u8]) -> Option<i32> {
    let (hours, minutes, seconds) = match cell {
        [h1, h2, b':', m1, m2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, 0),
        [h1, h2, b':', m1, m2, b':', s1, s2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    i32::try_from(hours * 3600 + minutes * 60 + seconds).ok()
}

struct Timestamp {
    seconds: i64,
    /// Where a fraction is given.
    nanos: Option<u32>,
}

impl Timestamp {
    fn in_nanos(self) -> Option<i64> {
        self.seconds
            .checked_mul(1_000_000_000)?
            .checked_add(self.nanos.unwrap_or(0).into())
    }
}

/// `YYYY-MM-DD`, and after a space or `T` also `hh`, `hh:mm`, `hh:mm:ss` and a fraction.
fn timestamp(cell: &[u8]) -> Option<Timestamp> {
    let (day, rest) = cell.split_at_checked(10)?;
    let midnight = i64::from(date(day)?) * 86_400;
    let (clock, fraction) = match rest {
        [] => {
            return Some(Timestamp {
                seconds: midnight,
                nanos: None,
            });
        }
        [b' ' | b'T', clock @ ..] => match clock.iter().position(|byte| *byte == b'.') {
            Some(point) => (&clock[..point], Some(&clock[point + 1..])),
            None => (clock, None),
        },
        _ => return None,
    };
    let seconds = match clock {
        [h1, h2] => digits(&[*h1, *h2])
            .filter(|hours| *hours < 24)
            .map(|hours| hours as i32 * 3600)?,
        clock => time(clock)?,
    };
    let nanos = match fraction {
        None => None,
        Some(digits_after) if clock.len() == 8 && (1..=9).contains(&digits_after.len()) => {
            let scale = 10u32.pow(9 - digits_after.len() as u32);
            Some(digits(digits_after)? * scale)
        }
        Some(_) => return None,
    };
    Some(Timestamp {
        seconds: midnight + i64::from(seconds),
        nanos,
    })
}

/// A cell that is not of the kind of its column, and its row.
pub(super) struct Misfit {
    pub(super) row: usize,
}

/// The cells of a column as an array.
pub(super) fn array<'c>(kind: Kind, cells: impl Iterator<Item = &'c [u8]>, rows: usize) -> Result<ArrayRef, Misfit> {
    macro_rules! parsed {
        ($builder:ty, $parse:expr) => {{
            let mut builder = <$builder>::with_capacity(rows);
            for (row, cell) in cells.enumerate() {
                match is_null(cell) {
                    true => builder.append_null(),
                    false => builder.append_value($parse(cell).ok_or(Misfit { row })?),
                }
            }
            Arc::new(builder.finish())
        }};
    }
    Ok(match kind {
        Kind::Null => {
            let misfit = cells.enumerate().find(|(_, cell)| !is_null(cell));
            if let Some((row, _)) = misfit {
                return Err(Misfit { row });
            }
            Arc::new(NullArray::new(rows))
        }
        Kind::Int => parsed!(Int64Builder, int),
        Kind::Bool => parsed!(BooleanBuilder, boolean),
        Kind::Date => parsed!(Date32Builder, date),
        Kind::Time => parsed!(Time32SecondBuilder, time),
        Kind::Timestamp => {
            let seconds = |cell| timestamp(cell).filter(|at| at.nanos.is_none()).map(|at| at.seconds);
            parsed!(TimestampSecondBuilder, seconds)
        }
        Kind::TimestampNanos => {
            let nanos = |cell| timestamp(cell).and_then(Timestamp::in_nanos);
            parsed!(TimestampNanosecondBuilder, nanos)
        }
        Kind::Float => parsed!(Float64Builder, float),
        Kind::Text => {
            let mut builder = StringBuilder::with_capacity(rows, 0);
            for (row, cell) in cells.enumerate() {
                builder.append_value(std::str::from_utf8(cell).map_err(|_| Misfit { row })?);
            }
            Arc::new(builder.finish())
        }
    })
}
