//! Named points at which a test build can stop itself.
//!
//! A crash at a chosen step of a commit shows what a reader finds afterwards.
//! Without the feature `crash-points` every point is empty and nothing is read
//! from the environment.

/// Stops the process here when `ARTIFACTD_CRASH_AT` names this point.
///
/// The value is `name` for the first time the point is reached, or `name:n` for
/// the n-th. The process ends by SIGKILL, as in a crash: nothing is flushed.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &'static str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var("ARTIFACTD_CRASH_AT").ok()?;
        let (name, time) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((
            name.to_owned(),
            time.parse().expect("ARTIFACTD_CRASH_AT reads name or name:n"),
        ))
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);

    if let Some((wanted, time)) = WANTED.as_ref()
        && wanted == name
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *time
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}
