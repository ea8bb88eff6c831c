//! gRPC: parse a call, ask the registry, translate the answer.
//!
//! There are no rules and no queries here. A field is checked for its form when
//! it is turned into a domain type; what fields mean together is the registry's.

mod admin;
mod aliases;
mod annotations;
mod artifacts;
mod batch;
mod chunks;
mod collections;
mod content;
pub(crate) mod convert;
mod events;
mod features;
mod folders;
mod in_turn;
mod labels;
pub(crate) mod layer;
mod lineage;
mod mask;
mod members;
mod pages;
mod queries;
mod runs;
mod schemas;
pub(crate) mod status;
mod storages;
mod transforms;
mod uploads;
mod work;

use std::sync::Arc;

use artifactd_proto::{
    aside::ServerAside,
    v1::{
        admin_service_server::AdminServiceServer, annotation_service_server::AnnotationServiceServer,
        artifact_service_server::ArtifactServiceServer, collection_service_server::CollectionServiceServer,
        content_service_server::ContentServiceServer, event_service_server::EventServiceServer,
        feature_service_server::FeatureServiceServer, label_service_server::LabelServiceServer,
        lineage_service_server::LineageServiceServer, run_service_server::RunServiceServer,
        schema_service_server::SchemaServiceServer, storage_service_server::StorageServiceServer,
        transform_service_server::TransformServiceServer, upload_service_server::UploadServiceServer,
        work_service_server::WorkServiceServer,
    },
};
use tonic::{Extensions, Request, Status, metadata::MetadataMap, service::Routes};

pub(crate) use artifacts::save_response;

use crate::{
    master_key::MasterKey,
    registry::{Caller, Registry},
};
use in_turn::InTurn;
use layer::CallId;

/// Largest message that is read.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest message that holds a part of an upload: stores want parts of 5 MiB and more.
const PART_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024 + 64 * 1024;

/// What the services share.
#[derive(Debug, Clone)]
struct Api {
    registry: Arc<Registry>,
    page_tokens: Arc<crate::master_key::Sealer>,
}

/// All services of the package.
pub(crate) fn routes(registry: &Arc<Registry>, key: &MasterKey) -> Routes {
    let api = Api {
        registry: Arc::clone(registry),
        page_tokens: Arc::new(key.sealer("page token")),
    };
    let mut routes = Routes::builder();
    routes
        .add_service(ServerAside(
            ArtifactServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
        ))
        .add_service(ServerAside(
            ContentServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
        ))
        .add_service(InTurn::new(
            ServerAside(UploadServiceServer::new(api.clone()).max_decoding_message_size(PART_MESSAGE_BYTES_MAX)),
            registry,
        ))
        .add_service(AnnotationServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(CollectionServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(EventServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(FeatureServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(LineageServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(RunServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(SchemaServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(StorageServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(WorkServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(TransformServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(LabelServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(AdminServiceServer::new(api).max_decoding_message_size(MESSAGE_BYTES_MAX));
    routes.routes()
}

impl Api {
    /// Who makes a call, and in which space.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.caller_of(request.metadata(), request.extensions())
    }

    fn caller_of(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<Caller, Status> {
        caller_of(&self.registry, metadata, extensions)
    }
}

/// Who makes a call, and in which space.
pub(crate) fn caller_of(
    registry: &Registry,
    metadata: &MetadataMap,
    extensions: &Extensions,
) -> Result<Caller, Status> {
    let call_id = extensions.get::<CallId>().cloned().unwrap_or_default();
    let space = match metadata.get("artifactd-space") {
        None => None,
        Some(name) => Some(name.to_str().map_err(|_| {
            status::field(
                &call_id,
                "artifactd-space",
                "must be the name of a space in visible ASCII",
            )
        })?),
    };
    let run = match metadata.get("artifactd-run") {
        None => None,
        Some(uid) => {
            let uid = uid.to_str().unwrap_or_default().parse();
            Some(uid.map_err(|_| status::field(&call_id, "artifactd-run", "must be the uid of a run"))?)
        }
    };
    let caller = registry.places.local_admin(space, call_id.as_str().to_owned());
    let caller = caller.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Caller { run, ..caller })
}

/// The id of a caller's call, for its errors.
pub(crate) fn call_id(caller: &Caller) -> CallId {
    CallId::new(&caller.call_id)
}
