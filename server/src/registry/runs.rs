//! Executions of transforms: when they begin and end, what they were called with.

mod change;

use std::collections::{BTreeSet, HashMap};

use artifactd_domain::{ArtifactRef, Description, Json, Note, RunStatus, RunUid};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) use change::{add_inputs, finish, insert, locked, locked_by_id};

use super::{
    Caller, Registry, RegistryError, Result, Thing, TransformRef, events, features::entry_etag,
    idempotency::RequestKey, transforms,
};
use crate::db::{
    Batch, DbError, Txn, artifacts,
    runs::{self, RunPage, RunRow, TransformOf},
    transforms as transform_rows,
};

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Identifier.
    pub uid: RunUid,
    /// Uid, key and version of its transform.
    pub transform: Option<(String, String, String)>,
    /// A name for people.
    pub name: Option<String>,
    /// How far it is.
    pub status: RunStatus,
    /// Exit code of its program.
    pub exit_code: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// What it was called with: a JSON object.
    pub params: Json,
    /// Where more is known of it.
    pub reference: Option<String>,
    /// Uid of the artifact that reports on it.
    pub report_uid: Option<String>,
    /// Uid of the artifact that describes its environment.
    pub environment_uid: Option<String>,
    /// Uid of the run that began it.
    pub initiated_by_uid: Option<String>,
    /// Name of its space.
    pub space: String,
    /// Who began it.
    pub created_by: String,
    /// When it began, in microseconds since 1970 UTC.
    pub started_at_us: Option<i64>,
    /// When it ended, in microseconds since 1970 UTC.
    pub finished_at_us: Option<i64>,
    /// When its record was made, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// When its record last changed, in microseconds since 1970 UTC.
    pub updated_at_us: i64,
    /// Its entity tag.
    pub etag: String,
}

/// What to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its transform.
    pub transform: Option<TransformRef>,
    /// A name for people.
    pub name: Option<Note>,
    /// What it is called with: a JSON object.
    pub params: Json,
    /// Where more is known of it.
    pub reference: Option<Note>,
    /// Whether it begins later.
    pub scheduled: bool,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What to change.
#[derive(Debug, Clone)]
pub struct RunUpdate {
    /// The run.
    pub uid: RunUid,
    /// New values of some fields.
    pub fields: Vec<RunField>,
    /// Etag that it must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// The new value of one field.
#[derive(Debug, Clone)]
pub enum RunField {
    /// Another name, or none.
    Name(Option<Note>),
    /// Another reference, or none.
    Reference(Option<Note>),
    /// Another report, or none.
    Report(Option<ArtifactRef>),
    /// Another environment, or none.
    Environment(Option<ArtifactRef>),
    /// All that it is called with.
    Params(Json),
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// The run.
    pub uid: RunUid,
    /// How it ended.
    pub status: RunStatus,
    /// Exit code of its program.
    pub exit_code: Option<i32>,
    /// What went wrong.
    pub error: Option<Description>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunsQuery {
    /// Their transform: one version by uid, else all versions.
    pub transform: Option<TransformRef>,
    /// How far they are.
    pub statuses: Vec<RunStatus>,
    /// The run that began them.
    pub initiated_by: Option<RunUid>,
    /// Place after which the page starts.
    pub after: Option<(i64, i64)>,
    /// Most records.
    pub rows: u64,
}

/// A run as it is stored, with what it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    row: RunRow,
    transform: Option<(String, String, String)>,
    report_uid: Option<String>,
    environment_uid: Option<String>,
    initiated_by_uid: Option<String>,
}

impl RunRow {
    fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }

    fn status(&self) -> Result<RunStatus> {
        Ok(RunStatus::from_code(self.status).ok_or(impossible("status"))?)
    }
}

pub(super) fn impossible(column: &'static str) -> DbError {
    let table = "runs";
    DbError::Row { table, column }
}

/// The uid of a row.
pub(super) fn uid_of(row: &RunRow) -> Result<RunUid> {
    Ok(row.uid.parse().map_err(|_| impossible("uid"))?)
}

/// How far the run of a row is.
pub(super) fn status_of(row: &RunRow) -> Result<RunStatus> {
    row.status()
}

/// A run of the caller's, as it is now.
pub(super) async fn stored(conn: &impl ConnectionTrait, caller: &Caller, uid: &RunUid) -> Result<Stored> {
    let row = runs::by_uid(conn, uid.as_str()).await?;
    let row = row.filter(|row| row.space_id == caller.space_id);
    let row = row.ok_or_else(|| missing(uid))?;
    Ok(with_names(conn, vec![row]).await?.remove(0))
}

pub(super) fn missing(uid: &RunUid) -> RegistryError {
    RegistryError::Missing {
        what: Thing::Run,
        name: uid.to_string(),
    }
}

impl Registry {
    /// Finds a run.
    pub async fn run(&self, caller: &Caller, uid: &RunUid) -> Result<Run> {
        let conn = self.db.reader();
        let row = runs::by_uid(conn, uid.as_str()).await?;
        let row = row
            .filter(|row| caller.may_read(row.space_id))
            .ok_or_else(|| missing(uid))?;
        let mut stored = with_names(conn, vec![row]).await?;
        self.to_run(stored.remove(0))
    }

    /// Lists runs of the caller's space, newest first, and the place of the last one when there are more.
    pub async fn runs(&self, caller: &Caller, query: RunsQuery) -> Result<(Vec<Run>, Option<(i64, i64)>)> {
        let (conn, most) = (self.db.reader(), query.rows);
        let transforms = match &query.transform {
            None => None,
            Some(reference) => {
                let row = transforms::find(conn, caller.scope(), reference).await?;
                Some(match reference {
                    TransformRef::Uid(_) | TransformRef::Key(_, Some(_)) => TransformOf::Version(row.id),
                    TransformRef::Stem(_) | TransformRef::Key(_, None) => TransformOf::Family(row.family_id),
                })
            }
        };
        let initiated_by = match &query.initiated_by {
            None => None,
            Some(uid) => {
                let row = runs::by_uid(conn, uid.as_str()).await?;
                let row = row.filter(|row| caller.may_read(row.space_id));
                Some(row.ok_or_else(|| missing(uid))?.id)
            }
        };
        let page = RunPage {
            transforms,
            statuses: query.statuses.into_iter().map(RunStatus::code).collect(),
            initiated_by,
            after: query.after,
            rows: most + 1,
        };
        let mut rows = runs::page(conn, caller.space_id, page).await?;
        let more = rows.len() as u64 > most;
        rows.truncate(most as usize);
        let next = rows.last().filter(|_| more).map(|row| (row.created_at_us, row.id));
        let stored = with_names(conn, rows).await?;
        let runs = stored.into_iter().map(|stored| self.to_run(stored));
        Ok((runs.collect::<Result<_>>()?, next))
    }

    pub(super) fn to_run(&self, stored: Stored) -> Result<Run> {
        let Stored {
            row,
            transform,
            report_uid,
            environment_uid,
            initiated_by_uid,
        } = stored;
        Ok(Run {
            uid: row.uid.parse().map_err(|_| impossible("uid"))?,
            status: row.status()?,
            exit_code: row.exit_code.and_then(|code| i32::try_from(code).ok()),
            params: Json::read(&row.params).map_err(|_| impossible("params"))?,
            etag: row.etag(),
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            transform,
            name: row.name,
            error: row.error,
            reference: row.reference,
            report_uid,
            environment_uid,
            initiated_by_uid,
            started_at_us: row.started_at_us,
            finished_at_us: row.finished_at_us,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

/// Adds to runs what they name: three queries at most, however many there are.
pub(super) async fn with_names(conn: &impl ConnectionTrait, rows: Vec<RunRow>) -> Result<Vec<Stored>> {
    let distinct = |ids: Vec<i64>| -> Vec<i64> { ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect() };
    let transform_ids = distinct(rows.iter().filter_map(|row| row.transform_id).collect());
    let mut transforms = HashMap::new();
    for row in transform_rows::by_ids(conn, &transform_ids).await? {
        transforms.insert(row.id, (row.uid, row.key, row.version_label));
    }
    let described = rows.iter().flat_map(|row| [row.report_id, row.environment_id]);
    let artifact_ids = distinct(described.flatten().collect());
    let artifacts: HashMap<i64, String> = artifacts::uids_of_ids(conn, &artifact_ids).await?.into_iter().collect();
    let run_ids = distinct(rows.iter().filter_map(|row| row.initiated_by_id).collect());
    let runs: HashMap<i64, String> = runs::by_ids(conn, &run_ids)
        .await?
        .into_iter()
        .map(|row| (row.id, row.uid))
        .collect();
    let stored = rows.into_iter().map(|row| Stored {
        transform: row.transform_id.and_then(|id| transforms.get(&id).cloned()),
        report_uid: row.report_id.and_then(|id| artifacts.get(&id).cloned()),
        environment_uid: row.environment_id.and_then(|id| artifacts.get(&id).cloned()),
        initiated_by_uid: row.initiated_by_id.and_then(|id| runs.get(&id).cloned()),
        row,
    });
    Ok(stored.collect())
}

async fn log(txn: &Txn, caller: &Caller, kind: &'static str, row: &RunRow) -> Result<()> {
    let mut batch = Batch::new(txn);
    let detail = json!({ "name": row.name, "status": row.status()?.as_str(), "exit_code": row.exit_code });
    events::record_of(&mut batch, caller, kind, format!("run/{}", row.uid), detail);
    Ok(batch.run(txn).await?)
}
