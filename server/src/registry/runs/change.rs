//! Beginning, changing and ending runs.

use artifactd_domain::{ArtifactRef, Note, RunStatus, RunUid};

use super::{NewRun, Run, RunEnd, RunField, RunUpdate, Stored, log, missing, with_names};
use crate::{
    db::{
        DbError, Txn, artifacts,
        runs::{self, RunRow},
        scope::Scope,
    },
    fault,
    registry::{
        Caller, Registry, RegistryError, Result, Thing, annotations::lock_artifacts, draw_stem,
        features::require_entry_etag, idempotency::RequestKey, lineage::open_run, now_us, transforms,
    },
};

impl Registry {
    /// Begins a run.
    pub async fn create_run(&self, caller: &Caller, new: NewRun) -> Result<Run> {
        let (scope, request, maker) = (caller.scope(), new.request.clone(), caller.clone());
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, new) = (maker.clone(), new.clone());
            Box::pin(async move { create(txn, &caller, scope, &new).await })
        });
        self.to_run(stored.await?)
    }

    /// Changes fields of a run.
    pub async fn update_run(&self, caller: &Caller, update: RunUpdate) -> Result<Run> {
        let mut described = Vec::new();
        for field in &update.fields {
            if let RunField::Report(Some(artifact)) | RunField::Environment(Some(artifact)) = field {
                described.push((
                    artifact.clone(),
                    self.uids_of(caller, std::slice::from_ref(artifact)).await?.remove(0),
                ));
            }
        }
        let (request, changer) = (update.request.clone(), caller.clone());
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, update, described) = (changer.clone(), update.clone(), described.clone());
            Box::pin(async move { change(txn, &caller, &update, &described).await })
        });
        self.to_run(stored.await?)
    }

    /// Starts a run that was scheduled.
    pub async fn start_run(&self, caller: &Caller, uid: RunUid, request: Option<RequestKey>) -> Result<Run> {
        let starter = caller.clone();
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, uid) = (starter.clone(), uid.clone());
            Box::pin(async move {
                let mut row = locked(txn, &caller, &uid, None).await?;
                match row.status()? {
                    RunStatus::Scheduled => {
                        let now = now_us();
                        row.status = RunStatus::Started.code();
                        row.started_at_us = Some(now);
                        write(txn, &caller, "run_started", &mut row).await?;
                    }
                    RunStatus::Started => {}
                    _ => return Err(RegistryError::RunFinished(row.uid)),
                }
                Ok(with_names(txn, vec![row]).await?.remove(0))
            })
        });
        self.to_run(stored.await?)
    }

    /// Ends a run.
    pub async fn finish_run(&self, caller: &Caller, end: RunEnd) -> Result<Run> {
        let (request, finisher) = (end.request.clone(), caller.clone());
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, end) = (finisher.clone(), end.clone());
            Box::pin(async move {
                let mut row = locked(txn, &caller, &end.uid, None).await?;
                finish(txn, &caller, &mut row, &end).await?;
                Ok(with_names(txn, vec![row]).await?.remove(0))
            })
        });
        self.to_run(stored.await?)
    }

    /// Writes down that a run has used artifacts; answers how many are new.
    pub async fn add_run_inputs(
        &self,
        caller: &Caller,
        uid: RunUid,
        inputs: Vec<ArtifactRef>,
        request: Option<RequestKey>,
    ) -> Result<u64> {
        let uids = self.uids_of(caller, &inputs).await?;
        let adder = Caller {
            run: Some(uid),
            ..caller.clone()
        };
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, uids) = (adder.clone(), uids.clone());
            Box::pin(async move { add_inputs(txn, &caller, &uids).await })
        })
        .await
    }

    /// Deletes a run that nothing names.
    pub async fn delete_run(
        &self,
        caller: &Caller,
        uid: RunUid,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<()> {
        let deleter = caller.clone();
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, uid, etag) = (deleter.clone(), uid.clone(), etag.clone());
            Box::pin(async move {
                let row = locked(txn, &caller, &uid, etag.as_deref()).await?;
                if let Some(by) = runs::use_of(txn, row.id).await? {
                    let (what, name) = (Thing::Run, row.uid);
                    return Err(RegistryError::InUse { what, name, by });
                }
                runs::delete(txn, row.id).await?;
                log(txn, &caller, "run_deleted", &row).await
            })
        })
        .await
    }
}

async fn create(txn: &Txn, caller: &Caller, scope: Scope, new: &NewRun) -> Result<Stored> {
    let row = insert(txn, caller, scope, new).await?;
    fault::point("run.in_transaction");
    Ok(with_names(txn, vec![row]).await?.remove(0))
}

/// Adds a run; one that a call of another run begins is remembered as its.
pub(in crate::registry) async fn insert(txn: &Txn, caller: &Caller, scope: Scope, new: &NewRun) -> Result<RunRow> {
    let initiator = open_run(txn, caller).await?;
    let transform = match &new.transform {
        None => None,
        Some(reference) => Some(transforms::find(txn, scope, reference).await?),
    };
    let now = now_us();
    let status = if new.scheduled {
        RunStatus::Scheduled
    } else {
        RunStatus::Started
    };
    let mut row = RunRow {
        id: 0,
        uid: draw_stem().to_string(),
        space_id: scope.own,
        transform_id: transform.map(|row| row.id),
        name: new.name.as_ref().map(Note::to_string),
        status: status.code(),
        exit_code: None,
        error: None,
        params: new.params.to_string(),
        reference: new.reference.as_ref().map(Note::to_string),
        report_id: None,
        environment_id: None,
        initiated_by_id: initiator.map(|run| run.id),
        revision: 1,
        created_by: caller.principal.id,
        started_at_us: (!new.scheduled).then_some(now),
        finished_at_us: None,
        created_at_us: now,
        updated_at_us: now,
    };
    row.id = runs::insert(txn, &row).await?;
    log(txn, caller, "run_created", &row).await?;
    Ok(row)
}

/// Ends a locked run, once.
pub(in crate::registry) async fn finish(txn: &Txn, caller: &Caller, row: &mut RunRow, end: &RunEnd) -> Result<()> {
    if row.status()?.is_finished() {
        return Err(RegistryError::RunFinished(row.uid.clone()));
    }
    let now = now_us();
    row.status = end.status.code();
    row.exit_code = end.exit_code.map(i64::from);
    row.error = end.error.as_ref().map(|text| text.as_str().to_owned());
    row.started_at_us.get_or_insert(now);
    row.finished_at_us = Some(now);
    write(txn, caller, "run_finished", row).await
}

/// Writes down what the run of a call has used; answers how many are new.
pub(in crate::registry) async fn add_inputs(txn: &Txn, caller: &Caller, uids: &[String]) -> Result<u64> {
    let run = open_run(txn, caller).await?;
    let run = run.ok_or(RegistryError::RunRequired)?;
    let rows = lock_artifacts(txn, caller, uids).await?;
    let inputs = rows.iter().filter(|row| row.run_id != Some(run.id));
    let inputs: Vec<(i64, i64)> = inputs.map(|row| (row.id, row.created_at_us)).collect();
    Ok(runs::add_inputs(txn, run.id, &inputs, now_us()).await?)
}

/// The run with this id, locked.
pub(in crate::registry) async fn locked_by_id(txn: &Txn, id: i64) -> Result<RunRow> {
    let gone = || DbError::Row {
        table: "reservations",
        column: "run_id",
    };
    let row = runs::by_ids(txn, &[id]).await?.pop().ok_or_else(gone)?;
    Ok(runs::lock(txn, &row.uid).await?.ok_or_else(gone)?)
}

/// A run of the caller's own space, locked.
pub(in crate::registry) async fn locked(
    txn: &Txn,
    caller: &Caller,
    uid: &RunUid,
    etag: Option<&str>,
) -> Result<RunRow> {
    let row = runs::lock(txn, uid.as_str()).await?;
    let row = row
        .filter(|row| row.space_id == caller.space_id)
        .ok_or_else(|| missing(uid))?;
    require_entry_etag(Thing::Run, &row.uid, row.etag(), etag)?;
    Ok(row)
}

async fn write(txn: &Txn, caller: &Caller, kind: &'static str, row: &mut RunRow) -> Result<()> {
    row.revision += 1;
    row.updated_at_us = now_us().max(row.updated_at_us);
    runs::update(txn, row).await?;
    log(txn, caller, kind, row).await
}

async fn change(txn: &Txn, caller: &Caller, update: &RunUpdate, described: &[(ArtifactRef, String)]) -> Result<Stored> {
    let mut row = locked(txn, caller, &update.uid, update.etag.as_deref()).await?;
    for field in &update.fields {
        match field {
            RunField::Name(name) => row.name = name.as_ref().map(Note::to_string),
            RunField::Reference(reference) => row.reference = reference.as_ref().map(Note::to_string),
            RunField::Params(_) if row.status()?.is_finished() => return Err(RegistryError::RunFinished(row.uid)),
            RunField::Params(params) => row.params = params.to_string(),
            RunField::Report(artifact) => row.report_id = artifact_id(txn, caller, artifact, described).await?,
            RunField::Environment(artifact) => {
                row.environment_id = artifact_id(txn, caller, artifact, described).await?
            }
        }
    }
    write(txn, caller, "run_updated", &mut row).await?;
    Ok(with_names(txn, vec![row]).await?.remove(0))
}

async fn artifact_id(
    txn: &Txn,
    caller: &Caller,
    artifact: &Option<ArtifactRef>,
    described: &[(ArtifactRef, String)],
) -> Result<Option<i64>> {
    let Some(reference) = artifact else { return Ok(None) };
    let uid = described
        .iter()
        .find(|(described, _)| described == reference)
        .map(|(_, uid)| uid.as_str());
    let uid = uid.ok_or_else(|| RegistryError::NotFound(reference.to_string()))?;
    let rows = artifacts::by_uids(txn, &[uid]).await?;
    let row = rows.into_iter().find(|row| caller.may_read(row.space_id));
    Ok(Some(row.ok_or_else(|| RegistryError::NotFound(uid.to_owned()))?.id))
}
