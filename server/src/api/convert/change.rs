//! What is to change: records, trash, aliases.

use artifactd_domain::{AliasName, Visibility};
use artifactd_proto::v1 as pb;

use super::{
    Result, identifier, kind, mask, not_updatable, optional, parsed, reference::reference, refused, request_key,
    unknown, visibility,
};
use crate::api::{layer::CallId, status};
use crate::registry::{
    AliasIs, AliasMove, DeleteMode, Deletion, Field, IfUsed, KeepBytes, RequestKey, Restoration, Rule, Update,
};

/// What to change in a record.
pub(in crate::api) fn update(mut message: pb::UpdateArtifactRequest, call_id: &CallId) -> Result<Update> {
    let id = message.request_id.take();
    let request = request_key("UpdateArtifact", id, "request_id", &message, call_id)?;
    let pb::UpdateArtifactRequest {
        artifact,
        update,
        update_mask,
        etag,
        request_id: _,
    } = message;
    let update = update.ok_or_else(|| refused(call_id, "update", Rule::Required))?;
    let fields = mask(update_mask, call_id)?
        .iter()
        .map(|path| updated_field(path, &update, call_id))
        .collect::<Result<_>>()?;
    Ok(Update {
        reference: reference(artifact, call_id)?,
        fields,
        etag,
        request,
    })
}

fn updated_field(path: &str, update: &pb::ArtifactUpdate, call_id: &CallId) -> Result<Field> {
    match path {
        "key" => {
            let key = update
                .key
                .as_ref()
                .ok_or_else(|| refused(call_id, "update.key", Rule::Required))?;
            parsed(key, "update.key", call_id).map(Field::Key)
        }
        "description" => optional(update.description.as_ref(), "update.description", call_id).map(Field::Description),
        "kind" => {
            let kind = kind(update.kind, "update.kind", call_id)?;
            kind.map(Field::Kind)
                .ok_or_else(|| refused(call_id, "update.kind", Rule::Required))
        }
        "media_type" => optional(update.media_type.as_ref(), "update.media_type", call_id).map(Field::MediaType),
        "visibility" => match visibility(update.visibility, "update.visibility", call_id)? {
            Some(shown @ (Visibility::Default | Visibility::Hidden)) => Ok(Field::Visibility(shown)),
            Some(Visibility::Trash) => Err(status::field(
                call_id,
                "update.visibility",
                "cannot be TRASH; delete and restore do that",
            )),
            None => Err(refused(call_id, "update.visibility", Rule::Required)),
        },
        other => Err(not_updatable(other, call_id)),
    }
}

/// What to delete.
pub(in crate::api) fn deletion(mut message: pb::DeleteArtifactRequest, call_id: &CallId) -> Result<Deletion> {
    let id = message.request_id.take();
    let request = request_key("DeleteArtifact", id, "request_id", &message, call_id)?;
    let pb::DeleteArtifactRequest {
        artifact,
        permanent,
        force,
        storage,
        etag,
        request_id: _,
        if_used,
    } = message;
    let if_used = match pb::IfUsed::try_from(if_used).map_err(|_| unknown(call_id, "if_used", if_used))? {
        pb::IfUsed::Unspecified => IfUsed::Refuse,
        pb::IfUsed::Allow => IfUsed::Allow,
    };
    let bytes = match pb::DeleteStorage::try_from(storage).map_err(|_| unknown(call_id, "storage", storage))? {
        pb::DeleteStorage::Unspecified => KeepBytes::No,
        pb::DeleteStorage::Delete => KeepBytes::NotInPlace,
        pb::DeleteStorage::Keep => KeepBytes::Yes,
    };
    if !permanent && force {
        return Err(status::field(call_id, "force", "only goes with `permanent`"));
    }
    Ok(Deletion {
        reference: reference(artifact, call_id)?,
        mode: if permanent {
            DeleteMode::Destroy { force, bytes, if_used }
        } else {
            DeleteMode::Trash
        },
        etag,
        request,
    })
}

/// What to restore.
pub(in crate::api) fn restoration(mut message: pb::RestoreArtifactRequest, call_id: &CallId) -> Result<Restoration> {
    let id = message.request_id.take();
    let request = request_key("RestoreArtifact", id, "request_id", &message, call_id)?;
    let pb::RestoreArtifactRequest {
        artifact,
        key,
        etag,
        request_id: _,
    } = message;
    Ok(Restoration {
        reference: reference(artifact, call_id)?,
        key: optional(key.as_ref(), "key", call_id)?,
        etag,
        request,
    })
}

/// An alias to point somewhere.
pub(in crate::api) fn alias_to_set(mut message: pb::SetAliasRequest, call_id: &CallId) -> Result<AliasMove> {
    let id = message.request_id.take();
    let request = request_key("SetAlias", id, "request_id", &message, call_id)?;
    let pb::SetAliasRequest {
        artifact,
        name,
        r#if,
        request_id: _,
    } = message;
    alias_move(artifact, &name, r#if, request, call_id)
}

/// An alias to remove.
pub(in crate::api) fn alias_to_delete(mut message: pb::DeleteAliasRequest, call_id: &CallId) -> Result<AliasMove> {
    let id = message.request_id.take();
    let request = request_key("DeleteAlias", id, "request_id", &message, call_id)?;
    let pb::DeleteAliasRequest {
        artifact,
        name,
        r#if,
        request_id: _,
    } = message;
    alias_move(artifact, &name, r#if, request, call_id)
}

fn alias_move(
    artifact: Option<pb::ArtifactRef>,
    name: &str,
    precondition: Option<pb::AliasPrecondition>,
    request: Option<RequestKey>,
    call_id: &CallId,
) -> Result<AliasMove> {
    Ok(AliasMove {
        expected: alias_is(precondition, call_id)?,
        reference: reference(artifact, call_id)?,
        name: alias_name(name, call_id)?,
        request,
    })
}

/// What an alias is taken for.
pub(in crate::api) fn alias_is(
    precondition: Option<pb::AliasPrecondition>,
    call_id: &CallId,
) -> Result<Option<AliasIs>> {
    use pb::alias_precondition::Precondition;
    Ok(match precondition.and_then(|message| message.precondition) {
        None | Some(Precondition::Absent(false)) => None,
        Some(Precondition::Absent(true)) => Some(AliasIs::Absent),
        Some(Precondition::Etag(etag)) => Some(AliasIs::Etag(etag)),
        Some(Precondition::Uid(uid)) => Some(AliasIs::Uid(identifier(&uid, "if.uid", call_id)?)),
    })
}

/// The name of an alias.
pub(in crate::api) fn alias_name(name: &str, call_id: &CallId) -> Result<AliasName> {
    parsed(name, "name", call_id)
}
