//! `SchemaService`.

use std::collections::HashSet;

use artifactd_proto::v1::{self as pb, schema_service_server::SchemaService};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    convert::{self, optional, parsed, refused, request_key, timestamp},
    features::feature,
    layer::CallId,
    pages, status,
};
use crate::registry::{
    FeatureSet, NewSchema, NewSchemaSlot, Rule, Schema, SchemaFault, SchemaSlot, SchemasQuery, SlotOfArtifact,
};

type Result<T> = std::result::Result<T, Status>;

const SLOT_BYTES_MAX: usize = 64;
const SLOTS_MAX: usize = 100;
const FEATURES_MAX: usize = 5_000;

#[async_trait]
impl SchemaService for Api {
    async fn create_schema(&self, request: Request<pb::CreateSchemaRequest>) -> Result<Response<pb::Schema>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_schema(request.into_inner(), &call_id)?;
        let created = self.registry.create_schema(&caller, new).await;
        let created = created.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(schema(created)))
    }

    async fn get_schema(&self, request: Request<pb::GetSchemaRequest>) -> Result<Response<pb::Schema>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let name = name(&request.into_inner().name, "name", &call_id)?;
        let found = self.registry.schema(&caller, &name).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(schema(found)))
    }

    async fn list_schemas(
        &self,
        request: Request<pb::ListSchemasRequest>,
    ) -> Result<Response<pb::ListSchemasResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListSchemas", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let pb::ListSchemasRequest {
            name_prefix,
            page_size,
            page_token,
        } = message;
        let query = SchemasQuery {
            prefix: name_prefix,
            after: self.place(&page_token, &asks, &call_id)?,
            rows: pages::rows(page_size, &call_id)?,
        };
        let listed = self.registry.schemas(&caller, query).await;
        let (schemas, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListSchemasResponse {
            schemas: schemas.into_iter().map(schema).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn delete_schema(
        &self,
        request: Request<pb::DeleteSchemaRequest>,
    ) -> Result<Response<pb::DeleteSchemaResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteSchema", id, "request_id", &message, &call_id)?;
        let name = name(&message.name, "name", &call_id)?;
        let deleted = self.registry.delete_schema(&caller, name, request).await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteSchemaResponse {}))
    }

    async fn check_schema(
        &self,
        request: Request<pb::CheckSchemaRequest>,
    ) -> Result<Response<pb::CheckSchemaResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::CheckSchemaRequest { schema, artifact } = request.into_inner();
        let name = name(&schema, "schema", &call_id)?;
        let reference = convert::reference(artifact, &call_id)?;
        let checked = self.registry.check_schema(&caller, &name, &reference).await;
        let faults = checked.map_err(|error| status::from_registry(error, &call_id))?;
        let faults = faults.into_iter().map(|fault| {
            let SchemaFault { slot, name, why } = fault;
            pb::SchemaFault {
                slot,
                name,
                description: why,
            }
        });
        Ok(Response::new(pb::CheckSchemaResponse {
            faults: faults.collect(),
        }))
    }

    async fn get_feature_set(&self, request: Request<pb::GetFeatureSetRequest>) -> Result<Response<pb::FeatureSet>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let uid = request.into_inner().uid;
        if uid.is_empty() {
            return Err(refused(&call_id, "uid", Rule::Required));
        }
        let found = self.registry.feature_set(&caller, &uid).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(feature_set(found)))
    }
}

fn name(text: &str, field: &'static str, call_id: &CallId) -> Result<artifactd_domain::Name> {
    if text.is_empty() {
        return Err(refused(call_id, field, Rule::Required));
    }
    parsed(text, field, call_id)
}

fn new_schema(mut message: pb::CreateSchemaRequest, call_id: &CallId) -> Result<NewSchema> {
    let id = message.request_id.take();
    let request = request_key("CreateSchema", id, "request_id", &message, call_id)?;
    let pb::CreateSchemaRequest {
        name: called,
        description,
        slots: messages,
        request_id: _,
    } = message;
    if messages.is_empty() {
        return Err(refused(call_id, "slots", Rule::Required));
    }
    let features: usize = messages.iter().map(|slot| slot.features.len()).sum();
    if messages.len() > SLOTS_MAX || features > FEATURES_MAX {
        let rule = format!("must be at most {SLOTS_MAX} with at most {FEATURES_MAX} features");
        return Err(status::field(call_id, "slots", rule));
    }
    let mut names = HashSet::new();
    let mut slots = Vec::with_capacity(messages.len());
    for message in messages {
        let slot = new_slot(message, call_id)?;
        if !names.insert(slot.slot.clone()) {
            return Err(status::field(call_id, "slots.slot", "must be there once each"));
        }
        slots.push(slot);
    }
    Ok(NewSchema {
        name: name(&called, "name", call_id)?,
        description: optional(description.as_ref(), "description", call_id)?,
        slots,
        request,
    })
}

fn new_slot(message: pb::SchemaSlot, call_id: &CallId) -> Result<NewSchemaSlot> {
    let pb::SchemaSlot {
        slot,
        features: messages,
        closed,
    } = message;
    let slot = name(&slot, "slots.slot", call_id)?.to_string();
    if slot.len() > SLOT_BYTES_MAX {
        let rule = format!("must have at most {SLOT_BYTES_MAX} bytes");
        return Err(status::field(call_id, "slots.slot", rule));
    }
    if messages.is_empty() {
        return Err(refused(call_id, "slots.features", Rule::Required));
    }
    let mut names = HashSet::new();
    let mut features = Vec::with_capacity(messages.len());
    for message in messages {
        let pb::SchemaFeature {
            name: called,
            optional,
            dtype,
        } = message;
        if !dtype.is_empty() {
            let rule = "is that of the feature, and must be empty";
            return Err(status::field(call_id, "slots.features.dtype", rule));
        }
        let called = name(&called, "slots.features.name", call_id)?;
        if !names.insert(called.to_string()) {
            return Err(status::field(call_id, "slots.features.name", "must be there once each"));
        }
        features.push((called, !optional));
    }
    Ok(NewSchemaSlot {
        slot,
        features,
        is_closed: closed,
    })
}

fn schema(schema: Schema) -> pb::Schema {
    let Schema {
        uid,
        name,
        description,
        slots,
        space,
        created_by,
        created_at_us,
    } = schema;
    pb::Schema {
        uid,
        name,
        description,
        slots: slots.into_iter().map(slot).collect(),
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
    }
}

fn slot(slot: SchemaSlot) -> pb::SchemaSlot {
    let SchemaSlot {
        slot,
        columns,
        is_closed,
    } = slot;
    let features = columns.into_iter().map(|column| pb::SchemaFeature {
        name: column.name,
        optional: !column.is_required,
        dtype: column.dtype.to_string(),
    });
    pb::SchemaSlot {
        slot,
        features: features.collect(),
        closed: is_closed,
    }
}

/// What an artifact has in a slot.
pub(super) fn slot_of_artifact(slot: SlotOfArtifact) -> pb::ArtifactFeatureSet {
    let SlotOfArtifact {
        slot,
        feature_set: set,
        n_unregistered,
        unregistered,
    } = slot;
    pb::ArtifactFeatureSet {
        slot,
        feature_set: set.map(feature_set),
        n_unregistered,
        unregistered,
    }
}

fn feature_set(set: FeatureSet) -> pb::FeatureSet {
    let FeatureSet {
        uid,
        hash,
        n_features,
        features,
        n_artifacts,
        space,
        created_at_us,
    } = set;
    pb::FeatureSet {
        uid,
        hash,
        n_features,
        features: features.into_iter().map(feature).collect(),
        n_artifacts,
        space,
        created_at: Some(timestamp(created_at_us)),
    }
}
