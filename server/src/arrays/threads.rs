//! Threads that decode, as many for one scan as there are processors for.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use tokio::runtime::Handle;

use super::{
    error::{ArrayError, Result},
    table::{Batch, Batches, ReadOn, ended_by_errors},
};

/// Threads of one scan, at most.
const THREADS_MAX: usize = 4;

/// As many of them as there are processors for. Asked once: the system opens files to tell.
pub(super) fn threads_max() -> usize {
    static THREADS: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX));
    *THREADS
}

/// Threads that work on the parts of one scan, each on one after the other. One that goes on
/// keeps its processor; one that sleeps in between may well be woken on that of another.
#[derive(Default)]
pub(super) struct Crew {
    jobs: Arc<Mutex<Jobs>>,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    threads: usize,
}

impl Crew {
    /// Begins with a part when a thread has time for it, which may be so many batches ahead of
    /// whoever takes them. Must be called inside the runtime.
    pub(super) fn begin(
        &self,
        batches_ahead: usize,
        begin: impl FnOnce() -> Result<Batches> + Send + 'static,
    ) -> Batches {
        let (sender, batches) = mpsc::sync_channel(batches_ahead);
        let mut jobs = lock(&self.jobs);
        jobs.waiting.push_back(Box::new(move || send_all(begin, &sender)));
        if jobs.threads < threads_max() {
            jobs.threads += 1;
            let jobs = Arc::clone(&self.jobs);
            Handle::current().spawn_blocking(move || work(&jobs));
        }
        drop(jobs);
        ended_by_errors(Elsewhere(batches))
    }
}

impl Drop for Crew {
    /// What nobody takes is not begun.
    fn drop(&mut self) {
        lock(&self.jobs).waiting.clear();
    }
}

fn lock(jobs: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(jobs: &Mutex<Jobs>) {
    loop {
        let mut locked = lock(jobs);
        let Some(job) = locked.waiting.pop_front() else {
            locked.threads -= 1;
            return;
        };
        drop(locked);
        // Who takes its batches finds that they have no end.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// A thread that breaks off says nothing, so the end is said.
fn send_all(begin: impl FnOnce() -> Result<Batches>, sender: &SyncSender<Result<Option<Batch>>>) {
    let mut batches = match begin() {
        Ok(begun) => begun,
        Err(error) => return drop(sender.send(Err(error))),
    };
    loop {
        let next = batches.next().transpose();
        let is_last = !matches!(next, Ok(Some(_)));
        if sender.send(next).is_err() || is_last {
            break;
        }
    }
}

/// Batches from another thread.
struct Elsewhere(Receiver<Result<Option<Batch>>>);

impl ReadOn for Elsewhere {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        let next = self.0.recv();
        next.unwrap_or_else(|_| Err(ArrayError::Internal("a thread that reads broke off".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::task::spawn_blocking;

    use super::*;

    fn nothing() -> Result<Batches> {
        Ok(Box::new(std::iter::empty()))
    }

    #[tokio::test]
    async fn no_more_threads_work_than_there_are_processors_for() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let crew = Crew::default();
        let begun: Vec<_> = (0..20)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                crew.begin(1, move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(2));
                    now.fetch_sub(1, Ordering::SeqCst);
                    nothing()
                })
            })
            .collect();
        let ended = spawn_blocking(move || begun.into_iter().map(Iterator::count).sum::<usize>());
        assert_eq!(ended.await.unwrap(), 0);
        assert_eq!(most.load(Ordering::SeqCst), threads_max());
        // Those that had nothing to do any more are not counted on.
        while lock(&crew.jobs).threads > 0 {
            tokio::task::yield_now().await;
        }
        let again = crew.begin(1, nothing);
        assert_eq!(spawn_blocking(move || again.count()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_part_that_breaks_off_is_an_error_and_the_others_go_on() {
        let crew = Crew::default();
        let broken: Vec<_> = (0..threads_max())
            .map(|_| crew.begin(1, || panic!("it breaks off")))
            .collect();
        let next = crew.begin(1, nothing);
        let ended = spawn_blocking(move || {
            let failed = broken.into_iter().flatten().filter(Result::is_err).count();
            (failed, next.count())
        });
        assert_eq!(ended.await.unwrap(), (threads_max(), 0));
    }

    #[tokio::test]
    async fn what_nobody_takes_is_not_begun() {
        let begun = Arc::new(AtomicUsize::new(0));
        let (crew, held) = (Crew::default(), Arc::new(Mutex::new(())));
        let holding = held.lock().unwrap();
        for _ in 0..3 * threads_max() {
            let (begun, held) = (Arc::clone(&begun), Arc::clone(&held));
            drop(crew.begin(1, move || {
                begun.fetch_add(1, Ordering::SeqCst);
                drop(held.lock());
                nothing()
            }));
        }
        while begun.load(Ordering::SeqCst) < threads_max() {
            thread::sleep(Duration::from_millis(1));
        }
        let jobs = Arc::clone(&crew.jobs);
        drop(crew);
        drop(holding);
        while lock(&jobs).threads > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(begun.load(Ordering::SeqCst), threads_max());
    }
}
