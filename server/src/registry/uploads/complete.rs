//! Completing an upload: its bytes become an object, then an artifact.
//!
//! Whoever completes holds the upload by an epoch and a lease, so that after a crash
//! another call, or another process, takes over. Every step can be done again: the
//! object may be there already, and the answer is stored with the record.

use std::{sync::Arc, time::Duration};

use artifactd_domain::{BLOCK_BYTES, ContentDigest, Sha256Hasher, crc32c};

use super::{
    super::{
        Caller, NewArtifact, Registry, RegistryError, Result, Saved,
        content::{Declared, Stored},
        now_us,
        save::commit::{Answer, Commit, NewContent, Run},
    },
    UploadState, answer_of, contiguous, declared, expires_at, object_of, unsigned,
};
use crate::{
    db::uploads::{self, PartRow, UploadRow},
    fault,
    storage::{FinishedObject, Store},
};

/// How long a call waits before it says how far the work is.
const ANSWER_WAIT: Duration = Duration::from_secs(25);

/// How long the holder of an upload may be silent before another one takes over.
const LEASE: Duration = Duration::from_secs(20);

/// Bytes that are read and hashed at once.
const PIECE_BYTES: u64 = 16 * BLOCK_BYTES as u64;

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

/// A completion that holds its upload.
struct Held {
    registry: Arc<Registry>,
    caller: Caller,
    row: UploadRow,
    epoch: i64,
    parts: Vec<PartRow>,
    size_bytes: u64,
    store: Store,
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
        match self.try_complete(new, declared_now).await {
            Ok(saved) => Ok(saved),
            Err(error) => {
                self.let_go(&error).await?;
                Err(error)
            }
        }
    }

    async fn try_complete(&self, new: NewArtifact, declared_now: Declared) -> Result<Saved> {
        self.check_parts(declared_now)?;
        let reads_parts = self.store.parts.reads_parts();
        let mut digest = None;
        if reads_parts {
            digest = Some(self.checked_digest(declared_now).await?);
        }
        fault::point("uploads.before_object");
        let object = self.make_object().await?;
        fault::point("uploads.object_durable");
        self.note_complete().await?;
        let digest = match digest {
            Some(digest) => digest,
            None => self.checked_digest(declared_now).await?,
        };
        self.save(new, Stored { digest, object }).await
    }

    /// That all parts are there.
    fn check_parts(&self, declared_now: Declared) -> Result<()> {
        let missing = || RegistryError::UploadIncomplete(self.size_bytes);
        let sum: u64 = self.parts.iter().map(|part| unsigned(part.size_bytes)).sum();
        if sum != self.size_bytes {
            return Err(missing());
        }
        for size_bytes in [declared(&self.row)?.size_bytes, declared_now.size_bytes]
            .into_iter()
            .flatten()
        {
            if size_bytes > self.size_bytes {
                return Err(missing());
            }
            Declared {
                size_bytes: Some(size_bytes),
                sha256: None,
            }
            .check_size(self.size_bytes)?;
        }
        Ok(())
    }

    /// The digest of all bytes, which must be what was declared.
    async fn checked_digest(&self, declared_now: Declared) -> Result<ContentDigest> {
        let block_crc32c: Vec<u32> = self.parts.iter().flat_map(|part| sums_of(&part.crc32c)).collect();
        let came_whole = self.registry.upload_locks.take_whole(self.row.id);
        let sha256 = match self.registry.hash_seal.digest(&self.row, self.size_bytes) {
            Some(sha256) => {
                // Where several streams wrote, one that was frozen may have written over what was durable;
                // a store that cannot read parts names each by what it holds.
                if self.store.parts.reads_parts() && !came_whole {
                    self.read_back(&block_crc32c, None).await?;
                }
                sha256
            }
            None => {
                let hasher = self.read_back(&block_crc32c, Some(Sha256Hasher::default())).await?;
                hasher.expect("it went in").finish()
            }
        };
        let digest = ContentDigest {
            sha256,
            size_bytes: self.size_bytes,
            block_crc32c,
        };
        declared(&self.row)?.check(&digest)?;
        declared_now.check(&digest)?;
        Ok(digest)
    }

    /// Checks that the bytes are what was recorded, and hashes them where that is wished.
    async fn read_back(&self, sums: &[u32], mut hasher: Option<Sha256Hasher>) -> Result<Option<Sha256Hasher>> {
        let object = object_of(&self.row)?;
        let mut at = 0;
        let mut renewed = tokio::time::Instant::now();
        while at < self.size_bytes {
            let end = (at + PIECE_BYTES).min(self.size_bytes);
            let bytes = self.store.parts.read(&object, at..end).await?;
            let sums = sums[(at / BLOCK_BYTES as u64) as usize..].to_vec();
            let checked = tokio::task::spawn_blocking(move || {
                let mut blocks = bytes.chunks(BLOCK_BYTES).zip(sums);
                let torn = blocks.position(|(block, sum)| crc32c(block) != sum);
                if let Some(hasher) = &mut hasher {
                    hasher.update(&bytes);
                }
                (torn, hasher)
            });
            let torn;
            (torn, hasher) = checked.await.expect("hashing does not panic");
            if let Some(block) = torn {
                return Err(self.drop_torn_part(at + (block * BLOCK_BYTES) as u64).await?);
            }
            at = end;
            if renewed.elapsed() > LEASE / 4 {
                self.renew(at).await?;
                renewed = tokio::time::Instant::now();
            }
        }
        Ok(hasher)
    }

    async fn renew(&self, hashed_bytes: u64) -> Result<()> {
        let (held, hashed) = ((self.row.id, self.epoch), hashed_bytes as i64);
        let renewed = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move { Ok(uploads::progress(txn, held, hashed, lease_until(now_us())).await?) })
        });
        if renewed.await? { Ok(()) } else { Err(self.fenced()) }
    }

    /// Somebody wrote over what was durable: that part has to be sent again.
    async fn drop_torn_part(&self, at: u64) -> Result<RegistryError> {
        tracing::warn!(
            upload = self.row.uid,
            at,
            "A part of an upload is not what was recorded"
        );
        let number = (at / unsigned(self.row.part_bytes)) as i64;
        let (id, torn) = (self.row.id, number * self.row.part_bytes);
        let dropped = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move { Ok(uploads::delete_part(txn, id, number).await?) })
        });
        dropped.await?;
        Ok(RegistryError::UploadIncomplete(unsigned(torn)))
    }

    async fn make_object(&self) -> Result<FinishedObject> {
        let object = object_of(&self.row)?;
        let parts = self.parts.iter().map(|part| part.store_part.clone()).collect();
        Ok(self.store.parts.complete(&object, parts, self.size_bytes).await?)
    }

    /// From here on no part can be written any more.
    async fn note_complete(&self) -> Result<()> {
        let (id, epoch) = (self.row.id, self.epoch);
        let noted = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            Box::pin(async move { Ok(uploads::note_complete(txn, (id, epoch), UploadState::Complete.code()).await?) })
        });
        if noted.await? { Ok(()) } else { Err(self.fenced()) }
    }

    fn fenced(&self) -> RegistryError {
        RegistryError::UploadFenced(self.row.uid.clone())
    }

    /// Makes the record, and stores the answer in the same transaction.
    async fn save(&self, new: NewArtifact, stored: Stored) -> Result<Saved> {
        let suffix = new.suffix()?;
        let storage = self.registry.places.storage_by_id(self.row.storage_id)?;
        let name = stored.object.name.clone();
        let commit = Commit {
            caller: self.caller.clone(),
            space_id: storage.space_id,
            new: Arc::new(new),
            suffix,
            storage_id: storage.id,
            content: Arc::new(NewContent::Stored(stored)),
            // The upload itself is what makes this repeatable.
            repeatable: None,
        };
        let (held, uid) = ((self.row.id, self.epoch), self.row.uid.clone());
        let done = self.registry.db.write::<_, RegistryError, _>(move |txn| {
            let (commit, uid) = (commit.clone(), uid.clone());
            Box::pin(async move {
                let run = commit.run(txn).await?;
                let (Run::Done { answer, .. } | Run::Before(answer)) = &run;
                let text = serde_json::to_string(answer).expect("answers are plain data");
                let saved = UploadState::Saved.code();
                if !uploads::finish(txn, held, saved, &text, expires_at(now_us())).await? {
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

fn sums_of(stored: &[u8]) -> Vec<u32> {
    stored
        .as_chunks::<4>()
        .0
        .iter()
        .map(|sum| u32::from_le_bytes(*sum))
        .collect()
}
