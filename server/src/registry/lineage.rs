//! What runs have used and made.
//!
//! What is written under a run is its output, once; what is read is its input, once,
//! and never what it made itself. A finished run takes no more.

mod draw;
mod graph;
mod impact;

use std::sync::Arc;

use artifactd_domain::{RunStatus, Uid};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

pub use draw::DrawFormat;
pub use graph::{
    Direction, EdgeKind, Graph, GraphEnd, GraphPart, GraphQuery, LineageArtifact, LineageEdge, LineageRun,
};
pub use impact::Impact;

use super::{Caller, Registry, RegistryError, Result, now_us, runs::missing};
use crate::db::{
    Txn,
    artifacts::{self, ArtifactRow},
    runs::{self, OpenRun},
};

/// Whether what is read is an input of the caller's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsRunInput {
    /// When the call carries a run.
    #[default]
    IfRun,
    /// Yes; a call without a run is refused.
    Yes,
    /// No.
    No,
}

/// The run of a call, which takes more, and does so until the transaction ends.
pub(super) async fn open_run(txn: &Txn, caller: &Caller) -> Result<Option<OpenRun>> {
    let Some(uid) = &caller.run else { return Ok(None) };
    let run = runs::open(txn, uid.as_str()).await?;
    let run = run
        .filter(|run| run.space_id == caller.space_id)
        .ok_or_else(|| missing(uid))?;
    match RunStatus::from_code(run.status) {
        Some(status) if status.is_finished() => Err(RegistryError::RunFinished(run.uid)),
        _ => Ok(Some(run)),
    }
}

/// Writes down that the run of a call changed a record that it did not make, and answers
/// the record with it.
pub(super) async fn note_update(txn: &Txn, run: Option<&OpenRun>, row: &mut ArtifactRow) -> Result<bool> {
    let Some(run) = run.filter(|run| row.run_id != Some(run.id)) else {
        return Ok(false);
    };
    let new = runs::add_previous(txn, run.id, (row.id, row.created_at_us), now_us()).await?;
    if new {
        row.has_previous_runs = true;
        row.previous_runs.push(run.uid.clone());
    }
    Ok(new)
}

impl Registry {
    /// Fails when a read asks for a run that it does not carry, or carries one that takes no more.
    pub(super) async fn require_reader(&self, caller: &Caller, how: IsRunInput) -> Result<Option<InputOf>> {
        let Some(uid) = caller.run.as_ref().filter(|_| how != IsRunInput::No) else {
            return match how {
                IsRunInput::Yes => Err(RegistryError::RunRequired),
                IsRunInput::IfRun | IsRunInput::No => Ok(None),
            };
        };
        let row = runs::by_uid(self.db.reader(), uid.as_str()).await?;
        let row = row
            .filter(|row| row.space_id == caller.space_id)
            .ok_or_else(|| missing(uid))?;
        match RunStatus::from_code(row.status) {
            Some(status) if status.is_finished() => Err(RegistryError::RunFinished(row.uid)),
            _ => Ok(Some(InputOf { caller: caller.clone() })),
        }
    }

    /// Writes down that the run of a call has used an artifact, unless that is known.
    pub(super) async fn note_input(&self, caller: &Caller, uid: &Uid) -> Result<()> {
        let Some(run_uid) = &caller.run else { return Ok(()) };
        let row = artifacts::by_uid(self.db.reader(), uid).await?;
        // Which run made an artifact never changes.
        let Some(row) = row.filter(|row| row.run_uid.as_deref() != Some(run_uid.as_str())) else {
            return Ok(());
        };
        if runs::has_input(self.db.reader(), run_uid.as_str(), row.id).await? {
            return Ok(());
        }
        let (caller, uid) = (caller.clone(), *uid);
        self.db
            .write::<_, RegistryError, _>(move |txn| {
                let caller = caller.clone();
                Box::pin(async move {
                    // Both may have gone meanwhile, and then there is nothing to write down.
                    let run = open_run(txn, &caller).await?;
                    let row = artifacts::by_uid(txn, &uid).await?;
                    if let (Some(run), Some(row)) = (run, row) {
                        runs::add_inputs(txn, run.id, &[(row.id, row.created_at_us)], now_us()).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// A read that is an input of a run, once something was sent and no error of ours ended it.
#[derive(Debug, Clone)]
pub(super) struct InputOf {
    caller: Caller,
}

/// A stream of what is read, which writes the input down at its end.
struct Reading<T> {
    pieces: BoxStream<'static, Result<T>>,
    /// What is to be written down; nothing once it was, or after an error.
    input: Option<(InputOf, Arc<Registry>, Uid)>,
    was_sent: bool,
}

impl InputOf {
    /// Writes the input down before the stream ends, or when its reader goes.
    pub(super) fn noted_at_end<T: Send + 'static>(
        self,
        registry: &Arc<Registry>,
        uid: Uid,
        pieces: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let reading = Reading {
            pieces,
            input: Some((self, Arc::clone(registry), uid)),
            was_sent: false,
        };
        stream::unfold(reading, |reading| reading.next()).boxed()
    }
}

impl<T> Reading<T> {
    async fn next(mut self) -> Option<(Result<T>, Self)> {
        match self.pieces.next().await {
            Some(Ok(piece)) => {
                self.was_sent = true;
                Some((Ok(piece), self))
            }
            Some(Err(error)) => {
                self.input = None;
                Some((Err(error), self))
            }
            None => {
                let (input, registry, uid) = self.input.take()?;
                match registry.note_input(&input.caller, &uid).await {
                    // It ended while this went on: what was read then is not its input.
                    Ok(()) | Err(RegistryError::RunFinished(_)) => None,
                    Err(error) => Some((Err(error), self)),
                }
            }
        }
    }
}

impl<T> Drop for Reading<T> {
    fn drop(&mut self) {
        let Some((input, registry, uid)) = self.input.take().filter(|_| self.was_sent) else {
            return;
        };
        let noting = Arc::clone(&registry);
        registry.spawn(async move {
            if let Err(error) = noting.note_input(&input.caller, &uid).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not note an input of a run"
                );
            }
        });
    }
}
