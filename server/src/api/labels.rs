//! `LabelService`.

use artifactd_domain::{LabelBy, LabelName, RegistryName, terms::TermFormat};
use artifactd_proto::v1::{self as pb, label_service_server::LabelService};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, call_id,
    chunks::out_of_order,
    convert::{self, optional, parsed, refused, request_key, timestamp, unknown},
    layer::CallId,
    pages, status,
};
use crate::registry::{
    LabelField, LabelImport, LabelMatch, LabelRecord, LabelRegistry, LabelUpdate, LabelsQuery, NewLabel,
    NewLabelRegistry, RegistryError, Resolved, Rule,
};

/// Largest file of labels.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most labels right above one, and most texts that are looked for at once.
const PARENTS_MAX: usize = 100;
const TEXTS_MAX: usize = 1_000;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl LabelService for Api {
    async fn create_label_registry(
        &self,
        request: Request<pb::CreateLabelRegistryRequest>,
    ) -> Result<Response<pb::LabelRegistry>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("CreateLabelRegistry", id, "request_id", &message, &call_id)?;
        let new = NewLabelRegistry {
            name: parsed(&message.name, "name", &call_id)?,
            description: optional(message.description.as_ref(), "description", &call_id)?,
            allow_existing: message.allow_existing,
            request,
        };
        let created = self.registry.create_label_registry(&caller, new).await;
        let created = created.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(label_registry(created)))
    }

    async fn get_label_registry(
        &self,
        request: Request<pb::GetLabelRegistryRequest>,
    ) -> Result<Response<pb::LabelRegistry>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let name = parsed(&request.into_inner().name, "name", &call_id)?;
        let found = self.registry.label_registry(&caller, &name).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(label_registry(found)))
    }

    async fn list_label_registries(
        &self,
        request: Request<pb::ListLabelRegistriesRequest>,
    ) -> Result<Response<pb::ListLabelRegistriesResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::ListLabelRegistriesRequest { page_size, page_token } = request.into_inner();
        let asks = format!("ListLabelRegistries {} {}", caller.principal.id, caller.space_id);
        let after = self.place(&page_token, &asks, &call_id)?;
        let rows = pages::rows(page_size, &call_id)?;
        let listed = self.registry.label_registries(&caller, after, rows).await;
        let (registries, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListLabelRegistriesResponse {
            registries: registries.into_iter().map(label_registry).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn update_label_registry(
        &self,
        request: Request<pb::UpdateLabelRegistryRequest>,
    ) -> Result<Response<pb::LabelRegistry>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("UpdateLabelRegistry", id, "request_id", &message, &call_id)?;
        let name = parsed(&message.name, "name", &call_id)?;
        let description = optional(message.description.as_ref(), "description", &call_id)?;
        let updated = self
            .registry
            .update_label_registry(&caller, name, description, message.etag, request)
            .await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(label_registry(updated)))
    }

    async fn delete_label_registry(
        &self,
        request: Request<pb::DeleteLabelRegistryRequest>,
    ) -> Result<Response<pb::DeleteLabelRegistryResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteLabelRegistry", id, "request_id", &message, &call_id)?;
        let name = parsed(&message.name, "name", &call_id)?;
        let deleted = self
            .registry
            .delete_label_registry(&caller, name, message.etag, request)
            .await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteLabelRegistryResponse {}))
    }

    async fn create_label(&self, request: Request<pb::CreateLabelRequest>) -> Result<Response<pb::Label>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_label(request.into_inner(), &call_id)?;
        let created = self.registry.create_label(&caller, new).await;
        let created = created.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(label(created)))
    }

    async fn get_label(&self, request: Request<pb::GetLabelRequest>) -> Result<Response<pb::Label>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let name = required_name(request.into_inner().label, "label", &call_id)?;
        let found = self.registry.label(&caller, &name).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(label(found)))
    }

    async fn list_labels(&self, request: Request<pb::ListLabelsRequest>) -> Result<Response<pb::ListLabelsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListLabels", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let pb::ListLabelsRequest {
            registry,
            name_prefix,
            parent,
            ancestor,
            child,
            descendant,
            page_size,
            page_token,
        } = message;
        let named = |label: Option<pb::LabelName>, field| label.map(|label| label_name(label, field, &call_id));
        let query = LabelsQuery {
            registry: registry_or_ulabel(registry.as_ref(), &call_id)?,
            prefix: name_prefix,
            parent: named(parent, "parent").transpose()?,
            ancestor: named(ancestor, "ancestor").transpose()?,
            child: named(child, "child").transpose()?,
            descendant: named(descendant, "descendant").transpose()?,
            after: self.place(&page_token, &asks, &call_id)?,
            rows: pages::rows(page_size, &call_id)?,
        };
        let listed = self.registry.labels(&caller, query).await;
        let (labels, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListLabelsResponse {
            labels: labels.into_iter().map(label).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn update_label(&self, request: Request<pb::UpdateLabelRequest>) -> Result<Response<pb::Label>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let update = label_update(request.into_inner(), &call_id)?;
        let updated = self.registry.update_label(&caller, update).await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(label(updated)))
    }

    async fn delete_label(
        &self,
        request: Request<pb::DeleteLabelRequest>,
    ) -> Result<Response<pb::DeleteLabelResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteLabel", id, "request_id", &message, &call_id)?;
        let name = required_name(message.label, "label", &call_id)?;
        let deleted = self.registry.delete_label(&caller, name, message.etag, request).await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteLabelResponse {}))
    }

    async fn resolve_labels(
        &self,
        request: Request<pb::ResolveLabelsRequest>,
    ) -> Result<Response<pb::ResolveLabelsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::ResolveLabelsRequest { registry, texts } = request.into_inner();
        if texts.len() > TEXTS_MAX {
            let rule = format!("must be at most {TEXTS_MAX}, got {}", texts.len());
            return Err(status::field(&call_id, "texts", rule));
        }
        let registry = registry_or_ulabel(registry.as_ref(), &call_id)?;
        let resolved = self.registry.resolve_labels(&caller, &registry, &texts).await;
        let resolved = resolved.map_err(|error| status::from_registry(error, &call_id))?;
        let labels = resolved.into_iter().map(|resolved| resolved_label(resolved, &registry));
        Ok(Response::new(pb::ResolveLabelsResponse {
            labels: labels.collect(),
        }))
    }

    async fn import_labels(
        &self,
        request: Request<Streaming<pb::ImportLabelsRequest>>,
    ) -> Result<Response<pb::ImportLabelsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut messages = request.into_inner();
        let turn = self.registry.label_import_turn();
        let _turn = turn.map_err(|error| status::from_registry(error, &call_id))?;
        let first = self.within_idle(&call_id, next(&mut messages, &call_id)).await?;
        let Some(pb::import_labels_request::Message::Header(header)) = first else {
            return Err(out_of_order(&call_id, "the first message must be the header"));
        };
        let import = label_import(header, &call_id)?;
        let mut file = Vec::new();
        while let Some(message) = self.within_idle(&call_id, next(&mut messages, &call_id)).await? {
            let pb::import_labels_request::Message::Chunk(chunk) = message else {
                return Err(out_of_order(&call_id, "only chunks follow the header"));
            };
            if file.len() + chunk.len() > FILE_BYTES_MAX {
                let max = FILE_BYTES_MAX as u64;
                return Err(status::from_registry(RegistryError::ContentTooLarge(max), &call_id));
            }
            file.extend_from_slice(&chunk);
        }
        let imported = self.registry.import_labels(&caller, &import, &file).await;
        let imported = imported.map_err(|error| status::from_registry(error, &call_id))?;
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Response::new(pb::ImportLabelsResponse {
            created: count(imported.created),
            updated: count(imported.updated),
            unchanged: count(imported.unchanged),
            skipped: count(imported.skipped),
        }))
    }
}

async fn next(
    messages: &mut Streaming<pb::ImportLabelsRequest>,
    call_id: &CallId,
) -> Result<Option<pb::import_labels_request::Message>> {
    match messages.message().await {
        Ok(None) => Ok(None),
        Ok(Some(message)) => match message.message {
            Some(message) => Ok(Some(message)),
            None => Err(out_of_order(call_id, "a message must hold a header or a chunk")),
        },
        Err(made) => Err(status::from_tonic(&made, call_id)),
    }
}

fn label_import(header: pb::ImportLabelsHeader, call_id: &CallId) -> Result<LabelImport> {
    let pb::ImportLabelsHeader {
        registry,
        format,
        update_existing,
        validate_only,
    } = header;
    let format = match pb::LabelFormat::try_from(format).map_err(|_| unknown(call_id, "header.format", format))? {
        pb::LabelFormat::Unspecified => return Err(refused(call_id, "header.format", Rule::Required)),
        pb::LabelFormat::Obo => TermFormat::Obo,
        pb::LabelFormat::Tsv => TermFormat::Tsv,
        pb::LabelFormat::Csv => TermFormat::Csv,
    };
    Ok(LabelImport {
        registry: parsed(&registry, "header.registry", call_id)?,
        format,
        update_existing,
        validate_only,
    })
}

fn registry_or_ulabel(name: Option<&String>, call_id: &CallId) -> Result<RegistryName> {
    Ok(optional(name, "registry", call_id)?.unwrap_or_else(RegistryName::ulabel))
}

/// A label that a message names.
pub(super) fn label_name(message: pb::LabelName, field: &'static str, call_id: &CallId) -> Result<LabelName> {
    let pb::LabelName {
        registry,
        uid,
        name,
        ontology_id,
    } = message;
    let by = match (uid, name, ontology_id) {
        (Some(uid), _, _) => LabelBy::Uid(uid),
        (None, Some(name), _) => LabelBy::Name(name),
        (None, None, Some(id)) => LabelBy::OntologyId(id),
        (None, None, None) => return Err(refused(call_id, field, Rule::Required)),
    };
    let registry = optional(registry.as_ref(), field, call_id)?;
    Ok(LabelName { registry, by })
}

fn required_name(message: Option<pb::LabelName>, field: &'static str, call_id: &CallId) -> Result<LabelName> {
    label_name(
        message.ok_or_else(|| refused(call_id, field, Rule::Required))?,
        field,
        call_id,
    )
}

fn parents(messages: Vec<pb::LabelName>, field: &'static str, call_id: &CallId) -> Result<Vec<LabelName>> {
    if messages.len() > PARENTS_MAX {
        let rule = format!("must be at most {PARENTS_MAX}, got {}", messages.len());
        return Err(status::field(call_id, field, rule));
    }
    messages
        .into_iter()
        .map(|message| label_name(message, field, call_id))
        .collect()
}

fn new_label(mut message: pb::CreateLabelRequest, call_id: &CallId) -> Result<NewLabel> {
    let id = message.request_id.take();
    let request = request_key("CreateLabel", id, "request_id", &message, call_id)?;
    let pb::CreateLabelRequest {
        registry,
        name,
        ontology_id,
        abbreviation,
        description,
        reference,
        synonyms,
        parents: above,
        allow_existing,
        request_id: _,
    } = message;
    Ok(NewLabel {
        registry: registry_or_ulabel(registry.as_ref(), call_id)?,
        name: parsed(&name, "name", call_id)?,
        ontology_id: optional(ontology_id.as_ref(), "ontology_id", call_id)?,
        abbreviation: optional(abbreviation.as_ref(), "abbreviation", call_id)?,
        description: optional(description.as_ref(), "description", call_id)?,
        reference: optional(reference.as_ref(), "reference", call_id)?,
        synonyms: convert::synonyms(&synonyms, "synonyms", call_id)?,
        parents: parents(above, "parents", call_id)?,
        allow_existing,
        request,
    })
}

fn label_update(mut message: pb::UpdateLabelRequest, call_id: &CallId) -> Result<LabelUpdate> {
    let id = message.request_id.take();
    let request = request_key("UpdateLabel", id, "request_id", &message, call_id)?;
    let pb::UpdateLabelRequest {
        label,
        update,
        update_mask,
        etag,
        request_id: _,
    } = message;
    let update = update.ok_or_else(|| refused(call_id, "update", Rule::Required))?;
    let note = |text: &Option<String>, field| optional(text.as_ref(), field, call_id);
    let mut fields = Vec::new();
    for path in convert::mask(update_mask, call_id)? {
        fields.push(match path.as_str() {
            "name" => LabelField::Name(parsed(&update.name, "update.name", call_id)?),
            "ontology_id" => LabelField::OntologyId(note(&update.ontology_id, "update.ontology_id")?),
            "abbreviation" => LabelField::Abbreviation(note(&update.abbreviation, "update.abbreviation")?),
            "description" => {
                LabelField::Description(optional(update.description.as_ref(), "update.description", call_id)?)
            }
            "reference" => LabelField::Reference(note(&update.reference, "update.reference")?),
            "synonyms" => LabelField::Synonyms(convert::synonyms(&update.synonyms, "update.synonyms", call_id)?),
            "parents" => LabelField::Parents(parents(update.parents.clone(), "update.parents", call_id)?),
            other => return Err(convert::not_updatable(other, call_id)),
        });
    }
    Ok(LabelUpdate {
        label: required_name(label, "label", call_id)?,
        fields,
        etag,
        request,
    })
}

fn label_registry(registry: LabelRegistry) -> pb::LabelRegistry {
    let LabelRegistry {
        uid,
        name,
        description,
        space,
        created_by,
        created_at_us,
        updated_at_us,
        etag,
    } = registry;
    pb::LabelRegistry {
        uid,
        name,
        description,
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}

fn name_message(registry: &str, (uid, name, ontology_id): (String, String, Option<String>)) -> pb::LabelName {
    pb::LabelName {
        registry: Some(registry.to_owned()),
        uid: Some(uid),
        name: Some(name),
        ontology_id,
    }
}

fn resolved_label(resolved: Resolved, registry: &RegistryName) -> pb::ResolvedLabel {
    let Resolved { how, label } = resolved;
    let how = match how {
        LabelMatch::None => pb::LabelMatch::Unspecified,
        LabelMatch::Name => pb::LabelMatch::Name,
        LabelMatch::OntologyId => pb::LabelMatch::OntologyId,
        LabelMatch::Synonym => pb::LabelMatch::Synonym,
        LabelMatch::Ambiguous => pb::LabelMatch::Ambiguous,
    };
    pb::ResolvedLabel {
        r#match: how.into(),
        label: label.map(|label| name_message(registry.as_str(), label)),
    }
}

fn label(label: LabelRecord) -> pb::Label {
    let LabelRecord {
        uid,
        registry,
        name,
        ontology_id,
        abbreviation,
        description,
        reference,
        synonyms,
        parents,
        space,
        created_by,
        created_at_us,
        updated_at_us,
        etag,
    } = label;
    let parents = parents
        .into_iter()
        .map(|parent| name_message(&registry, parent))
        .collect();
    pb::Label {
        uid,
        registry,
        name,
        ontology_id,
        abbreviation,
        description,
        reference,
        synonyms,
        parents,
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}
