//! Who writes to an upload in this process: one at a time where parts come in order.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Uploads that are remembered between their end and their completion.
const WHOLE_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::registry) struct UploadLocks {
    writers: Mutex<HashMap<i64, Writer>>,
    /// Uploads whose content came through one stream.
    whole: Mutex<HashSet<i64>>,
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

    /// All parts of an upload came through one stream, which has ended.
    pub(super) fn remember_whole(&self, id: i64) {
        let mut whole = self.whole.lock().expect("no holder panics");
        if whole.len() < WHOLE_MAX {
            whole.insert(id);
        }
    }

    /// Whether that is known of an upload; it is forgotten.
    pub(super) fn take_whole(&self, id: i64) -> bool {
        self.whole.lock().expect("no holder panics").remove(&id)
    }
}
