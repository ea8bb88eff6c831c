//! Transactions that change something.
//!
//! A change is a function of a transaction that can run again: a conflict with
//! another one, or a neighbour in a shared SQLite transaction that failed, means
//! to run it once more from the start.

mod queue;

use std::{path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use sea_orm::{DatabaseConnection, TransactionTrait};
use tokio::sync::Semaphore;

use self::queue::Queue;
use super::{Db, DbError, Result, Txn, connection::answered};

const TRIES_MAX: u32 = 10;
const BACKOFF_MS: u64 = 4;

/// How long a change waits for a connection on which it may write.
const TURN_WAIT: Duration = Duration::from_secs(20);

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
#[derive(Debug, Clone)]
pub(super) enum Writer {
    /// One connection, for one group of changes after another.
    Queue(Arc<Queue>),
    /// A pool; the database orders the writers.
    Pool {
        /// Shared with the readers.
        pool: DatabaseConnection,
        /// Connections that writers may hold, so that some are left for readers.
        turns: Arc<Semaphore>,
    },
}

impl Writer {
    /// The writer of a SQLite database.
    pub(super) fn queue(path: &Path) -> Result<Self> {
        Ok(Self::Queue(Arc::new(Queue::open(path)?)))
    }

    /// Lets a share of a pool's connections write.
    pub(super) fn pool(pool: DatabaseConnection, connections_max: u32) -> Self {
        let turns = usize::try_from(connections_max).unwrap_or(1).div_ceil(2);
        Self::Pool {
            pool,
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// Lets no change begin any more and closes the connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Queue(queue) => queue.close(),
            Self::Pool { pool, .. } => {
                // A pool that does not close in good order is dropped with the process.
                let _ = pool.clone().close().await;
            }
        }
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
                Writer::Queue(queue) => queue.run(Arc::clone(&change)).await,
                Writer::Pool { pool, turns } => pooled(pool, turns, &*change).await,
            };
            match done {
                Err(error) if tries < TRIES_MAX && matches!(error.as_db(), Some(DbError::Conflict(_))) => {
                    tokio::time::sleep(backoff(tries)).await;
                }
                done => {
                    if done.is_ok() {
                        self.changes.send_replace(());
                    }
                    return done;
                }
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
    let txn = Txn::Postgres(answered(pool.begin()).await.map_err(DbError::from)?);
    let done = change(&txn).await;
    let Txn::Postgres(txn) = txn else {
        unreachable!("it was made above");
    };
    match done {
        Ok(value) => {
            crate::fault::point("write.before_commit");
            answered(txn.commit()).await.map_err(DbError::from)?;
            crate::fault::point("write.after_commit");
            Ok(value)
        }
        Err(error) => {
            // A transaction that cannot be rolled back ends with its connection, and
            // one that met no answer will get none now.
            if !matches!(error.as_db(), Some(DbError::Unavailable(_))) {
                let _ = answered(txn.rollback()).await;
            }
            Err(error)
        }
    }
}
