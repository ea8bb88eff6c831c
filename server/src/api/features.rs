//! `FeatureService`.

use artifactd_domain::Role;
use artifactd_proto::v1::{self as pb, feature_service_server::FeatureService};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    convert::{self, optional, parsed, refused, request_key, timestamp, unknown},
    layer::CallId,
    pages, status,
};
use crate::registry::{Feature, FeatureField, FeatureRef, FeatureUpdate, FeaturesQuery, NewFeature, Rule};

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl FeatureService for Api {
    async fn create_feature(&self, request: Request<pb::CreateFeatureRequest>) -> Result<Response<pb::Feature>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_feature(request.into_inner(), &call_id)?;
        let created = self.registry.create_feature(&caller, new).await;
        let created = created.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(feature(created)))
    }

    async fn get_feature(&self, request: Request<pb::GetFeatureRequest>) -> Result<Response<pb::Feature>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let reference = feature_ref(request.into_inner().feature, &call_id)?;
        let found = self.registry.feature(&caller, &reference).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(feature(found)))
    }

    async fn list_features(
        &self,
        request: Request<pb::ListFeaturesRequest>,
    ) -> Result<Response<pb::ListFeaturesResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListFeatures", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let pb::ListFeaturesRequest {
            role: role_number,
            name_prefix,
            name_or_synonym,
            dtype,
            page_size,
            page_token,
        } = message;
        let query = FeaturesQuery {
            role: role(role_number, "role", &call_id)?,
            prefix: name_prefix,
            called: name_or_synonym,
            dtype: optional(dtype.as_ref(), "dtype", &call_id)?,
            after: self.place(&page_token, &asks, &call_id)?,
            rows: pages::rows(page_size, &call_id)?,
        };
        let listed = self.registry.features(&caller, query).await;
        let (features, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListFeaturesResponse {
            features: features.into_iter().map(feature).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn update_feature(&self, request: Request<pb::UpdateFeatureRequest>) -> Result<Response<pb::Feature>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let update = update(request.into_inner(), &call_id)?;
        let updated = self.registry.update_feature(&caller, update).await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(feature(updated)))
    }

    async fn delete_feature(
        &self,
        request: Request<pb::DeleteFeatureRequest>,
    ) -> Result<Response<pb::DeleteFeatureResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteFeature", id, "request_id", &message, &call_id)?;
        let reference = feature_ref(message.feature, &call_id)?;
        let deleted = self
            .registry
            .delete_feature(&caller, reference, message.etag, request)
            .await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteFeatureResponse {}))
    }
}

/// What a name is for; `None` when that is not said.
pub(super) fn role(number: i32, field: &'static str, call_id: &CallId) -> Result<Option<Role>> {
    match pb::FeatureRole::try_from(number).map_err(|_| unknown(call_id, field, number))? {
        pb::FeatureRole::Unspecified => Ok(None),
        pb::FeatureRole::Feature => Ok(Some(Role::Feature)),
        pb::FeatureRole::Param => Ok(Some(Role::Param)),
    }
}

fn feature_ref(message: Option<pb::FeatureRef>, call_id: &CallId) -> Result<FeatureRef> {
    use pb::feature_ref::Ref;
    let missing = || refused(call_id, "feature", Rule::Required);
    let pb::FeatureRef { r#ref, role: number } = message.ok_or_else(missing)?;
    match r#ref.ok_or_else(missing)? {
        Ref::Uid(uid) => Ok(FeatureRef::Uid(uid)),
        Ref::Name(name) => Ok(FeatureRef::Name(
            role(number, "feature.role", call_id)?.unwrap_or_default(),
            parsed(&name, "feature.name", call_id)?,
        )),
    }
}

fn synonyms(texts: &[String], field: &'static str, call_id: &CallId) -> Result<artifactd_domain::Synonyms> {
    convert::synonyms(texts, field, call_id)
}

fn new_feature(mut message: pb::CreateFeatureRequest, call_id: &CallId) -> Result<NewFeature> {
    let id = message.request_id.take();
    let request = request_key("CreateFeature", id, "request_id", &message, call_id)?;
    let pb::CreateFeatureRequest {
        name,
        role: number,
        dtype,
        unit,
        description,
        synonyms: others,
        allow_existing,
        request_id: _,
    } = message;
    Ok(NewFeature {
        role: role(number, "role", call_id)?.unwrap_or_default(),
        name: parsed(&name, "name", call_id)?,
        dtype: parsed(&dtype, "dtype", call_id)?,
        unit: optional(unit.as_ref(), "unit", call_id)?,
        description: optional(description.as_ref(), "description", call_id)?,
        synonyms: synonyms(&others, "synonyms", call_id)?,
        allow_existing,
        request,
    })
}

fn update(mut message: pb::UpdateFeatureRequest, call_id: &CallId) -> Result<FeatureUpdate> {
    let id = message.request_id.take();
    let request = request_key("UpdateFeature", id, "request_id", &message, call_id)?;
    let pb::UpdateFeatureRequest {
        feature,
        update,
        update_mask,
        etag,
        request_id: _,
    } = message;
    let update = update.ok_or_else(|| refused(call_id, "update", Rule::Required))?;
    let fields = convert::mask(update_mask, call_id)?;
    let fields = fields.iter().map(|path| match path.as_str() {
        "name" => parsed(&update.name, "update.name", call_id).map(FeatureField::Name),
        "dtype" => parsed(&update.dtype, "update.dtype", call_id).map(FeatureField::Dtype),
        "unit" => optional(update.unit.as_ref(), "update.unit", call_id).map(FeatureField::Unit),
        "description" => {
            optional(update.description.as_ref(), "update.description", call_id).map(FeatureField::Description)
        }
        "synonyms" => synonyms(&update.synonyms, "update.synonyms", call_id).map(FeatureField::Synonyms),
        other => Err(convert::not_updatable(other, call_id)),
    });
    Ok(FeatureUpdate {
        feature: feature_ref(feature, call_id)?,
        fields: fields.collect::<Result<_>>()?,
        etag,
        request,
    })
}

/// A feature or param.
pub(super) fn feature(feature: Feature) -> pb::Feature {
    let Feature {
        uid,
        role,
        name,
        dtype,
        unit,
        description,
        synonyms,
        space,
        created_by,
        created_at_us,
        updated_at_us,
        etag,
    } = feature;
    pb::Feature {
        uid,
        role: role_message(role).into(),
        name,
        dtype: dtype.to_string(),
        unit,
        description,
        synonyms,
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}

/// What a name is for, as a message.
pub(super) fn role_message(role: Role) -> pb::FeatureRole {
    match role {
        Role::Feature => pb::FeatureRole::Feature,
        Role::Param => pb::FeatureRole::Param,
    }
}
