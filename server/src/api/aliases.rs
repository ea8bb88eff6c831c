//! Aliases of families.

use artifactd_proto::v1 as pb;
use tonic::{Response, Status};

use super::{Api, call_id, convert, pages, status};
use crate::registry::{Alias, Caller};

type Answer<T> = Result<Response<T>, Status>;

/// Answers `SetAlias`.
pub(super) async fn set(api: &Api, caller: &Caller, message: pb::SetAliasRequest) -> Answer<pb::SetAliasResponse> {
    let call_id = call_id(caller);
    let change = convert::alias_to_set(message, &call_id)?;
    let set = api.registry.set_alias(caller, change).await;
    let set = set.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(set_response(set)))
}

/// Where an alias points, and where it did before.
pub(super) fn set_response((alias, previous_uid): (Alias, Option<String>)) -> pb::SetAliasResponse {
    pb::SetAliasResponse {
        alias: Some(convert::alias(alias)),
        previous_uid,
    }
}

/// Answers `DeleteAlias`.
pub(super) async fn delete(
    api: &Api,
    caller: &Caller,
    message: pb::DeleteAliasRequest,
) -> Answer<pb::DeleteAliasResponse> {
    let call_id = call_id(caller);
    let change = convert::alias_to_delete(message, &call_id)?;
    let deleted = api.registry.delete_alias(caller, change).await;
    let deleted = deleted.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::DeleteAliasResponse {
        alias: Some(convert::alias(deleted)),
    }))
}

/// Answers `ListAliases`.
pub(super) async fn list(
    api: &Api,
    caller: &Caller,
    message: pb::ListAliasesRequest,
) -> Answer<pb::ListAliasesResponse> {
    let call_id = call_id(caller);
    let pb::ListAliasesRequest {
        artifact,
        page_size,
        page_token,
    } = message;
    let reference = convert::reference(artifact, &call_id)?;
    let rows = pages::rows(page_size, &call_id)?;
    let asks = format!("ListAliases {} {reference}", caller.principal.id);
    let after: Option<String> = api.place(&page_token, &asks, &call_id)?;
    let found = api.registry.aliases(caller, &reference, after.as_deref(), rows).await;
    let found = found.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::ListAliasesResponse {
        aliases: found.items.into_iter().map(convert::alias).collect(),
        next_page_token: api.token(found.next.as_ref(), &asks),
    }))
}

/// Answers `ListAliasChanges`.
pub(super) async fn changes(
    api: &Api,
    caller: &Caller,
    message: pb::ListAliasChangesRequest,
) -> Answer<pb::ListAliasChangesResponse> {
    let call_id = call_id(caller);
    let pb::ListAliasChangesRequest {
        artifact,
        name,
        page_size,
        page_token,
    } = message;
    let reference = convert::reference(artifact, &call_id)?;
    let name = name.map(|name| convert::alias_name(&name, &call_id)).transpose()?;
    let rows = pages::rows(page_size, &call_id)?;
    let asks = format!("ListAliasChanges {} {reference} {name:?}", caller.principal.id);
    let before = api.place(&page_token, &asks, &call_id)?;
    let found = api
        .registry
        .alias_changes(caller, &reference, name.as_ref(), before, rows);
    let found = found.await.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(Response::new(pb::ListAliasChangesResponse {
        changes: found.items.into_iter().map(convert::alias_change).collect(),
        next_page_token: api.token(found.next.as_ref(), &asks),
    }))
}
