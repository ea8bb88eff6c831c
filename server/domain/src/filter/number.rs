//! Numbers as they are written, without loss.

/// A number between integers or on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exact {
    /// The largest integer that is not above it; far beyond 64 bits it is just far beyond.
    pub(super) floor: i128,
    /// Whether it is that integer.
    pub(super) is_integer: bool,
}

/// A number that is larger than all 64-bit integers, and so are its multiples.
const BEYOND: i128 = 1 << 100;

/// Decimal digits that always fit between two numbers beyond.
const DIGITS_MAX: usize = 29;

/// The parts of `-12.5e3`.
struct Decimal<'t> {
    is_negative: bool,
    whole: &'t str,
    fraction: &'t str,
    exponent: i32,
}

fn decimal(text: &str) -> Option<Decimal<'_>> {
    let unsigned = text.strip_prefix('-');
    let (mantissa, exponent) = match unsigned.unwrap_or(text).split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (unsigned.unwrap_or(text), 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!whole.is_empty() && is_digits(whole) && is_digits(fraction)).then_some(Decimal {
        is_negative: unsigned.is_some(),
        whole,
        fraction,
        exponent,
    })
}

fn exponent_of(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // Beyond a million it makes no difference any more.
    is_number.then(|| {
        text.parse()
            .unwrap_or(if text.starts_with('-') { -1_000_000 } else { 1_000_000 })
    })
}

/// The number that a text writes; `None` when it writes none.
pub(super) fn exact(text: &str) -> Option<Exact> {
    let Decimal {
        is_negative,
        whole,
        fraction,
        exponent,
    } = decimal(text)?;
    let digits = format!("{whole}{fraction}");
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let significant = &digits[leading..];
    if significant.is_empty() {
        return Some(Exact {
            floor: 0,
            is_integer: true,
        });
    }
    // How many of the significant digits stand before the point.
    let before = whole.len() as i64 - leading as i64 + i64::from(exponent);
    let (magnitude, is_integer) = if before > DIGITS_MAX as i64 {
        (BEYOND, true)
    } else {
        let before = usize::try_from(before).unwrap_or(0);
        let (integer, rest) = significant.split_at(before.min(significant.len()));
        let zeros = "0".repeat(before - integer.len());
        let magnitude = format!("0{integer}{zeros}").parse().expect("so few digits fit");
        (magnitude, rest.bytes().all(|digit| digit == b'0'))
    };
    let floor = match (is_negative, is_integer) {
        (false, _) => magnitude,
        (true, true) => -magnitude,
        (true, false) => -magnitude - 1,
    };
    Some(Exact { floor, is_integer })
}

/// The float nearest to the number that a text writes; infinite when it is too large.
pub(super) fn float(text: &str) -> Option<f64> {
    decimal(text)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_without_loss() {
        for (text, floor, is_integer) in [
            ("0", 0, true),
            ("-0", 0, true),
            ("0.000", 0, true),
            ("9007199254740993", 9_007_199_254_740_993, true),
            ("-9223372036854775809", -9_223_372_036_854_775_809, true),
            ("1e6", 1_000_000, true),
            ("1E+6", 1_000_000, true),
            ("2.50", 2, false),
            ("-2.5", -3, false),
            ("25e-1", 2, false),
            ("20e-1", 2, true),
            ("0.001", 0, false),
            ("-0.001", -1, false),
            ("0.001e3", 1, true),
            ("1e-999999999999", 0, false),
            ("1e999999999999", BEYOND, true),
            ("-1e30", -BEYOND, true),
            (
                "99999999999999999999999999999",
                99_999_999_999_999_999_999_999_999_999,
                true,
            ),
        ] {
            assert_eq!(exact(text), Some(Exact { floor, is_integer }), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", "+1", ".5", "1.", "1e", "e5", "1.2.3", "0x10", "1_000", "NaN", "inf", "--1", "1e1.5", " 1", "١",
        ] {
            assert_eq!((exact(text), float(text)), (None, None), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_themselves(number in any::<i64>(), zeros in 0usize..5, exponent in 0i32..9) {
            let plain = Exact { floor: number.into(), is_integer: true };
            prop_assert_eq!(exact(&number.to_string()), Some(plain));
            prop_assert_eq!(exact(&format!("{number}.{}", "0".repeat(zeros + 1))), Some(plain));
            let moved = i128::from(number) * 10i128.pow(exponent as u32);
            prop_assert_eq!(exact(&format!("{moved}e-{exponent}")), Some(plain));
        }

        #[test]
        fn fractions_lie_above_their_floor(whole in -1000i64..1000, hundredths in 1u32..100) {
            let value = f64::from(hundredths) / 100.0;
            let text = format!("{whole}.{hundredths:02}");
            let floor = if whole < 0 { (whole as f64 - value).floor() } else { whole as f64 };
            prop_assert_eq!(exact(&text), Some(Exact { floor: floor as i128, is_integer: false }));
        }
    }
}
