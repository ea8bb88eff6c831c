//! `RunService`.

use std::collections::BTreeMap;

use artifactd_domain::{Json, RunStatus, RunUid, Value};
use artifactd_proto::v1::{self as pb, run_service_server::RunService};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api,
    annotations::{references, value, value_message},
    call_id,
    convert::{self, optional, refused, request_key, timestamp, unknown},
    layer::CallId,
    pages, status,
    transforms::transform_ref,
};
use crate::registry::{NewRun, Rule, Run, RunEnd, RunField, RunUpdate, RunsQuery};

const PARAM_NAME_BYTES_MAX: usize = 255;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl RunService for Api {
    async fn create_run(&self, request: Request<pb::CreateRunRequest>) -> Result<Response<pb::Run>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_run(request.into_inner(), &call_id)?;
        let created = self.registry.create_run(&caller, new).await;
        Ok(Response::new(run(
            created.map_err(|error| status::from_registry(error, &call_id))?
        )))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Result<Response<pb::Run>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let uid = run_uid(&request.into_inner().uid, "uid", &call_id)?;
        let found = self.registry.run(&caller, &uid).await;
        Ok(Response::new(run(
            found.map_err(|error| status::from_registry(error, &call_id))?
        )))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Result<Response<pb::ListRunsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListRuns", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let pb::ListRunsRequest {
            transform,
            statuses,
            initiated_by_uid,
            page_size,
            page_token,
        } = message;
        let statuses = statuses
            .into_iter()
            .map(|number| run_status(number, "statuses", &call_id));
        let initiated_by = initiated_by_uid.map(|uid| run_uid(&uid, "initiated_by_uid", &call_id));
        let query = RunsQuery {
            transform: transform.map(|message| transform_ref(message, &call_id)).transpose()?,
            statuses: statuses.collect::<Result<_>>()?,
            initiated_by: initiated_by.transpose()?,
            after: self.place(&page_token, &asks, &call_id)?,
            rows: pages::rows(page_size, &call_id)?,
        };
        let listed = self.registry.runs(&caller, query).await;
        let (runs, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListRunsResponse {
            runs: runs.into_iter().map(run).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn update_run(&self, request: Request<pb::UpdateRunRequest>) -> Result<Response<pb::Run>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let update = update(request.into_inner(), &call_id)?;
        let updated = self.registry.update_run(&caller, update).await;
        Ok(Response::new(run(
            updated.map_err(|error| status::from_registry(error, &call_id))?
        )))
    }

    async fn start_run(&self, request: Request<pb::StartRunRequest>) -> Result<Response<pb::Run>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("StartRun", id, "request_id", &message, &call_id)?;
        let uid = run_uid(&message.uid, "uid", &call_id)?;
        let started = self.registry.start_run(&caller, uid, request).await;
        Ok(Response::new(run(
            started.map_err(|error| status::from_registry(error, &call_id))?
        )))
    }

    async fn finish_run(&self, request: Request<pb::FinishRunRequest>) -> Result<Response<pb::Run>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let end = run_end(request.into_inner(), &call_id)?;
        let finished = self.registry.finish_run(&caller, end).await;
        Ok(Response::new(run(
            finished.map_err(|error| status::from_registry(error, &call_id))?
        )))
    }

    async fn add_run_inputs(
        &self,
        request: Request<pb::AddRunInputsRequest>,
    ) -> Result<Response<pb::AddRunInputsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("AddRunInputs", id, "request_id", &message, &call_id)?;
        let uid = run_uid(&message.uid, "uid", &call_id)?;
        let artifacts = references(message.artifacts, "artifacts", &call_id)?;
        let added = self.registry.add_run_inputs(&caller, uid, artifacts, request).await;
        let added = added.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::AddRunInputsResponse {
            added: i64::try_from(added).unwrap_or(i64::MAX),
        }))
    }

    async fn delete_run(&self, request: Request<pb::DeleteRunRequest>) -> Result<Response<pb::DeleteRunResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteRun", id, "request_id", &message, &call_id)?;
        let uid = run_uid(&message.uid, "uid", &call_id)?;
        let deleted = self.registry.delete_run(&caller, uid, message.etag, request).await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteRunResponse {}))
    }
}

/// The uid of a run.
pub(super) fn run_uid(text: &str, field: &'static str, call_id: &CallId) -> Result<RunUid> {
    convert::identifier(text, field, call_id)
}

/// How far a run is.
pub(super) fn run_status(number: i32, field: &'static str, call_id: &CallId) -> Result<RunStatus> {
    match pb::RunStatus::try_from(number).map_err(|_| unknown(call_id, field, number))? {
        pb::RunStatus::Unspecified => Err(refused(call_id, field, Rule::Required)),
        pb::RunStatus::Scheduled => Ok(RunStatus::Scheduled),
        pb::RunStatus::Started => Ok(RunStatus::Started),
        pb::RunStatus::Completed => Ok(RunStatus::Completed),
        pb::RunStatus::Failed => Ok(RunStatus::Failed),
        pb::RunStatus::Aborted => Ok(RunStatus::Aborted),
    }
}

/// How far a run is, as a message.
pub(super) fn status_message(status: RunStatus) -> pb::RunStatus {
    match status {
        RunStatus::Scheduled => pb::RunStatus::Scheduled,
        RunStatus::Started => pb::RunStatus::Started,
        RunStatus::Completed => pb::RunStatus::Completed,
        RunStatus::Failed => pb::RunStatus::Failed,
        RunStatus::Aborted => pb::RunStatus::Aborted,
    }
}

/// What a run is called with, as a JSON object.
pub(super) fn params(messages: Vec<pb::RunParam>, field: &'static str, call_id: &CallId) -> Result<Json> {
    let mut params = BTreeMap::new();
    for (place, message) in messages.into_iter().enumerate() {
        let fault = |what: &str| status::field(call_id, field, format!("[{place}] {what}"));
        let pb::RunParam { name, value: given } = message;
        if name.is_empty() || name.len() > PARAM_NAME_BYTES_MAX || name.contains('\0') {
            return Err(fault("must have a name of 1 to 255 bytes without NUL"));
        }
        let given = given.ok_or_else(|| fault("has no value"))?;
        let given = value(given, true).map_err(|error| fault(&error))?;
        let json = json_of(given).ok_or_else(|| {
            fault("must be a number, a text, true or false, a JSON object, or a list of these; write dates as texts")
        })?;
        if params.insert(name, json).is_some() {
            return Err(fault("has a name that came before"));
        }
    }
    let params = Json::Object(params);
    // They are kept as a text, which has to be read again.
    match Json::read(&params.to_string()) {
        Ok(params) => Ok(params),
        Err(refused) => Err(status::field(call_id, field, format!("together {refused}"))),
    }
}

fn json_of(value: Value) -> Option<Json> {
    Some(match value {
        Value::Int(value) => Json::Int(value),
        Value::Float(value) => Json::Float(value),
        Value::Bool(value) => Json::Bool(value),
        Value::Text(text) if text.contains('\0') => return None,
        Value::Text(text) => Json::Text(text),
        Value::Dict(json) => json,
        Value::List(items) => Json::List(items.into_iter().map(json_of).collect::<Option<_>>()?),
        Value::Date(_) | Value::Time(_) | Value::Label(_) => return None,
    })
}

fn value_of(json: Json) -> Value {
    match json {
        Json::Int(value) => Value::Int(value),
        Json::Float(value) => Value::Float(value),
        Json::Bool(value) => Value::Bool(value),
        Json::Text(text) => Value::Text(text),
        Json::List(items) => Value::List(items.into_iter().map(value_of).collect()),
        dict @ (Json::Object(_) | Json::Null) => Value::Dict(dict),
    }
}

/// What a run is called with, as messages.
pub(super) fn param_messages(params: Json) -> Vec<pb::RunParam> {
    let Json::Object(params) = params else {
        return Vec::new();
    };
    let messages = params.into_iter().map(|(name, json)| pb::RunParam {
        name,
        value: Some(value_message(value_of(json))),
    });
    messages.collect()
}

/// What run to begin; its request id is looked at elsewhere.
pub(super) fn new_run_of(message: pb::CreateRunRequest, call_id: &CallId) -> Result<NewRun> {
    let pb::CreateRunRequest {
        transform,
        name,
        params: given,
        reference,
        scheduled,
        request_id: _,
    } = message;
    Ok(NewRun {
        transform: transform.map(|message| transform_ref(message, call_id)).transpose()?,
        name: optional(name.as_ref(), "name", call_id)?,
        params: params(given, "params", call_id)?,
        reference: optional(reference.as_ref(), "reference", call_id)?,
        scheduled,
        request: None,
    })
}

fn new_run(mut message: pb::CreateRunRequest, call_id: &CallId) -> Result<NewRun> {
    let id = message.request_id.take();
    let request = request_key("CreateRun", id, "request_id", &message, call_id)?;
    Ok(NewRun {
        request,
        ..new_run_of(message, call_id)?
    })
}

fn update(mut message: pb::UpdateRunRequest, call_id: &CallId) -> Result<RunUpdate> {
    let id = message.request_id.take();
    let request = request_key("UpdateRun", id, "request_id", &message, call_id)?;
    let pb::UpdateRunRequest {
        uid,
        update,
        update_mask,
        etag,
        request_id: _,
    } = message;
    let update = update.ok_or_else(|| refused(call_id, "update", Rule::Required))?;
    let artifact = |message: &Option<pb::ArtifactRef>| {
        let message = message.clone();
        message
            .map(|message| convert::reference(Some(message), call_id))
            .transpose()
    };
    let mut fields = Vec::new();
    for path in convert::mask(update_mask, call_id)? {
        fields.push(match path.as_str() {
            "name" => RunField::Name(optional(update.name.as_ref(), "update.name", call_id)?),
            "reference" => RunField::Reference(optional(update.reference.as_ref(), "update.reference", call_id)?),
            "report" => RunField::Report(artifact(&update.report)?),
            "environment" => RunField::Environment(artifact(&update.environment)?),
            "params" => RunField::Params(params(update.params.clone(), "update.params", call_id)?),
            other => return Err(convert::not_updatable(other, call_id)),
        });
    }
    Ok(RunUpdate {
        uid: run_uid(&uid, "uid", call_id)?,
        fields,
        etag,
        request,
    })
}

fn run_end(mut message: pb::FinishRunRequest, call_id: &CallId) -> Result<RunEnd> {
    let id = message.request_id.take();
    let request = request_key("FinishRun", id, "request_id", &message, call_id)?;
    let pb::FinishRunRequest {
        uid,
        status: number,
        exit_code,
        error,
        request_id: _,
    } = message;
    let how = run_status(number, "status", call_id)?;
    if !how.is_finished() {
        return Err(status::field(call_id, "status", "must be COMPLETED, FAILED or ABORTED"));
    }
    Ok(RunEnd {
        uid: run_uid(&uid, "uid", call_id)?,
        status: how,
        exit_code,
        error: optional(error.as_ref(), "error", call_id)?,
        request,
    })
}

/// The transform of a run, as a message.
pub(super) fn run_transform((uid, key, version): (String, String, String)) -> pb::RunTransform {
    pb::RunTransform { uid, key, version }
}

/// A run as a message.
pub(super) fn run(run: Run) -> pb::Run {
    let Run {
        uid,
        transform,
        name,
        status,
        exit_code,
        error,
        params,
        reference,
        report_uid,
        environment_uid,
        initiated_by_uid,
        space,
        created_by,
        started_at_us,
        finished_at_us,
        created_at_us,
        updated_at_us,
        etag,
    } = run;
    pb::Run {
        uid: uid.to_string(),
        transform: transform.map(run_transform),
        name,
        status: status_message(status).into(),
        exit_code,
        error,
        params: param_messages(params),
        reference,
        report_uid,
        environment_uid,
        initiated_by_uid,
        space,
        created_by,
        started_at: started_at_us.map(timestamp),
        finished_at: finished_at_us.map(timestamp),
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}
