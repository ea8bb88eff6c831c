//! `ArtifactService`.

use std::future::Future;

use artifactd_proto::{
    Messages, Received,
    v1::{self as pb, ErrorReason, artifact_service_server::ArtifactService},
};
use futures::{StreamExt, stream::BoxStream};
use prost::Message;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use super::{
    Api, aliases, batch, call_id,
    chunks::{messages, nothing_more, out_of_order, pieces},
    convert, folders,
    layer::CallId,
    members, pages, queries, status,
};
use crate::registry::{Content, RegistryError, Saved};

/// Largest content of a save in one message.
pub(super) const SMALL_CONTENT_BYTES_MAX: usize = 1024 * 1024;

const HEADER_FIRST: &str = "the first message must be the header";

impl Api {
    /// Waits for a part of a stream, but not for ever.
    pub(super) async fn within_idle<T>(
        &self,
        call_id: &CallId,
        part: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let idle = self.registry.limits.stream_idle_timeout;
        let timely = tokio::time::timeout(idle, part).await;
        timely.unwrap_or_else(|_| Err(status::from_registry(RegistryError::StreamIdle(idle), call_id)))
    }

    /// Reads the first message of a stream.
    async fn first<M>(&self, messages: &mut Messages<M>, call_id: &CallId) -> Result<M, Status>
    where
        M: Message + Default,
    {
        let first = async {
            match messages.message().await {
                Ok(Some(Received::Message(message))) => Ok(message),
                Ok(Some(Received::Chunk(_))) => Err(out_of_order(call_id, HEADER_FIRST)),
                Ok(None) => Err(status::from_registry(RegistryError::StreamIncomplete, call_id)),
                Err(made) => Err(status::from_tonic(&made, call_id)),
            }
        };
        self.within_idle(call_id, first).await
    }

    /// Runs a mutation that must not stop half-way when its caller goes away.
    pub(super) async fn to_the_end<T, F>(&self, call_id: &CallId, work: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RegistryError>> + Send + 'static,
    {
        match self.registry.spawn(work).await {
            Ok(done) => done.map_err(|error| status::from_registry(error, call_id)),
            Err(_) => Err(status::status(
                call_id,
                Code::Internal,
                ErrorReason::Internal,
                "internal error; see the log",
            )),
        }
    }
}

pub(crate) fn save_response(saved: Saved) -> pb::SaveArtifactResponse {
    let Saved {
        artifact,
        outcome,
        not_applied,
        same_content_uids,
    } = saved;
    pb::SaveArtifactResponse {
        artifact: Some(convert::artifact(artifact)),
        outcome: convert::outcome(outcome).into(),
        not_applied,
        same_content_uids,
    }
}

#[async_trait]
impl ArtifactService for Api {
    async fn save_artifact(
        &self,
        request: Request<Streaming<pb::SaveArtifactRequest>>,
    ) -> Result<Response<pb::SaveArtifactResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut messages = messages(request, &call_id)?;
        let Some(pb::save_artifact_request::Message::Header(header)) =
            self.first(&mut messages, &call_id).await?.message
        else {
            return Err(out_of_order(&call_id, HEADER_FIRST));
        };
        let (new, claim) = convert::new_artifact(header, &call_id)?;
        let content = if claim {
            self.within_idle(&call_id, nothing_more(&mut messages, &call_id))
                .await?;
            Content::Claim
        } else {
            Content::Stream(pieces(messages, call_id.clone()))
        };
        let registry = std::sync::Arc::clone(&self.registry);
        let saved = self
            .to_the_end(&call_id, async move { registry.save(&caller, new, content).await })
            .await?;
        Ok(Response::new(save_response(saved)))
    }

    async fn save_small_artifact(
        &self,
        request: Request<pb::SaveSmallArtifactRequest>,
    ) -> Result<Response<pb::SaveArtifactResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::SaveSmallArtifactRequest {
            header,
            content,
            crc32c,
        } = request.into_inner();
        let (new, content) = convert::small_file(header, content, crc32c, SMALL_CONTENT_BYTES_MAX, &call_id)?;
        let saved = self.registry.save(&caller, new, content).await;
        let saved = saved.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(save_response(saved)))
    }

    type BatchSaveStream = BoxStream<'static, Result<pb::BatchSaveResponse, Status>>;

    async fn batch_save(
        &self,
        request: Request<Streaming<pb::BatchSaveRequest>>,
    ) -> Result<Response<Self::BatchSaveStream>, Status> {
        let caller = self.caller(&request)?;
        let answers = batch::answers(self.clone(), caller, request.into_inner());
        Ok(Response::new(answers.boxed()))
    }

    type SaveFolderStream = BoxStream<'static, Result<pb::SaveFolderResponse, Status>>;

    async fn save_folder(
        &self,
        request: Request<Streaming<pb::SaveFolderRequest>>,
    ) -> Result<Response<Self::SaveFolderStream>, Status> {
        let caller = self.caller(&request)?;
        let answers = folders::answers(self.clone(), caller, request.into_inner());
        Ok(Response::new(answers.boxed()))
    }

    type DiffFoldersStream = members::DiffMessages;

    async fn diff_folders(
        &self,
        request: Request<pb::DiffFoldersRequest>,
    ) -> Result<Response<Self::DiffFoldersStream>, Status> {
        let caller = self.caller(&request)?;
        members::diff(self, &caller, request.into_inner()).await
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let mut query = convert::members_query(&message, pages::rows(message.page_size, &call_id)?, &call_id)?;
        let asks = format!(
            "ListMembers {} {} {} {:?}",
            caller.principal.id, query.reference, message.prefix, message.glob
        );
        query.after = self.place(&message.page_token, &asks, &call_id)?;
        let page = self.registry.members(&caller, &query, message.include_hidden).await;
        let page = page.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListMembersResponse {
            members: page.members.iter().map(convert::member).collect(),
            next_page_token: self.token(page.next.as_ref(), &asks),
            uid: page.artifact.uid.to_string(),
        }))
    }

    async fn replace_artifact(
        &self,
        request: Request<Streaming<pb::ReplaceArtifactRequest>>,
    ) -> Result<Response<pb::ReplaceArtifactResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut messages = messages(request, &call_id)?;
        let Some(pb::replace_artifact_request::Message::Header(header)) =
            self.first(&mut messages, &call_id).await?.message
        else {
            return Err(out_of_order(&call_id, HEADER_FIRST));
        };
        let by = convert::replacement(header, &call_id)?;
        let content = Content::Stream(pieces(messages, call_id.clone()));
        let registry = std::sync::Arc::clone(&self.registry);
        let replaced = self
            .to_the_end(&call_id, async move { registry.replace(&caller, by, content).await })
            .await?;
        let artifact = Some(convert::artifact(replaced.artifact));
        Ok(Response::new(pb::ReplaceArtifactResponse {
            artifact,
            changed: replaced.changed,
        }))
    }

    async fn get_artifact(&self, request: Request<pb::GetArtifactRequest>) -> Result<Response<pb::Artifact>, Status> {
        let caller = self.caller(&request)?;
        queries::get(self, &caller, request.into_inner()).await
    }

    async fn batch_get_artifacts(
        &self,
        request: Request<pb::BatchGetArtifactsRequest>,
    ) -> Result<Response<pb::BatchGetArtifactsResponse>, Status> {
        let caller = self.caller(&request)?;
        queries::batch_get(self, &caller, request.into_inner()).await
    }

    async fn count_artifacts(
        &self,
        request: Request<pb::CountArtifactsRequest>,
    ) -> Result<Response<pb::CountArtifactsResponse>, Status> {
        let caller = self.caller(&request)?;
        queries::count(self, &caller, request.into_inner()).await
    }

    async fn list_artifacts(
        &self,
        request: Request<pb::ListArtifactsRequest>,
    ) -> Result<Response<pb::ListArtifactsResponse>, Status> {
        let caller = self.caller(&request)?;
        queries::list(self, &caller, request.into_inner()).await
    }

    async fn search_artifacts(
        &self,
        request: Request<pb::SearchArtifactsRequest>,
    ) -> Result<Response<pb::SearchArtifactsResponse>, Status> {
        let caller = self.caller(&request)?;
        queries::search(self, &caller, request.into_inner()).await
    }

    async fn list_artifact_versions(
        &self,
        request: Request<pb::ListArtifactVersionsRequest>,
    ) -> Result<Response<pb::ListArtifactVersionsResponse>, Status> {
        let caller = self.caller(&request)?;
        queries::versions(self, &caller, request.into_inner()).await
    }

    async fn set_alias(&self, request: Request<pb::SetAliasRequest>) -> Result<Response<pb::SetAliasResponse>, Status> {
        let caller = self.caller(&request)?;
        aliases::set(self, &caller, request.into_inner()).await
    }

    async fn delete_alias(
        &self,
        request: Request<pb::DeleteAliasRequest>,
    ) -> Result<Response<pb::DeleteAliasResponse>, Status> {
        let caller = self.caller(&request)?;
        aliases::delete(self, &caller, request.into_inner()).await
    }

    async fn list_aliases(
        &self,
        request: Request<pb::ListAliasesRequest>,
    ) -> Result<Response<pb::ListAliasesResponse>, Status> {
        let caller = self.caller(&request)?;
        aliases::list(self, &caller, request.into_inner()).await
    }

    async fn list_alias_changes(
        &self,
        request: Request<pb::ListAliasChangesRequest>,
    ) -> Result<Response<pb::ListAliasChangesResponse>, Status> {
        let caller = self.caller(&request)?;
        aliases::changes(self, &caller, request.into_inner()).await
    }

    async fn update_artifact(
        &self,
        request: Request<pb::UpdateArtifactRequest>,
    ) -> Result<Response<pb::Artifact>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let update = convert::update(request.into_inner(), &call_id)?;
        let updated = self.registry.update(&caller, update).await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(convert::artifact(updated)))
    }

    async fn delete_artifact(
        &self,
        request: Request<pb::DeleteArtifactRequest>,
    ) -> Result<Response<pb::DeleteArtifactResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let deletion = convert::deletion(request.into_inner(), &call_id)?;
        let registry = std::sync::Arc::clone(&self.registry);
        let deleted = self
            .to_the_end(&call_id, async move { registry.delete(&caller, deletion).await })
            .await?;
        let trashed = convert::artifacts(deleted.trashed);
        Ok(Response::new(pb::DeleteArtifactResponse {
            trashed,
            destroyed_uids: deleted.destroyed_uids,
        }))
    }

    async fn restore_artifact(
        &self,
        request: Request<pb::RestoreArtifactRequest>,
    ) -> Result<Response<pb::RestoreArtifactResponse>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let restoration = convert::restoration(request.into_inner(), &call_id)?;
        let restored = self.registry.restore(&caller, restoration).await;
        let restored = restored.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::RestoreArtifactResponse {
            artifacts: convert::artifacts(restored),
        }))
    }
}
