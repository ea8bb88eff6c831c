//! What the paths in a folder of tables say: `year=2024/month=7/part-0.parquet`.
//!
//! Folders are read as pyarrow reads them with `partitioning="hive"`: the folders on the
//! way to a file name columns and their value, a name without `=` says nothing.

use std::borrow::Cow;

/// What stands for a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The type of a column of which only texts are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionType {
    /// All of them are integers of 32 bits.
    Int32,
    /// They are texts.
    Text,
}

impl PartitionType {
    /// The type of a column with these values.
    pub fn of<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut values = values.into_iter().peekable();
        match values.peek().is_some() && values.all(|value| partition_int(value).is_some()) {
            true => Self::Int32,
            false => Self::Text,
        }
    }
}

/// A value in a path that is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no UTF-8 once it is decoded")]
pub struct PartitionRefused(String);

/// Whether a file holds rows: what begins with `_` or `.` lies beside them, and all below it.
pub fn holds_rows(path: &str) -> bool {
    path.split('/').all(|name| !name.starts_with(['_', '.']))
}

/// The columns that the path of a file names, in order, each with its value; `None` is null.
/// Of a name that comes twice the first one counts.
pub fn partitions_of(path: &str) -> Result<Vec<(String, Option<String>)>, PartitionRefused> {
    let (folders, _) = path.rsplit_once('/').unwrap_or_default();
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for (name, value) in folders.split('/').filter_map(|folder| folder.split_once('=')) {
        let (name, value) = (decoded(name)?, decoded(value)?);
        if found.iter().all(|(known, _)| *known != name) {
            let value = (value != NULL).then(|| value.into_owned());
            found.push((name.into_owned(), value));
        }
    }
    Ok(found)
}

/// The integer that a text is, as pyarrow reads one: a sign, digits, or the bits after `0x`.
pub fn partition_int(text: &str) -> Option<i32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
        && !digits.is_empty()
    {
        let are_digits = digits.len() <= 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let bits = are_digits.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
        return Some(bits.cast_signed());
    }
    match text.starts_with('+') {
        true => None,
        false => text.parse().ok(),
    }
}

/// A name in which `%` and two digits stand for a byte; another `%` stands for itself.
fn decoded(text: &str) -> Result<Cow<'_, str>, PartitionRefused> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = (*first == b'%').then(|| behind.split_at_checked(2)).flatten();
        let byte = digits.and_then(|(digits, behind)| Some((byte_of(digits)?, behind)));
        let (byte, behind) = byte.unwrap_or((*first, behind));
        bytes.push(byte);
        rest = behind;
    }
    let text = String::from_utf8(bytes).map_err(|_| PartitionRefused(text.to_owned()))?;
    Ok(Cow::Owned(text))
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_columns_and_values() {
        let of = |path: &str| partitions_of(path).unwrap();
        let pairs = |pairs: &[(&str, Option<&str>)]| -> Vec<_> {
            let owned = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
            owned.collect()
        };
        assert_eq!(of("f.parquet"), pairs(&[]));
        assert_eq!(of("k=1.parquet"), pairs(&[]));
        assert_eq!(
            of("x/k=1/y/l=/f=2.parquet"),
            pairs(&[("k", Some("1")), ("l", Some(""))])
        );
        assert_eq!(of("k=1/k=2/f.parquet"), pairs(&[("k", Some("1"))]));
        assert_eq!(of("a%20b=b%2F%C3%BC/f"), pairs(&[("a b", Some("b/ü"))]));
        assert_eq!(of("k=%zz%/f"), pairs(&[("k", Some("%zz%"))]));
        assert_eq!(of("k=a=b+c/f"), pairs(&[("k", Some("a=b+c"))]));
        assert_eq!(of("k=__HIVE_DEFAULT_PARTITION__/f"), pairs(&[("k", None)]));
        assert_eq!(partitions_of("k=%FF/f"), Err(PartitionRefused("%FF".to_owned())));
    }

    #[test]
    fn integers_are_those_of_pyarrow() {
        for (text, integer) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("007", Some(7)),
            ("-5", Some(-5)),
            ("2147483647", Some(i32::MAX)),
            ("-2147483648", Some(i32::MIN)),
            ("00000000000000000001", Some(1)),
            ("0x1F", Some(31)),
            ("0XffFFffFF", Some(-1)),
            ("2147483648", None),
            ("0x100000000", None),
            ("0x", None),
            ("0x+1", None),
            ("-0x1", None),
            ("+3", None),
            (" 3", None),
            ("3 ", None),
            ("-", None),
            ("", None),
            ("1.5", None),
        ] {
            assert_eq!(partition_int(text), integer, "{text:?}");
        }
        assert_eq!(PartitionType::of(["1", "02"]), PartitionType::Int32);
        assert_eq!(PartitionType::of(["1", "a"]), PartitionType::Text);
        assert_eq!(PartitionType::of([]), PartitionType::Text);
    }

    #[test]
    fn notes_beside_the_rows_are_no_rows() {
        for (path, holds) in [
            ("a/b.parquet", true),
            ("_SUCCESS", false),
            ("a/_metadata", false),
            ("_a/b.parquet", false),
            ("a/.b.parquet", false),
            ("a_/b._", true),
        ] {
            assert_eq!(holds_rows(path), holds, "{path}");
        }
    }
}
