//! Who writes in this process: one at a time to an upload whose parts come in order,
//! and one at a time to each part of another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Uploads that are remembered as written by this process alone.
const ALONE_MAX: usize = 1_000;

/// How long whoever writes a part may be silent before another one takes it over.
const PART_SILENCE_MAX: Duration = Duration::from_secs(5);

const PART_POLL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(in crate::registry) struct UploadLocks {
    writers: Mutex<HashMap<i64, Writer>>,
    /// The last epoch of uploads that were this process's in all of their epochs.
    alone: Mutex<HashMap<i64, i64>>,
    parts: Arc<Mutex<Parts>>,
}

/// Parts that are being written, by upload and number.
type Parts = HashMap<(i64, u64), Arc<PartWriter>>;

#[derive(Debug)]
struct PartWriter {
    touched: Mutex<Instant>,
    superseded: CancellationToken,
    ended: CancellationToken,
}

/// The turn of the one who writes a part.
#[derive(Debug)]
pub(super) struct PartTurn {
    writer: Arc<PartWriter>,
    place: (i64, u64),
    parts: Arc<Mutex<Parts>>,
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

    /// Notes that this process took an upload over, which began an epoch.
    pub(super) fn note_epoch(&self, id: i64, epoch: i64) {
        let mut alone = self.alone.lock().expect("no holder panics");
        let was_alone = epoch == 1 || alone.get(&id) == Some(&(epoch - 1));
        if !was_alone {
            alone.remove(&id);
            return;
        }
        if alone.len() >= ALONE_MAX {
            // They are read when they are completed.
            alone.clear();
        }
        alone.insert(id, epoch);
    }

    /// Whether this process alone wrote to an upload up to an epoch; it is forgotten.
    pub(super) fn take_alone(&self, id: i64, epoch: i64) -> bool {
        self.alone.lock().expect("no holder panics").remove(&id) == Some(epoch)
    }

    /// Waits for the turn to write a part. Who has it and is silent for long is turned away.
    pub(super) async fn take_part(&self, id: i64, number: u64) -> PartTurn {
        loop {
            let writer = {
                let mut parts = self.parts.lock().expect("no holder panics");
                match parts.get(&(id, number)) {
                    Some(writer) => Arc::clone(writer),
                    None => return self.begin_part(&mut parts, (id, number)),
                }
            };
            tokio::select! {
                () = writer.ended.cancelled() => {}
                () = tokio::time::sleep(PART_POLL) => {
                    if writer.touched.lock().expect("no holder panics").elapsed() > PART_SILENCE_MAX {
                        writer.superseded.cancel();
                    }
                }
            }
        }
    }

    fn begin_part(&self, parts: &mut Parts, place: (i64, u64)) -> PartTurn {
        let writer = Arc::new(PartWriter {
            touched: Mutex::new(Instant::now()),
            superseded: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        parts.insert(place, Arc::clone(&writer));
        PartTurn {
            writer,
            place,
            parts: Arc::clone(&self.parts),
        }
    }
}

impl PartTurn {
    /// Says that bytes of the part came.
    pub(super) fn touch(&self) {
        *self.writer.touched.lock().expect("no holder panics") = Instant::now();
    }

    /// Completes when another one shall have the part.
    pub(super) async fn superseded(&self) {
        self.writer.superseded.cancelled().await;
    }
}

impl Drop for PartTurn {
    fn drop(&mut self) {
        self.parts.lock().expect("no holder panics").remove(&self.place);
        self.writer.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_writes_a_part_and_others_do_not_wait_for_it() {
        let locks = UploadLocks::default();
        let first = locks.take_part(1, 7).await;
        locks.take_part(1, 8).await;
        locks.take_part(2, 7).await;
        let mut second = Box::pin(locks.take_part(1, 7));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        let second = second.await;
        assert!(locks.take_part(1, 7).now_or_never().is_none());
        drop(second);
        assert!(locks.parts.lock().unwrap().is_empty());
    }

    #[test]
    fn only_who_took_every_epoch_wrote_alone() {
        let locks = UploadLocks::default();
        for epoch in 1..=3 {
            locks.note_epoch(1, epoch);
        }
        assert!(!locks.take_alone(2, 1));
        assert!(locks.take_alone(1, 3));
        assert!(!locks.take_alone(1, 3), "it is told once");
        // Another process took the second one.
        locks.note_epoch(3, 1);
        locks.note_epoch(3, 3);
        assert!(!locks.take_alone(3, 3));
        locks.note_epoch(4, 1);
        assert!(!locks.take_alone(4, 2));
    }
}
