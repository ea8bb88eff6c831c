//! Hashing an upload whose parts come in order, beside receiving and writing them.
//!
//! The state of the hash is stored with each part, so that whoever goes on, here or
//! on another server, need not read what came before. It is sealed: who could write
//! one of their own would decide what a content is called.

use std::sync::Arc;

use artifactd_domain::{Sha256, Sha256Hasher};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::{
    db::uploads::UploadRow,
    master_key::{MasterKey, Sealer},
};

/// What a sealed state is for.
const PURPOSE: &str = "state of an upload's hash";

/// Pieces that wait for the hashing thread.
const PIECES_WAITING_MAX: usize = 4;

const SIZE_BYTES: usize = size_of::<u64>();

/// Seals the states of hashes; without a key none is kept.
#[derive(Debug, Clone, Default)]
pub struct HashSeal(Option<Arc<Sealer>>);

/// Hashes pieces on a thread of its own.
pub(super) struct UploadHash(mpsc::Sender<Work>);

/// The state behind the pieces so far, once they are hashed.
pub(super) type State = oneshot::Receiver<Vec<u8>>;

enum Work {
    Bytes(Bytes),
    Tell(oneshot::Sender<Vec<u8>>),
}

impl HashSeal {
    /// Seals with this key. Servers of one database share it, or read again what came.
    pub fn new(key: &MasterKey) -> Self {
        Self(Some(Arc::new(key.sealer(PURPOSE))))
    }

    /// Seals the state of an upload behind so many bytes.
    pub(super) fn seal(&self, uid: &str, size_bytes: u64, state: &[u8]) -> Option<String> {
        let plain = [&size_bytes.to_le_bytes(), uid.as_bytes(), state].concat();
        self.0.as_ref().map(|sealer| sealer.seal(&plain))
    }

    /// The hasher of an upload behind so many bytes; `None` when nothing tells, and what
    /// came has to be read.
    pub(super) fn hasher(&self, row: &UploadRow, size_bytes: u64) -> Option<Sha256Hasher> {
        if size_bytes == 0 {
            return Some(Sha256Hasher::default());
        }
        let plain = self.0.as_ref()?.open(row.hash_state.as_deref()?)?;
        let (size, rest) = plain.split_first_chunk::<SIZE_BYTES>()?;
        let state = rest.strip_prefix(row.uid.as_bytes())?;
        (u64::from_le_bytes(*size) == size_bytes)
            .then(|| Sha256Hasher::resume(state))
            .flatten()
    }

    /// The digest of an upload of so many bytes, all of which were hashed.
    pub(super) fn digest(&self, row: &UploadRow, size_bytes: u64) -> Option<Sha256> {
        self.hasher(row, size_bytes).map(Sha256Hasher::finish)
    }
}

impl UploadHash {
    /// Goes on with a hasher.
    pub(super) fn new(mut hasher: Sha256Hasher) -> Self {
        let (work, mut waiting) = mpsc::channel(PIECES_WAITING_MAX);
        // It ends with the stream: when the sender is dropped.
        drop(tokio::task::spawn_blocking(move || {
            while let Some(work) = waiting.blocking_recv() {
                match work {
                    Work::Bytes(bytes) => hasher.update(&bytes),
                    // Whoever asked may have gone away.
                    Work::Tell(asked) => drop(asked.send(hasher.state())),
                }
            }
        }));
        Self(work)
    }

    pub(super) async fn update(&self, bytes: Bytes) {
        self.give(Work::Bytes(bytes)).await;
    }

    pub(super) async fn state(&self) -> State {
        let (asked, state) = oneshot::channel();
        self.give(Work::Tell(asked)).await;
        state
    }

    async fn give(&self, work: Work) {
        let given = self.0.send(work).await;
        assert!(given.is_ok(), "the hashing thread takes all work");
    }
}
