//! The time of records and events.
//!
//! Order is never taken from it: versions have numbers, events have positions,
//! leases go by the clock of the database. But people read these times, so a clock
//! that is set back a little does not make an event older than the one before it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::db::{Db, DbError, events};

/// A step back of the clock up to which time stands still; a larger one is taken
/// for the end of a time that was wrong.
const STEP_BACK_MAX: Duration = Duration::from_secs(10 * 60);

/// No record is older than this program: 1 January 2026.
const EARLIEST_US: i64 = 1_767_225_600_000_000;

/// The latest time that was given out.
static LATEST_US: AtomicI64 = AtomicI64::new(0);

/// Microseconds since 1970, UTC.
pub(crate) fn now_us() -> i64 {
    let now = clock_us();
    let held = |latest| Some(held_back(now, latest));
    match LATEST_US.fetch_update(Ordering::Relaxed, Ordering::Relaxed, held) {
        Ok(latest) | Err(latest) => held_back(now, latest),
    }
}

fn clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).expect("the year is before 294,000")
}

fn held_back(now_us: i64, latest_us: i64) -> i64 {
    let step_back = Duration::from_micros(u64::try_from(latest_us - now_us).unwrap_or(0));
    if step_back <= STEP_BACK_MAX {
        now_us.max(latest_us)
    } else {
        now_us
    }
}

/// Says in the log when the clock cannot be right.
pub(super) async fn warn_of_wrong_clock(db: &Db) -> Result<(), DbError> {
    let now = clock_us();
    let newest = events::newest_us(db.reader()).await?;
    if now < EARLIEST_US.max(newest.unwrap_or(0)) {
        let behind = newest.map(|newest| Duration::from_micros(u64::try_from(newest - now).unwrap_or(0)));
        tracing::warn!(
            ?behind,
            "The clock is wrong: it is behind the newest event, or the year is before 2026"
        );
    }
    if let Some(theirs) = events::database_clock_us(db.reader()).await? {
        let apart = Duration::from_micros(theirs.abs_diff(now));
        if apart > STEP_BACK_MAX {
            tracing::warn!(?apart, "The clock is wrong: that of the database says another time");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_for_a_small_step_back_and_follows_a_large_one() {
        let minute = 60_000_000;
        let noon = EARLIEST_US + 720 * minute;
        assert_eq!(held_back(noon, 0), noon);
        assert_eq!(held_back(noon, noon - minute), noon);
        assert_eq!(held_back(noon, noon + minute), noon + minute);
        assert_eq!(held_back(noon, noon + 10 * minute), noon + 10 * minute);
        assert_eq!(held_back(noon, noon + 11 * minute), noon);
    }

    #[test]
    fn times_do_not_fall() {
        let times: Vec<i64> = (0..1_000).map(|_| now_us()).collect();
        assert!(times.is_sorted());
        assert!(times[0] > EARLIEST_US);
    }
}
