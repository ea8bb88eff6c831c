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
    numbered::{any, list_of, pieces},
    statement,
};

/// Artifacts whose terms are written in one statement.
const TERMS_AT_ONCE: usize = 64;

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

/// Whether more happened after a position than `most`, or more than that has no position yet.
pub(crate) async fn is_beyond(conn: &impl ConnectionTrait, position: i64, most: i64) -> Result<bool> {
    // Positions have no gaps.
    let beyond = position.saturating_add(most).saturating_add(1);
    let placed = "SELECT 1 FROM events WHERE position = $1";
    let unplaced = "SELECT 1 FROM events WHERE position IS NULL LIMIT 1 OFFSET $1";
    Ok(any(conn, placed, [beyond.into()]).await? || any(conn, unplaced, [most.into()]).await?)
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

/// Writes the terms of artifacts, each once, in place of those that they had.
pub(crate) async fn put(txn: &Txn, terms: &[(i64, String)]) -> Result<()> {
    for terms in pieces(terms, TERMS_AT_ONCE) {
        let is_postgres = txn.get_database_backend() == DbBackend::Postgres;
        if !is_postgres {
            let ids: Vec<i64> = terms.iter().map(|(id, _)| *id).collect();
            remove(txn, &ids).await?;
        }
        let row = |place: usize| {
            let (id, text) = (2 * place + 1, 2 * place + 2);
            match is_postgres {
                true => format!("(${id}, array_to_tsvector(string_to_array(${text}, ' ')))"),
                false => format!("(${id}, ${text})"),
            }
        };
        let rows = (0..terms.len()).map(row).collect::<Vec<_>>().join(", ");
        let sql = match is_postgres {
            true => format!(
                "INSERT INTO artifact_terms (artifact_id, terms) VALUES {rows} \
                 ON CONFLICT (artifact_id) DO UPDATE SET terms = excluded.terms"
            ),
            false => format!("INSERT INTO artifact_terms (rowid, terms) VALUES {rows}"),
        };
        let values = terms
            .iter()
            .flat_map(|(id, terms)| [(*id).into(), terms.as_str().into()]);
        txn.execute_raw(statement(txn, sql, values)).await?;
    }
    Ok(())
}

/// Removes the terms of artifacts, of those that have any.
pub(crate) async fn remove(txn: &Txn, artifact_ids: &[i64]) -> Result<()> {
    let column = match txn.get_database_backend() {
        DbBackend::Postgres => "artifact_id",
        _ => "rowid",
    };
    for ids in pieces(artifact_ids, TERMS_AT_ONCE) {
        let sql = format!(
            "DELETE FROM artifact_terms WHERE {column} IN ({})",
            list_of(ids.len(), 1)
        );
        txn.execute_raw(statement(txn, sql, ids.iter().map(|id| (*id).into())))
            .await?;
    }
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

#[cfg(test)]
mod tests {
    use artifactd_domain::search::{Query, Rank, Terms, Texts};

    use super::*;
    use crate::db::{
        DatabaseConfig, Db, DbError,
        explaining::{Explaining, run},
    };

    /// A database with so many events, of which the last `unplaced` have no position yet.
    async fn logged(events: i64, unplaced: i64) -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&DatabaseConfig::Sqlite(folder.path().join("db.sqlite3")))
            .await
            .unwrap();
        let script = format!(
            "INSERT INTO principals VALUES (1, 'u1', 'admin', 0);
             INSERT INTO spaces VALUES (1, 's1', 'default', 1, 0);
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {events})
             INSERT INTO events (position, space_id, principal_id, kind, artifact_uid, call_id, detail, at_us)
                 SELECT CASE WHEN n <= {events} - {unplaced} THEN n END, 1, 1, CASE WHEN n % 2 = 0 THEN 'saved' ELSE 'x' END,
                     CASE WHEN n % 3 <> 0 THEN printf('%020d', n) END, 'call', '{{}}', 0 FROM n;"
        );
        run(&db, &script).await;
        (folder, db)
    }

    #[tokio::test]
    async fn the_log_is_measured_from_a_position_on() {
        let (_folder, db) = logged(100, 20).await;
        for (position, most, is_beyond_it) in [
            (0, 79, true),
            (0, 80, false),
            (50, 29, true),
            (50, 30, false),
            (80, 19, true),
            (80, 20, false),
            (i64::MAX, 20, false),
        ] {
            let found = is_beyond(db.reader(), position, most).await.unwrap();
            assert_eq!(found, is_beyond_it, "more than {most} after {position}");
        }
        let uids = uids_after(db.reader(), 70, &["saved"]).await.unwrap();
        let expected = [74, 76, 80, 82, 86, 88, 92, 94, 98, 100].map(|n| format!("{n:020}"));
        assert_eq!(
            uids.into_iter().collect::<Vec<_>>(),
            expected.map(|uid| uid.to_string())
        );
    }

    #[tokio::test]
    async fn terms_are_looked_up_in_one_space() {
        let (_folder, db) = logged(1, 0).await;
        let write = db.write::<_, DbError, _>(|txn| {
            Box::pin(async move {
                for (id, space_id) in [(1, 1), (2, 2), (3, 1), (4, 12)] {
                    let texts = Texts {
                        key: Some("zebra/stripes.csv"),
                        file_name: None,
                        description: None,
                    };
                    put(txn, &[(id, Terms::of(texts).in_space(space_id))]).await?;
                }
                Ok(())
            })
        });
        write.await.unwrap();
        let query: Query = "zebra".parse().unwrap();
        for (space_id, expected) in [(1, &[3, 1][..]), (2, &[2]), (12, &[4]), (3, &[])] {
            for rank in [Rank::Prefix, Rank::Words, Rank::Parts] {
                let found = candidates(db.reader(), &query.lookup(rank), space_id, i64::MAX)
                    .await
                    .unwrap();
                assert_eq!(found.ids, expected, "{rank:?} in space {space_id}");
            }
        }
    }

    #[tokio::test]
    async fn searches_read_no_table_from_end_to_end() {
        let (_folder, db) = logged(100, 20).await;
        let conn = Explaining::of(&db);
        let query: Query = "zebra stripes".parse().unwrap();
        progress(&conn).await.unwrap();
        assert!(!is_beyond(&conn, 50, 40).await.unwrap());
        changes_after(&conn, 50, 10).await.unwrap();
        uids_after(&conn, 50, &["saved", "updated"]).await.unwrap();
        for rank in Rank::ALL {
            candidates(&conn, &query.lookup(rank), 1, i64::MAX).await.unwrap();
        }
        let steps = conn.steps();
        assert_eq!(steps.len(), 6 + Rank::ALL.len(), "{steps:#?}");
        for step in steps {
            // FTS5 calls it a scan when it looks terms up, which the M says.
            let looks_up = step.starts_with("SCAN artifact_terms VIRTUAL TABLE INDEX ") && step.contains(":M");
            assert!(step.starts_with("SEARCH ") || looks_up, "{step}");
        }
    }
}
