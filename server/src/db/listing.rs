//! Artifacts in an order, filtered, from a place on: the same rows on both databases.
//!
//! A page must not cost more because the table grew. One that asks only for its order
//! is a range of an index. One with a filter is had in whichever of these ways is
//! cheap, and what is cheap is found by looking, never by trusting statistics:
//!
//! - When a part of the filter leaves few rows of another index, these are read and put
//!   in order.
//! - By creation, the index of a value or label is walked, in which its artifacts lie in
//!   that order already.
//! - Else the order is walked in steps that grow, and rows are tried. Each step ends at
//!   a place that is found before its rows are read, so that it does not matter what
//!   others write meanwhile.
//! - A walk that found too little goes back to the first way with more patience, and a
//!   page that was not filled after all ends where the walk got to.

mod bounds;
mod gather;
mod held;
mod index;
mod place;
mod record;
#[cfg(test)]
mod tests;

use artifactd_domain::{
    ArtifactField, Order, Visibility,
    filter::{Predicate, Test},
};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};

pub use self::place::Place;
use self::{
    bounds::{Bounds, Side},
    gather::Patience,
    held::Walk,
    index::{Index, On},
    place::Ordered,
};
use super::{
    Connection, Result,
    artifacts::{self, ArtifactRow},
    entities::artifacts::{Column as Col, Entity},
    filter::condition,
};

/// Most artifacts that a part of the filter over the record leaves, if these are looked up.
/// Their ids are values of a statement.
const RECORD_MAX: u64 = 2_000;

/// Rows that the first step of a walk tries; each later one tries four times as many.
const STEP_ROWS: u64 = 1_000;
const STEP_ROWS_MAX: u64 = 64_000;

/// Rows that are tried before other indexes are looked at again.
const WALKED_BEFORE_PATIENCE: u64 = 20_000;

/// Rows that are tried for one page.
const WALKED_MAX: u64 = 200_000;

/// Artifacts of one space and one visibility, in an order.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) space_id: i64,
    pub(crate) visibility: Visibility,
    pub(crate) order: Order,
    /// Says nothing of space and visibility, and names storages and users by their ids.
    pub(crate) filter: Predicate<ArtifactField>,
}

/// Some artifacts, and how far they were looked for.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rows: Vec<ArtifactRow>,
    /// The place up to which nothing is missing; `None` for the end.
    pub(crate) up_to: Option<Place>,
}

/// The next `rows` artifacts after a place, or fewer with the place up to which they were looked for.
pub(crate) async fn next(conn: &impl Connection, listing: &Listing, after: Option<&Place>, rows: u64) -> Result<Found> {
    next_within(conn, listing, after, rows, WALKED_MAX).await
}

/// The same, for which so many rows are tried.
async fn next_within(
    conn: &impl Connection,
    listing: &Listing,
    after: Option<&Place>,
    rows: u64,
    walked_max: u64,
) -> Result<Found> {
    let mut found = Found {
        rows: Vec::new(),
        up_to: None,
    };
    for mut half in Half::all(listing, after) {
        let wanted = rows - found.rows.len() as u64;
        half.walked_max = walked_max;
        let next = half.next(conn, wanted).await?;
        found.rows.extend(next.rows);
        found.up_to = next.up_to;
        if found.up_to.is_some() {
            break;
        }
    }
    Ok(found)
}

/// How many artifacts match, or `most` when more do.
pub(crate) async fn count(conn: &impl Connection, listing: &Listing, most: u64) -> Result<u64> {
    let mut counted = 0;
    for mut half in Half::all(listing, None) {
        half.narrow(conn).await?;
        if half.is_empty {
            continue;
        }
        let few = half.few(conn, Patience::FIRST).await?;
        let index = few.unwrap_or_else(|| half.index_to_count());
        counted += half.count(conn, index, Rows::Matching, most - counted).await?;
    }
    Ok(counted)
}

/// Those of some artifacts that match, in no order.
pub(crate) async fn among(conn: &impl Connection, listing: &Listing, which: Which<'_>) -> Result<Vec<ArtifactRow>> {
    let mut rows = Vec::new();
    for half in Half::all(listing, None) {
        let mut select = artifacts::select();
        let on = match which {
            Which::Ids(ids) => {
                let on = half.on(conn, Index::Id);
                select.and_where(on.col(Col::Id).is_in(ids.iter().copied()));
                on
            }
            Which::Uids(uids) => {
                let on = half.on(conn, Index::Uid);
                select.and_where(on.col(Col::Uid).is_in(uids.iter().map(String::as_str)));
                on
            }
        };
        half.restrict(&mut select, on, Rows::Matching);
        rows.extend(artifacts::all(conn, &select).await?);
    }
    Ok(rows)
}

/// Some artifacts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    Ids(&'a [i64]),
    Uids(&'a [String]),
}

/// Which rows a query is about.
#[derive(Debug, Clone, Copy)]
enum Rows<'p> {
    /// Those between the bounds of its index.
    Bounded,
    /// Those that match.
    Matching,
    /// Those from a place of the order on; with `matching` only those that match.
    Walked { after: Option<&'p Place>, matching: bool },
}

/// The part of a listing in which what orders it is set, or the part in which it is not.
struct Half<'l> {
    listing: &'l Listing,
    bounds: Bounds,
    is_unset: Option<bool>,
    after: Option<Place>,
    /// Whether it is known that nothing matches.
    is_empty: bool,
    /// Rows that are tried for one page.
    walked_max: u64,
}

impl<'l> Half<'l> {
    /// What of the listing comes after a place, and can match.
    fn all(listing: &'l Listing, after: Option<&Place>) -> Vec<Self> {
        let field = Index::of_order(listing.order.by).field();
        let halves: &[Option<bool>] = match field.field().nullable {
            true => &[Some(false), Some(true)],
            false => &[None],
        };
        let in_unset = after.is_some_and(Place::is_unset);
        let halves = halves.iter().filter(|half| !in_unset || **half == Some(true));
        let halves = halves.map(|is_unset| {
            let filter = listing.filter.clone().map(&|test| known(test, field, *is_unset));
            let is_here = in_unset == (*is_unset == Some(true));
            (filter, is_unset, after.filter(|_| is_here).cloned())
        });
        halves
            .filter(|(filter, ..)| !filter.is_never())
            .map(|(filter, is_unset, after)| Self {
                listing,
                bounds: Bounds::of(&filter),
                is_unset: *is_unset,
                after,
                is_empty: false,
                walked_max: WALKED_MAX,
            })
            .collect()
    }

    /// The index that holds the order.
    fn index(&self) -> Index {
        Index::of_order(self.listing.order.by)
    }

    async fn next(&mut self, conn: &impl Connection, rows: u64) -> Result<Found> {
        let timeline = self.timeline(conn);
        let mut walk = Walk::from(self.after.as_ref());
        if let Some(timeline) = timeline.as_ref().filter(|timeline| timeline.is_point) {
            // One step, which is a page unless the rest of the filter leaves something out.
            walk = self.walk_held(conn, timeline, walk, rows, 1).await?;
            if walk.is_done {
                return self.found(walk.rows, rows, None);
            }
        }
        self.narrow(conn).await?;
        if self.is_empty {
            return self.found(Vec::new(), rows, None);
        }
        if self.bounds.are_all_of(self.index()) && !self.bounds.has(self.index(), Side::Points) {
            return self.found(self.walk(conn, self.after.as_ref(), None, rows).await?, rows, None);
        }
        if let Some(found) = self.gathered(conn, self.after.as_ref(), rows, Patience::FIRST).await? {
            return Ok(found);
        }
        if let Some(timeline) = timeline
            && self.may_sort(conn, &timeline).await?
        {
            walk = self
                .walk_held(conn, &timeline, walk, rows, WALKED_BEFORE_PATIENCE)
                .await?;
            if walk.is_done {
                return self.found(walk.rows, rows, None);
            }
        }
        self.search(conn, walk, rows).await
    }

    /// Reads which artifacts a part of the filter over the record leaves, when these are
    /// few: then they are looked up like any others that are known by their ids.
    async fn narrow(&mut self, conn: &impl Connection) -> Result<()> {
        if self.bounds.leave_few(Index::Id) {
            return Ok(());
        }
        let mut few = None;
        for (part, _) in self.bounds.parts() {
            few = record::few(conn, part, RECORD_MAX).await?;
            if few.is_some() {
                break;
            }
        }
        if let Some(ids) = few {
            self.is_empty = ids.is_empty();
            self.bounds.add_ids(&ids);
        }
        Ok(())
    }

    /// Walks in steps.
    async fn search(&self, conn: &impl Connection, walk: Walk, rows: u64) -> Result<Found> {
        let (mut step, mut walked, mut was_patient) = (Ord::max(STEP_ROWS, 4 * rows), 0, false);
        let (mut found, mut at) = (walk.rows, walk.at);
        loop {
            let end = self.place_after(conn, at.as_ref(), step).await?;
            let wanted = rows - found.len() as u64;
            found.extend(self.walk(conn, at.as_ref(), end.as_ref(), wanted).await?);
            if end.is_none() || found.len() as u64 >= rows {
                return self.found(found, rows, None);
            }
            (at, walked) = (end, walked + step);
            if walked >= self.walked_max {
                return self.found(found, rows, at);
            }
            if walked >= WALKED_BEFORE_PATIENCE && !was_patient {
                was_patient = true;
                let wanted = rows - found.len() as u64;
                if let Some(rest) = self.gathered(conn, at.as_ref(), wanted, Patience::SECOND).await? {
                    found.extend(rest.rows);
                    return Ok(Found {
                        rows: found,
                        up_to: rest.up_to,
                    });
                }
            }
            step = Ord::min(step * 4, STEP_ROWS_MAX);
        }
    }

    fn found(&self, rows: Vec<ArtifactRow>, wanted: u64, end: Option<Place>) -> Result<Found> {
        let is_full = rows.len() as u64 >= wanted;
        let last = rows.last().filter(|_| is_full);
        let up_to = last.map(|row| Place::of(row, self.listing.order.by)).or(end);
        Ok(Found { rows, up_to })
    }

    /// The index on which rows are counted when there are many.
    fn index_to_count(&self) -> Index {
        let says_all = |index: &Index| self.bounds.bound(*index) && self.bounds.are_all_of(*index);
        Index::ALL.into_iter().find(says_all).unwrap_or(self.index())
    }

    /// How many rows there are on an index, at most so many.
    async fn count(&self, conn: &impl Connection, index: Index, rows: Rows<'_>, most: u64) -> Result<u64> {
        let on = self.on(conn, index);
        let mut few = Query::select();
        few.expr(Expr::Constant(1.into())).from(Entity);
        self.restrict(&mut few, on, rows);
        few.limit(most);
        counted(conn, few).await
    }

    /// The place so many rows further on, whether they match or not.
    async fn place_after(&self, conn: &impl Connection, after: Option<&Place>, rows: u64) -> Result<Option<Place>> {
        let on = self.on(conn, self.index());
        let mut place = Query::select();
        place
            .columns([self.index().column(), Col::Uid].map(|column| (Entity, column)))
            .from(Entity);
        self.restrict(&mut place, on, Rows::Walked { after, matching: false });
        self.put_in_order(&mut place, on);
        place.offset(rows - 1).limit(1);
        let rows = conn.query_all(&place).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let value = match (self.is_unset, self.index()) {
            (Some(true), _) => Ordered::Unset,
            (_, Index::Key) => Ordered::Text(row.try_get("", "key")?),
            (_, index) => {
                let name = sea_orm::Iden::unquoted(&index.column()).to_owned();
                Ordered::Number(row.try_get("", &name)?)
            }
        };
        let uid = row.try_get("", "uid")?;
        Ok(Some(Place { value, uid }))
    }

    /// The first matching rows between two places of the order, the last included.
    async fn walk(
        &self,
        conn: &impl Connection,
        after: Option<&Place>,
        up_to: Option<&Place>,
        rows: u64,
    ) -> Result<Vec<ArtifactRow>> {
        let on = self.on(conn, self.index());
        let mut select = artifacts::select();
        self.restrict(&mut select, on, Rows::Walked { after, matching: true });
        if let Some(up_to) = up_to {
            select.and_where(self.until(on, up_to));
        }
        self.put_in_order(&mut select, on);
        artifacts::all(conn, select.limit(rows)).await
    }

    fn on(&self, conn: &impl Connection, index: Index) -> On {
        let backend = conn.get_database_backend();
        On { backend, index }
    }

    /// Says which rows of this half a query on an index is about.
    fn restrict(&self, select: &mut SelectStatement, on: On, rows: Rows<'_>) {
        let (matching, after, is_walk) = match rows {
            Rows::Bounded => (false, None, false),
            Rows::Matching => (true, None, false),
            Rows::Walked { after, matching } => (matching, after, true),
        };
        let has = |column: Col| on.index.holds(column);
        if has(Col::SpaceId) || matching {
            select.and_where(on.col(Col::SpaceId).eq(self.listing.space_id));
        }
        if has(Col::Visibility) || matching {
            select.and_where(on.col(Col::Visibility).eq(self.listing.visibility.code()));
        }
        if let Some(is_unset) = self.is_unset.filter(|_| matching || is_walk) {
            let column = on.col(self.index().column());
            select.and_where(if is_unset {
                column.is_null()
            } else {
                column.is_not_null()
            });
        }
        for (part, bound) in self.bounds.parts() {
            let side = bound.filter(|bound| bound.index == on.index).map(|bound| bound.side);
            let tried = if is_walk && side == Some(Side::Points) {
                // Points that lie anywhere are no range to walk.
                matching.then_some(on.elsewhere())
            } else {
                let is_wanted = side.is_some() || matching;
                // Databases use only one of two bounds on one side.
                let is_replaced = is_walk && after.is_some() && side == Some(self.beginning());
                (is_wanted && !is_replaced).then_some(on)
            };
            if let Some(on) = tried {
                select.cond_where(condition(on.backend, part, &on));
            }
        }
        if let Some(after) = after {
            select.and_where(self.beyond(on, after));
        }
    }

    /// The side of a bound at which a walk begins.
    fn beginning(&self) -> Side {
        if self.listing.order.is_descending {
            Side::Upper
        } else {
            Side::Lower
        }
    }

    /// That a row comes after a place of this half.
    fn beyond(&self, on: On, place: &Place) -> Expr {
        let (row, place) = self.places(on, place);
        if self.listing.order.is_descending {
            row.lt(place)
        } else {
            row.gt(place)
        }
    }

    /// That a row does not.
    fn until(&self, on: On, place: &Place) -> Expr {
        let (row, place) = self.places(on, place);
        if self.listing.order.is_descending {
            row.gte(place)
        } else {
            row.lte(place)
        }
    }

    /// The place of a row, and a place, as what can be compared.
    fn places(&self, on: On, place: &Place) -> (Expr, Expr) {
        let (uid, place_uid) = (on.col(Col::Uid), Expr::val(place.uid.as_str()));
        // Where all values are equal, databases cannot use a pair.
        if place.is_unset() || self.bounds.has(self.index(), Side::Point) {
            return (uid, place_uid);
        }
        let row = Expr::tuple([on.col(self.index().column()), uid]);
        (row, Expr::tuple([place.bound_value().into(), place_uid]))
    }

    fn put_in_order(&self, select: &mut SelectStatement, on: On) {
        let direction = match self.listing.order.is_descending {
            true => sea_orm::Order::Desc,
            false => sea_orm::Order::Asc,
        };
        if self.is_unset != Some(true) {
            select.order_by_expr(on.col(self.index().column()), direction.clone());
        }
        select.order_by_expr(on.col(Col::Uid), direction);
    }
}

/// How many rows a query finds.
async fn counted(conn: &impl Connection, select: SelectStatement) -> Result<u64> {
    let mut count = Query::select();
    count
        .expr_as(Expr::cust("COUNT(*)"), Alias::new("n"))
        .from_subquery(select, Alias::new("few"));
    // All rows, though it is one: going through many may wait for the disk.
    let rows = conn.query_all(&count).await?;
    let counted = rows.first().map(|row| row.try_get::<i64>("", "n")).transpose()?;
    Ok(u64::try_from(counted.unwrap_or_default()).unwrap_or_default())
}

/// A test with what is known of a field in one half.
fn known(test: Test<ArtifactField>, field: ArtifactField, is_unset: Option<bool>) -> Predicate<ArtifactField> {
    match (&test, is_unset) {
        (test, Some(true)) if *test.id() == field => Predicate::never(),
        (Test::Set(set), Some(false)) if set.id == field => Predicate::always(),
        _ => Predicate::Is(test),
    }
}
