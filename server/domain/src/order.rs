//! In which order artifacts are listed.

use std::{fmt, str::FromStr};

/// What artifacts are ordered by; equal ones are ordered by uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// When they were saved.
    CreatedAt,
    /// When their records last changed.
    UpdatedAt,
    /// Their keys, byte by byte; those without come last.
    Key,
    /// Their sizes.
    Size,
    /// How many observations they have; those of which nobody counted any come last.
    NObservations,
}

/// An order of artifacts, such as `created_at desc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order {
    /// What counts.
    pub by: OrderBy,
    /// Whether the greatest comes first.
    pub is_descending: bool,
}

impl OrderBy {
    /// Everything to order by.
    pub const ALL: [Self; 5] = [
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::Key,
        Self::Size,
        Self::NObservations,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Key => "key",
            Self::Size => "size",
            Self::NObservations => "n_observations",
        }
    }
}

impl Default for Order {
    /// Newest first.
    fn default() -> Self {
        Self {
            by: OrderBy::CreatedAt,
            is_descending: true,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.by.name())?;
        f.write_str(if self.is_descending { " desc" } else { "" })
    }
}

/// Why a text is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// It does not read as an order.
    #[error("must read `field`, `field asc` or `field desc`, and may end with `, uid` in the same direction")]
    Shape,
    /// Nothing can be ordered by this.
    #[error("names `{name}`: artifacts are ordered by {}", OrderBy::ALL.map(OrderBy::name).join(", "))]
    Unknown {
        /// What was named.
        name: String,
    },
}

impl FromStr for Order {
    type Err = OrderRefused;
    fn from_str(text: &str) -> Result<Self, OrderRefused> {
        const NAME_CHARS_MAX: usize = 40;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let (first, uid) = match text.split_once(',') {
            Some((first, uid)) => (first, Some(part(uid)?)),
            None => (text, None),
        };
        let (name, is_descending) = part(first)?;
        let by = OrderBy::ALL.into_iter().find(|by| by.name() == name);
        let by = by.ok_or_else(|| OrderRefused::Unknown {
            name: name.chars().take(NAME_CHARS_MAX).collect(),
        })?;
        match uid {
            Some(uid) if uid != ("uid", is_descending) => Err(OrderRefused::Shape),
            _ => Ok(Self { by, is_descending }),
        }
    }
}

/// A name and whether `desc` follows it.
fn part(text: &str) -> Result<(&str, bool), OrderRefused> {
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [name] | [name, "asc"] => Ok((name, false)),
        [name, "desc"] => Ok((name, true)),
        _ => Err(OrderRefused::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_a_field_and_a_direction() {
        let order = |by, is_descending| Ok(Order { by, is_descending });
        let unknown = |name: &str| Err(OrderRefused::Unknown { name: name.to_owned() });
        for (text, expected) in [
            ("", Ok(Order::default())),
            ("  ", order(OrderBy::CreatedAt, true)),
            ("created_at", order(OrderBy::CreatedAt, false)),
            ("key asc", order(OrderBy::Key, false)),
            (" size   desc ", order(OrderBy::Size, true)),
            ("updated_at desc, uid desc", order(OrderBy::UpdatedAt, true)),
            ("key,uid", order(OrderBy::Key, false)),
            ("key desc, uid", Err(OrderRefused::Shape)),
            ("key, size", Err(OrderRefused::Shape)),
            ("key, uid, size", Err(OrderRefused::Shape)),
            ("key DESC", Err(OrderRefused::Shape)),
            ("key desc desc", Err(OrderRefused::Shape)),
            (",", Err(OrderRefused::Shape)),
            ("key;", unknown("key;")),
            ("__class__", unknown("__class__")),
            ("password desc", unknown("password")),
        ] {
            assert_eq!(text.parse::<Order>(), expected, "{text:?}");
            if let Ok(order) = expected {
                assert_eq!(order.to_string().parse(), Ok(order));
            }
        }
    }
}
