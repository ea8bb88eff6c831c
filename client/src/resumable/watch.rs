//! Who hears of progress.

use std::sync::{Mutex, PoisonError};

use artifactd_proto::v1 as pb;

use super::{UploadProgress, durable_bytes, file::LocalFile};
use crate::events::{Event, Teller};

/// Who hears of progress, and what was told last.
pub(super) struct Watch<'a> {
    progress: &'a (dyn Fn(UploadProgress) + Send + Sync),
    events: &'a Teller,
    told: Mutex<UploadProgress>,
}

impl<'a> Watch<'a> {
    /// Tells where an upload stands when a call begins.
    pub(super) fn new(
        upload: &pb::Upload,
        file: &LocalFile,
        (progress, events): (&'a (dyn Fn(UploadProgress) + Send + Sync), &'a Teller),
    ) -> Self {
        events.tell(Event::Begun {
            files: 1,
            bytes: Some(file.size_bytes),
        });
        events.tell(Event::UploadBegun {
            uid: upload.uid.clone(),
        });
        let watch = Self {
            progress,
            events,
            told: Mutex::new(UploadProgress {
                uid: upload.uid.clone(),
                size_bytes: file.size_bytes,
                durable_bytes: durable_bytes(upload),
                sent_bytes: 0,
                hashed_bytes: 0,
            }),
        };
        watch.tell(|_| {});
        watch
    }

    /// A part is durable, by what was sent in this call or before.
    pub(super) fn durable(&self, bytes: u64, is_sent_now: bool) {
        self.tell(|now| {
            // A part that the server lost is told once.
            now.durable_bytes = (now.durable_bytes + bytes).min(now.size_bytes);
            now.sent_bytes += if is_sent_now { bytes } else { 0 };
        });
    }

    pub(super) fn hashed(&self, bytes: u64) {
        self.tell(|now| now.hashed_bytes = now.hashed_bytes.max(bytes));
    }

    /// Changes and tells in one go, so that nobody hears of an earlier state later.
    fn tell(&self, change: impl FnOnce(&mut UploadProgress)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut told);
        (self.progress)(told.clone());
        self.events.tell(Event::Arrived {
            files: 0,
            bytes: told.durable_bytes,
        });
        if told.hashed_bytes > 0 {
            self.events.tell(Event::Hashed {
                bytes: told.hashed_bytes,
            });
        }
    }

    /// It is an artifact.
    pub(super) fn finish(&self) {
        let moved_bytes = self.told.lock().unwrap_or_else(PoisonError::into_inner).sent_bytes;
        self.events.tell(Event::Done { moved_bytes });
    }
}
