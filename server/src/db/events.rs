//! The log of what happened.
//!
//! An event is inserted in the transaction of its change, without a position.
//! On SQLite, where one connection writes, the position follows at once; on
//! PostgreSQL a sequencer gives positions to committed events, because the order
//! of ids is not the order of commits.

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Order, Statement, sea_query::Query};

use super::{
    Insert, Inserted, Result, Txn,
    entities::events::{Column as Col, Entity},
    numbered::{Sql, any},
};

/// The clock of PostgreSQL.
const DATABASE_NOW_US: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT";

/// What happened.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) space_id: i64,
    pub(crate) principal_id: i64,
    pub(crate) kind: &'static str,
    pub(crate) artifact_uid: Option<String>,
    /// What it is about when it is no artifact, such as `feature/<uid>`.
    pub(crate) subject: Option<String>,
    pub(crate) call_id: String,
    pub(crate) detail: serde_json::Value,
    pub(crate) at_us: i64,
}

/// Inserts an event, with its position where that is known now.
pub(crate) fn insert(backend: DbBackend, event: &NewEvent) -> Insert {
    let position = match backend {
        DbBackend::Sqlite => Inserted::Found("SELECT COALESCE(MAX(position), 0) + 1 FROM events", Vec::new()),
        _ => None::<i64>.into(),
    };
    insert_at(position, event)
}

/// Inserts some in their order, many in a statement.
pub(crate) async fn insert_all(txn: &Txn, events: &[NewEvent]) -> Result<()> {
    let last = match txn.get_database_backend() {
        DbBackend::Sqlite => Some(last_position(txn).await?),
        _ => None,
    };
    let rows = (1..).zip(events).map(|(number, event)| {
        let position = last.map(|last| last + number);
        insert_at(position.into(), event)
    });
    super::insert_all(txn, rows.collect()).await
}

fn insert_at(position: Inserted, event: &NewEvent) -> Insert {
    Insert::into(Entity)
        .columns([
            Col::Position,
            Col::SpaceId,
            Col::PrincipalId,
            Col::Kind,
            Col::ArtifactUid,
            Col::CallId,
            Col::Detail,
            Col::AtUs,
            Col::Subject,
        ])
        .values([
            position,
            event.space_id.into(),
            event.principal_id.into(),
            event.kind.into(),
            event.artifact_uid.clone().into(),
            event.call_id.as_str().into(),
            event.detail.to_string().into(),
            event.at_us.into(),
            event.subject.clone().into(),
        ])
}

/// Takes or renews a lease by the clock of the database; answers its epoch.
///
/// `None` when another holder has it. The epoch rises with every change of
/// holder, so that work of an older holder can be told from that of a newer one.
pub(crate) async fn take_lease(txn: &Txn, name: &str, holder: &str, lease_us: i64) -> Result<Option<i64>> {
    let sql = format!(
        "INSERT INTO leases (name, holder, epoch, until_us) VALUES ($1, $2, 1, {DATABASE_NOW_US} + $3) \
         ON CONFLICT (name) DO UPDATE SET \
         epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END, \
         holder = excluded.holder, until_us = excluded.until_us \
         WHERE leases.holder = excluded.holder OR leases.until_us < {DATABASE_NOW_US} RETURNING epoch"
    );
    let values = [name.into(), holder.into(), lease_us.into()];
    let row = txn
        .query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values))
        .await?;
    Ok(row.map(|row| row.try_get("", "epoch")).transpose()?)
}

/// Whether a committed event has no position yet.
pub(crate) async fn any_waits(conn: &impl ConnectionTrait) -> Result<bool> {
    any(conn, "SELECT 1 FROM events WHERE position IS NULL LIMIT 1", []).await
}

/// Gives the next positions to committed events that have none, in the order in
/// which they can be seen; answers how many. The caller holds the lease.
pub(crate) async fn place(txn: &Txn, most: i64) -> Result<u64> {
    const SQL: &str = "WITH waiting AS (\
             SELECT id, row_number() OVER (ORDER BY id) AS rank FROM \
             (SELECT id FROM events WHERE position IS NULL ORDER BY id LIMIT $1) AS first), \
         last AS (SELECT COALESCE(MAX(position), 0) AS position FROM events) \
         UPDATE events SET position = last.position + waiting.rank FROM waiting, last WHERE events.id = waiting.id";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [most.into()]);
    Ok(txn.execute_raw(statement).await?.rows_affected())
}

/// Number of events, highest position, and number without one.
pub(crate) async fn summary(conn: &impl ConnectionTrait) -> Result<(i64, i64, i64)> {
    const SQL: &str = "SELECT COUNT(*) AS events, COALESCE(MAX(position), 0) AS last, \
         COUNT(*) - COUNT(position) AS unplaced FROM events";
    let row = conn
        .query_one_raw(Statement::from_string(conn.get_database_backend(), SQL))
        .await?;
    match row {
        Some(row) => Ok((
            row.try_get("", "events")?,
            row.try_get("", "last")?,
            row.try_get("", "unplaced")?,
        )),
        None => Ok((0, 0, 0)),
    }
}

/// When the newest event happened, by the clock of its server.
pub(crate) async fn newest_us(conn: &impl ConnectionTrait) -> Result<Option<i64>> {
    let mut newest = Query::select();
    newest
        .column(Col::AtUs)
        .from(Entity)
        .order_by(Col::Id, Order::Desc)
        .limit(1);
    let row = conn.query_one(&newest).await?;
    Ok(row.map(|row| row.try_get("", "at_us")).transpose()?)
}

/// The clock of a database that has one of its own.
pub(crate) async fn database_clock_us(conn: &impl ConnectionTrait) -> Result<Option<i64>> {
    if conn.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    let sql = format!("SELECT {DATABASE_NOW_US} AS now_us");
    let row = conn
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await?;
    Ok(row.map(|row| row.try_get("", "now_us")).transpose()?)
}

/// An event with its position.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct EventRow {
    pub(crate) position: i64,
    pub(crate) space_id: i64,
    pub(crate) principal_id: i64,
    pub(crate) kind: String,
    pub(crate) artifact_uid: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) call_id: String,
    pub(crate) detail: String,
    pub(crate) at_us: i64,
}

/// Which events count.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventFilter {
    pub(crate) space_ids: Vec<i64>,
    /// All when empty.
    pub(crate) kinds: Vec<String>,
    /// With `stems`, all when both are empty.
    pub(crate) artifact_uids: Vec<String>,
    pub(crate) stems: Vec<String>,
}

/// The highest position.
pub(crate) async fn last_position(conn: &impl ConnectionTrait) -> Result<i64> {
    #[derive(FromQueryResult)]
    struct Last {
        position: i64,
    }
    let sql = Sql::new("SELECT position FROM events WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1");
    Ok(sql.one::<Last>(conn).await?.map_or(0, |last| last.position))
}

/// Events after one position up to another, in order; at most so many.
pub(crate) async fn between(
    conn: &impl ConnectionTrait,
    after: i64,
    up_to: i64,
    filter: &EventFilter,
    most: i64,
) -> Result<Vec<EventRow>> {
    let mut sql = Sql::new(
        "SELECT position, space_id, principal_id, kind, artifact_uid, subject, call_id, detail, at_us FROM events \
         WHERE position > ",
    );
    sql.bind(after).push(" AND position <= ").bind(up_to);
    sql.push(" AND space_id IN ")
        .bind_list(filter.space_ids.iter().copied());
    if !filter.kinds.is_empty() {
        sql.push(" AND kind IN ")
            .bind_list(filter.kinds.iter().map(String::as_str));
    }
    if !filter.artifact_uids.is_empty() || !filter.stems.is_empty() {
        sql.push(" AND (artifact_uid IN ")
            .bind_list(filter.artifact_uids.iter().map(String::as_str));
        sql.push(" OR SUBSTR(artifact_uid, 1, 16) IN ")
            .bind_list(filter.stems.iter().map(String::as_str));
        sql.push(")");
    }
    sql.push(" ORDER BY position LIMIT ").bind(most);
    sql.all(conn).await
}
