//! `ContentService`.

use artifactd_proto::{
    ContentBody, Outgoing,
    aside::BodyAside,
    v1::{self as pb, content_service_server::ContentService, read_content_response::Message},
};
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status, async_trait, body::Body};

use super::{Api, call_id, chunks, convert, layer::CallId, members, status};
use crate::registry::{ContentOf, ReadRange};

const CHUNK_BYTES_DEFAULT: u64 = 1024 * 1024;
const CHUNK_BYTES_MIN: u64 = 64 * 1024;

#[async_trait]
impl ContentService for Api {
    /// Empty: the messages go beside it.
    type ReadContentStream = stream::Empty<Result<pb::ReadContentResponse, Status>>;

    /// Empty: the messages go beside it.
    type ReadMembersStream = stream::Empty<Result<pb::ReadMembersResponse, Status>>;

    async fn read_members(
        &self,
        request: Request<pb::ReadMembersRequest>,
    ) -> Result<Response<Self::ReadMembersStream>, Status> {
        let caller = self.caller(&request)?;
        members::read(self, &caller, request.into_inner()).await
    }

    async fn read_content(
        &self,
        request: Request<pb::ReadContentRequest>,
    ) -> Result<Response<Self::ReadContentStream>, Status> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::ReadContentRequest {
            artifact,
            offset,
            length,
            if_match,
            chunk_bytes,
            include_hidden,
            member,
            is_run_input,
        } = request.into_inner();
        let reference = convert::reference(artifact, &call_id)?;
        let member = member
            .map(|path| convert::member_path(&path, "member", &call_id))
            .transpose()?;
        let length = self::length(length, "length", &call_id)?;
        let chunk_bytes = self::chunk_bytes(chunk_bytes, &call_id)?;
        let range = ReadRange { offset, length };
        let from = ContentOf {
            reference,
            member,
            if_match,
            include_hidden,
            is_run_input: convert::is_run_input(is_run_input),
        };
        let open = self.registry.open_content(&caller, &from, range).await;
        let open = open.map_err(|error| status::from_registry(error, &call_id))?;
        let head = pb::ContentHead {
            artifact: Some(convert::artifact(open.artifact.clone())),
            offset: i64::try_from(open.range.start).expect("sizes come from the database's integers"),
            length: i64::try_from(open.range.end - open.range.start).expect("sizes come from the database's integers"),
            member: open.member.as_ref().map(convert::member),
        };
        let head = Outgoing::message(&pb::ReadContentResponse {
            message: Some(Message::Head(head)),
        });
        let chunks = open.stream(chunk_bytes).map(move |chunk| match chunk {
            Ok(chunk) => Ok(chunks::outgoing(chunk)),
            Err(error) => Err(status::from_registry(error, &call_id)),
        });
        let body = ContentBody::of_server(stream::iter([Ok(head)]).chain(chunks));
        let mut answer = Response::new(stream::empty());
        BodyAside::put(answer.extensions_mut(), Body::new(body));
        Ok(answer)
    }
}

/// The size of chunks that a caller wishes.
pub(super) fn chunk_bytes(wish: i32, call_id: &CallId) -> Result<u64, Status> {
    match u64::try_from(wish) {
        Err(_) => Err(status::field(call_id, "chunk_bytes", "must not be negative")),
        Ok(0) => Ok(CHUNK_BYTES_DEFAULT),
        Ok(wish) => Ok(wish.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_DEFAULT)),
    }
}

/// The most bytes that a caller wants.
pub(super) fn length(most: Option<i64>, field: &'static str, call_id: &CallId) -> Result<Option<u64>, Status> {
    let most = most.map(u64::try_from).transpose();
    most.map_err(|_| status::field(call_id, field, "must not be negative"))
}
