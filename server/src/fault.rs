//! Named points at which a test build can stop itself, or wait.
//!
//! A crash at a chosen step of a commit shows what a reader finds afterwards; a wait
//! there, what others may do meanwhile. Without the feature `crash-points` every point
//! is empty and nothing is read from the environment.

/// Stops the process here when `ARTIFACTD_CRASH_AT` names this point, or waits where
/// `ARTIFACTD_PAUSE_IN` says so.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &'static str) {
    armed::crash(name);
    armed::pause(name);
}

/// Does nothing in this build.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

#[cfg(feature = "crash-points")]
mod armed {
    use std::{
        fs,
        path::PathBuf,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    const POLL: Duration = Duration::from_millis(2);

    static CRASH: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var("ARTIFACTD_CRASH_AT").ok()?;
        let (name, time) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        let time = time.parse().expect("ARTIFACTD_CRASH_AT reads name or name:n");
        Some((name.to_owned(), time))
    });

    static REACHED: AtomicU64 = AtomicU64::new(0);

    static PAUSES: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("ARTIFACTD_PAUSE_IN").map(Into::into));

    /// The value is `name` for the first time the point is reached, or `name:n` for
    /// the n-th. The process ends by SIGKILL, as in a crash: nothing is flushed.
    pub(super) fn crash(name: &str) {
        if let Some((wanted, time)) = CRASH.as_ref()
            && wanted == name
            && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *time
        {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }

    /// The value is a folder. Whoever reaches a point of which a file there has the name
    /// gives it the ending `.met`, and waits for as long as it stays.
    pub(super) fn pause(name: &str) {
        let Some(folder) = PAUSES.as_ref() else { return };
        let met = folder.join(format!("{name}.met"));
        if fs::rename(folder.join(name), &met).is_err() {
            return;
        }
        crate::blocking::in_place(|| {
            while met.exists() {
                std::thread::sleep(POLL);
            }
        });
    }
}
