//! `AdminService`.

use std::collections::BTreeMap;

use artifactd_proto::v1::{self as pb, admin_service_server::AdminService};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, artifacts::SMALL_CONTENT_BYTES_MAX, call_id, chunks::CHUNK_BYTES_MAX, pages::ROWS_MAX, status};
use crate::registry::{Amount, Collection, GarbageReason, GarbageReport, StorageGarbage};

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

    async fn collect_garbage(
        &self,
        request: Request<pb::CollectGarbageRequest>,
    ) -> Result<Response<pb::CollectGarbageResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::CollectGarbageRequest { dry_run } = request.into_inner();
        let how = Collection {
            dry_run,
            thorough: true,
            accepts_restored: false,
        };
        let report = self.registry.collect_garbage(&caller, how).await;
        let report = report.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(garbage_report(report)))
    }
}

fn garbage_report(report: GarbageReport) -> pb::CollectGarbageResponse {
    let GarbageReport {
        dry_run: _,
        storages,
        unused_blobs,
        old_requests,
    } = report;
    pb::CollectGarbageResponse {
        storages: storages.into_iter().map(storage_garbage).collect(),
        unused_blobs: count(unused_blobs),
        old_requests: count(old_requests),
    }
}

fn storage_garbage(garbage: StorageGarbage) -> pb::StorageGarbage {
    let StorageGarbage {
        storage,
        collected,
        waiting,
        failed,
        missing,
    } = garbage;
    pb::StorageGarbage {
        storage,
        collected: amounts(collected),
        waiting: amounts(waiting),
        failed: count(failed),
        missing: count(missing),
    }
}

fn amounts(amounts: BTreeMap<GarbageReason, Amount>) -> Vec<pb::GarbageAmount> {
    let amount = |(reason, Amount { objects, bytes })| pb::GarbageAmount {
        reason: match reason {
            GarbageReason::Unused => pb::GarbageReason::Unused,
            GarbageReason::Orphan => pb::GarbageReason::Orphan,
            GarbageReason::Unfinished => pb::GarbageReason::Unfinished,
            GarbageReason::Sparse => pb::GarbageReason::Sparse,
        }
        .into(),
        objects: count(objects),
        bytes: count(bytes),
    };
    amounts.into_iter().map(amount).collect()
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
