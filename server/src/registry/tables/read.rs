//! Batches of a table, on their way from a thread that reads them.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit,
        mpsc::{self, OwnedPermit, Sender},
    },
};

use super::{
    super::{RegistryError, Result},
    OpenTable, TableOf, TablePlan,
    bodies::Bodies,
};
use crate::{
    arrays::{self, ArrayError, Form, Given},
    storage::{ReadCounter, StorageError},
};

/// Batches that wait to be taken. The next one is read when it can wait too.
const BATCHES_WAITING: usize = 3;

/// From this size on one waits at most.
const LARGE_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct TableBatch {
    /// The rows.
    pub(crate) form: Form,
    /// The number of the first one.
    pub first_row: u64,
    /// The row at which to go on behind them.
    pub next_row: u64,
    /// Rows of this read, with those of this batch and of what it goes on behind.
    pub rows: u64,
}

/// The batches of one read, in order.
#[derive(Debug)]
pub struct TableStream {
    open: OpenTable,
    plan: TablePlan,
    wish_bytes: usize,
    batches: mpsc::Receiver<arrays::Result<TableBatch>>,
    /// The row at which it would go on, and the rows that were read.
    next_row: u64,
    rows: u64,
    /// What was not given yet of the body of the batch that came last, where that lies in the
    /// content.
    body: Range<u64>,
    bodies: Bodies,
    moved: bool,
    ended: bool,
    /// Also held by the thread that reads: a turn is over when that has ended.
    turn: Arc<Turn>,
}

/// The right to read, and the room for what is read.
#[derive(Debug)]
struct Turn {
    /// How large batches are for which there is room.
    batch_bytes: usize,
    _turn: OwnedSemaphorePermit,
    _room: Option<OwnedSemaphorePermit>,
}

impl OpenTable {
    /// Begins to read. Batches are messages of at most `wish_bytes`, and smaller when many
    /// read large ones, but for rows that cannot be cut. The first of them come behind a row
    /// when the read goes on, of which so many rows had come.
    pub async fn read(self, plan: TablePlan, wish_bytes: usize, resume: Option<(u64, u64)>) -> Result<TableStream> {
        let turn = self.registry.table_turn().await?;
        let (batch_bytes, room) = self.registry.batch_room.take(wish_bytes);
        let turn = Arc::new(Turn {
            batch_bytes,
            _turn: turn,
            _room: room,
        });
        let (next_row, rows) = resume.unwrap_or((0, 0));
        let rest = match resume {
            Some((row, rows)) => plan.from_row(row, rows),
            None => plan.clone(),
        };
        Ok(TableStream {
            batches: self.begin(&rest, wish_bytes, rows, &turn),
            open: self,
            plan,
            wish_bytes,
            next_row,
            rows,
            body: 0..0,
            bodies: Bodies::default(),
            moved: false,
            ended: false,
            turn,
        })
    }

    fn begin(
        &self,
        plan: &TablePlan,
        wish_bytes: usize,
        rows_before: u64,
        turn: &Arc<Turn>,
    ) -> mpsc::Receiver<arrays::Result<TableBatch>> {
        let batch_bytes = turn.batch_bytes;
        let waiting = if batch_bytes >= LARGE_BATCH_BYTES {
            1
        } else {
            BATCHES_WAITING
        };
        let (sender, receiver) = mpsc::channel(waiting);
        let scan = arrays::Scan {
            columns: Arc::clone(&plan.columns),
            rows: plan.rows.clone(),
            filter: plan.filter.clone(),
            limit: plan.limit,
            batch_bytes,
            cancel: self.cancel.clone(),
        };
        let (table, schema) = (Arc::clone(&self.table), Arc::clone(&plan.schema));
        let turn = Arc::clone(turn);
        tokio::task::spawn_blocking(move || {
            // Held to its end.
            let _turn = turn;
            let (mut rows, mut free) = (rows_before, place(sender));
            let sent = arrays::read(table, scan, wish_bytes, &schema, |given| {
                let Given {
                    form,
                    rows: more,
                    first_row,
                    next_row,
                } = given;
                rows += more;
                let batch = TableBatch {
                    form,
                    first_row,
                    next_row,
                    rows,
                };
                let taken = free.take().ok_or(ArrayError::Cancelled)?;
                free = place(taken.send(Ok(batch)));
                free.as_ref().map(|_| ()).ok_or(ArrayError::Cancelled)
            });
            // Whoever has gone away wants no reason.
            if let (Err(error), Some(free)) = (sent, free) {
                free.send(Err(error));
            }
        });
        receiver
    }
}

/// A place among those that wait to be taken; nothing when nobody takes them any more. With
/// it, what is read next is not in memory beside all of them.
fn place<T>(sender: Sender<T>) -> Option<OwnedPermit<T>> {
    Handle::current().block_on(sender.reserve_owned()).ok()
}

impl TableStream {
    /// The schema of the batches.
    pub fn plan(&self) -> &TablePlan {
        &self.plan
    }

    /// What reading has cost so far.
    pub fn cost(&self) -> &ReadCounter {
        self.open.cost()
    }

    /// The next batch. Nothing comes after an error.
    pub async fn next(&mut self) -> Option<Result<TableBatch>> {
        if self.ended {
            return None;
        }
        let next = match self.batches.recv().await {
            None => None,
            Some(Err(ArrayError::Storage(StorageError::NotFound { .. }))) if !self.moved => {
                self.moved = true;
                self.look_again().await.transpose()
            }
            Some(Err(error)) => Some(Err(self.open.reader.failed(error).await)),
            Some(Ok(batch)) => Some(Ok(batch)),
        };
        match &next {
            Some(Ok(batch)) => {
                (self.next_row, self.rows) = (batch.next_row, batch.rows);
                if let Form::Lying(_, body) = &batch.form {
                    self.body = body.clone();
                }
            }
            _ => self.ended = true,
        }
        next
    }

    /// The next bytes of the body of the batch that came last, where they lie in the content;
    /// nothing at its end. It has to be taken before the next batch.
    pub async fn next_of_body(&mut self) -> Option<Result<Bytes>> {
        if self.ended || self.body.is_empty() {
            return None;
        }
        let next = match self.read_body().await {
            Err(StorageError::NotFound { .. }) if !self.moved => {
                self.moved = true;
                match self.begin_again().await {
                    Ok(()) => self.read_body().await,
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
            next => next,
        };
        match next {
            Ok(bytes) => {
                self.body.start += bytes.len() as u64;
                Some(Ok(bytes))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(self.open.reader.failed(ArrayError::Storage(error)).await))
            }
        }
    }

    async fn read_body(&mut self) -> std::result::Result<Bytes, StorageError> {
        let reader = self.open.reader.file().expect("bodies lie in files");
        let end = match self.plan.rows.is_none() && self.plan.limit.is_none() {
            true => reader.size_bytes(),
            false => self.body.end,
        };
        self.bodies.next(reader, &self.body, end).await
    }

    /// The object is gone: its bytes may have been moved to another one.
    async fn look_again(&mut self) -> Result<Option<TableBatch>> {
        self.begin_again().await?;
        match self.batches.recv().await {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => Err(self.open.reader.failed(error).await),
        }
    }

    /// Opens the table once more, and begins behind the batch that came last.
    async fn begin_again(&mut self) -> Result<()> {
        let of = TableOf {
            reference: self.open.artifact.uid.into(),
            element: self.open.element.clone(),
            if_match: None,
            sha256: Some(self.open.artifact.sha256),
            include_hidden: true,
        };
        let caller = self.open.reader.caller().clone();
        self.open = Arc::clone(&self.open.registry).open_table(&caller, &of).await?;
        let rest = self.plan.from_row(self.next_row, self.rows);
        self.batches = self.open.begin(&rest, self.wish_bytes, self.rows, &self.turn);
        self.bodies = Bodies::default();
        Ok(())
    }
}

impl From<ArrayError> for RegistryError {
    fn from(error: ArrayError) -> Self {
        match error {
            ArrayError::Storage(error) => Self::Storage(error),
            other => Self::Array(other),
        }
    }
}
