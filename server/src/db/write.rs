//! Transactions that change something.
//!
//! A change is a function of a transaction that can run again: a conflict with
//! another one, or a neighbour in a shared SQLite transaction that failed, means
//! to run it once more from the start.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use sea_orm::{DatabaseConnection, DbErr, TransactionTrait};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Db, DbError, Result, Txn,
    sqlite::{Access, Sqlite},
};
use crate::blocking;

const TRIES_MAX: u32 = 10;
const BACKOFF_MS: u64 = 4;

/// Jobs that may wait for the SQLite writer; more have to wait to wait.
const QUEUE_JOBS_MAX: usize = 1024;

/// How the process ends when an fsync of the database fails.
const FSYNC_FAILED_EXIT_CODE: i32 = 70;

/// How long a change waits for a connection on which it may write.
const TURN_WAIT: Duration = Duration::from_secs(20);

/// Jobs that share one transaction.
const GROUP_JOBS_MAX: usize = 64;

/// A change under way in a transaction.
pub(crate) type Writing<'c, T, E> = BoxFuture<'c, std::result::Result<T, E>>;

/// An error that may come from the database.
pub(crate) trait WriteError: From<DbError> + Send + 'static {
    /// The database's part in it, if any.
    fn as_db(&self) -> Option<&DbError>;
}

impl WriteError for DbError {
    fn as_db(&self) -> Option<&DbError> {
        Some(self)
    }
}

/// The write side of a database.
#[derive(Clone)]
pub(super) enum Writer {
    /// One connection behind a queue.
    Queue {
        /// Changes on their way to it.
        jobs: mpsc::Sender<Job>,
        /// Asks it to end.
        closing: CancellationToken,
        /// Says that it has.
        closed: CancellationToken,
    },
    /// A pool; the database orders the writers.
    Pool {
        /// Shared with the readers.
        pool: DatabaseConnection,
        /// Connections that writers may hold, so that some are left for readers.
        turns: Arc<Semaphore>,
    },
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue { .. } => "Writer::Queue",
            Self::Pool { .. } => "Writer::Pool",
        })
    }
}

impl Db {
    /// Runs a change in a transaction and commits it, again after a conflict.
    ///
    /// An error of the change rolls it back. `DbError::Conflict` after the last try.
    pub(crate) async fn write<T, E, F>(&self, change: F) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: WriteError,
        F: for<'c> Fn(&'c Txn) -> Writing<'c, T, E> + Send + Sync + 'static,
    {
        let change = Arc::new(change);
        let mut tries = 0;
        loop {
            tries += 1;
            let done = match &self.writer {
                Writer::Queue { jobs, .. } => queued(jobs, Arc::clone(&change)).await,
                Writer::Pool { pool, turns } => pooled(pool, turns, &*change).await,
            };
            match done {
                Err(error) if tries < TRIES_MAX && matches!(error.as_db(), Some(DbError::Conflict(_))) => {
                    tokio::time::sleep(backoff(tries)).await;
                }
                done => return done,
            }
        }
    }
}

/// A wait of random length that grows with the number of tries.
fn backoff(tries: u32) -> Duration {
    let mut random = [0; 1];
    // Without entropy all wait the same time, which is only slower.
    let _ = getrandom::fill(&mut random);
    Duration::from_micros(BACKOFF_MS * 1000 * u64::from(tries) * u64::from(random[0]) / 255)
}

async fn pooled<T, E, F>(pool: &DatabaseConnection, turns: &Semaphore, change: &F) -> std::result::Result<T, E>
where
    E: WriteError,
    F: for<'c> Fn(&'c Txn) -> Writing<'c, T, E>,
{
    // Writers of one family wait for each other; they must not do so with all the connections.
    let turn = tokio::time::timeout(TURN_WAIT, turns.acquire())
        .await
        .map_err(|_| DbError::Busy)?;
    let _turn = turn.expect("the semaphore is never closed");
    let txn = Txn::Postgres(pool.begin().await.map_err(DbError::from)?);
    let done = change(&txn).await;
    let Txn::Postgres(txn) = txn else {
        unreachable!("it was made above");
    };
    match done {
        Ok(value) => {
            crate::fault::point("write.before_commit");
            txn.commit().await.map_err(DbError::from)?;
            crate::fault::point("write.after_commit");
            Ok(value)
        }
        Err(error) => {
            // A transaction that cannot be rolled back ends with its connection.
            let _ = txn.rollback().await;
            Err(error)
        }
    }
}

/// A change whose result is kept elsewhere: `true` to commit it.
type Change = Box<dyn for<'c> FnOnce(&'c Txn) -> BoxFuture<'c, bool> + Send>;

/// A change in the queue, and whom to tell when its transaction has ended.
pub(super) struct Job {
    change: Change,
    done: oneshot::Sender<Result<()>>,
}

impl Writer {
    /// Lets no change begin any more and closes the connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Queue { closing, closed, .. } => {
                closing.cancel();
                closed.cancelled().await;
            }
            Self::Pool { pool, .. } => {
                // A pool that does not close in good order is dropped with the process.
                let _ = pool.clone().close().await;
            }
        }
    }
}

async fn queued<T, E, F>(queue: &mpsc::Sender<Job>, change: Arc<F>) -> std::result::Result<T, E>
where
    T: Send + 'static,
    E: WriteError,
    F: for<'c> Fn(&'c Txn) -> Writing<'c, T, E> + Send + Sync + 'static,
{
    let slot = Arc::new(Mutex::new(None));
    let (done, ended) = oneshot::channel();
    let job = Job {
        change: into_slot(change, Arc::clone(&slot)),
        done,
    };
    let gone = || DbError::Unavailable(DbErr::Custom("the writer has stopped".to_owned()));
    queue.send(job).await.map_err(|_| gone())?;
    ended.await.map_err(|_| gone())??;
    let result = slot.lock().expect("no holder panics").take();
    result.ok_or_else(gone)?
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

/// Lets a share of a pool's connections write.
pub(super) fn start_pool(pool: DatabaseConnection, connections_max: u32) -> Writer {
    let turns = usize::try_from(connections_max).unwrap_or(1).div_ceil(2);
    Writer::Pool {
        pool,
        turns: Arc::new(Semaphore::new(turns)),
    }
}

/// Starts the one writer of a SQLite database. It ends when all senders are gone.
pub(super) fn start_queue(path: &Path) -> Result<Writer> {
    let (jobs, mut waiting) = mpsc::channel::<Job>(QUEUE_JOBS_MAX);
    let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
    let writer = Writer::Queue {
        jobs,
        closing: closing.clone(),
        closed: closed.clone(),
    };
    let mut connection = OwnConnection::open(path.to_owned())?;
    tokio::spawn(async move {
        let _closed = closed.drop_guard();
        let mut group = Vec::with_capacity(GROUP_JOBS_MAX);
        while let Some(1..) = closing
            .run_until_cancelled(waiting.recv_many(&mut group, GROUP_JOBS_MAX))
            .await
        {
            let group = std::mem::take(&mut group);
            blocking::in_place(|| run_group(&mut connection, group));
        }
        // The last connection to close folds the write-ahead log into the database file.
        blocking::in_place(|| drop(connection));
    });
    Ok(writer)
}

/// The connection of the writer, opened again when a transaction on it cannot be ended.
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
        if self.sqlite().is_idle() || self.sqlite().script("ROLLBACK").is_ok() {
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
    sqlite.script("BEGIN IMMEDIATE")?;
    if changes.len() == 1 {
        if !run_change(changes.remove(0), txn) {
            return Ok(());
        }
    } else {
        for change in changes {
            // A savepoint keeps one caller's failure from undoing another's work.
            sqlite.script("SAVEPOINT change")?;
            if !run_change(change, txn) {
                sqlite.script("ROLLBACK TO change")?;
            }
            sqlite.script("RELEASE change")?;
        }
    }
    crate::fault::point("write.before_commit");
    sqlite.script("COMMIT")?;
    crate::fault::point("write.after_commit");
    Ok(())
}

/// Runs one change; `false` to undo it. A defect in one must not stop the writer of all.
fn run_change(change: Change, txn: &Txn) -> bool {
    block_on(AssertUnwindSafe(change(txn)).catch_unwind()).unwrap_or(false)
}
