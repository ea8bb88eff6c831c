//! Parallel uploads are hashed from their first part on while later ones come.
//!
//! That is sound only where nobody writes to a part once it was read here. Streams of
//! one process take turns at each part; so an upload is noted, before anything is
//! written to it, as one that its creator alone writes to, or as one that several
//! processes do, which is read whole when it is completed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use artifactd_domain::{BLOCK_BYTES, Sha256Hasher};
use tokio::sync::Semaphore;

use super::{
    super::{Registry, Result, draw_uid},
    checking::{first_torn, sums_of},
    unsigned,
};
use crate::{
    db::{
        DbError,
        uploads::{self, PartRow, UploadRow},
    },
    storage::{PartedObject, Store},
};

/// Uploads that are hashed at a time; each holds a piece in memory.
const HASHED_AT_ONCE: usize = 2;

/// Uploads whose hashes are remembered; others are read when they are completed.
const REMEMBERED_MAX: usize = 1_000;

/// Parts in one query.
const PARTS_AT_ONCE: i64 = 8;

/// Bytes that are read and hashed at once.
const PIECE_BYTES: u64 = 16 * BLOCK_BYTES as u64;

/// What is noted of an upload to which several processes write.
const SEVERAL: &str = "several processes";

/// See the module.
#[derive(Debug)]
pub(in crate::registry) struct HashesAhead {
    /// What is noted of an upload to which this process alone writes.
    here_alone: String,
    uploads: Mutex<HashMap<i64, Arc<Ahead>>>,
    turns: Semaphore,
}

/// The hash of the first bytes of an upload.
#[derive(Debug, Default)]
struct Ahead {
    hashed: tokio::sync::Mutex<Hashed>,
    is_running: AtomicBool,
    /// Parts were recorded since they were last looked for.
    is_behind: AtomicBool,
    is_stopped: AtomicBool,
}

/// A hash, and of how many bytes it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashed {
    pub(super) hasher: Sha256Hasher,
    pub(super) bytes: u64,
}

impl Default for HashesAhead {
    fn default() -> Self {
        Self {
            here_alone: format!("process {}", draw_uid()),
            uploads: Mutex::default(),
            turns: Semaphore::new(HASHED_AT_ONCE),
        }
    }
}

impl HashesAhead {
    /// What to note of an upload that is made here.
    pub(super) fn of_new(&self, store: &Store, is_parallel: bool) -> Option<String> {
        (is_parallel && store.parts.reads_parts()).then(|| self.here_alone.clone())
    }

    fn is_alone(&self, row: &UploadRow) -> bool {
        row.hash_state.as_ref() == Some(&self.here_alone)
    }

    /// The hash of the first bytes, where it can be believed; it is forgotten.
    pub(super) async fn take(&self, row: &UploadRow) -> Option<Hashed> {
        let ahead = self.uploads.lock().expect("no holder panics").remove(&row.id);
        let ahead = ahead.filter(|_| self.is_alone(row))?;
        ahead.is_stopped.store(true, Ordering::Relaxed);
        Some(ahead.hashed.lock().await.clone())
    }

    /// Forgets an upload that ends.
    pub(super) fn forget(&self, id: i64) {
        if let Some(ahead) = self.uploads.lock().expect("no holder panics").remove(&id) {
            ahead.is_stopped.store(true, Ordering::Relaxed);
        }
    }

    fn of(&self, row: &UploadRow) -> Option<Arc<Ahead>> {
        let mut uploads = self.uploads.lock().expect("no holder panics");
        if !self.is_alone(row) || uploads.len() >= REMEMBERED_MAX && !uploads.contains_key(&row.id) {
            return None;
        }
        Some(Arc::clone(uploads.entry(row.id).or_default()))
    }
}

impl Registry {
    /// Notes that this process writes to a parallel upload, before it does.
    pub(super) async fn note_writer(&self, row: &mut UploadRow, store: &Store) -> Result<()> {
        let is_noted = self.hashes_ahead.is_alone(row) || row.hash_state.as_deref() == Some(SEVERAL);
        if is_noted || !store.parts.reads_parts() {
            return Ok(());
        }
        let (id, state) = (row.id, SEVERAL.to_owned());
        let noted = self.db.write::<_, DbError, _>(move |txn| {
            let state = state.clone();
            Box::pin(async move { uploads::note_hash(txn, id, state).await })
        });
        noted.await?;
        row.hash_state = Some(SEVERAL.to_owned());
        Ok(())
    }

    /// Goes on hashing an upload of which a part was recorded.
    pub(super) fn hash_ahead(self: &Arc<Self>, row: &Arc<UploadRow>, object: &PartedObject, store: &Store) {
        let Some(ahead) = self.hashes_ahead.of(row) else {
            return;
        };
        ahead.is_behind.store(true, Ordering::Release);
        if ahead.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (registry, row, object, store) = (Arc::clone(self), Arc::clone(row), object.clone(), store.clone());
        drop(self.spawn(async move {
            while ahead.is_behind.swap(false, Ordering::AcqRel) {
                let hashed = registry.catch_up(&ahead, &row, &object, &store).await;
                ahead.is_running.store(false, Ordering::Release);
                if let Err(error) = hashed {
                    // Completion reads what is not hashed by then.
                    tracing::debug!(
                        upload = row.uid,
                        error = &error as &dyn std::error::Error,
                        "Could not hash ahead"
                    );
                    return;
                }
                // One that was recorded just now may have found this at work.
                if ahead.is_behind.load(Ordering::Acquire) && ahead.is_running.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }));
    }

    /// Hashes the parts that are there without a gap.
    async fn catch_up(&self, ahead: &Ahead, row: &UploadRow, object: &PartedObject, store: &Store) -> Result<()> {
        let _turn = self
            .hashes_ahead
            .turns
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut hashed = ahead.hashed.lock().await;
        loop {
            let first = (hashed.bytes / unsigned(row.part_bytes)) as i64;
            let parts = uploads::parts_from(self.db.reader(), row.id, first, PARTS_AT_ONCE).await?;
            let next = parts
                .iter()
                .zip(first..)
                .take_while(|(part, number)| part.number == *number);
            let mut found = false;
            for (part, _) in next {
                if !self.hash_part(ahead, &mut hashed, part, (object, store)).await? {
                    return Ok(());
                }
                found = true;
            }
            if !found {
                return Ok(());
            }
        }
    }

    /// Hashes a part; false when it is not what was recorded, or not to be hashed any more.
    async fn hash_part(
        &self,
        ahead: &Ahead,
        hashed: &mut Hashed,
        part: &PartRow,
        (object, store): (&PartedObject, &Store),
    ) -> Result<bool> {
        let (mut next, end) = (hashed.clone(), hashed.bytes + unsigned(part.size_bytes));
        let mut sums = sums_of(&part.crc32c);
        while next.bytes < end {
            if ahead.is_stopped.load(Ordering::Relaxed) || self.is_ending() {
                return Ok(false);
            }
            let until = (next.bytes + PIECE_BYTES).min(end);
            let bytes = store.parts.read(object, next.bytes..until).await?;
            let rest = sums.split_off(bytes.len().div_ceil(BLOCK_BYTES).min(sums.len()));
            let (these, mut hasher) = (std::mem::replace(&mut sums, rest), next.hasher);
            let done = tokio::task::spawn_blocking(move || {
                let is_sound = first_torn(&bytes, &these).is_none();
                hasher.update(&bytes);
                is_sound.then_some(hasher)
            });
            let Some(hasher) = done.await.expect("hashing does not panic") else {
                return Ok(false);
            };
            next = Hashed { hasher, bytes: until };
        }
        *hashed = next;
        Ok(true)
    }
}
