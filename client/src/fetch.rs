//! Contents and folders on their way to the disk.
//!
//! What comes in is written beside its target under a name that follows from both, so
//! that another run, also of another program, goes on with it. It appears under its own
//! name complete, checked against its sha256, and in one step; until then nothing else
//! of it is seen. Large contents come over several streams at once.
//!
//! A file is made durable before it appears, unless that is not wished. The files of a
//! folder are made durable together where the system can do that (Linux), else one by one.
//!
//! Names come from a server and are not trusted: they were parsed as paths that lead
//! nowhere else, and nothing is written through a link that was not there before.

mod collection;
mod file;
mod folder;
mod group;
mod options;
mod part;
mod place;
mod source;
mod tree;

use std::sync::atomic::{AtomicU64, Ordering};

pub use self::{
    collection::{CollectionDownload, DownloadedMember},
    options::{DownloadOptions, Downloaded, IfExists},
};
pub(crate) use self::{
    file::fetch_part,
    folder::{Base, fetch_folder},
    part::{Part, is_still_at},
    place::{Place, hash, sync_folder},
    source::{Source, in_time},
    tree::Tree,
};
use crate::events::{Event, Teller};

/// What has arrived, for whoever shows it.
#[derive(Debug)]
pub(crate) struct Watch {
    teller: Teller,
    files: AtomicU64,
    bytes: AtomicU64,
    moved_bytes: AtomicU64,
}

impl Watch {
    /// Tells that something begins.
    pub(crate) fn begin(teller: &Teller, files: u64, bytes: u64) -> Self {
        teller.tell(Event::Begun {
            files,
            bytes: Some(bytes),
        });
        Self {
            teller: teller.clone(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            moved_bytes: AtomicU64::new(0),
        }
    }

    /// Some bytes need not travel.
    pub(crate) fn was_there(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// What was thought to be there is not what it should be.
    pub(crate) fn was_wrong(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// Some bytes have come.
    pub(crate) fn came(&self, bytes: u64) {
        self.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.was_there(bytes);
    }

    /// Some files are complete.
    pub(crate) fn completed(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.tell();
    }

    /// All is done. Answers the bytes that travelled.
    pub(crate) fn finish(&self) -> u64 {
        let moved_bytes = self.moved_bytes.load(Ordering::Relaxed);
        self.teller.tell(Event::Done { moved_bytes });
        moved_bytes
    }

    fn tell(&self) {
        self.teller.tell(Event::Arrived {
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        });
    }
}
