//! `WorkService`.

use std::sync::Arc;

use artifactd_domain::ArtifactRef;
use artifactd_proto::v1::{self as pb, work_service_server::WorkService};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, aliases, annotations,
    artifacts::save_response,
    call_id, collections,
    convert::{self, optional, parsed, refused, request_key, timestamp},
    layer::CallId,
    runs, status,
    transforms::transform_ref,
};
use crate::registry::{
    AliasTarget, CollectionChange, Committed, Reservation, Reserved, Rule, RunOfWork, Work, WorkAlias, WorkCollection,
    WorkEnd,
};

/// Most inputs of one call.
const INPUTS_MAX: usize = 1_000;

/// Most outputs of one call: they are committed together, which holds up other writers.
const OUTPUTS_MAX: usize = 500;

/// Most bytes of their contents together.
const CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// Most annotations, most aliases and most collections of one call.
const CHANGES_MAX: usize = 100;

/// How long somebody gets work who does not say so.
const LEASE_SECONDS: i32 = 600;

/// How long somebody gets work at most.
const LEASE_SECONDS_MAX: i32 = 86_400;

const US_PER_SECOND: i64 = 1_000_000;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl WorkService for Api {
    async fn commit_work(&self, request: Request<pb::CommitWorkRequest>) -> Result<Response<pb::CommitWorkResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let work = work(request.into_inner(), &call_id)?;
        let registry = Arc::clone(&self.registry);
        let committed = self
            .to_the_end(&call_id, async move { registry.commit_work(&caller, work).await })
            .await?;
        Ok(Response::new(response(committed)))
    }

    async fn reserve_output(
        &self,
        request: Request<pb::ReserveOutputRequest>,
    ) -> Result<Response<pb::ReserveOutputResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let reservation = reservation(request.into_inner(), &call_id)?;
        let reserved = self.registry.reserve_output(&caller, reservation).await;
        let reserved = reserved.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(reserved_message(reserved)))
    }
}

fn work(mut message: pb::CommitWorkRequest, call_id: &CallId) -> Result<Work> {
    use pb::commit_work_request::Run;
    let id = message.request_id.take();
    let request = request_key("CommitWork", id, "request_id", &message, call_id)?;
    let pb::CommitWorkRequest {
        run,
        inputs,
        outputs,
        annotations,
        collections,
        end,
        request_id: _,
        aliases,
    } = message;
    at_most(aliases.len(), CHANGES_MAX, "aliases", call_id)?;
    at_most(outputs.len(), OUTPUTS_MAX, "outputs", call_id)?;
    at_most(annotations.len(), CHANGES_MAX, "annotations", call_id)?;
    at_most(collections.len(), CHANGES_MAX, "collections", call_id)?;
    let run = match run {
        None => RunOfWork::OfCall,
        Some(Run::Begin(begin)) => {
            no_request_id(begin.request_id.as_ref(), "begin.request_id", call_id)?;
            if begin.scheduled {
                return Err(status::field(
                    call_id,
                    "begin.scheduled",
                    "must not be set: it begins here",
                ));
            }
            RunOfWork::Begins(runs::new_run_of(begin, call_id)?)
        }
        Some(Run::RunUid(uid)) => RunOfWork::Begun(runs::run_uid(&uid, "run_uid", call_id)?),
    };
    let n_outputs = outputs.len();
    let collections = collections
        .into_iter()
        .map(|message| collection(message, n_outputs, call_id));
    let aliases = aliases.into_iter().map(|message| alias(message, n_outputs, call_id));
    Ok(Work {
        run,
        inputs: artifacts(inputs, "inputs", call_id)?,
        outputs: files(outputs, call_id)?,
        annotations: said(annotations, call_id)?,
        aliases: aliases.collect::<Result<_>>()?,
        collections: collections.collect::<Result<_>>()?,
        end: end.map(|message| work_end(message, call_id)).transpose()?,
        request,
    })
}

fn at_most(number: usize, most: usize, field: &'static str, call_id: &CallId) -> Result<()> {
    match number > most {
        true => Err(status::field(
            call_id,
            field,
            format!("must be at most {most}, got {number}"),
        )),
        false => Ok(()),
    }
}

/// The call as a whole is what is repeated.
fn no_request_id(id: Option<&String>, field: &'static str, call_id: &CallId) -> Result<()> {
    match id {
        Some(_) => Err(status::field(
            call_id,
            field,
            "must not be set: the call has one for all of it",
        )),
        None => Ok(()),
    }
}

fn artifacts(messages: Vec<pb::ArtifactRef>, field: &'static str, call_id: &CallId) -> Result<Vec<ArtifactRef>> {
    at_most(messages.len(), INPUTS_MAX, field, call_id)?;
    match messages.is_empty() {
        true => Ok(Vec::new()),
        false => annotations::references(messages, field, call_id),
    }
}

fn files(outputs: Vec<pb::SaveSmallArtifactRequest>, call_id: &CallId) -> Result<Vec<crate::registry::BatchItem>> {
    let mut left = CONTENT_BYTES_MAX;
    let mut files = Vec::with_capacity(outputs.len());
    for output in outputs {
        let pb::SaveSmallArtifactRequest {
            header,
            content,
            crc32c,
        } = output;
        let id = header.as_ref().and_then(|header| header.request_id.as_ref());
        no_request_id(id, "outputs.header.request_id", call_id)?;
        let size = content.len();
        files.push(convert::small_file(header, content, crc32c, left, call_id)?);
        left -= size;
    }
    Ok(files)
}

fn said(messages: Vec<pb::AnnotateRequest>, call_id: &CallId) -> Result<Vec<crate::registry::Annotation>> {
    let said = messages.into_iter().map(|message| {
        no_request_id(message.request_id.as_ref(), "annotations.request_id", call_id)?;
        annotations::annotation(message, call_id)
    });
    said.collect()
}

fn alias(message: pb::WorkAlias, n_outputs: usize, call_id: &CallId) -> Result<WorkAlias> {
    use pb::work_alias::Target;
    let pb::WorkAlias { target, name, r#if } = message;
    let target = match target.ok_or_else(|| refused(call_id, "aliases.target", Rule::Required))? {
        Target::Artifact(artifact) => AliasTarget::Artifact(convert::reference(Some(artifact), call_id)?),
        Target::Output(place) => AliasTarget::Output(place_of(place, n_outputs, "aliases.output", call_id)?),
    };
    Ok(WorkAlias {
        target,
        name: convert::alias_name(&name, call_id)?,
        expected: convert::alias_is(r#if, call_id)?,
    })
}

/// The place of an output that the call has.
fn place_of(place: i32, n_outputs: usize, field: &'static str, call_id: &CallId) -> Result<usize> {
    let known = usize::try_from(place).ok().filter(|place| *place < n_outputs);
    known.ok_or_else(|| {
        let rule = format!("names output {place}, and the call has {n_outputs}");
        status::field(call_id, field, rule)
    })
}

fn collection(message: pb::CollectionChange, n_outputs: usize, call_id: &CallId) -> Result<WorkCollection> {
    use pb::collection_change::Change;
    let pb::CollectionChange {
        change,
        outputs,
        follow_latest,
    } = message;
    let mut places = Vec::with_capacity(outputs.len());
    for place in outputs {
        places.push(place_of(place, n_outputs, "collections.outputs", call_id)?);
    }
    let change = match change.ok_or_else(|| refused(call_id, "collections.change", Rule::Required))? {
        Change::Create(create) => {
            no_request_id(create.request_id.as_ref(), "collections.create.request_id", call_id)?;
            CollectionChange::Create(collections::new_collection(create, call_id)?)
        }
        Change::Append(append) => {
            no_request_id(append.request_id.as_ref(), "collections.append.request_id", call_id)?;
            if append.members.is_empty() && places.is_empty() {
                return Err(refused(call_id, "collections.append.members", Rule::Required));
            }
            CollectionChange::Append(collections::any_appendix(append, call_id)?)
        }
    };
    Ok(WorkCollection {
        change,
        outputs: places,
        follow_latest,
    })
}

fn work_end(message: pb::WorkEnd, call_id: &CallId) -> Result<WorkEnd> {
    let pb::WorkEnd {
        status: number,
        exit_code,
        error,
    } = message;
    let how = runs::run_status(number, "end.status", call_id)?;
    if !how.is_finished() {
        return Err(status::field(
            call_id,
            "end.status",
            "must be COMPLETED, FAILED or ABORTED",
        ));
    }
    Ok(WorkEnd {
        status: how,
        exit_code,
        error: optional(error.as_ref(), "end.error", call_id)?,
    })
}

fn response(committed: Committed) -> pb::CommitWorkResponse {
    let Committed {
        run,
        outputs,
        inputs_added,
        annotations: annotated,
        aliases: moved,
        collections: collected,
    } = committed;
    pb::CommitWorkResponse {
        run: run.map(runs::run),
        outputs: outputs.into_iter().map(save_response).collect(),
        inputs_added: i64::try_from(inputs_added).unwrap_or(i64::MAX),
        annotations: annotated.into_iter().map(annotations::response).collect(),
        collections: collected
            .into_iter()
            .map(|(made, created)| pb::CreateCollectionResponse {
                collection: Some(collections::collection(made)),
                created,
            })
            .collect(),
        aliases: moved.into_iter().map(aliases::set_response).collect(),
    }
}

fn reservation(mut message: pb::ReserveOutputRequest, call_id: &CallId) -> Result<Reservation> {
    let id = message.request_id.take();
    let request = request_key("ReserveOutput", id, "request_id", &message, call_id)?;
    let pb::ReserveOutputRequest {
        transform,
        inputs,
        input_digests,
        params,
        lease_seconds,
        run_uid,
        name,
        request_id: _,
    } = message;
    let transform = transform.ok_or_else(|| refused(call_id, "transform", Rule::Required))?;
    at_most(input_digests.len(), INPUTS_MAX, "input_digests", call_id)?;
    let input_digests = input_digests.iter().map(|text| parsed(text, "input_digests", call_id));
    let seconds = match lease_seconds {
        0 => LEASE_SECONDS,
        seconds @ 1..=LEASE_SECONDS_MAX => seconds,
        _ => {
            let rule = format!("must be 1 to {LEASE_SECONDS_MAX}, got {lease_seconds}");
            return Err(status::field(call_id, "lease_seconds", rule));
        }
    };
    Ok(Reservation {
        transform: transform_ref(transform, call_id)?,
        inputs: artifacts(inputs, "inputs", call_id)?,
        input_digests: input_digests.collect::<Result<_>>()?,
        params: runs::params(params, "params", call_id)?,
        lease_us: i64::from(seconds) * US_PER_SECOND,
        run: run_uid.map(|uid| runs::run_uid(&uid, "run_uid", call_id)).transpose()?,
        name: optional(name.as_ref(), "name", call_id)?,
        request,
    })
}

fn reserved_message(reserved: Reserved) -> pb::ReserveOutputResponse {
    use pb::reserve_output_response::Result;
    let lease = |run, until| pb::WorkLease {
        run: Some(runs::run(run)),
        expires_at: Some(timestamp(until)),
    };
    let result = match reserved {
        Reserved::Existing(run, artifacts) => Result::Existing(pb::ExistingOutputs {
            run: Some(runs::run(run)),
            artifacts: convert::artifacts(artifacts),
        }),
        Reserved::Leased(run, until) => Result::Leased(lease(run, until)),
        Reserved::Held(run, until) => Result::Held(lease(run, until)),
    };
    pb::ReserveOutputResponse { result: Some(result) }
}
