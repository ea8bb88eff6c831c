//! Uploads.

use std::time::Duration;

use super::{
    parse::{self, Raw},
    settings::Settings,
};

const HOUR: Duration = Duration::from_secs(3600);
const EXPIRY: Duration = HOUR.saturating_mul(7 * 24);
const EXPIRY_MAX: Duration = HOUR.saturating_mul(366 * 24);

/// A client that was cut comes back within minutes.
const EXPIRY_MIN: Duration = Duration::from_secs(600);

/// Uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsConfig {
    /// How long an upload stays after its last part, and what became of it after its end.
    pub expiry: Duration,
}

impl UploadsConfig {
    pub(super) fn take(settings: &mut Settings) -> Self {
        let expiry = |raw: &Raw| match parse::duration(EXPIRY_MAX)(raw)? {
            time if time < EXPIRY_MIN => Err(format!("is shorter than {} s", EXPIRY_MIN.as_secs())),
            time => Ok(time),
        };
        Self {
            expiry: settings.take_or("uploads.expiry", EXPIRY, expiry).value,
        }
    }
}
