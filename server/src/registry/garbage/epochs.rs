//! Whether a database knows all that lies in a storage.
//!
//! A database that was restored from a copy knows nothing of what came after, and would
//! take it for garbage; so would a new one that is given an old storage. So the storage
//! keeps a note of the last epoch that a database began there. Each collection begins one,
//! and so does a server that saves, once a minute. Where the note is of an epoch that the
//! database does not know, nothing is collected until somebody accepts that.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use super::{
    super::{Registry, RegistryError, Result, StoragePlace, draw_uid},
    Collector,
};
use crate::db::{
    DbError,
    epochs::{self, Epoch},
    garbage,
};

/// How much later than a copy of the database something is certain to be found to be newer.
const NOTED_EVERY: Duration = Duration::from_secs(60);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.mark)
    }
}

impl FromStr for Epoch {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (number, mark) = text.trim_end().split_once(' ').ok_or(())?;
        Ok(Self {
            number: number.parse().map_err(drop)?,
            mark: mark.to_owned(),
        })
    }
}

/// Whether a database that knows `known` knows all of a storage that notes `noted`.
///
/// Servers note their epochs in any order, so an older one is fine. Another one of the same
/// number was begun by another copy of the database.
fn knows(known: &Epoch, noted: &Epoch) -> bool {
    known.number > noted.number || known == noted
}

impl Registry {
    /// Begins another epoch of a storage, unless the database does not know the last one.
    pub(super) async fn begin_epoch(&self, storage: &StoragePlace, accepts: bool) -> Result<()> {
        let noted = match storage.store.writer.note().await? {
            None => Ok(Epoch::default()),
            Some(note) => note.parse(),
        };
        let known = epochs::find(self.db.reader(), storage.id).await?;
        let is_known = noted.as_ref().is_ok_and(|noted| knows(&known, noted));
        if !accepts && !is_known {
            return Err(RegistryError::DatabaseBehind(storage.name.clone()));
        }
        // A note that nobody can read is as good as none once it is accepted.
        let above = noted.map_or(0, |noted| noted.number);
        let (id, mark) = (storage.id, draw_uid());
        let begun = self.db.write::<_, DbError, _>(move |txn| {
            let mark = mark.clone();
            Box::pin(async move { epochs::begin(txn, id, above, &mark).await })
        });
        let begun = begun.await?.to_string();
        Ok(storage.store.writer.keep_note(begun).await?)
    }

    /// Begins epochs for as long as the server runs and something is saved.
    pub async fn note_epochs_forever(self: Arc<Self>) {
        let (mut newest, mut has_warned) = (None, false);
        loop {
            tokio::time::sleep(NOTED_EVERY).await;
            match self.note_epochs(newest).await {
                Ok(noted) => (newest, has_warned) = (noted, false),
                Err(error) => {
                    if !std::mem::replace(&mut has_warned, true) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "Could not note how far this database knows its storages");
                    }
                }
            }
        }
    }

    /// Begins epochs if something was saved behind an object; answers the newest one.
    async fn note_epochs(&self, newest: Option<i64>) -> Result<Option<i64>> {
        let found = garbage::newest_object(self.db.reader()).await?;
        if found != newest {
            for storage in self.places.storages().filter(|place| place.is_written()) {
                self.begin_epoch(storage, false).await?;
            }
        }
        Ok(found)
    }
}

impl Collector {
    /// Refuses to collect what the database may not know. A dry run may look.
    pub(super) async fn begin_epochs(&self) -> Result<()> {
        if self.how.dry_run {
            return Ok(());
        }
        for storage in self.registry.places.storages().filter(|place| place.is_written()) {
            self.registry.begin_epoch(storage, self.how.accepts_restored).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: i64, mark: &str) -> Epoch {
        let mark = mark.to_owned();
        Epoch { number, mark }
    }

    #[test]
    fn a_database_knows_the_epochs_that_it_began() {
        let noted = epoch(7, "a");
        assert!(knows(&epoch(7, "a"), &noted));
        assert!(knows(&epoch(8, "b"), &noted), "a later one was not noted yet");
        assert!(!knows(&epoch(6, "z"), &noted), "it is older");
        assert!(!knows(&epoch(7, "b"), &noted), "another copy of it goes on elsewhere");
        assert!(!knows(&Epoch::default(), &noted), "it is new");
        assert!(knows(&Epoch::default(), &Epoch::default()));
    }

    #[test]
    fn epochs_are_read_as_they_were_written() {
        let written = epoch(12, "0123abcd");
        assert_eq!(written.to_string().parse(), Ok(written));
        for other in ["", "12", "x y", "probe\n"] {
            assert!(other.parse::<Epoch>().is_err(), "{other}");
        }
    }
}
