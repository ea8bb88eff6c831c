//! What the log says of a change.

use sea_orm::DbBackend;
use serde_json::{Value, json};

use super::{Caller, now_us};
use crate::db::{
    Batch,
    events::{self, NewEvent},
};

/// Adds an event about one artifact to a batch of changes.
pub(super) fn record(batch: &mut Batch, caller: &Caller, kind: &'static str, uid: &str, detail: Value) {
    push(batch, caller, kind, (Some(uid.to_owned()), None), detail);
}

/// Adds an event about something else, such as `feature/<uid>`.
pub(super) fn record_of(batch: &mut Batch, caller: &Caller, kind: &'static str, subject: String, detail: Value) {
    push(batch, caller, kind, (None, Some(subject)), detail);
}

fn push(
    batch: &mut Batch,
    caller: &Caller,
    kind: &'static str,
    about: (Option<String>, Option<String>),
    detail: Value,
) {
    let backend: DbBackend = batch.backend();
    batch.insert(events::insert(backend, &event(caller, kind, about, detail)));
}

/// An event about one artifact, to be written with others.
pub(super) fn of_artifact(caller: &Caller, kind: &'static str, uid: &str, detail: Value) -> NewEvent {
    event(caller, kind, (Some(uid.to_owned()), None), detail)
}

fn event(
    caller: &Caller,
    kind: &'static str,
    (artifact_uid, subject): (Option<String>, Option<String>),
    detail: Value,
) -> NewEvent {
    NewEvent {
        space_id: caller.space_id,
        principal_id: caller.principal.id,
        kind,
        artifact_uid,
        subject,
        call_id: caller.call_id.clone(),
        detail,
        at_us: now_us(),
    }
}

/// The detail of an event that has none.
pub(super) fn nothing() -> Value {
    json!({})
}
