//! Values of settings: text of the environment and of flags, or typed TOML.
//!
//! Messages quote a value only where it cannot be secret.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use toml::de::DeValue;

use crate::storage::Secret;

/// A value before it is known what it should be.
#[derive(Debug)]
pub(super) enum Raw {
    /// From the environment or a flag: text that may spell any type.
    Untyped(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer; `None` when it is beyond every limit.
    Integer(Option<i128>),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Raw>),
    /// A TOML value that no setting has.
    Other(&'static str),
}

impl Raw {
    pub(super) fn of_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => Self::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).ok()),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::of_toml(item.get_ref())).collect()),
            DeValue::Float(_) => Self::Other("a number with a fraction"),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Table(_) => Self::Other("a section"),
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Untyped(_) | Self::Text(_) => "text",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }

    fn expected<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("expected {what}, found {}", self.type_name()))
    }

    fn as_text(&self, what: &str) -> Result<&str, String> {
        match self {
            Self::Untyped(text) | Self::Text(text) => Ok(text),
            _ => self.expected(what),
        }
    }
}

pub(super) fn text(raw: &Raw) -> Result<String, String> {
    match raw.as_text("text")? {
        "" => Err("is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn secret(raw: &Raw) -> Result<Secret, String> {
    text(raw).map(Secret::new)
}

pub(super) fn path(raw: &Raw) -> Result<PathBuf, String> {
    let path = text(raw)?;
    match path.contains('\0') {
        true => Err("holds a NUL".to_owned()),
        false => Ok(PathBuf::from(path)),
    }
}

pub(super) fn boolean(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Boolean(value) => Ok(*value),
        Raw::Untyped(text) => text
            .parse()
            .map_err(|_| format!("expected true or false, found `{text}`")),
        _ => raw.expected("true or false"),
    }
}

/// An integer between two limits, both included.
pub(super) fn integer(least: u64, most: u64) -> impl Fn(&Raw) -> Result<u64, String> {
    move |raw| {
        let value = match raw {
            Raw::Integer(value) => *value,
            Raw::Untyped(text) => match text.parse() {
                Ok(value) => Some(value),
                Err(_) => return Err(format!("expected an integer, found `{text}`")),
            },
            _ => return raw.expected("an integer"),
        };
        let inside = value.and_then(|value| u64::try_from(value).ok());
        inside
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| format!("must lie between {least} and {most}"))
    }
}

/// A duration such as `500ms`, `30s`, `5m` or `24h`, up to a limit.
pub(super) fn duration(most: Duration) -> impl Fn(&Raw) -> Result<Duration, String> {
    move |raw| {
        let text = raw.as_text("a duration such as \"30s\"")?;
        let duration = read_duration(text)
            .ok_or_else(|| format!("expected a duration such as 500ms, 30s, 5m or 24h, found `{text}`"))?;
        match duration <= most {
            true => Ok(duration),
            false => Err(format!("is longer than {} s", most.as_secs())),
        }
    }
}

fn read_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// An IP address and port; `localhost` is 127.0.0.1.
pub(super) fn address(raw: &Raw) -> Result<SocketAddr, String> {
    let text = raw.as_text("an address such as \"127.0.0.1:50051\"")?;
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!(
            "expected an address and port such as 127.0.0.1:50051, found `{text}`"
        ));
    };
    let port = match port.parse::<u64>() {
        Ok(port) => u16::try_from(port).map_err(|_| format!("port {port} is above 65535"))?,
        Err(_) => return Err(format!("`{port}` is not a port")),
    };
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse().map(IpAddr::V6).ok(),
        None if host == "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => host.parse().map(IpAddr::V4).ok(),
    };
    match ip {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None => Err(format!(
            "`{host}` is not an IP address, `[…]` around IPv6, or localhost"
        )),
    }
}

/// Text that a type of its own parses.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(raw: &Raw) -> Result<T, String> {
    text(raw)?.parse().map_err(|error: T::Err| error.to_string())
}

/// A list of texts: a TOML array, or text with commas.
pub(super) fn list(raw: &Raw) -> Result<Vec<String>, String> {
    match raw {
        Raw::Untyped(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        Raw::List(items) => items.iter().map(text).collect(),
        _ => raw.expected("a list"),
    }
}
