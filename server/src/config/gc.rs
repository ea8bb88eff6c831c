//! When garbage is collected.

use std::time::Duration;

use super::{
    parse::{self, Raw},
    settings::Settings,
};

const HOUR: Duration = Duration::from_secs(3600);
const GRACE: Duration = HOUR.saturating_mul(24);
const INTERVAL: Duration = HOUR;
const REQUESTS_KEPT: Duration = HOUR.saturating_mul(7 * 24);
const LONGEST: Duration = HOUR.saturating_mul(366 * 24);

/// A read that goes on for longer may lose its bytes, so only test builds go below.
const GRACE_MIN: Duration = Duration::from_secs(if cfg!(feature = "crash-points") { 0 } else { 60 });

const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A client repeats what it got no answer to for about as long.
const REQUESTS_KEPT_MIN: Duration = Duration::from_secs(60);

/// When garbage is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcConfig {
    /// How long bytes stay that nothing needs: longer than the longest read takes.
    pub grace: Duration,
    /// How often a server collects by itself.
    pub interval: Duration,
    /// How long a request can be repeated with the effect of one.
    pub requests_kept: Duration,
}

impl GcConfig {
    pub(super) fn take(settings: &mut Settings) -> Self {
        let mut time = |name: &str, default: Duration, least: Duration| {
            let at_least = move |raw: &Raw| match parse::duration(LONGEST)(raw)? {
                time if time < least => Err(format!("is shorter than {} s", least.as_secs())),
                time => Ok(time),
            };
            settings.take_or(name, default, at_least).value
        };
        Self {
            grace: time("gc.grace", GRACE, GRACE_MIN),
            interval: time("gc.interval", INTERVAL, INTERVAL_MIN),
            requests_kept: time("gc.requests_kept", REQUESTS_KEPT, REQUESTS_KEPT_MIN),
        }
    }
}
