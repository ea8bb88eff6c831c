//! Queries over runs, and what they have used and made.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    numbered::{self, ROWS_AT_ONCE, Sql, inserted, places_for},
};

const COLUMNS: &str = "SELECT runs.id, runs.uid, runs.space_id, transform_id, name, status, exit_code, error, params, \
     reference, report_id, environment_id, initiated_by_id, revision, created_by, started_at_us, finished_at_us, \
     created_at_us, updated_at_us FROM runs WHERE ";

/// A run.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) transform_id: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) status: i16,
    pub(crate) exit_code: Option<i64>,
    pub(crate) error: Option<String>,
    pub(crate) params: String,
    pub(crate) reference: Option<String>,
    pub(crate) report_id: Option<i64>,
    pub(crate) environment_id: Option<i64>,
    pub(crate) initiated_by_id: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) started_at_us: Option<i64>,
    pub(crate) finished_at_us: Option<i64>,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// What a run is to be written down of.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct OpenRun {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) status: i16,
    pub(crate) transform_uid: Option<String>,
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunPage {
    /// Versions of a transform.
    pub(crate) transforms: Option<TransformOf>,
    pub(crate) statuses: Vec<i16>,
    pub(crate) initiated_by: Option<i64>,
    /// Time and id of the last one before.
    pub(crate) after: Option<(i64, i64)>,
    pub(crate) rows: u64,
}

/// One version of a transform, or all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TransformOf {
    Version(i64),
    Family(i64),
}

/// Ids of the runs of a space with these uids.
pub(crate) async fn ids_of_uids(
    conn: &impl ConnectionTrait,
    space_id: i64,
    uids: &[&str],
) -> Result<Vec<(String, i64)>> {
    #[derive(FromQueryResult)]
    struct Named {
        uid: String,
        id: i64,
    }
    let mut sql = Sql::new("SELECT uid, id FROM runs WHERE uid IN ");
    sql.bind_list(uids.iter().copied())
        .push(" AND space_id = ")
        .bind(space_id);
    let rows: Vec<Named> = sql.all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.uid, row.id)).collect())
}

/// The run with this uid.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<RunRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("uid = ").bind(uid);
    sql.one(conn).await
}

/// The same, locked.
pub(crate) async fn lock(txn: &Txn, uid: &str) -> Result<Option<RunRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("uid = ").bind(uid).push(txn.for_update());
    sql.one(txn).await
}

/// What is needed of a run under which something is saved or read; it cannot end before
/// the transaction does.
pub(crate) async fn open(txn: &Txn, uid: &str) -> Result<Option<OpenRun>> {
    let mut sql = Sql::new(
        "SELECT runs.id, runs.uid, runs.space_id, runs.status, transforms.uid AS transform_uid FROM runs \
         LEFT JOIN transforms ON transforms.id = runs.transform_id WHERE runs.uid = ",
    );
    sql.bind(uid).push(&txn.for_share_of("runs"));
    sql.one(txn).await
}

/// The runs with these ids.
pub(crate) async fn by_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<RunRow>> {
    let mut found = Vec::new();
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new(COLUMNS);
        sql.push("runs.id IN ").bind_list(ids.iter().copied());
        found.extend(sql.all::<RunRow>(conn).await?);
    }
    Ok(found)
}

/// One page of a space, newest first.
pub(crate) async fn page(conn: &impl ConnectionTrait, space_id: i64, page: RunPage) -> Result<Vec<RunRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("space_id = ").bind(space_id);
    match page.transforms {
        None => {}
        Some(TransformOf::Version(id)) => {
            sql.push(" AND transform_id = ").bind(id);
        }
        Some(TransformOf::Family(id)) => {
            sql.push(" AND transform_id IN (SELECT id FROM transforms WHERE family_id = ")
                .bind(id)
                .push(")");
        }
    }
    if !page.statuses.is_empty() {
        sql.push(" AND status IN ").bind_list(page.statuses);
    }
    if let Some(id) = page.initiated_by {
        sql.push(" AND initiated_by_id = ").bind(id);
    }
    if let Some((at_us, id)) = page.after {
        sql.push(" AND (created_at_us, id) < (")
            .bind(at_us)
            .push(", ")
            .bind(id)
            .push(")");
    }
    sql.push(" ORDER BY created_at_us DESC, id DESC LIMIT ")
        .bind(i64::try_from(page.rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// Inserts a run; answers its id.
pub(crate) async fn insert(txn: &Txn, row: &RunRow) -> Result<i64> {
    const SQL: &str = "INSERT INTO runs (uid, space_id, transform_id, name, status, params, reference, initiated_by_id, \
         revision, created_by, started_at_us, created_at_us, updated_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id";
    let row = row.clone();
    let values = [
        row.uid.into(),
        row.space_id.into(),
        row.transform_id.into(),
        row.name.into(),
        row.status.into(),
        row.params.into(),
        row.reference.into(),
        row.initiated_by_id.into(),
        row.revision.into(),
        row.created_by.into(),
        row.started_at_us.into(),
        row.created_at_us.into(),
        row.updated_at_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Writes what can change in a run.
pub(crate) async fn update(txn: &Txn, row: &RunRow) -> Result<()> {
    const SQL: &str = "UPDATE runs SET name = $1, status = $2, exit_code = $3, error = $4, params = $5, reference = $6, \
         report_id = $7, environment_id = $8, revision = $9, started_at_us = $10, finished_at_us = $11, \
         updated_at_us = $12 WHERE id = $13";
    let row = row.clone();
    let values = [
        row.name.into(),
        row.status.into(),
        row.exit_code.into(),
        row.error.into(),
        row.params.into(),
        row.reference.into(),
        row.report_id.into(),
        row.environment_id.into(),
        row.revision.into(),
        row.started_at_us.into(),
        row.finished_at_us.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// What names a run, if anything does.
pub(crate) async fn use_of(conn: &impl ConnectionTrait, id: i64) -> Result<Option<&'static str>> {
    const USES: [(&str, &str); 5] = [
        (
            "collections that it made",
            "SELECT 1 AS one FROM collections WHERE run_id = $1 LIMIT 1",
        ),
        (
            "its outputs",
            "SELECT 1 AS one FROM artifacts WHERE run_id = $1 LIMIT 1",
        ),
        (
            "its inputs",
            "SELECT 1 AS one FROM run_inputs WHERE run_id = $1 LIMIT 1",
        ),
        (
            "artifacts that it updated",
            "SELECT 1 AS one FROM artifact_runs WHERE run_id = $1 LIMIT 1",
        ),
        (
            "runs that it began",
            "SELECT 1 AS one FROM runs WHERE initiated_by_id = $1 LIMIT 1",
        ),
    ];
    for (what, sql) in USES {
        if numbered::any(conn, sql, [id.into()]).await? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Removes a run; `Conflict` when something names it after all.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM runs WHERE id = $1", [id.into()]).await?;
    Ok(())
}

/// Writes down that a run has used artifacts, given with their times; answers how many are new.
pub(crate) async fn add_inputs(txn: &Txn, run_id: i64, artifacts: &[(i64, i64)], now_us: i64) -> Result<u64> {
    let mut added = 0;
    for artifacts in artifacts.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO run_inputs (run_id, artifact_id, artifact_at_us, at_us) VALUES {} ON CONFLICT DO NOTHING",
            places_for(artifacts.len(), 4)
        );
        let values = artifacts
            .iter()
            .flat_map(|(artifact_id, artifact_at_us)| -> [Value; 4] {
                [
                    run_id.into(),
                    (*artifact_id).into(),
                    (*artifact_at_us).into(),
                    now_us.into(),
                ]
            });
        added += numbered::run(txn, &sql, values).await?;
    }
    Ok(added)
}

/// Whether a run is known to have used an artifact.
pub(crate) async fn has_input(conn: &impl ConnectionTrait, run_uid: &str, artifact_id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one FROM run_inputs JOIN runs ON runs.id = run_inputs.run_id \
         WHERE runs.uid = $1 AND artifact_id = $2";
    numbered::any(conn, SQL, [run_uid.into(), artifact_id.into()]).await
}

/// Writes down that a run made an artifact again or changed its record; answers whether that is new.
pub(crate) async fn add_previous(
    txn: &Txn,
    run_id: i64,
    (artifact_id, artifact_at_us): (i64, i64),
    now_us: i64,
) -> Result<bool> {
    const SQL: &str = "INSERT INTO artifact_runs (artifact_id, run_id, artifact_at_us, at_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING";
    let values = [artifact_id.into(), run_id.into(), artifact_at_us.into(), now_us.into()];
    if numbered::run(txn, SQL, values).await? == 0 {
        return Ok(false);
    }
    const MARK: &str = "UPDATE artifacts SET has_previous_runs = TRUE WHERE id = $1 AND NOT has_previous_runs";
    numbered::run(txn, MARK, [artifact_id.into()]).await?;
    Ok(true)
}

/// Runs that made artifacts again or changed their records, first ones first.
pub(crate) async fn previous(conn: &impl ConnectionTrait, artifacts: &[i64]) -> Result<Vec<(i64, String)>> {
    #[derive(FromQueryResult)]
    struct Previous {
        artifact_id: i64,
        uid: String,
    }
    let mut found = Vec::new();
    for artifacts in artifacts.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new(
            "SELECT artifact_id, runs.uid FROM artifact_runs JOIN runs ON runs.id = artifact_runs.run_id \
             WHERE artifact_id IN ",
        );
        sql.bind_list(artifacts.iter().copied());
        sql.push(" ORDER BY artifact_id, at_us, run_id");
        let rows: Vec<Previous> = sql.all(conn).await?;
        found.extend(rows.into_iter().map(|row| (row.artifact_id, row.uid)));
    }
    Ok(found)
}

/// Lets runs forget an artifact that is about to be destroyed.
pub(crate) async fn forget_artifact(txn: &Txn, artifact_id: i64) -> Result<()> {
    for sql in [
        "DELETE FROM run_inputs WHERE artifact_id = $1",
        "UPDATE runs SET report_id = NULL WHERE report_id = $1",
        "UPDATE runs SET environment_id = NULL WHERE environment_id = $1",
    ] {
        numbered::run(txn, sql, [artifact_id.into()]).await?;
    }
    Ok(())
}

/// Whether a run has used an artifact, or is described by it.
pub(crate) async fn uses_artifact(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM run_inputs WHERE artifact_id = $1) \
         OR EXISTS (SELECT 1 FROM runs WHERE report_id = $1) OR EXISTS (SELECT 1 FROM runs WHERE environment_id = $1)";
    numbered::any(conn, SQL, [artifact_id.into()]).await
}
