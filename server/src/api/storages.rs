//! `StorageService`.

use std::sync::Arc;

use artifactd_domain::StorageName;
use artifactd_proto::v1::{self as pb, storage_service_server::StorageService};
use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api,
    artifacts::save_response,
    batch::in_message,
    call_id,
    convert::{self, optional, parsed, refused, request_key, timestamp},
    layer::CallId,
    status,
};
use crate::registry::{FilesInPlace, InPlace, Move, Moved, NewArtifact, NewStorage, Rule, StorageRecord};

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl StorageService for Api {
    async fn register_storage(&self, request: Request<pb::RegisterStorageRequest>) -> Result<Response<pb::Storage>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_storage(request.into_inner(), &call_id)?;
        let registered = self.registry.register_storage(&caller, new).await;
        let registered = registered.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(storage(registered)))
    }

    async fn get_storage(&self, request: Request<pb::GetStorageRequest>) -> Result<Response<pb::Storage>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let name = name(&request.into_inner().name, &call_id)?;
        let found = self.registry.storage(&caller, &name).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(storage(found)))
    }

    async fn list_storages(
        &self,
        request: Request<pb::ListStoragesRequest>,
    ) -> Result<Response<pb::ListStoragesResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let found = self.registry.storages(&caller).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        let storages = found.into_iter().map(storage).collect();
        Ok(Response::new(pb::ListStoragesResponse { storages }))
    }

    async fn update_storage(&self, request: Request<pb::UpdateStorageRequest>) -> Result<Response<pb::Storage>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("UpdateStorage", id, "request_id", &message, &call_id)?;
        let name = name(&message.name, &call_id)?;
        let mask = message.update_mask.unwrap_or_default().paths;
        if mask.is_empty() {
            return Err(refused(&call_id, "update_mask", Rule::Required));
        }
        if let Some(path) = mask.iter().find(|path| *path != "description") {
            return Err(convert::not_updatable(path, &call_id));
        }
        let description = optional(message.description.as_ref(), "description", &call_id)?;
        let updated = self
            .registry
            .describe_storage(&caller, name, description, message.etag, request)
            .await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(storage(updated)))
    }

    async fn delete_storage(
        &self,
        request: Request<pb::DeleteStorageRequest>,
    ) -> Result<Response<pb::DeleteStorageResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteStorage", id, "request_id", &message, &call_id)?;
        let name = name(&message.name, &call_id)?;
        let deleted = self.registry.delete_storage(&caller, name, message.etag, request).await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteStorageResponse {}))
    }

    async fn register_file(
        &self,
        request: Request<pb::RegisterFileRequest>,
    ) -> Result<Response<pb::SaveArtifactResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::RegisterFileRequest { uri, header } = request.into_inner();
        let in_place = InPlace {
            new: header_of("RegisterFile", &uri, header, &call_id)?,
            uri: uri_of(uri, &call_id)?,
        };
        let saved = self.registry.register_file(&caller, in_place).await;
        let saved = saved.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(save_response(saved)))
    }

    async fn move_artifact(
        &self,
        request: Request<pb::MoveArtifactRequest>,
    ) -> Result<Response<pb::MoveArtifactResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("MoveArtifact", id, "request_id", &message, &call_id)?;
        let what = Move {
            reference: convert::reference(message.artifact, &call_id)?,
            storage: parsed(&message.storage, "storage", &call_id)?,
            request,
        };
        let registry = Arc::clone(&self.registry);
        let moved = self
            .to_the_end(&call_id, async move { registry.move_artifact(&caller, what).await })
            .await?;
        Ok(Response::new(moved_message(moved)))
    }

    async fn register_folder(
        &self,
        request: Request<pb::RegisterFolderRequest>,
    ) -> Result<Response<pb::SaveArtifactResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::RegisterFolderRequest { uri, header } = request.into_inner();
        let in_place = InPlace {
            new: header_of("RegisterFolder", &uri, header, &call_id)?,
            uri: uri_of(uri, &call_id)?,
        };
        let saved = self.registry.register_folder(&caller, in_place).await;
        let saved = saved.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(save_response(saved)))
    }

    type RegisterFilesStream = BoxStream<'static, Result<pb::RegisterFilesResponse>>;

    async fn register_files(
        &self,
        request: Request<pb::RegisterFilesRequest>,
    ) -> Result<Response<Self::RegisterFilesStream>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::RegisterFilesRequest { uri, header } = request.into_inner();
        if header.as_ref().is_some_and(|header| header.request_id.is_some()) {
            return Err(status::field(
                &call_id,
                "header.request_id",
                "must not be set: a second call finds what is there",
            ));
        }
        let files = FilesInPlace {
            new: header_of("RegisterFiles", &uri, header, &call_id)?,
            uri: uri_of(uri, &call_id)?,
        };
        let files = self.registry.register_files(&caller, files).await;
        let files = files.map_err(|error| status::from_registry(error, &call_id))?;
        let messages = files.map(move |file| {
            use pb::register_files_response::Result as R;
            let result = match file.outcome {
                Ok(saved) => R::Saved(save_response(saved)),
                Err(error) => R::Error(in_message(&status::from_registry(error, &call_id))),
            };
            Ok(pb::RegisterFilesResponse {
                key: file.key,
                result: Some(result),
            })
        });
        Ok(Response::new(messages.boxed()))
    }
}

fn name(text: &str, call_id: &CallId) -> Result<StorageName> {
    parsed(text, "name", call_id)
}

fn uri_of(uri: String, call_id: &CallId) -> Result<String> {
    const BYTES_MAX: usize = 4096;
    if uri.is_empty() {
        return Err(refused(call_id, "uri", Rule::Required));
    }
    if uri.len() > BYTES_MAX || uri.chars().any(char::is_control) {
        let rule = format!("must be at most {BYTES_MAX} bytes without control characters");
        return Err(status::field(call_id, "uri", rule));
    }
    Ok(uri)
}

/// What is said of what lies in place.
fn header_of(method: &'static str, uri: &str, header: Option<pb::SaveHeader>, call_id: &CallId) -> Result<NewArtifact> {
    let mut header = header.unwrap_or_default();
    if header.claim {
        return Err(status::field(call_id, "header.claim", "must not be set"));
    }
    let id = header.request_id.take();
    let asked = pb::RegisterFileRequest {
        uri: uri.to_owned(),
        header: Some(header.clone()),
    };
    let request = request_key(method, id, "header.request_id", &asked, call_id)?;
    let (new, _) = convert::record(header, request, call_id)?;
    Ok(new)
}

fn new_storage(mut message: pb::RegisterStorageRequest, call_id: &CallId) -> Result<NewStorage> {
    let id = message.request_id.take();
    let request = request_key("RegisterStorage", id, "request_id", &message, call_id)?;
    let pb::RegisterStorageRequest {
        name: wanted,
        root,
        region,
        endpoint,
        managed,
        description,
        request_id: _,
        read_only,
    } = message;
    for (field, text) in [
        ("root", Some(&root)),
        ("region", region.as_ref()),
        ("endpoint", endpoint.as_ref()),
    ] {
        const BYTES_MAX: usize = 2048;
        let is_wrong = |text: &String| text.is_empty() || text.len() > BYTES_MAX || text.chars().any(char::is_control);
        if text.is_some_and(is_wrong) {
            let rule = format!("must be 1 to {BYTES_MAX} bytes without control characters");
            return Err(status::field(call_id, field, rule));
        }
    }
    Ok(NewStorage {
        name: name(&wanted, call_id)?,
        root,
        region,
        endpoint,
        managed,
        read_only,
        description: optional(description.as_ref(), "description", call_id)?,
        request,
    })
}

fn storage(record: StorageRecord) -> pb::Storage {
    let StorageRecord {
        uid,
        name,
        root,
        region,
        endpoint,
        managed,
        read_only,
        keeps_versions,
        is_open,
        is_default,
        description,
        space,
        created_by,
        created_at_us,
        etag,
    } = record;
    let r#type = match root.split_once("://") {
        Some(("s3", _)) => pb::StorageType::S3,
        Some(("az", _)) => pb::StorageType::Azure,
        Some(("gs", _)) => pb::StorageType::Google,
        Some(_) => pb::StorageType::Http,
        None => pb::StorageType::Local,
    };
    pb::Storage {
        uid,
        name,
        root,
        r#type: r#type.into(),
        region,
        endpoint,
        managed,
        open: is_open,
        default: is_default,
        description,
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        etag,
        read_only,
        keeps_versions,
    }
}

fn moved_message(moved: Moved) -> pb::MoveArtifactResponse {
    let Moved {
        artifact,
        versions,
        copied_bytes,
    } = moved;
    pb::MoveArtifactResponse {
        artifact: convert::artifacts(vec![artifact]).pop(),
        versions: i64::try_from(versions).unwrap_or(i64::MAX),
        copied_bytes: i64::try_from(copied_bytes).unwrap_or(i64::MAX),
    }
}
