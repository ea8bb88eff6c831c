//! Searching by words.
//!
//! The index of words follows the log, a moment behind, so that no save waits for it.
//! Whatever the log has since then is looked at itself, so an answer is always whole; while
//! that is too much, as after an update of an old server, there is none.
//! What the index finds is tried as it is now: an entry that is out of date finds
//! nothing that is not there.

mod indexing;

use std::collections::{BTreeMap, HashMap};

use artifactd_domain::{
    Order,
    search::{Query, Rank, Texts},
};
use serde::{Deserialize, Serialize};

use super::{Artifact, Caller, Registry, RegistryError, Result, selection::Selection};
use crate::db::{
    Reader,
    artifacts::ArtifactRow,
    listing::{self, Listing, Which},
    search,
};

/// Candidates that are tried for one page.
const TRIED_MAX: usize = 20_000;

/// Changes which the index does not have yet, and which are looked at for a search.
const UNINDEXED_MAX: i64 = 50_000;

/// Artifacts that are read at a time.
const READ_AT_ONCE: usize = 500;

/// What to search for.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// The words.
    pub query: Query,
    /// Among which artifacts.
    pub selection: Selection,
    /// Place after which the page starts.
    pub after: Option<SearchPlace>,
    /// Most artifacts.
    pub rows: u64,
}

/// A place in the order of what a search finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchPlace {
    /// The number of its rank.
    rank: usize,
    /// What comes after it has a lower id, or a later rank.
    id: i64,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The artifact.
    pub artifact: Artifact,
    /// How well it matches.
    pub rank: Rank,
}

/// A page of hits.
#[derive(Debug, Clone)]
pub struct Hits {
    /// The hits, the best first.
    pub hits: Vec<Hit>,
    /// Where the next page starts, when there may be more.
    pub next: Option<SearchPlace>,
}

impl Registry {
    /// Searches the caller's space. A page may have fewer hits than were asked for, also
    /// none, before the last.
    pub async fn search(&self, caller: &Caller, query: &SearchQuery) -> Result<Hits> {
        let listings = self.listings(caller, &query.selection, Order::default()).await?;
        let mut searching = Searching {
            conn: self.db.reader(),
            space_id: caller.space_id,
            query: &query.query,
            listings,
            ranks: HashMap::new(),
            recent: BTreeMap::new(),
            tried: 0,
        };
        searching.look_into_log().await?;
        let (found, next) = searching.page(query.after, query.rows as usize).await?;
        let hits = found.into_iter().map(|(rank, row)| {
            let artifact = self.to_artifact(row)?;
            Ok(Hit { artifact, rank })
        });
        Ok(Hits {
            hits: hits.collect::<Result<_>>()?,
            next,
        })
    }
}

/// A search under way.
struct Searching<'s> {
    conn: &'s Reader,
    space_id: i64,
    query: &'s Query,
    listings: Vec<Listing>,
    /// What is known of artifacts: of one that does not match, nothing.
    ranks: HashMap<i64, Option<Rank>>,
    /// Those that match and may not be in the index.
    recent: BTreeMap<i64, (Rank, ArtifactRow)>,
    tried: usize,
}

impl Searching<'_> {
    /// Finds what happened since the index was written.
    async fn look_into_log(&mut self) -> Result<()> {
        // Before the index is asked: what it learns in between is then found twice, not never.
        let position = search::progress(self.conn).await?;
        if search::is_beyond(self.conn, position, UNINDEXED_MAX).await? {
            return Err(RegistryError::IndexBehind);
        }
        let uids = search::uids_after(self.conn, position, &indexing::KINDS).await?;
        let uids: Vec<String> = uids.into_iter().collect();
        for some in uids.chunks(READ_AT_ONCE) {
            for row in self.read(Which::Uids(some)).await? {
                let rank = self.query.rank(texts(&row));
                self.ranks.insert(row.id, rank);
                if let Some(rank) = rank {
                    self.recent.insert(row.id, (rank, row));
                }
            }
        }
        Ok(())
    }

    async fn page(
        &mut self,
        after: Option<SearchPlace>,
        rows: usize,
    ) -> Result<(Vec<(Rank, ArtifactRow)>, Option<SearchPlace>)> {
        let (first_rank, mut below) = after.map_or((0, i64::MAX), |place| (place.rank, place.id));
        let mut found = Vec::new();
        for (number, rank) in Rank::ALL.into_iter().enumerate().skip(first_rank) {
            let mut go_on = Some(below);
            while let Some(below) = go_on {
                let (hits, next) = self.step(rank, below).await?;
                found.extend(hits.into_iter().map(|row| (number, rank, row)));
                if found.len() > rows {
                    found.truncate(rows);
                    let last = found.last().map(|(number, _, row)| SearchPlace {
                        rank: *number,
                        id: row.id,
                    });
                    return Ok((without_numbers(found), last));
                }
                if self.tried >= TRIED_MAX {
                    let place = match next {
                        Some(id) => Some(SearchPlace { rank: number, id }),
                        None => (number + 1 < Rank::ALL.len()).then_some(SearchPlace {
                            rank: number + 1,
                            id: i64::MAX,
                        }),
                    };
                    return Ok((without_numbers(found), place));
                }
                go_on = next;
            }
            below = i64::MAX;
        }
        Ok((without_numbers(found), None))
    }

    /// The next artifacts of a rank below an id, the highest ids first, and the id below
    /// which to go on.
    async fn step(&mut self, rank: Rank, below: i64) -> Result<(Vec<ArtifactRow>, Option<i64>)> {
        let lookup = self.query.lookup(rank);
        let candidates = search::candidates(self.conn, &lookup, self.space_id, below).await?;
        self.tried += candidates.ids.len();
        let from = candidates.below.unwrap_or(i64::MIN);
        let recent = self.recent.range(from..below);
        let recent = recent.filter(|(_, (recent_rank, _))| *recent_rank == rank);
        let mut hits: BTreeMap<i64, ArtifactRow> = recent.map(|(id, (_, row))| (*id, row.clone())).collect();
        let is_new = |id: &i64| !self.ranks.contains_key(id);
        let unknown: Vec<i64> = candidates.ids.into_iter().filter(is_new).collect();
        for some in unknown.chunks(READ_AT_ONCE) {
            for row in self.read(Which::Ids(some)).await? {
                let actual = self.query.rank(texts(&row));
                // A better match was found already; a worse one is found again in its turn.
                if actual.is_none_or(|actual| actual <= rank) {
                    self.ranks.insert(row.id, actual);
                }
                if actual == Some(rank) {
                    hits.insert(row.id, row);
                }
            }
        }
        let hits = hits.into_values().rev().collect();
        Ok((hits, candidates.below))
    }

    /// Those of some artifacts that the caller asks for.
    async fn read(&self, which: Which<'_>) -> Result<Vec<ArtifactRow>> {
        let mut rows = Vec::new();
        for listing in &self.listings {
            rows.extend(listing::among(self.conn, listing, which).await?);
        }
        Ok(rows)
    }
}

fn without_numbers(found: Vec<(usize, Rank, ArtifactRow)>) -> Vec<(Rank, ArtifactRow)> {
    found.into_iter().map(|(_, rank, row)| (rank, row)).collect()
}

/// The texts by which an artifact is found.
fn texts(row: &ArtifactRow) -> Texts<'_> {
    Texts {
        key: row.key.as_deref(),
        file_name: row.file_name.as_deref(),
        description: row.description.as_deref(),
    }
}
