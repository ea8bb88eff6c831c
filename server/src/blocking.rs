//! Work that waits for the disk, on the thread that needs its result.
//!
//! Handing such work to another thread and waiting for it costs two wake-ups,
//! more than a small write. So a thread of the runtime does it itself, as long as
//! another one is left for the tasks and connections that it cannot look after
//! meanwhile. The last one hands those over to a new thread instead.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, RuntimeFlavor};

/// How long a thread that was woken is taken to look after the rest.
const LOOKED_AFTER: Duration = Duration::from_millis(2);

thread_local! {
    /// When this thread woke another one.
    static WOKEN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Threads that work without having handed anything over, in all runtimes of the process.
static STAYING: AtomicUsize = AtomicUsize::new(0);

/// Runs work that may block. Other tasks go on; other branches of this one do not.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    let runtime = match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => runtime,
        // There is no other thread for other tasks.
        _ => return work(),
    };
    match Stay::begin(runtime.metrics().num_workers()) {
        Some(_stay) => {
            // A call that waits twice needs no second one; a wake costs as much as a small write.
            let woken = WOKEN.get().is_some_and(|woken| woken.elapsed() < LOOKED_AFTER);
            if !woken {
                wake_another(&runtime);
                WOKEN.set(Some(Instant::now()));
            }
            work()
        }
        None => tokio::task::block_in_place(work),
    }
}

/// The right to work on a thread of the runtime as it is.
struct Stay;

impl Stay {
    fn begin(workers: usize) -> Option<Self> {
        let one_more = |staying| (staying + 1 < workers).then_some(staying + 1);
        STAYING
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()
            .map(|_| Self)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        STAYING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Has another thread take the tasks that wait here, and look after connections.
///
/// The task that was woken last waits where no other thread takes it, until one
/// that is woken later pushes it out; and a thread is only woken for a push.
fn wake_another(runtime: &Handle) {
    for _ in 0..2 {
        runtime.spawn(std::future::ready(()));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_was_woken_just_before_goes_on_meanwhile() {
        for _ in 0..20 {
            let worker = tokio::spawn(async {
                let (done, finished) = mpsc::channel();
                tokio::spawn(async move { done.send(()).expect("the other side waits") });
                wake_another(&Handle::current());
                finished.recv_timeout(Duration::from_secs(10))
            });
            let finished = worker.await.expect("no panic");
            finished.expect("the task ran");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_are_looked_after_meanwhile() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut byte = [0];
                    while peer.read_exact(&mut byte).await.is_ok() && peer.write_all(&byte).await.is_ok() {}
                });
            }
        });
        for _ in 0..20 {
            let worker = tokio::spawn(async move {
                use std::io::{Read, Write};
                wake_another(&Handle::current());
                let mut peer = std::net::TcpStream::connect(address)?;
                peer.set_read_timeout(Some(Duration::from_secs(10)))?;
                peer.write_all(b"x")?;
                peer.read_exact(&mut [0])
            });
            worker.await.expect("no panic").expect("the echo came");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn as_many_as_like_may_block_at_once() {
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        let blocked: Vec<_> = (0..4)
            .map(|_| {
                let gate = std::sync::Arc::clone(&gate);
                tokio::spawn(async move {
                    in_place(|| gate.lock().expect("no panic").recv_timeout(Duration::from_secs(10)))
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        for _ in 0..4 {
            release.send(()).expect("somebody waits");
        }
        for task in blocked {
            task.await.expect("no panic").expect("it was let go");
        }
    }
}
