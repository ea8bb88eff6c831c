//! `AdminService`.

use artifactd_proto::v1::{self as pb, admin_service_server::AdminService};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, artifacts::SMALL_CONTENT_BYTES_MAX, call_id, chunks::CHUNK_BYTES_MAX, pages::ROWS_MAX, status};

#[async_trait]
impl AdminService for Api {
    async fn get_server_info(
        &self,
        request: Request<pb::GetServerInfoRequest>,
    ) -> Result<Response<pb::ServerInfo>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let places = &self.registry.places;
        let space = places
            .space(caller.space_id)
            .map_err(|error| status::from_registry(error, &call_id))?;
        let storage = places
            .storage(&caller, None)
            .map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chunk_bytes_max: CHUNK_BYTES_MAX as i32,
            small_content_bytes_max: SMALL_CONTENT_BYTES_MAX as i32,
            page_size_max: ROWS_MAX as i32,
            default_space: space.name.clone(),
            default_storage: storage.name.clone(),
        }))
    }
}
