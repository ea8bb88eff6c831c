//! Watching events: in order, each once, and on with those to come.
//!
//! Only events with a position are told, and positions follow commits without gaps, so
//! a watcher that knows the last position it was told misses nothing, on whatever server
//! it goes on. Events are read as far as the watcher takes them: a slow one costs the
//! memory of one page.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use artifactd_domain::Stem;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use sea_orm::DbBackend;
use tokio::{sync::watch, time::Instant};

use super::{Caller, Registry, RegistryError, Result};
use crate::db::events::{self, EventFilter, EventRow};

/// Events that are read at once.
const PAGE_EVENTS: i64 = 500;

/// Positions that are looked through at once.
const PAGE_POSITIONS: i64 = 20_000;

/// How long a watcher hears nothing at most.
const BOOKMARK: Duration = Duration::from_secs(30);

/// How often events of other servers are looked for.
const POLL: Duration = Duration::from_millis(200);

/// Which events to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchQuery {
    /// The last position that was told; unset for the events to come.
    pub after: Option<i64>,
    /// Kinds of events; all when empty.
    pub kinds: Vec<String>,
    /// Artifacts and families; all when empty.
    pub artifacts: Vec<Watchable>,
}

/// What events can be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watchable {
    /// One artifact, by its full uid.
    Artifact(String),
    /// All versions of a family.
    Family(Stem),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events.
    pub position: i64,
    /// What happened.
    pub kind: String,
    /// The artifact that it is about.
    pub artifact_uid: Option<String>,
    /// What else it is about.
    pub subject: Option<String>,
    /// More about it, as a JSON object.
    pub detail: String,
    /// Who did it.
    pub created_by: String,
    /// Where it happened.
    pub space: String,
    /// When it happened, in microseconds since 1970 UTC.
    pub at_us: i64,
    /// The call that did it.
    pub call_id: String,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Something happened.
    Event(Event),
    /// All events up to this position were looked at.
    Bookmark(i64),
}

struct Watch {
    registry: Arc<Registry>,
    filter: EventFilter,
    changes: watch::Receiver<()>,
    position: i64,
    waiting: VecDeque<EventRow>,
    /// When the watcher has to hear something again.
    bookmark_at: Instant,
    ended: bool,
}

impl Registry {
    /// Streams events.
    pub async fn watch(
        self: &Arc<Self>,
        caller: &Caller,
        query: WatchQuery,
    ) -> Result<BoxStream<'static, Result<Watched>>> {
        // Told of changes from before the first look on.
        let changes = self.db.changes();
        let last = events::last_position(self.db.reader()).await?;
        let mut filter = EventFilter {
            space_ids: caller.readable_space_ids.clone(),
            kinds: query.kinds,
            ..EventFilter::default()
        };
        for watchable in query.artifacts {
            match watchable {
                Watchable::Artifact(uid) => filter.artifact_uids.push(uid),
                Watchable::Family(stem) => filter.stems.push(stem.to_string()),
            }
        }
        let watch = Watch {
            registry: Arc::clone(self),
            filter,
            changes,
            position: query.after.unwrap_or(last),
            waiting: VecDeque::new(),
            bookmark_at: Instant::now(),
            ended: false,
        };
        Ok(stream::unfold(watch, |watch| watch.next()).boxed())
    }

    /// Ends all watches; further ones end at once.
    pub(crate) fn end_watches(&self) {
        self.ending.cancel();
    }
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Watched>, Self)> {
        if self.ended {
            return None;
        }
        match self.told().await {
            Ok(watched) => Some((Ok(watched), self)),
            Err(error) => {
                self.ended = true;
                Some((Err(error), self))
            }
        }
    }

    async fn told(&mut self) -> Result<Watched> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                self.bookmark_at = Instant::now() + BOOKMARK;
                return Ok(Watched::Event(self.event(row)?));
            }
            if self.registry.ending.is_cancelled() {
                return Err(RegistryError::Draining);
            }
            self.changes.mark_unchanged();
            if self.read().await? {
                continue;
            }
            if Instant::now() >= self.bookmark_at {
                self.bookmark_at = Instant::now() + BOOKMARK;
                return Ok(Watched::Bookmark(self.position));
            }
            self.wait().await;
        }
    }

    /// Reads what came; false when nothing did.
    async fn read(&mut self) -> Result<bool> {
        let conn = self.registry.db.reader();
        let last = events::last_position(conn).await?;
        if last <= self.position {
            return Ok(false);
        }
        let up_to = last.min(self.position + PAGE_POSITIONS);
        let rows = events::between(conn, self.position, up_to, &self.filter, PAGE_EVENTS).await?;
        self.position = match rows.last() {
            // There may be more up to there.
            Some(row) if rows.len() as i64 == PAGE_EVENTS => row.position,
            _ => up_to,
        };
        self.waiting.extend(rows);
        Ok(true)
    }

    /// Waits until something may have come.
    async fn wait(&mut self) {
        let until = match self.registry.db.backend() {
            // Other servers write to the same database.
            DbBackend::Postgres => self.bookmark_at.min(Instant::now() + POLL),
            _ => self.bookmark_at,
        };
        tokio::select! {
            // The sender lives as long as the registry.
            _ = self.changes.changed() => {}
            () = tokio::time::sleep_until(until) => {}
            () = self.registry.ending.cancelled() => {}
        }
    }

    fn event(&self, row: EventRow) -> Result<Event> {
        let places = &self.registry.places;
        Ok(Event {
            position: row.position,
            created_by: places.principal_name(row.principal_id)?.to_owned(),
            space: places.space(row.space_id)?.name.clone(),
            kind: row.kind,
            artifact_uid: row.artifact_uid,
            subject: row.subject,
            detail: row.detail,
            at_us: row.at_us,
            call_id: row.call_id,
        })
    }
}
