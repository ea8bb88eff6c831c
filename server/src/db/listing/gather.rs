//! Pages whose rows lie together on another index than that of their order.

use artifactd_domain::{
    ArtifactField, OrderBy,
    filter::{Entry, Predicate, Test, Value},
};
use sea_orm::{
    DbBackend,
    sea_query::{ExprTrait, Query},
};

use super::{Col, Entity, Found, Half, Index, Ordered, Place, Rows, Side};
use crate::db::{
    Connection, Result,
    artifacts::{self, ArtifactRow},
};

/// Artifacts of the moments around a page that are read besides it.
const OF_A_MOMENT_MAX: usize = 600;

/// How many rows of another index are gone through for a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// When its columns say all that is asked.
    covered: u64,
    /// When each row has to be looked up.
    looked_up: u64,
}

impl Patience {
    pub(super) const FIRST: Self = Self {
        covered: 16_000,
        looked_up: 2_000,
    };

    /// After a walk that found too little.
    pub(super) const SECOND: Self = Self {
        covered: 200_000,
        looked_up: 200_000,
    };

    fn with(self, index: Index, half: &Half<'_>) -> u64 {
        if half.is_covered_by(index) {
            self.covered
        } else {
            self.looked_up
        }
    }
}

impl Half<'_> {
    /// The first matching rows after a place, when some index holds few that may match.
    pub(super) async fn gathered(
        &self,
        conn: &impl Connection,
        after: Option<&Place>,
        rows: u64,
        patience: Patience,
    ) -> Result<Option<Found>> {
        for index in self.others() {
            if self.can_pick_from(conn, index) {
                if let Some(found) = self.pick(conn, index, after, rows, patience).await? {
                    return Ok(Some(found));
                }
            } else if self.leaves_few(conn, index, patience).await? {
                let found = self.collect(conn, index, after, rows).await?;
                return self.found(found, rows, None).map(Some);
            }
        }
        Ok(None)
    }

    /// An index of which the filter leaves few rows.
    pub(super) async fn few(&self, conn: &impl Connection, patience: Patience) -> Result<Option<Index>> {
        for index in self.others() {
            if self.leaves_few(conn, index, patience).await? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The indexes that the filter bounds. That of the order is walked instead, unless the
    /// filter leaves several points of it, which lie anywhere.
    fn others(&self) -> impl Iterator<Item = Index> {
        Index::ALL.into_iter().filter(|index| {
            let is_walked = *index == self.index() && !self.bounds.has(*index, Side::Points);
            !is_walked && self.bounds.bound(*index)
        })
    }

    async fn leaves_few(&self, conn: &impl Connection, index: Index, patience: Patience) -> Result<bool> {
        if self.bounds.leave_few(index) {
            return Ok(true);
        }
        let most = patience.with(index, self);
        Ok(self.count(conn, index, Rows::Bounded, most + 1).await? <= most)
    }

    /// Whether the columns of an index say which rows match and in which order they come.
    fn is_covered_by(&self, index: Index) -> bool {
        let mut needed = [self.index().column(), Col::Uid, Col::Visibility].into_iter();
        self.bounds.are_all_of(index) && needed.all(|column| index.holds(column))
    }

    /// The first matching rows after a place, found on another index and put in order.
    async fn collect(
        &self,
        conn: &impl Connection,
        index: Index,
        after: Option<&Place>,
        rows: u64,
    ) -> Result<Vec<ArtifactRow>> {
        let on = self.on(conn, index);
        // What the index itself holds: rows of SQLite have their ids in every index.
        let key = match on.backend {
            DbBackend::Postgres => Index::Uid,
            _ => Index::Id,
        };
        let mut first = Query::select();
        first.column((Entity, key.column())).from(Entity);
        self.restrict(&mut first, on, Rows::Matching);
        if let Some(after) = after {
            first.and_where(self.beyond(on, after));
        }
        self.put_in_order(&mut first, on);
        first.limit(rows);
        let by_key = self.on(conn, key);
        let mut select = artifacts::select();
        select.and_where(by_key.col(key.column()).in_subquery(first));
        Ok(self.in_order(artifacts::all(conn, &select).await?, None))
    }

    /// Whether [`pick`](Self::pick) is the quicker way: in the same process reading a place
    /// costs less than a step of the database's sorter, and counting first is saved.
    fn can_pick_from(&self, conn: &impl Connection, index: Index) -> bool {
        conn.get_database_backend() != DbBackend::Postgres
            && index == Index::Key
            && self.listing.order.by == OrderBy::CreatedAt
            && self.is_covered_by(index)
    }

    /// Reads the moments of all that match from one index, and the rows of the first ones
    /// after a place. `None` when there are too many.
    async fn pick(
        &self,
        conn: &impl Connection,
        index: Index,
        after: Option<&Place>,
        rows: u64,
        patience: Patience,
    ) -> Result<Option<Found>> {
        let (on, most) = (self.on(conn, index), patience.with(index, self));
        let mut select = Query::select();
        select
            .columns([self.index().column(), Col::Id].map(|column| (Entity, column)))
            .from(Entity);
        self.restrict(&mut select, on, Rows::Matching);
        select.limit(most + 1);
        let all: Vec<(i64, i64)> = conn.read(conn.get_database_backend().build(&select)).await?;
        if all.len() as u64 > most {
            return Ok(None);
        }
        let order = self.listing.order;
        let forward = |one: i64, other: i64| match order.is_descending {
            true => other.cmp(&one),
            false => one.cmp(&other),
        };
        // Those of the first and the last moment all come along: which of them are meant,
        // their uids say.
        let (mut held, mut last, mut count) = (all, None, rows as usize);
        if let Some(Ordered::Number(begin)) = after.map(|after| &after.value) {
            held.retain(|(at, _)| forward(*begin, *at).is_le());
            count += held.iter().filter(|(at, _)| at == begin).count();
        }
        if held.len() > count {
            let (_, &mut (at, _), _) = held.select_nth_unstable_by(count - 1, |one, other| forward(one.0, other.0));
            let all = held.len();
            held.retain(|(other, _)| forward(*other, at).is_le());
            last = (held.len() < all).then(|| self.place_behind(at));
        }
        if held.len() > rows as usize + OF_A_MOMENT_MAX {
            let found = self.collect(conn, index, after, rows).await?;
            return self.found(found, rows, None).map(Some);
        }
        // As they were made they lie side by side in their tables, and then need no more than
        // to be turned around, but for those of one moment.
        held.sort_unstable();
        let ids: Vec<i64> = held.into_iter().map(|(_, id)| id).collect();
        let mut found = artifacts::with_ids(conn, &ids).await?;
        // Others may have written between the two queries.
        found.retain(|row| self.has_key_of(row));
        let mut found = self.in_order(found, after);
        // What is left out of those that were read comes next.
        found.truncate(rows as usize);
        self.found(found, rows, last).map(Some)
    }

    /// Whether a row matches a filter that only tests keys.
    fn has_key_of(&self, row: &ArtifactRow) -> bool {
        let is_here = row.visibility == self.listing.visibility.code();
        is_here && self.bounds.parts().all(|(part, _)| matches_key(part, row))
    }

    /// Puts those of a page that come after a place in order, which costs less here than
    /// carrying whole rows through a database's sorter.
    fn in_order(&self, mut rows: Vec<ArtifactRow>, after: Option<&Place>) -> Vec<ArtifactRow> {
        let order = self.listing.order;
        if let Some(after) = after.map(Place::borrowed) {
            rows.retain(|row| after.compare(&Place::within(row, order.by), order).is_lt());
        }
        // Rows are large: those that are in order already are not moved.
        rows.sort_unstable_by(|one, other| {
            let (one, other) = (Place::within(one, order.by), Place::within(other, order.by));
            one.compare(&other, order)
        });
        rows
    }
}

/// Whether a row matches a part of a filter that only tests keys.
fn matches_key(part: &Predicate<ArtifactField>, row: &ArtifactRow) -> bool {
    match (part, &row.key) {
        // Nearly all of them, without a copy of the key.
        (Predicate::Is(Test::Compare(_, comparison, Value::Text(bound))), Some(key)) => {
            comparison.holds_for(key.as_str().cmp(bound))
        }
        _ => part.matches(&Keyed(row)),
    }
}

/// An artifact of which only the key is asked.
struct Keyed<'r>(&'r ArtifactRow);

impl Entry<ArtifactField> for Keyed<'_> {
    fn values(&self, _field: &ArtifactField) -> Vec<Value> {
        self.0.key.iter().cloned().map(Value::Text).collect()
    }
}
