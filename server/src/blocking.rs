//! Work that waits for the disk, on the thread that needs its result.
//!
//! Handing such work to another thread and waiting for it costs two wake-ups,
//! more than a small write. Here the other tasks of the thread move instead.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs work that may block. Other tasks go on; other branches of this one do not.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // There is no other thread for other tasks.
        _ => work(),
    }
}
