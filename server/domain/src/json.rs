//! JSON texts in one canonical form.
//!
//! The same value always reads the same: members by name, no blanks, integers as
//! they are. Integers keep all their digits; what no `i64` or `f64` can hold is
//! refused rather than rounded, and so is a name that comes twice.

use std::{collections::BTreeMap, fmt, fmt::Write};

const DEPTH_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number without fraction or exponent.
    Int(i64),
    /// Any other number; always finite.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Json>),
    /// Named values.
    Object(BTreeMap<String, Json>),
}

/// Why a text is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}")]
pub struct JsonRefused {
    /// What is wrong.
    pub fault: JsonFault,
    /// Where it is.
    pub at: usize,
}

/// What can be wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// It is too long.
    #[error("has more than {TEXT_BYTES_MAX} bytes")]
    Length,
    /// It nests too deep.
    #[error("nests more than {DEPTH_MAX} deep")]
    Depth,
    /// It is no JSON.
    #[error("is no JSON: expected {0}")]
    Syntax(&'static str),
    /// A number is outside what can be kept exactly.
    #[error("has a number that cannot be kept: integers have 64 bits, others are finite")]
    Number,
    /// A name comes twice in one object.
    #[error("has a name twice")]
    Twice,
}

impl Json {
    /// Reads a text.
    pub fn read(text: &str) -> Result<Self, JsonRefused> {
        if text.len() > TEXT_BYTES_MAX {
            let (fault, at) = (JsonFault::Length, TEXT_BYTES_MAX);
            return Err(JsonRefused { fault, at });
        }
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.refused(JsonFault::Syntax("nothing more"))),
        }
    }
}

impl fmt::Display for Json {
    /// The canonical text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            // The shortest text that reads the same, always with a point or an exponent.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write_text(f, text),
            Self::List(values) => {
                f.write_char('[')?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if place == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (place, (name, value)) in members.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

type Read<T> = Result<T, JsonRefused>;

impl Reader<'_> {
    fn refused(&self, fault: JsonFault) -> JsonRefused {
        JsonRefused { fault, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Read<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.refused(JsonFault::Syntax(what)))
    }

    fn word(&mut self, word: &str, value: Json) -> Read<Json> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.refused(JsonFault::Syntax("a value")))
    }

    fn value(&mut self, depth: usize) -> Read<Json> {
        if depth > DEPTH_MAX {
            return Err(self.refused(JsonFault::Depth));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.refused(JsonFault::Syntax("a value"))),
        }
    }

    fn list(&mut self, depth: usize) -> Read<Json> {
        self.take(b'[', "a list")?;
        let mut values = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => break,
            }
        }
        self.take(b']', "`,` or `]`")?;
        Ok(Json::List(values))
    }

    fn object(&mut self, depth: usize) -> Read<Json> {
        self.take(b'{', "an object")?;
        let mut members = BTreeMap::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.take(b':', "`:`")?;
            let value = self.value(depth + 1)?;
            if members.insert(name, value).is_some() {
                return Err(self.refused(JsonFault::Twice));
            }
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => break,
            }
        }
        self.take(b'}', "`,` or `}`")?;
        Ok(Json::Object(members))
    }

    fn digits(&mut self) -> Read<()> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin {
            return Err(self.refused(JsonFault::Syntax("a digit")));
        }
        Ok(())
    }

    fn number(&mut self) -> Read<Json> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        self.digits()?;
        if self.at - whole > 1 && self.text.as_bytes()[whole] == b'0' {
            return Err(self.refused(JsonFault::Syntax("a number without leading zeros")));
        }
        let mut is_whole = true;
        if self.peek() == Some(b'.') {
            is_whole = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[begin..self.at];
        let number = if is_whole {
            text.parse().map(Json::Int).ok()
        } else {
            text.parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
                .map(Json::Float)
        };
        number.ok_or_else(|| self.refused(JsonFault::Number))
    }

    fn string(&mut self) -> Read<String> {
        self.take(b'"', "a text in quotes")?;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(c) = rest.chars().next() else {
                return Err(self.refused(JsonFault::Syntax("the end of the text")));
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => {
                    self.at += 1;
                    text.push(self.escaped()?);
                }
                c if c < ' ' => return Err(self.refused(JsonFault::Syntax("no control characters in a text"))),
                c => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
            }
        }
    }

    fn escaped(&mut self) -> Read<char> {
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return Err(self.refused(JsonFault::Syntax("an escape"))),
        };
        self.at += 1;
        Ok(plain)
    }

    fn code_point(&mut self) -> Read<char> {
        let first = self.unit()?;
        let code = match first {
            0xd800..=0xdbff if self.text[self.at..].starts_with("\\u") => {
                self.at += 1;
                let second = self.unit()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.refused(JsonFault::Syntax("the second half of a character")));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        // Databases keep no NUL in a text.
        let c = char::from_u32(code).filter(|c| *c != '\0');
        c.ok_or_else(|| self.refused(JsonFault::Syntax("a character")))
    }

    /// `u` and four digits.
    fn unit(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at + 1..self.at + 5);
        let unit = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.refused(JsonFault::Syntax("four hexadecimal digits")))?;
        self.at += 5;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        Json::read(text)
            .unwrap_or_else(|refused| panic!("{text}: {refused}"))
            .to_string()
    }

    #[test]
    fn one_value_has_one_text() {
        assert_eq!(
            canonical(r#" { "b" : [ 1 , 2.50 ] , "a" : null } "#),
            r#"{"a":null,"b":[1,2.5]}"#
        );
        assert_eq!(canonical(r#""\u00e9\ud83d\ude00\/""#), "\"é😀/\"");
        assert_eq!(canonical("1e3"), "1000.0");
        assert_eq!(canonical("-0"), "0");
    }

    #[test]
    fn integers_keep_all_their_digits() {
        for text in ["9007199254740993", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(canonical(text), text);
        }
    }

    #[test]
    fn what_cannot_be_kept_or_read_is_refused() {
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        let deeper = "[".repeat(10_000);
        let long = format!("\"{}\"", "x".repeat(70_000));
        for refused in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,\"a\":2}",
            "9223372036854775808",
            "1e400",
            "NaN",
            "Infinity",
            "01",
            "1.",
            "+1",
            "\"a",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "tru",
            "1 2",
            "'a'",
            "\"a\nb\"",
            &deep,
            &deeper,
            &long,
        ] {
            assert!(Json::read(refused).is_err(), "{:.40}", refused);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}|[\\[\\]{}\",:0-9eE.\\\\u+-]{0,40}") {
            if let Ok(value) = Json::read(&text) {
                prop_assert_eq!(Json::read(&value.to_string()).unwrap().to_string(), value.to_string());
            }
        }

        #[test]
        fn floats_read_the_same(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let text = Json::Float(value).to_string();
            prop_assert_eq!(Json::read(&text), Ok(Json::Float(value)));
        }
    }
}
