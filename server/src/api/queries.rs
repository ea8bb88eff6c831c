//! Calls that find artifacts: one, some, a page, a family, or how many.

use artifactd_domain::VersionNumber;
use artifactd_proto::v1 as pb;
use tonic::{Response, Status};

use super::{Api, call_id, convert, mask::ReadMask, pages, status};
use crate::registry::{Caller, ListQuery, SearchQuery, VersionsQuery};

type Answer<T> = Result<Response<T>, Status>;

/// Artifacts that are counted when the caller does not say.
const COUNTED_DEFAULT: u64 = 1_000_000;

/// Most artifacts that are counted.
const COUNTED_MAX: u64 = 100_000_000;

/// Answers `GetArtifact`.
pub(super) async fn get(api: &Api, caller: &Caller, message: pb::GetArtifactRequest) -> Answer<pb::Artifact> {
    let call_id = call_id(caller);
    let pb::GetArtifactRequest {
        artifact,
        include_hidden,
        read_mask,
    } = message;
    let reference = convert::reference(artifact, &call_id)?;
    let mask = ReadMask::parse(read_mask, &call_id)?;
    let found = api.registry.get(caller, &reference, include_hidden).await;
    let found = found.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(mask.apply(convert::artifact(found))))
}

/// Answers `BatchGetArtifacts`.
pub(super) async fn batch_get(
    api: &Api,
    caller: &Caller,
    message: pb::BatchGetArtifactsRequest,
) -> Answer<pb::BatchGetArtifactsResponse> {
    let call_id = call_id(caller);
    let pb::BatchGetArtifactsRequest {
        artifacts,
        include_hidden,
        read_mask,
    } = message;
    let references = convert::references(artifacts, &call_id)?;
    let mask = ReadMask::parse(read_mask, &call_id)?;
    let found = api.registry.get_all(caller, &references, include_hidden).await;
    let found = found.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::BatchGetArtifactsResponse {
        artifacts: mask.apply_all(convert::artifacts(found)),
    }))
}

/// Answers `CountArtifacts`.
pub(super) async fn count(
    api: &Api,
    caller: &Caller,
    message: pb::CountArtifactsRequest,
) -> Answer<pb::CountArtifactsResponse> {
    let call_id = call_id(caller);
    let pb::CountArtifactsRequest {
        filter,
        visibilities,
        at_most,
    } = message;
    let selection = convert::selection(&filter, &visibilities, &call_id)?;
    let most = match u64::try_from(at_most) {
        Err(_) => return Err(status::field(&call_id, "at_most", "must not be negative")),
        Ok(0) => COUNTED_DEFAULT,
        Ok(most) => most.min(COUNTED_MAX),
    };
    let count = api.registry.count(caller, &selection, most).await;
    let count = count.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::CountArtifactsResponse {
        count: i64::try_from(count.counted).unwrap_or(i64::MAX),
        more: count.more,
    }))
}

/// Answers `ListArtifacts`.
pub(super) async fn list(
    api: &Api,
    caller: &Caller,
    message: pb::ListArtifactsRequest,
) -> Answer<pb::ListArtifactsResponse> {
    let call_id = call_id(caller);
    let pb::ListArtifactsRequest {
        page_size,
        page_token,
        visibilities,
        filter,
        order_by,
        read_mask,
    } = message;
    let selection = convert::selection(&filter, &visibilities, &call_id)?;
    let order = convert::order(&order_by, &call_id)?;
    let mask = ReadMask::parse(read_mask, &call_id)?;
    let asks = format!(
        "ListArtifacts {} {} {:?} {order:?} {filter}",
        caller.principal.id, caller.space_id, selection.visibilities
    );
    let query = ListQuery {
        selection,
        order,
        after: api.place(&page_token, &asks, &call_id)?,
        rows: pages::rows(page_size, &call_id)?,
    };
    let page = api.registry.list(caller, &query).await;
    let page = page.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::ListArtifactsResponse {
        artifacts: mask.apply_all(convert::artifacts(page.artifacts)),
        next_page_token: api.token(page.next.as_ref(), &asks),
    }))
}

/// Answers `SearchArtifacts`.
pub(super) async fn search(
    api: &Api,
    caller: &Caller,
    message: pb::SearchArtifactsRequest,
) -> Answer<pb::SearchArtifactsResponse> {
    let call_id = call_id(caller);
    let pb::SearchArtifactsRequest {
        query,
        filter,
        visibilities,
        page_size,
        page_token,
        read_mask,
    } = message;
    let selection = convert::selection(&filter, &visibilities, &call_id)?;
    let mask = ReadMask::parse(read_mask, &call_id)?;
    let asks = format!(
        "SearchArtifacts {} {} {:?} {query:?} {filter}",
        caller.principal.id, caller.space_id, selection.visibilities
    );
    let query = SearchQuery {
        query: convert::query(&query, &call_id)?,
        selection,
        after: api.place(&page_token, &asks, &call_id)?,
        rows: pages::rows(page_size, &call_id)?,
    };
    let found = api.registry.search(caller, &query).await;
    let found = found.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::SearchArtifactsResponse {
        hits: found.hits.into_iter().map(|hit| convert::hit(hit, &mask)).collect(),
        next_page_token: api.token(found.next.as_ref(), &asks),
    }))
}

/// Answers `ListArtifactVersions`.
pub(super) async fn versions(
    api: &Api,
    caller: &Caller,
    message: pb::ListArtifactVersionsRequest,
) -> Answer<pb::ListArtifactVersionsResponse> {
    let call_id = call_id(caller);
    let pb::ListArtifactVersionsRequest {
        artifact,
        page_size,
        page_token,
        visibilities,
        read_mask,
    } = message;
    let visibilities = convert::visibilities(&visibilities, &call_id)?;
    let reference = convert::reference(artifact, &call_id)?;
    let mask = ReadMask::parse(read_mask, &call_id)?;
    let asks = format!(
        "ListArtifactVersions {} {reference} {visibilities:?}",
        caller.principal.id
    );
    let below = api.place::<u32>(&page_token, &asks, &call_id)?;
    let below = below.and_then(|number| VersionNumber::from_integer(number.into()));
    let query = VersionsQuery {
        reference,
        visibilities,
        below,
        rows: pages::rows(page_size, &call_id)?,
    };
    let page = api.registry.versions(caller, &query).await;
    let page = page.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::ListArtifactVersionsResponse {
        artifacts: mask.apply_all(convert::artifacts(page.artifacts)),
        next_page_token: api.token(page.next.map(VersionNumber::get).as_ref(), &asks),
    }))
}
