//! Tries whether a bucket does what a storage needs, before anybody relies on it.
//!
//! What is asked here is asked as saves, reads and collections of garbage ask it: an object
//! is written under a name that nobody has, read, and removed. Then nothing of it may be
//! left: a bucket that locks what is written would keep all that is ever destroyed.

use object_store::{ObjectStoreExt, PutPayload, path::Path};

use super::{CloudWriter, uploads::Kept};
use crate::storage::{StorageError, error::Result, writer::Tried};

const CONTENT: &[u8] = b"written by artifactd to try this storage";

/// What services say of a bucket that another region of theirs has.
const OF_OTHER_REGION: [&str; 4] = [
    "incorrectly configured region",
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
];

/// What services say of a write to a bucket that locks what is written: that it has to come
/// with a checksum of a kind that needs no other.
const LOCKING: [&str; 2] = ["Object Lock", "ObjectLock"];

const LOCKED: &str = "what is written is locked (object lock with a default retention), so that nothing can be removed";

impl CloudWriter {
    pub(super) async fn try_all(&self) -> Result<Tried> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system gives randomness");
        // Two that try one bucket at once shall not meet.
        let path = self.path(&format!("probe-{:016x}", u64::from_ne_bytes(random)));
        let put = self.put_new(&path, PutPayload::from_static(CONTENT)).await;
        put.map_err(|error| failed("written", error))?;
        let read = self.read_back(&path).await;
        let removed = self.bucket.delete(&path).await;
        read?;
        removed.map_err(|error| failed("removed", error))?;
        match self.bucket.head(&path).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed("looked for", error)),
            Ok(_) => return Err(not_so("what is removed is still there")),
        }
        match self.uploads.clear(&path).await? {
            Kept::Nothing => Ok(Tried { keeps_versions: false }),
            Kept::Versions => Ok(Tried { keeps_versions: true }),
            Kept::Locked => Err(not_so(LOCKED)),
        }
    }

    async fn read_back(&self, path: &Path) -> Result<()> {
        let found = self.bucket.get(path).await;
        let found = found.map_err(|error| failed("read", error))?;
        let bytes = found.bytes().await.map_err(|error| failed("read", error))?;
        match bytes == CONTENT {
            true => Ok(()),
            false => Err(not_so("it answers other bytes than were written")),
        }
    }
}

fn failed(step: &'static str, error: object_store::Error) -> StorageError {
    let text = format!("{error} {error:?}");
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&OF_OTHER_REGION) {
        return StorageError::OtherRegion(Box::new(error));
    }
    let what = match says(&LOCKING) {
        true => LOCKED.to_owned(),
        false => format!("nothing can be {step}"),
    };
    StorageError::Useless {
        what,
        source: Some(Box::new(error)),
    }
}

fn not_so(what: &str) -> StorageError {
    StorageError::Useless {
        what: what.to_owned(),
        source: None,
    }
}
