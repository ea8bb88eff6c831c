//! Completing an upload: its bytes become an object, then an artifact.
//!
//! Whoever completes holds the upload by an epoch and a lease, so that after a crash
//! another call, or another process, takes over. Every step can be done again: the
//! object may be there already, and the answer is stored with the record.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    super::{
        Caller, NewArtifact, Registry, RegistryError, Result, Saved,
        content::{Declared, Stored},
        draw_stem, now_us,
        save::commit::{Answer, Commit, NewContent, Run},
    },
    UploadState, answer_of,
    checking::Unsound,
    contiguous, object_of, unsigned,
};
use crate::{
    db::uploads::{self, PartRow, UploadRow},
    fault,
    storage::Store,
};

/// How long a call waits before it says how far the work is.
const ANSWER_WAIT: Duration = Duration::from_secs(25);

/// How long the holder of an upload may be silent before another one takes over.
const LEASE: Duration = Duration::from_secs(20);

/// What became of a completion.
#[derive(Debug)]
pub enum Completion {
    /// It is an artifact.
    Saved(Box<Saved>),
    /// It goes on; ask again.
    Finalizing {
        /// Bytes that were hashed.
        hashed_bytes: u64,
        /// Bytes that there are.
        size_bytes: u64,
    },
}

/// How often it says that it is not.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A completion that holds its upload.
pub(super) struct Held {
    pub(super) registry: Arc<Registry>,
    pub(super) caller: Caller,
    pub(super) row: UploadRow,
    pub(super) epoch: i64,
    pub(super) parts: Vec<PartRow>,
    pub(super) size_bytes: u64,
    pub(super) hashed_bytes: AtomicU64,
    pub(super) store: Store,
}

/// What a completion begins with.
enum Begun {
    Saved(Box<Answer>),
    /// Another process works on it.
    Elsewhere(Box<UploadRow>),
    Held(Box<UploadRow>),
}

impl Registry {
    /// Makes an upload an artifact. `new` is what its header says; `declared` what the
    /// caller says now. Goes on when the caller goes away.
    pub async fn complete_upload(
        self: &Arc<Self>,
        caller: &Caller,
        uid: &str,
        new: NewArtifact,
        declared: Declared,
    ) -> Result<Completion> {
        let row = self.find_upload(caller, uid).await?;
        let (registry, caller) = (Arc::clone(self), caller.clone());
        let completing = self.spawn(async move { registry.complete(caller, row, new, declared).await });
        match tokio::time::timeout(ANSWER_WAIT, completing).await {
            Ok(completed) => completed.unwrap_or(Err(RegistryError::StreamIncomplete)),
            Err(_) => {
                let row = uploads::by_uid(self.db.reader(), uid).await?;
                let row = row.ok_or_else(|| RegistryError::UploadNotFound(uid.to_owned()))?;
                self.finalizing(&row).await
            }
        }
    }

    async fn finalizing(&self, row: &UploadRow) -> Result<Completion> {
        let parts = uploads::parts(self.db.reader(), row.id).await?;
        Ok(Completion::Finalizing {
            hashed_bytes: unsigned(row.hashed_bytes),
            size_bytes: contiguous(&parts, row.part_bytes),
        })
    }

    async fn complete(
        self: Arc<Self>,
        caller: Caller,
        row: UploadRow,
        new: NewArtifact,
        declared_now: Declared,
    ) -> Result<Completion> {
        let _turn = self.upload_locks.take_over(row.id).await;
        let row = match self.begin_completion(&row).await? {
            Begun::Saved(answer) => return Ok(Completion::Saved(Box::new(self.saved(*answer)?))),
            Begun::Elsewhere(row) => return self.finalizing(&row).await,
            Begun::Held(row) => *row,
        };
        let parts = uploads::parts(self.db.reader(), row.id).await?;
        let held = Held {
            store: self.places.storage_by_id(row.storage_id)?.store.clone(),
            registry: self,
            caller,
            epoch: row.epoch,
            size_bytes: contiguous(&parts, row.part_bytes),
            hashed_bytes: AtomicU64::new(0),
            parts,
            row,
        };
        held.complete(new, declared_now)
            .await
            .map(|saved| Completion::Saved(Box::new(saved)))
    }

    /// Takes hold of an upload, unless it is saved or another process works on it.
    async fn begin_completion(&self, row: &UploadRow) -> Result<Begun> {
        let (id, uid) = (row.id, row.uid.clone());
        let begun = self.db.write::<_, RegistryError, _>(move |txn| {
            let uid = uid.clone();
            Box::pin(async move {
                let row = uploads::lock(txn, id).await?;
                let mut row = row.ok_or(RegistryError::UploadNotFound(uid))?;
                let now = now_us();
                match UploadState::of(&row)? {
                    UploadState::Saved => {
                        let answer = row.answer.as_deref().unwrap_or_default();
                        return Ok(Begun::Saved(Box::new(answer_of(answer)?)));
                    }
                    UploadState::Finalizing | UploadState::Complete if row.busy_until_us > now => {
                        return Ok(Begun::Elsewhere(Box::new(row)));
                    }
                    UploadState::Open => row.state = UploadState::Finalizing.code(),
                    UploadState::Finalizing | UploadState::Complete => {}
                }
                uploads::set_state(txn, id, row.state, lease_until(now)).await?;
                row.epoch += 1;
                fault::point("uploads.finalizing_in_transaction");
                Ok(Begun::Held(Box::new(row)))
            })
        });
        begun.await
    }
}

fn lease_until(now_us: i64) -> i64 {
    now_us + LEASE.as_micros() as i64
}

impl Held {
    async fn complete(self, new: NewArtifact, declared_now: Declared) -> Result<Saved> {
        let completed = tokio::select! {
            biased;
            completed = self.try_complete(new, declared_now) => completed,
            () = self.keep_hold() => unreachable!("it is kept until the end"),
        };
        if let Err(error) = &completed {
            self.let_go(error).await?;
        }
        completed
    }

    /// Says that it is at work, and how far it is, for as long as the upload is held.
    async fn keep_hold(&self) {
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            let held = (self.row.id, self.epoch);
            let hashed = i64::try_from(self.hashed_bytes.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            let renewed = self.registry.db.write::<_, RegistryError, _>(move |txn| {
                Box::pin(async move { Ok(uploads::progress(txn, held, hashed, lease_until(now_us())).await?) })
            });
            // Whoever lost hold of it finds out when something is to be recorded.
            if let Err(error) = renewed.await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not keep hold of an upload"
                );
            }
        }
    }

    async fn try_complete(&self, new: NewArtifact, declared_now: Declared) -> Result<Saved> {
        self.check_parts(declared_now)?;
        let object = object_of(&self.row)?;
        let mut closed = self.store.parts.close(&object, self.size_bytes).await?;
        fault::point("uploads.closed");
        let mut digest = None;
        if self.store.parts.reads_parts() {
            match self.checked_digest(&*closed, declared_now).await {
                Ok(found) => digest = Some(found),
                Err(Unsound::Torn(at)) => {
                    closed.reopen().await?;
                    return Err(self.drop_torn_part(at).await?);
                }
                Err(Unsound::Refused(error)) => return Err(error),
            }
        }
        fault::point("uploads.before_object");
        let parts = self.parts.iter().filter(|part| part.size_bytes > 0);
        let parts: Vec<String> = parts.map(|part| part.store_part.clone()).collect();
        let object = match closed.complete(parts.clone()).await {
            Ok(object) => object,
            Err(error) => {
                // Else the failure is what it says.
                let replaced = closed.replaced(&parts).await.unwrap_or_default();
                if replaced.is_empty() {
                    let held = (&self.row, self.epoch);
                    return Err(self.registry.end_if_lost(held, &self.store, error.into()).await);
                }
                return Err(self.drop_parts(replaced, error.into()).await?);
            }
        };
        fault::point("uploads.object_durable");
        self.note_complete().await?;
        let digest = match digest {
            Some(digest) => digest,
            None => self
                .checked_digest(&*closed, declared_now)
                .await
                .map_err(|unsound| self.lost(unsound))?,
        };
        drop(closed);
        self.save(new, Stored { digest, object }).await
    }

    /// From here on no part can be written any more.
    async fn note_complete(&self) -> Result<()> {
        let (id, epoch) = (self.row.id, self.epoch);
        let noted = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move { Ok(uploads::mark(txn, (id, epoch), UploadState::Complete.code()).await?) })
        });
        if noted.await? { Ok(()) } else { Err(self.fenced()) }
    }

    pub(super) fn fenced(&self) -> RegistryError {
        RegistryError::UploadFenced(self.row.uid.clone())
    }

    /// Makes the record, and stores the answer in the same transaction.
    async fn save(&self, new: NewArtifact, stored: Stored) -> Result<Saved> {
        let suffix = new.suffix(&self.caller)?;
        let storage = self.registry.places.storage_by_id(self.row.storage_id)?;
        let found = self.registry.look(storage, &suffix, &stored, None).await;
        found.require(new.expect_accessor)?;
        let name = stored.object.name.clone();
        let commit = Commit {
            caller: self.caller.clone(),
            space_id: storage.space_id,
            new: Arc::new(new),
            stem: draw_stem(),
            suffix,
            storage_id: storage.id,
            content: Arc::new(NewContent::Stored(stored)),
            found,
            // The upload itself is what makes this repeatable.
            repeatable: None,
        };
        let (held, uid) = ((self.row.id, self.epoch), self.row.uid.clone());
        let expires_at_us = self.registry.expires_at(now_us());
        let done = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            let (commit, uid) = (commit.clone(), uid.clone());
            Box::pin(async move {
                let run = commit.run(txn).await?;
                let (Run::Done { answer, .. } | Run::Before(answer)) = &run;
                let text = serde_json::to_string(answer).expect("answers are plain data");
                let saved = UploadState::Saved.code();
                if !uploads::finish(txn, held, saved, &text, expires_at_us).await? {
                    return Err(RegistryError::UploadFenced(uid));
                }
                fault::point("uploads.saved_in_transaction");
                Ok(run)
            })
        });
        let done = done.await?;
        fault::point("uploads.saved");
        let (answer, object_used) = match done {
            Run::Done { answer, object_used } => (answer, object_used),
            Run::Before(answer) => (answer, false),
        };
        if !object_used {
            self.registry.discard(storage.id, name);
        }
        self.registry.saved(*answer)
    }

    /// What failed can be mended and tried again: parts can come while there is no object.
    async fn let_go(&self, error: &RegistryError) -> Result<()> {
        if matches!(error, RegistryError::UploadFenced(_)) {
            return Ok(());
        }
        let (id, epoch) = (self.row.id, self.epoch);
        let let_go = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move {
                let Some(row) = uploads::lock(txn, id).await? else {
                    return Ok(());
                };
                if row.epoch != epoch {
                    return Ok(());
                }
                let state = match UploadState::of(&row)? {
                    UploadState::Finalizing => UploadState::Open.code(),
                    _ => row.state,
                };
                Ok(uploads::set_state(txn, id, state, 0).await?)
            })
        });
        let_go.await
    }
}
