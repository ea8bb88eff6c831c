//! The index of words: FTS5 on SQLite, a `tsvector` on PostgreSQL.
//!
//! It follows the log. What was written since, and what has no position yet, is found by
//! looking into the log itself. Nothing that is found here is a match: it is what may be.

use std::collections::BTreeSet;

use artifactd_domain::search::Lookup;
use sea_orm::{
    ConnectionTrait, DbBackend, FromQueryResult, Order,
    sea_query::{Expr, ExprTrait, Query},
};

use super::{
    Result, Txn,
    entities::events::{Column as Event, Entity as Events},
    statement,
};

/// Something that happened, as far as the index is concerned.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct Change {
    pub(crate) position: i64,
    pub(crate) kind: String,
    pub(crate) artifact_uid: Option<String>,
    pub(crate) detail: String,
}

/// Up to which position of the log the index has everything.
pub(crate) async fn progress(conn: &impl ConnectionTrait) -> Result<i64> {
    let row = conn
        .query_one_raw(statement(conn, "SELECT position FROM search_progress WHERE id = 1", []))
        .await?;
    Ok(row
        .map(|row| row.try_get("", "position"))
        .transpose()?
        .unwrap_or_default())
}

/// The same, kept from others who would fill the index; `None` while one of them does.
pub(crate) async fn lock_progress(txn: &Txn) -> Result<Option<i64>> {
    let lock = match txn.get_database_backend() {
        DbBackend::Postgres => " FOR UPDATE SKIP LOCKED",
        _ => "",
    };
    let sql = format!("SELECT position FROM search_progress WHERE id = 1{lock}");
    let row = txn.query_one_raw(statement(txn, sql, [])).await?;
    Ok(row.map(|row| row.try_get("", "position")).transpose()?)
}

/// Says up to where the index has everything.
pub(crate) async fn set_progress(txn: &Txn, position: i64) -> Result<()> {
    let sql = "UPDATE search_progress SET position = $1 WHERE id = 1";
    txn.execute_raw(statement(txn, sql, [position.into()])).await?;
    Ok(())
}

/// What happened after a position, in order.
pub(crate) async fn changes_after(conn: &impl ConnectionTrait, position: i64, most: u64) -> Result<Vec<Change>> {
    let mut select = Query::select();
    select
        .columns([Event::Position, Event::Kind, Event::ArtifactUid, Event::Detail])
        .from(Events)
        .and_where(Expr::col(Event::Position).gt(position))
        .order_by(Event::Position, Order::Asc)
        .limit(most);
    let rows = conn.query_all(&select).await?;
    rows.iter().map(|row| Ok(Change::from_query_result(row, "")?)).collect()
}

/// Uids in what happened after a position, or has none yet; of these kinds.
pub(crate) async fn uids_after(conn: &impl ConnectionTrait, position: i64, kinds: &[&str]) -> Result<BTreeSet<String>> {
    let of = |place: Expr| {
        let mut select = Query::select();
        select
            .column(Event::ArtifactUid)
            .from(Events)
            .and_where(place)
            .and_where(Expr::col(Event::Kind).is_in(kinds.iter().copied()))
            .and_where(Expr::col(Event::ArtifactUid).is_not_null());
        select
    };
    let mut uids = BTreeSet::new();
    // First what has no position: it may get one in between, but never loses it.
    for place in [
        Expr::col(Event::Position).is_null(),
        Expr::col(Event::Position).gt(position),
    ] {
        for row in conn.query_all(&of(place)).await? {
            uids.insert(row.try_get("", "artifact_uid")?);
        }
    }
    Ok(uids)
}

/// Writes the terms of an artifact in place of those that it had.
pub(crate) async fn put(txn: &Txn, artifact_id: i64, terms: &str) -> Result<()> {
    let values = [artifact_id.into(), terms.into()];
    let sql = match txn.get_database_backend() {
        DbBackend::Postgres => {
            "INSERT INTO artifact_terms (artifact_id, terms) \
             VALUES ($1, array_to_tsvector(string_to_array($2, ' '))) \
             ON CONFLICT (artifact_id) DO UPDATE SET terms = excluded.terms"
        }
        _ => "INSERT INTO artifact_terms (rowid, terms) VALUES ($1, $2)",
    };
    if txn.get_database_backend() != DbBackend::Postgres {
        remove(txn, artifact_id).await?;
    }
    txn.execute_raw(statement(txn, sql, values)).await?;
    Ok(())
}

/// Removes the terms of an artifact, if it has any.
pub(crate) async fn remove(txn: &Txn, artifact_id: i64) -> Result<()> {
    let sql = match txn.get_database_backend() {
        DbBackend::Postgres => "DELETE FROM artifact_terms WHERE artifact_id = $1",
        _ => "DELETE FROM artifact_terms WHERE rowid = $1",
    };
    txn.execute_raw(statement(txn, sql, [artifact_id.into()])).await?;
    Ok(())
}

/// Artifacts that may match, the highest ids first.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) ids: Vec<i64>,
    /// The id below which to go on; `None` when there are no more.
    pub(crate) below: Option<i64>,
}

/// Artifacts of a space that a lookup finds, below an id: some of them, or all.
///
/// SQLite keeps the artifacts of a term in their order. PostgreSQL does not: when few
/// have the terms all of them are read, else the newest artifacts are gone through, of
/// which enough have them.
pub(crate) async fn candidates(
    conn: &impl ConnectionTrait,
    lookup: &Lookup,
    space_id: i64,
    below: i64,
) -> Result<Candidates> {
    if conn.get_database_backend() != DbBackend::Postgres {
        let sql = "SELECT rowid AS artifact_id FROM artifact_terms \
             WHERE artifact_terms MATCH $1 AND rowid < $2 ORDER BY rowid DESC LIMIT $3";
        let values = [lookup.fts5(space_id).into(), below.into(), BATCH.into()];
        let ids = ids(conn, sql, values).await?;
        let below = ids.last().copied().filter(|_| ids.len() as i64 == BATCH);
        return Ok(Candidates { ids, below });
    }
    let query = lookup.tsquery(space_id);
    let sql = "SELECT artifact_id FROM (SELECT artifact_id FROM artifact_terms \
         WHERE terms @@ $1::TSQUERY AND artifact_id + 0 < $2 LIMIT $3) AS few ORDER BY artifact_id DESC";
    let few = ids(conn, sql, [query.as_str().into(), below.into(), (FEW_MAX + 1).into()]).await?;
    if few.len() as i64 <= FEW_MAX {
        return Ok(Candidates { ids: few, below: None });
    }
    // As a function, which no index answers: the window is the smaller part.
    let sql = "SELECT artifact_id FROM artifact_terms \
         WHERE artifact_id >= $2 AND artifact_id < $3 AND ts_match_vq(terms, $1::TSQUERY) ORDER BY artifact_id DESC";
    let (mut window, mut below) = (WINDOW, Ord::min(below, few[0] + 1));
    loop {
        let from = below.saturating_sub(window);
        let ids = ids(conn, sql, [query.as_str().into(), from.into(), below.into()]).await?;
        let rest = Some(from).filter(|from| *from > 1);
        if !ids.is_empty() || rest.is_none() {
            return Ok(Candidates { ids, below: rest });
        }
        (window, below) = (Ord::min(window * 2, WINDOW_MAX), from);
    }
}

/// Artifacts that are tried at a time.
const BATCH: i64 = 500;

/// Most artifacts with some terms that are few.
const FEW_MAX: i64 = 20_000;

/// Newest ids that are gone through at a time.
const WINDOW: i64 = 4_096;
const WINDOW_MAX: i64 = 65_536;

async fn ids<const N: usize>(conn: &impl ConnectionTrait, sql: &str, values: [sea_orm::Value; N]) -> Result<Vec<i64>> {
    let rows = conn.query_all_raw(statement(conn, sql, values)).await?;
    rows.iter().map(|row| Ok(row.try_get("", "artifact_id")?)).collect()
}
