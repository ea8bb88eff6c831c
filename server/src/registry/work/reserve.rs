//! Work that is done once: whoever asks gets what was made before, or the work for a while.

use artifactd_domain::{ArtifactRef, Json, Note, RunStatus, RunUid, Sha256, Sha256Hasher, Visibility};

use serde::{Deserialize, Serialize};

use crate::{
    db::{
        Batch, Txn, artifacts,
        artifacts::ArtifactRow,
        events::database_clock_us,
        reservations::{self, ReservationRow},
        runs::RunRow,
    },
    registry::{
        Artifact, Caller, NewRun, Registry, RegistryError, Result, Run, RunEnd, TransformRef,
        annotations::lock_artifacts,
        idempotency::{Repeatable, RequestKey},
        now_us, runs, transforms,
    },
};

/// Most outputs that are answered.
const OUTPUTS_MAX: i64 = 1_000;

/// Which work to ask for.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Its transform.
    pub transform: TransformRef,
    /// Its inputs, in the order that matters.
    pub inputs: Vec<ArtifactRef>,
    /// Inputs that are no artifacts.
    pub input_digests: Vec<Sha256>,
    /// What it is called with: a JSON object.
    pub params: Json,
    /// For how long the caller gets it, in microseconds.
    pub lease_us: i64,
    /// The run of a caller who has it already.
    pub run: Option<RunUid>,
    /// A name of the run for people.
    pub name: Option<Note>,
    /// Makes the call repeatable for whoever gets the work.
    pub request: Option<RequestKey>,
}

/// Who has the work.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// It was done before.
    Existing(Run, Vec<Artifact>),
    /// The caller has it, until then in microseconds since 1970 UTC.
    Leased(Run, i64),
    /// Somebody else has it.
    Held(Run, i64),
}

/// The same as the transaction finds it.
#[derive(Serialize, Deserialize)]
enum Found {
    Existing(runs::Stored, Vec<ArtifactRow>),
    Leased(runs::Stored, i64),
    Held(runs::Stored, i64),
}

impl Registry {
    /// Answers what some work has made, or gives the work to the caller.
    pub async fn reserve_output(&self, caller: &Caller, reservation: Reservation) -> Result<Reserved> {
        let uids = self.uids_of(caller, &reservation.inputs).await?;
        let asker = caller.clone();
        let repeatable = Repeatable::new(reservation.request.as_ref(), caller);
        let found = self.db.write::<_, RegistryError, _>(move |txn| {
            let (caller, reservation, uids) = (asker.clone(), reservation.clone(), uids.clone());
            let repeatable = repeatable.clone();
            Box::pin(async move {
                // Whoever was told that somebody else has the work may ask again.
                if let Some(repeatable) = &repeatable
                    && let Some(finished) = repeatable.finished::<Found>(txn, &caller).await?
                {
                    return Ok(finished.answer);
                }
                let found = reserve(txn, &caller, &reservation, &uids).await?;
                if let (Some(repeatable), Found::Leased(..)) = (&repeatable, &found) {
                    let mut batch = Batch::new(txn);
                    repeatable.remember(&mut batch, &caller, &found, None);
                    batch.run(txn).await?;
                }
                Ok(found)
            })
        });
        Ok(match found.await? {
            Found::Existing(run, rows) => Reserved::Existing(self.to_run(run)?, self.to_artifacts(rows)?),
            Found::Leased(run, until) => Reserved::Leased(self.to_run(run)?, until),
            Found::Held(run, until) => Reserved::Held(self.to_run(run)?, until),
        })
    }
}

async fn reserve(txn: &Txn, caller: &Caller, asked: &Reservation, uids: &[String]) -> Result<Found> {
    let transform = transforms::find(txn, caller.scope(), &asked.transform).await?;
    let inputs = lock_artifacts(txn, caller, uids).await?;
    let work = digest_of(&transform.uid, &inputs, asked);
    let work = work.as_bytes().as_slice();
    let now = database_clock_us(txn).await?.unwrap_or_else(now_us);
    let expires_at_us = now + asked.lease_us;
    let Some(last) = reservations::lock(txn, caller.space_id, work).await? else {
        require_no_run(txn, caller, asked).await?;
        let run = begin(txn, caller, asked, &transform.uid, uids).await?;
        let run_id = run.id;
        reservations::insert(txn, caller.space_id, work, ReservationRow { run_id, expires_at_us }).await?;
        return Ok(Found::Leased(
            runs::with_names(txn, vec![run]).await?.remove(0),
            expires_at_us,
        ));
    };
    let mut run = runs::locked_by_id(txn, last.run_id).await?;
    let is_callers = asked.run.as_ref().is_some_and(|uid| uid.as_str() == run.uid);
    let status = runs::status_of(&run)?;
    if status == RunStatus::Completed {
        let rows = outputs(txn, &run).await?;
        if !rows.is_empty() {
            return Ok(Found::Existing(runs::with_names(txn, vec![run]).await?.remove(0), rows));
        }
    }
    let is_open = !status.is_finished();
    if is_open && is_callers {
        let run_id = run.id;
        reservations::update(txn, caller.space_id, work, ReservationRow { run_id, expires_at_us }).await?;
        return Ok(Found::Leased(
            runs::with_names(txn, vec![run]).await?.remove(0),
            expires_at_us,
        ));
    }
    if is_open && last.expires_at_us > now {
        return Ok(Found::Held(
            runs::with_names(txn, vec![run]).await?.remove(0),
            last.expires_at_us,
        ));
    }
    require_no_run(txn, caller, asked).await?;
    if is_open {
        let end = RunEnd {
            uid: runs::uid_of(&run)?,
            status: RunStatus::Aborted,
            exit_code: None,
            error: "its lease ran out, and another run took its work".parse().ok(),
            request: None,
        };
        runs::finish(txn, caller, &mut run, &end).await?;
    }
    let run = begin(txn, caller, asked, &transform.uid, uids).await?;
    let run_id = run.id;
    reservations::update(txn, caller.space_id, work, ReservationRow { run_id, expires_at_us }).await?;
    Ok(Found::Leased(
        runs::with_names(txn, vec![run]).await?.remove(0),
        expires_at_us,
    ))
}

/// Whoever says to have the work, and has not, hears why.
async fn require_no_run(txn: &Txn, caller: &Caller, asked: &Reservation) -> Result<()> {
    let Some(uid) = &asked.run else { return Ok(()) };
    let row = runs::locked(txn, caller, uid, None).await?;
    Err(match runs::status_of(&row)?.is_finished() {
        true => RegistryError::RunFinished(row.uid),
        false => RegistryError::other("run_uid", "is of a run that never had this work"),
    })
}

/// Begins the run of the work, with its inputs.
async fn begin(txn: &Txn, caller: &Caller, asked: &Reservation, transform: &str, uids: &[String]) -> Result<RunRow> {
    let new = NewRun {
        transform: Some(TransformRef::Uid(
            transform.parse().map_err(|_| runs::impossible("transform_id"))?,
        )),
        name: asked.name.clone(),
        params: asked.params.clone(),
        reference: None,
        scheduled: false,
        request: None,
    };
    let run = runs::insert(txn, caller, caller.scope(), &new).await?;
    if !uids.is_empty() {
        let worker = Caller {
            run: Some(runs::uid_of(&run)?),
            ..caller.clone()
        };
        runs::add_inputs(txn, &worker, uids).await?;
    }
    Ok(run)
}

async fn outputs(txn: &Txn, run: &RunRow) -> Result<Vec<ArtifactRow>> {
    let ids = reservations::outputs(txn, run.id, Visibility::Trash.code(), OUTPUTS_MAX).await?;
    let mut rows = artifacts::by_ids(txn, &ids).await?;
    rows.sort_by_key(|row| (row.created_at_us, row.id));
    Ok(rows)
}

/// What tells work apart: the transform, what its inputs hold, and what it is called with.
fn digest_of(transform: &str, inputs: &[ArtifactRow], asked: &Reservation) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(format!("artifactd work 1\n{transform}\n").as_bytes());
    for row in inputs {
        hasher.update(format!("artifact {} {}\n", row.hash_type, hex(&row.sha256)).as_bytes());
    }
    for digest in &asked.input_digests {
        hasher.update(format!("digest {digest}\n").as_bytes());
    }
    // Its text is canonical: names in their order, no spaces.
    hasher.update(format!("params {}\n", asked.params).as_bytes());
    hasher.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
