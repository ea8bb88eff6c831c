//! Lists with keyset pages: a page costs the same wherever it lies.

use artifactd_domain::{ArtifactRef, Order, VersionNumber, Visibility};

use super::{Artifact, Caller, Registry, Result, selection::Selection};
pub use crate::db::listing::Place;
use crate::db::{
    artifacts::{self, ArtifactRow},
    listing::{self, Found},
};

/// A page of records, and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<After> {
    /// The records.
    pub artifacts: Vec<Artifact>,
    /// Place of the last record, when there are more.
    pub next: Option<After>,
}

/// Which artifacts to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Which ones.
    pub selection: Selection,
    /// In which order.
    pub order: Order,
    /// Place after which the page starts.
    pub after: Option<Place>,
    /// Most records.
    pub rows: u64,
}

/// Which versions to list.
#[derive(Debug, Clone)]
pub struct VersionsQuery {
    /// Any artifact of the family.
    pub reference: ArtifactRef,
    /// Which visibilities; DEFAULT alone when none is named.
    pub visibilities: Vec<Visibility>,
    /// Number below which the page starts.
    pub below: Option<VersionNumber>,
    /// Most records.
    pub rows: u64,
}

/// How many artifacts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many, or more.
    pub counted: u64,
    /// Whether there are more.
    pub more: bool,
}

impl Registry {
    /// Lists artifacts of the caller's space. A page may have fewer records than were
    /// asked for, also none, before the last.
    pub async fn list(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Place>> {
        let listings = self.listings(caller, &query.selection, query.order).await?;
        let conn = self.db.reader();
        let ranges = listings
            .iter()
            .map(|listing| listing::next(conn, listing, query.after.as_ref(), query.rows + 1));
        let found = futures::future::try_join_all(ranges).await?;
        let (rows, next) = merged(found, query.order, query.rows as usize);
        Ok(Page {
            artifacts: self.to_artifacts(rows)?,
            next,
        })
    }

    /// Counts artifacts of the caller's space up to a number.
    pub async fn count(&self, caller: &Caller, selection: &Selection, most: u64) -> Result<Count> {
        let mut counted = 0;
        for listing in self.listings(caller, selection, Order::default()).await? {
            counted += listing::count(self.db.reader(), &listing, most + 1 - counted).await?;
        }
        Ok(Count {
            counted: counted.min(most),
            more: counted > most,
        })
    }

    /// Lists the versions of a family, highest number first.
    pub async fn versions(&self, caller: &Caller, query: &VersionsQuery) -> Result<Page<VersionNumber>> {
        let conn = self.db.reader();
        let family_id = self.family(conn, caller, &query.reference).await?.id;
        let visibilities = match query.visibilities.as_slice() {
            [] => &[Visibility::Default][..],
            named => named,
        };
        let mut rows = artifacts::versions_page(conn, family_id, visibilities, query.below, query.rows + 1).await?;
        let more = rows.len() as u64 > query.rows;
        rows.truncate(query.rows as usize);
        let next = rows.last().filter(|_| more).map(|row| row.number()).transpose()?;
        Ok(Page {
            artifacts: self.to_artifacts(rows)?,
            next,
        })
    }
}

/// What several ranges of one order hold together, as far as all of them were looked through.
fn merged(mut found: Vec<Found>, order: Order, most: usize) -> (Vec<ArtifactRow>, Option<Place>) {
    if let [Found { rows, up_to }] = found.as_mut_slice() {
        let more = rows.len() > most;
        rows.truncate(most);
        let last = rows.last().filter(|_| more).map(|row| Place::of(row, order.by));
        return (std::mem::take(rows), last.or(up_to.take()));
    }
    let ends = found.iter().filter_map(|found| found.up_to.as_ref());
    let end = ends.min_by(|one, other| one.compare(other, order)).cloned();
    let mut rows: Vec<(Place, ArtifactRow)> = found
        .into_iter()
        .flat_map(|found| found.rows)
        .map(|row| (Place::of(&row, order.by), row))
        .filter(|(place, _)| end.as_ref().is_none_or(|end| place.compare(end, order).is_le()))
        .collect();
    rows.sort_by(|(one, _), (other, _)| one.compare(other, order));
    let more = rows.len() > most;
    rows.truncate(most);
    let next = match rows.last() {
        Some((last, _)) if more => Some(last.clone()),
        _ => end,
    };
    (rows.into_iter().map(|(_, row)| row).collect(), next)
}
