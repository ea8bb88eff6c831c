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
    let backend: DbBackend = batch.backend();
    let event = NewEvent {
        space_id: caller.space_id,
        principal_id: caller.principal.id,
        kind,
        artifact_uid: uid.to_owned(),
        call_id: caller.call_id.clone(),
        detail,
        at_us: now_us(),
    };
    batch.push(&events::insert(backend, &event));
}

/// The detail of an event that has none.
pub(super) fn nothing() -> Value {
    json!({})
}
