//! `TransformService`.

use artifactd_domain::TransformKind;
use artifactd_proto::v1::{self as pb, transform_service_server::TransformService};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    convert::{self, identifier, optional, parsed, refused, request_key, timestamp, unknown},
    layer::CallId,
    pages, status,
};
use crate::registry::{NewTransform, Rule, Transform, TransformField, TransformRef, TransformUpdate, TransformsQuery};

/// Longest source.
const SOURCE_BYTES_MAX: usize = 1024 * 1024;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl TransformService for Api {
    async fn create_transform(
        &self,
        request: Request<pb::CreateTransformRequest>,
    ) -> Result<Response<pb::CreateTransformResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_transform(request.into_inner(), &call_id)?;
        let created = self.registry.create_transform(&caller, new).await;
        let (made, created) = created.map_err(|error| status::from_registry(error, &call_id))?;
        let transform = Some(transform(made));
        Ok(Response::new(pb::CreateTransformResponse { transform, created }))
    }

    async fn get_transform(&self, request: Request<pb::GetTransformRequest>) -> Result<Response<pb::Transform>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let reference = required_ref(request.into_inner().transform, &call_id)?;
        let found = self.registry.transform(&caller, &reference).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(transform(found)))
    }

    async fn list_transforms(
        &self,
        request: Request<pb::ListTransformsRequest>,
    ) -> Result<Response<pb::ListTransformsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListTransforms", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let query = TransformsQuery {
            prefix: message.key_prefix,
            all_versions: message.all_versions,
            after: self.place(&message.page_token, &asks, &call_id)?,
            rows: pages::rows(message.page_size, &call_id)?,
        };
        let listed = self.registry.transforms(&caller, query).await;
        let (transforms, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListTransformsResponse {
            transforms: transforms.into_iter().map(transform).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn update_transform(&self, request: Request<pb::UpdateTransformRequest>) -> Result<Response<pb::Transform>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let update = update(request.into_inner(), &call_id)?;
        let updated = self.registry.update_transform(&caller, update).await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(transform(updated)))
    }

    async fn delete_transform(
        &self,
        request: Request<pb::DeleteTransformRequest>,
    ) -> Result<Response<pb::DeleteTransformResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteTransform", id, "request_id", &message, &call_id)?;
        let TransformRef::Uid(uid) = required_ref(message.transform, &call_id)? else {
            return Err(status::field(&call_id, "transform", "must be a full uid"));
        };
        let deleted = self
            .registry
            .delete_transform(&caller, uid, message.etag, request)
            .await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteTransformResponse {}))
    }
}

/// The transform that a message names.
pub(super) fn transform_ref(message: pb::TransformRef, call_id: &CallId) -> Result<TransformRef> {
    use pb::transform_ref::Ref;
    let pb::TransformRef { r#ref, version } = message;
    match r#ref.ok_or_else(|| refused(call_id, "transform", Rule::Required))? {
        Ref::Uid(uid) => identifier(&uid, "transform.uid", call_id).map(TransformRef::Uid),
        Ref::Stem(stem) => identifier(&stem, "transform.stem", call_id).map(TransformRef::Stem),
        Ref::Key(key) => Ok(TransformRef::Key(
            parsed(&key, "transform.key", call_id)?,
            optional(version.as_ref(), "transform.version", call_id)?,
        )),
    }
}

fn required_ref(message: Option<pb::TransformRef>, call_id: &CallId) -> Result<TransformRef> {
    transform_ref(
        message.ok_or_else(|| refused(call_id, "transform", Rule::Required))?,
        call_id,
    )
}

fn kind(number: i32, field: &'static str, call_id: &CallId) -> Result<Option<TransformKind>> {
    Ok(
        match pb::TransformKind::try_from(number).map_err(|_| unknown(call_id, field, number))? {
            pb::TransformKind::Unspecified => None,
            pb::TransformKind::Pipeline => Some(TransformKind::Pipeline),
            pb::TransformKind::Notebook => Some(TransformKind::Notebook),
            pb::TransformKind::Script => Some(TransformKind::Script),
            pb::TransformKind::Function => Some(TransformKind::Function),
            pb::TransformKind::Upload => Some(TransformKind::Upload),
        },
    )
}

fn new_transform(mut message: pb::CreateTransformRequest, call_id: &CallId) -> Result<NewTransform> {
    let id = message.request_id.take();
    let request = request_key("CreateTransform", id, "request_id", &message, call_id)?;
    let pb::CreateTransformRequest {
        key,
        kind: number,
        description,
        source,
        reference,
        version,
        request_id: _,
    } = message;
    if let Some(source) = &source {
        if source.len() > SOURCE_BYTES_MAX {
            let rule = format!("must have at most {SOURCE_BYTES_MAX} bytes, got {}", source.len());
            return Err(status::field(call_id, "source", rule));
        }
        if source.contains('\0') {
            return Err(status::field(call_id, "source", "must not hold NUL characters"));
        }
    }
    Ok(NewTransform {
        key: parsed(&key, "key", call_id)?,
        kind: kind(number, "kind", call_id)?.unwrap_or_default(),
        description: optional(description.as_ref(), "description", call_id)?,
        source,
        reference: optional(reference.as_ref(), "reference", call_id)?,
        version: optional(version.as_ref(), "version", call_id)?,
        request,
    })
}

fn update(mut message: pb::UpdateTransformRequest, call_id: &CallId) -> Result<TransformUpdate> {
    let id = message.request_id.take();
    let request = request_key("UpdateTransform", id, "request_id", &message, call_id)?;
    let pb::UpdateTransformRequest {
        transform,
        update,
        update_mask,
        etag,
        request_id: _,
    } = message;
    let update = update.ok_or_else(|| refused(call_id, "update", Rule::Required))?;
    let mut fields = Vec::new();
    for path in convert::mask(update_mask, call_id)? {
        fields.push(match path.as_str() {
            "kind" => {
                let kind = kind(update.kind, "update.kind", call_id)?;
                TransformField::Kind(kind.ok_or_else(|| refused(call_id, "update.kind", Rule::Required))?)
            }
            "description" => {
                TransformField::Description(optional(update.description.as_ref(), "update.description", call_id)?)
            }
            "reference" => TransformField::Reference(optional(update.reference.as_ref(), "update.reference", call_id)?),
            other => return Err(convert::not_updatable(other, call_id)),
        });
    }
    Ok(TransformUpdate {
        transform: required_ref(transform, call_id)?,
        fields,
        etag,
        request,
    })
}

pub(super) fn transform(transform: Transform) -> pb::Transform {
    let Transform {
        uid,
        key,
        kind,
        version,
        version_number,
        is_latest,
        description,
        source,
        source_sha256,
        reference,
        space,
        created_by,
        created_at_us,
        updated_at_us,
        etag,
    } = transform;
    pb::Transform {
        uid: uid.to_string(),
        stem: uid.stem().to_string(),
        key,
        kind: match kind {
            TransformKind::Pipeline => pb::TransformKind::Pipeline,
            TransformKind::Notebook => pb::TransformKind::Notebook,
            TransformKind::Script => pb::TransformKind::Script,
            TransformKind::Function => pb::TransformKind::Function,
            TransformKind::Upload => pb::TransformKind::Upload,
        }
        .into(),
        version,
        version_number,
        is_latest,
        description,
        source,
        source_sha256: source_sha256.map(|digest| digest.to_string()),
        reference,
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}
