//! Transactions that change something.
//!
//! A change is a function of a transaction that can run again: a conflict with
//! another one, or a neighbour in a shared SQLite transaction that failed, means
//! to run it once more from the start.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Db, DbError};

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
pub(crate) type Writing<'c, T, E> = BoxFuture<'c, Result<T, E>>;

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
    pub(crate) async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: WriteError,
        F: for<'c> Fn(&'c DatabaseTransaction) -> Writing<'c, T, E> + Send + Sync + 'static,
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

async fn pooled<T, E, F>(pool: &DatabaseConnection, turns: &Semaphore, change: &F) -> Result<T, E>
where
    E: WriteError,
    F: for<'c> Fn(&'c DatabaseTransaction) -> Writing<'c, T, E>,
{
    // Writers of one family wait for each other; they must not do so with all the connections.
    let turn = tokio::time::timeout(TURN_WAIT, turns.acquire())
        .await
        .map_err(|_| DbError::Busy)?;
    let _turn = turn.expect("the semaphore is never closed");
    let txn = pool.begin().await.map_err(DbError::from)?;
    match change(&txn).await {
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
type Change = Box<dyn for<'c> FnOnce(&'c DatabaseTransaction) -> BoxFuture<'c, bool> + Send>;

/// A change in the queue, and whom to tell when its transaction has ended.
pub(super) struct Job {
    change: Change,
    done: oneshot::Sender<Result<(), DbError>>,
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

async fn queued<T, E, F>(queue: &mpsc::Sender<Job>, change: Arc<F>) -> Result<T, E>
where
    T: Send + 'static,
    E: WriteError,
    F: for<'c> Fn(&'c DatabaseTransaction) -> Writing<'c, T, E> + Send + Sync + 'static,
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

fn into_slot<T, E, F>(change: Arc<F>, slot: Arc<Mutex<Option<Result<T, E>>>>) -> Change
where
    T: Send + 'static,
    E: WriteError,
    F: for<'c> Fn(&'c DatabaseTransaction) -> Writing<'c, T, E> + Send + Sync + 'static,
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
pub(super) fn start_queue(mut connection: DatabaseConnection, options: ConnectOptions) -> Writer {
    let (jobs, mut waiting) = mpsc::channel::<Job>(QUEUE_JOBS_MAX);
    let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
    let writer = Writer::Queue {
        jobs,
        closing: closing.clone(),
        closed: closed.clone(),
    };
    tokio::spawn(async move {
        let _closed = closed.drop_guard();
        let mut group = Vec::with_capacity(GROUP_JOBS_MAX);
        while let Some(1..) = closing
            .run_until_cancelled(waiting.recv_many(&mut group, GROUP_JOBS_MAX))
            .await
        {
            if run_group(&connection, std::mem::take(&mut group)).await == State::Unknown {
                connection = reconnected(connection, &options).await;
            }
        }
        // The last connection to close folds the write-ahead log into the database file.
        let _ = connection.close().await;
    });
    writer
}

/// What is known of a connection after a transaction.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It is ready for the next one.
    Ready,
    /// The end of a transaction failed, so one may still be open.
    Unknown,
}

/// A new connection, after closing one whose transaction did not end well.
async fn reconnected(broken: DatabaseConnection, options: &ConnectOptions) -> DatabaseConnection {
    // Closing rolls back whatever is open; there is nobody to tell if that fails.
    let _ = broken.clone().close().await;
    match Database::connect(options.clone()).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not open the database again"
            );
            broken
        }
    }
}

async fn run_group(connection: &DatabaseConnection, jobs: Vec<Job>) -> State {
    let (changes, waiting): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.change, job.done)).unzip();
    let outcome = run_transaction(connection, changes).await;
    let mut waiting = waiting.into_iter();
    let state = match outcome {
        Ok(state) => state,
        Err(error) => {
            if error.is_failed_fsync() {
                // Later commits would stand on pages that the system has dropped.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "The database could not be made durable"
                );
                std::process::exit(FSYNC_FAILED_EXIT_CODE);
            }
            tell_failure(&mut waiting, error);
            State::Unknown
        }
    };
    for done in waiting {
        // A caller that went away needs no answer.
        let _ = done.send(Ok(()));
    }
    state
}

/// The first one hears what happened; the others that it is worth another try.
fn tell_failure(waiting: &mut std::vec::IntoIter<oneshot::Sender<Result<(), DbError>>>, error: DbError) {
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

async fn run_transaction(connection: &DatabaseConnection, mut changes: Vec<Change>) -> Result<State, DbError> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let txn = connection.begin_with_options(options).await?;
    let commit = if changes.len() == 1 {
        run_change(changes.remove(0), &txn).await
    } else {
        for change in changes {
            // A savepoint keeps one caller's failure from undoing another's work.
            let savepoint = txn.begin().await?;
            if run_change(change, &savepoint).await {
                savepoint.commit().await?
            } else {
                savepoint.rollback().await?
            }
        }
        true
    };
    if !commit {
        // A full disk makes SQLite roll back by itself, and then there is nothing left to roll back.
        return Ok(if txn.rollback().await.is_ok() {
            State::Ready
        } else {
            State::Unknown
        });
    }
    crate::fault::point("write.before_commit");
    txn.commit().await?;
    crate::fault::point("write.after_commit");
    Ok(State::Ready)
}

/// A defect in one change must not stop the writer of all.
async fn run_change(change: Change, txn: &DatabaseTransaction) -> bool {
    AssertUnwindSafe(change(txn)).catch_unwind().await.unwrap_or(false)
}
