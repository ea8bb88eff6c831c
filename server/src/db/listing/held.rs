//! Artifacts by their creation, read from an index of what they hold.
//!
//! Values and labels carry the time of their artifact, so those that are equal lie in
//! their index as the artifacts lie in that order: a page of them costs the same however
//! many there are. Those in a range do not, but what an index says of some thousands is
//! put in order faster than as many artifacts are looked at.

use artifactd_domain::{ArtifactField, OrderBy, filter::Predicate};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, SelectStatement};

use super::{Half, Index, Ordered, Place, RECORD_MAX, Rows, counted, record};
use crate::db::{
    Connection, Result,
    artifacts::{self, ArtifactRow},
};

/// What is read beside a page, as some of it may be in trash or in another space.
const SLACK: u64 = 28;

/// Rows of a range that are put in order for a page.
const SORTED_MAX: u64 = 16_000;

/// A column of every table of what artifacts hold.
const AT: &str = "artifact_at_us";

/// Rows of an index, each with an artifact that holds something and the time of it.
pub(super) struct Timeline {
    pub(super) select: SelectStatement,
    pub(super) table: &'static str,
    /// Whether they lie there by their times.
    pub(super) is_point: bool,
}

/// How far a walk has come.
pub(super) struct Walk {
    pub(super) rows: Vec<ArtifactRow>,
    /// The place up to which nothing is missing.
    pub(super) at: Option<Place>,
    /// Whether there is no more, or enough.
    pub(super) is_done: bool,
}

impl Half<'_> {
    /// A part of the filter by which this order can be walked; a point before a range.
    pub(super) fn timeline(&self, conn: &impl Connection) -> Option<Timeline> {
        if self.listing.order.by != OrderBy::CreatedAt {
            return None;
        }
        let backend = conn.get_database_backend();
        let of = |part: &Predicate<ArtifactField>| record::timeline(backend, part);
        let mut timelines = self.bounds.parts().filter_map(|(part, _)| of(part));
        let first = timelines.next()?;
        if first.is_point {
            return Some(first);
        }
        Some(timelines.find(|timeline| timeline.is_point).unwrap_or(first))
    }

    /// Walks on until there are enough rows, or so many were read of the index.
    pub(super) async fn walk_held(
        &self,
        conn: &impl Connection,
        timeline: &Timeline,
        mut walk: Walk,
        rows: u64,
        most: u64,
    ) -> Result<Walk> {
        let (mut step, mut read) = (rows + SLACK, 0);
        while read < most {
            let mut held = timeline
                .next(conn, walk.at.as_ref(), self.listing.order.is_descending, step)
                .await?;
            read += step;
            let is_last = (held.len() as u64) < step;
            if let (false, Some(&(_, last))) = (is_last, held.last()) {
                // More may be of the same moment, in an order that is not this one.
                held.retain(|(_, at)| *at != last);
            }
            let wanted = rows - walk.rows.len() as u64;
            walk.rows
                .extend(self.those(conn, &held, walk.at.as_ref(), wanted).await?);
            if is_last || walk.rows.len() as u64 >= rows {
                walk.is_done = true;
                break;
            }
            if let Some(&(_, last)) = held.last() {
                walk.at = Some(self.place_behind(last));
            } else if step >= RECORD_MAX {
                // So many at one moment are walked in their own order.
                break;
            }
            step = Ord::min(step * 4, RECORD_MAX);
        }
        Ok(walk)
    }

    /// Whether it can be walked: ranges must be put in order, which few enough can.
    pub(super) async fn may_sort(&self, conn: &impl Connection, timeline: &Timeline) -> Result<bool> {
        Ok(timeline.is_point || timeline.count(conn, SORTED_MAX + 1).await? <= SORTED_MAX)
    }

    /// The first of some artifacts that match, in order.
    async fn those(
        &self,
        conn: &impl Connection,
        held: &[(i64, i64)],
        after: Option<&Place>,
        rows: u64,
    ) -> Result<Vec<ArtifactRow>> {
        let Some(&(last, _)) = held.last() else {
            return Ok(Vec::new());
        };
        // In few lengths, so that statements are compiled once.
        let mut ids: Vec<i64> = held.iter().map(|(id, _)| *id).collect();
        ids.resize(ids.len().next_power_of_two(), last);
        let on = self.on(conn, Index::Id);
        let mut select = artifacts::select();
        select.and_where(on.col(Index::Id.column()).is_in(ids));
        self.restrict(&mut select, on, Rows::Matching);
        if let Some(after) = after {
            select.and_where(self.beyond(on, after));
        }
        self.put_in_order(&mut select, on);
        artifacts::all(conn, select.limit(rows)).await
    }

    /// The place behind all artifacts of a moment.
    pub(super) fn place_behind(&self, at_us: i64) -> Place {
        let uid = if self.listing.order.is_descending { "" } else { "~" };
        Place {
            value: Ordered::Number(at_us),
            uid: uid.to_owned(),
        }
    }
}

impl Walk {
    /// One that has not begun.
    pub(super) fn from(after: Option<&Place>) -> Self {
        Self {
            rows: Vec::new(),
            at: after.cloned(),
            is_done: false,
        }
    }
}

impl Timeline {
    /// The next artifacts from the moment of a place on, each with its own.
    async fn next(
        &self,
        conn: &impl Connection,
        from: Option<&Place>,
        is_descending: bool,
        rows: u64,
    ) -> Result<Vec<(i64, i64)>> {
        let column = |name| Expr::col((Alias::new(self.table), Alias::new(name)));
        let direction = match is_descending {
            true => sea_orm::Order::Desc,
            false => sea_orm::Order::Asc,
        };
        let mut select = self.select.clone();
        if let Some(Place {
            value: Ordered::Number(at),
            ..
        }) = from
        {
            select.and_where(match is_descending {
                true => column(AT).lte(*at),
                false => column(AT).gte(*at),
            });
        }
        select
            .expr_as(column(AT), Alias::new("at"))
            .order_by_expr(column(AT), direction.clone())
            .order_by_expr(column("artifact_id"), direction)
            .limit(rows);
        let held = conn.query_all(&select).await?.into_iter();
        held.map(|row| Ok((row.try_get("", "id")?, row.try_get("", "at")?)))
            .collect()
    }

    /// How many rows there are, at most so many.
    async fn count(&self, conn: &impl Connection, most: u64) -> Result<u64> {
        let mut few = self.select.clone();
        few.limit(most);
        counted(conn, few).await
    }
}
