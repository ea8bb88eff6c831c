//! Who writes to an upload in this process: one at a time where parts come in order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use artifactd_domain::ContentDigest;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Digests that are remembered between the end of an upload and its completion.
const DIGESTS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::registry) struct UploadLocks {
    writers: Mutex<HashMap<i64, Writer>>,
    /// Of uploads whose content came through one stream.
    digests: Mutex<HashMap<i64, ContentDigest>>,
}

#[derive(Debug, Clone, Default)]
struct Writer {
    turn: Arc<tokio::sync::Mutex<()>>,
    superseded: CancellationToken,
}

/// The turn of one writer.
#[derive(Debug)]
pub(super) struct WriterTurn {
    pub(super) superseded: CancellationToken,
    _turn: OwnedMutexGuard<()>,
}

impl UploadLocks {
    /// Tells who writes to an upload that somebody else does from now on.
    pub(super) fn supersede(&self, id: i64) {
        if let Some(writer) = self.writers.lock().expect("no holder panics").get(&id) {
            writer.superseded.cancel();
        }
    }

    /// Takes over from who writes to an upload, once its last write has ended.
    pub(super) async fn take_over(&self, id: i64) -> WriterTurn {
        let (turn, superseded) = {
            let mut writers = self.writers.lock().expect("no holder panics");
            writers.retain(|other, writer| *other == id || Arc::strong_count(&writer.turn) > 1);
            let writer = writers.entry(id).or_default();
            writer.superseded.cancel();
            writer.superseded = CancellationToken::new();
            (Arc::clone(&writer.turn), writer.superseded.clone())
        };
        WriterTurn {
            superseded,
            _turn: turn.lock_owned().await,
        }
    }

    pub(super) fn remember_digest(&self, id: i64, digest: ContentDigest) {
        let mut digests = self.digests.lock().expect("no holder panics");
        if digests.len() < DIGESTS_MAX {
            digests.insert(id, digest);
        }
    }

    pub(super) fn take_digest(&self, id: i64) -> Option<ContentDigest> {
        self.digests.lock().expect("no holder panics").remove(&id)
    }
}
