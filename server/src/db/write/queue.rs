//! The one writer of a SQLite database.
//!
//! Changes line up; whoever finds the connection free runs all that wait in one
//! transaction with one fsync, on its own thread. So a change alone waits for
//! nobody, and many at once share the disk.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, TryLockError},
};

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use sea_orm::DbErr;
use tokio::sync::{Semaphore, oneshot};

use super::{TURN_WAIT, WriteError, Writing};
use crate::{
    blocking,
    db::{
        DbError, Result, Txn,
        sqlite::{Access, Sqlite},
    },
};

/// Changes that may wait in line; more have to wait to wait.
const JOBS_MAX: usize = 1024;

/// Changes that share one transaction.
const GROUP_JOBS_MAX: usize = 64;

/// How the process ends when an fsync of the database fails.
const FSYNC_FAILED_EXIT_CODE: i32 = 70;

/// A change whose result is kept elsewhere: `true` to commit it.
type Change = Box<dyn for<'c> FnOnce(&'c Txn) -> BoxFuture<'c, bool> + Send>;

/// A change in line, and whom to tell when its transaction has ended.
struct Job {
    change: Change,
    done: oneshot::Sender<Result<()>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// Changes in line, and the connection that they wait for.
#[derive(Debug)]
pub(in crate::db) struct Queue {
    places: Semaphore,
    waiting: Mutex<VecDeque<Job>>,
    /// `None` once closed.
    connection: Mutex<Option<OwnConnection>>,
}

impl Queue {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            places: Semaphore::new(JOBS_MAX),
            waiting: Mutex::default(),
            connection: Mutex::new(Some(OwnConnection::open(path.to_owned())?)),
        })
    }

    /// Runs a change in a transaction that others may share.
    pub(super) async fn run<T, E, F>(self: &Arc<Self>, change: Arc<F>) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: WriteError,
        F: for<'c> Fn(&'c Txn) -> Writing<'c, T, E> + Send + Sync + 'static,
    {
        let place = tokio::time::timeout(TURN_WAIT, self.places.acquire()).await;
        let _place = place.map_err(|_| DbError::Busy)?.map_err(|_| closed())?;
        let slot = Arc::new(Mutex::new(None));
        let (done, ended) = oneshot::channel();
        let change = into_slot(change, Arc::clone(&slot));
        self.waiting
            .lock()
            .expect("no holder panics")
            .push_back(Job { change, done });
        self.run_waiting();
        ended.await.map_err(|_| closed())??;
        let result = slot.lock().expect("no holder panics").take();
        result.ok_or_else(closed)?
    }

    /// Runs one group of those that wait, unless somebody is at it, and sees to
    /// it that somebody runs the rest.
    fn run_waiting(self: &Arc<Self>) {
        loop {
            let mut connection = match self.connection.try_lock() {
                Ok(connection) => connection,
                // Who holds it looks again when the group has ended.
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => unreachable!("no holder panics"),
            };
            let group = self.next_group();
            match &mut *connection {
                // Their callers learn from the closed channel.
                None => drop(group),
                Some(connection) if !group.is_empty() => blocking::in_place(|| run_group(connection, group)),
                Some(_) => {}
            }
            drop(connection);
            if self.waiting.lock().expect("no holder panics").is_empty() {
                return;
            }
            // One caller must not work for all the others for ever.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let rest = Arc::clone(self);
                runtime.spawn(async move { rest.run_waiting() });
                return;
            }
        }
    }

    fn next_group(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        let jobs = waiting.len().min(GROUP_JOBS_MAX);
        waiting.drain(..jobs).collect()
    }

    /// Lets no change begin any more and closes the connection, once it is free.
    pub(super) fn close(&self) {
        self.places.close();
        // The last connection to close folds the write-ahead log into the database file.
        blocking::in_place(|| drop(self.connection.lock().expect("no holder panics").take()));
        self.waiting.lock().expect("no holder panics").clear();
    }
}

fn closed() -> DbError {
    DbError::Unavailable(DbErr::Custom("the writer has stopped".to_owned()))
}

fn into_slot<T, E, F>(change: Arc<F>, slot: Arc<Mutex<Option<std::result::Result<T, E>>>>) -> Change
where
    T: Send + 'static,
    E: WriteError,
    F: for<'c> Fn(&'c Txn) -> Writing<'c, T, E> + Send + Sync + 'static,
{
    Box::new(move |txn| {
        async move {
            let result = change(txn).await;
            let commit = result.is_ok();
            *slot.lock().expect("no holder panics") = Some(result);
            commit
        }
        .boxed()
    })
}

/// The connection of the writer, opened again when a transaction on it cannot be ended.
#[derive(Debug)]
struct OwnConnection {
    path: PathBuf,
    txn: Txn,
}

impl OwnConnection {
    fn open(path: PathBuf) -> Result<Self> {
        let txn = Txn::Sqlite(Sqlite::open(&path, Access::Write)?);
        Ok(Self { path, txn })
    }

    fn sqlite(&self) -> &Sqlite {
        match &self.txn {
            Txn::Sqlite(sqlite) => sqlite,
            Txn::Postgres(_) => unreachable!("it was opened as SQLite"),
        }
    }

    /// Leaves no transaction open, whatever happened.
    fn settle(&mut self) {
        // A full disk makes SQLite roll back by itself, and then there is nothing left to roll back.
        if self.sqlite().is_idle() || self.sqlite().control("ROLLBACK").is_ok() {
            return;
        }
        match Sqlite::open(&self.path, Access::Write) {
            Ok(sqlite) => self.txn = Txn::Sqlite(sqlite),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not open the database again"
                );
            }
        }
    }
}

fn run_group(connection: &mut OwnConnection, jobs: Vec<Job>) {
    let (changes, waiting): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.change, job.done)).unzip();
    let outcome = run_transaction(connection, changes);
    connection.settle();
    let mut waiting = waiting.into_iter();
    if let Err(error) = outcome {
        if error.is_failed_fsync() {
            // Later commits would stand on pages that the system has dropped.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "The database could not be made durable"
            );
            std::process::exit(FSYNC_FAILED_EXIT_CODE);
        }
        tell_failure(&mut waiting, error);
    }
    for done in waiting {
        // A caller that went away needs no answer.
        let _ = done.send(Ok(()));
    }
}

/// The first one hears what happened; the others that it is worth another try.
fn tell_failure(waiting: &mut std::vec::IntoIter<oneshot::Sender<Result<()>>>, error: DbError) {
    let again = matches!(error, DbError::Conflict(_));
    let text = error.to_string();
    if let Some(first) = waiting.next() {
        let _ = first.send(Err(error));
    }
    for done in waiting {
        let cause = DbErr::Custom(text.clone());
        let _ = done.send(Err(if again {
            DbError::Conflict(cause)
        } else {
            DbError::Unavailable(cause)
        }));
    }
}

/// Runs changes in one transaction; one alone may ask for it to be rolled back.
fn run_transaction(connection: &OwnConnection, mut changes: Vec<Change>) -> Result<()> {
    let (sqlite, txn) = (connection.sqlite(), &connection.txn);
    sqlite.control("BEGIN IMMEDIATE")?;
    if changes.len() == 1 {
        if !run_change(changes.remove(0), txn) {
            return Ok(());
        }
    } else {
        for change in changes {
            // A savepoint keeps one caller's failure from undoing another's work.
            sqlite.control("SAVEPOINT change")?;
            if !run_change(change, txn) {
                sqlite.control("ROLLBACK TO change")?;
            }
            sqlite.control("RELEASE change")?;
        }
    }
    crate::fault::point("write.before_commit");
    sqlite.control("COMMIT")?;
    crate::fault::point("write.after_commit");
    Ok(())
}

/// Runs one change; `false` to undo it. A defect in one must not stop the writer of all.
fn run_change(change: Change, txn: &Txn) -> bool {
    block_on(AssertUnwindSafe(change(txn)).catch_unwind()).unwrap_or(false)
}
