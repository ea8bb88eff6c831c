//! `CollectionService`.

use artifactd_proto::v1::{self as pb, collection_service_server::CollectionService};
use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    content::chunk_bytes,
    convert::{self, identifier, optional, parsed, refused, request_key, timestamp},
    layer::CallId,
    pages, status,
};
use crate::registry::{
    Appendix, ArtifactCollection, CollectionMember, CollectionPiece, CollectionRef, CollectionStart, CollectionToRead,
    CollectionsQuery, NewCollection, NewMember, Rule,
};

/// Most members of one call.
const MEMBERS_MAX: usize = 10_000;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl CollectionService for Api {
    async fn create_collection(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Result<Response<pb::CreateCollectionResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let new = new_collection(request.into_inner(), &call_id)?;
        let created = self.registry.create_collection(&caller, new).await;
        let (made, created) = created.map_err(|error| status::from_registry(error, &call_id))?;
        let collection = Some(collection(made));
        Ok(Response::new(pb::CreateCollectionResponse { collection, created }))
    }

    async fn append_to_collection(
        &self,
        request: Request<pb::AppendToCollectionRequest>,
    ) -> Result<Response<pb::Collection>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let appendix = appendix(request.into_inner(), &call_id)?;
        let appended = self.registry.append_to_collection(&caller, appendix).await;
        let appended = appended.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(collection(appended)))
    }

    async fn get_collection(&self, request: Request<pb::GetCollectionRequest>) -> Result<Response<pb::Collection>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let reference = collection_ref(request.into_inner().collection, &call_id)?;
        let found = self.registry.collection(&caller, &reference).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(collection(found)))
    }

    async fn list_collections(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Result<Response<pb::ListCollectionsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListCollections", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let member = message.member.map(|member| convert::reference(Some(member), &call_id));
        let query = CollectionsQuery {
            prefix: message.key_prefix,
            all_versions: message.all_versions,
            member: member.transpose()?,
            after: self.place(&message.page_token, &asks, &call_id)?,
            rows: pages::rows(message.page_size, &call_id)?,
        };
        let listed = self.registry.collections(&caller, query).await;
        let (found, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::ListCollectionsResponse {
            collections: found.into_iter().map(collection).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
        }))
    }

    async fn list_collection_members(
        &self,
        request: Request<pb::ListCollectionMembersRequest>,
    ) -> Result<Response<pb::ListCollectionMembersResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("ListCollectionMembers", &caller, &message, |message| {
            message.page_token.clear();
            message.page_size = 0;
        });
        let reference = collection_ref(message.collection, &call_id)?;
        let rows = pages::rows(message.page_size, &call_id)?;
        // A page goes on in the version in which it began, also when a newer one comes.
        let after = self.place::<(String, i64)>(&message.page_token, &asks, &call_id)?;
        let (reference, from) = match after {
            None => (reference, 0),
            Some((uid, from)) => (CollectionRef::Uid(identifier(&uid, "page_token", &call_id)?), from),
        };
        let listed = self.registry.collection_members(&caller, &reference, from, rows).await;
        let (uid, members, next) = listed.map_err(|error| status::from_registry(error, &call_id))?;
        let next = next.map(|next| (uid.to_string(), next));
        Ok(Response::new(pb::ListCollectionMembersResponse {
            members: members.into_iter().map(member).collect(),
            next_page_token: self.token(next.as_ref(), &asks),
            uid: uid.to_string(),
        }))
    }

    type ReadCollectionStream = BoxStream<'static, Result<pb::ReadCollectionResponse>>;

    async fn read_collection(
        &self,
        request: Request<pb::ReadCollectionRequest>,
    ) -> Result<Response<Self::ReadCollectionStream>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let wanted = to_read(request.into_inner(), &call_id)?;
        let pieces = self.registry.read_collection(&caller, wanted).await;
        let pieces = pieces.map_err(|error| status::from_registry(error, &call_id))?;
        let messages = pieces.map(move |piece| match piece {
            Ok(piece) => Ok(read_message(piece)),
            Err(error) => Err(status::from_registry(error, &call_id)),
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn update_collection(
        &self,
        request: Request<pb::UpdateCollectionRequest>,
    ) -> Result<Response<pb::Collection>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("UpdateCollection", id, "request_id", &message, &call_id)?;
        let reference = collection_ref(message.collection, &call_id)?;
        let description = optional(message.description.as_ref(), "description", &call_id)?;
        let updated = self
            .registry
            .update_collection(&caller, reference, description, message.etag, request)
            .await;
        let updated = updated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(collection(updated)))
    }

    async fn delete_collection(
        &self,
        request: Request<pb::DeleteCollectionRequest>,
    ) -> Result<Response<pb::DeleteCollectionResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let request = request_key("DeleteCollection", id, "request_id", &message, &call_id)?;
        let CollectionRef::Uid(uid) = collection_ref(message.collection, &call_id)? else {
            return Err(status::field(&call_id, "collection", "must be a full uid"));
        };
        let deleted = self
            .registry
            .delete_collection(&caller, uid, message.etag, request)
            .await;
        deleted.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DeleteCollectionResponse {}))
    }
}

/// The collection that a message names.
pub(super) fn collection_ref(message: Option<pb::CollectionRef>, call_id: &CallId) -> Result<CollectionRef> {
    use pb::collection_ref::Ref;
    let missing = || refused(call_id, "collection", Rule::Required);
    let pb::CollectionRef { r#ref, version } = message.ok_or_else(missing)?;
    match r#ref.ok_or_else(missing)? {
        Ref::Uid(uid) => identifier(&uid, "collection.uid", call_id).map(CollectionRef::Uid),
        Ref::Stem(stem) => identifier(&stem, "collection.stem", call_id).map(CollectionRef::Stem),
        Ref::Key(key) => Ok(CollectionRef::Key(
            parsed(&key, "collection.key", call_id)?,
            optional(version.as_ref(), "collection.version", call_id)?,
        )),
    }
}

/// Members to add.
pub(super) fn new_members(messages: Vec<pb::NewCollectionMember>, call_id: &CallId) -> Result<Vec<NewMember>> {
    if messages.len() > MEMBERS_MAX {
        let rule = format!("must be at most {MEMBERS_MAX}, got {}", messages.len());
        return Err(status::field(call_id, "members", rule));
    }
    let members = messages.into_iter().map(|message| {
        Ok(NewMember {
            artifact: convert::reference_in(message.artifact, &convert::MEMBERS, call_id)?,
            follow_latest: message.follow_latest,
        })
    });
    members.collect()
}

/// What collection to add.
pub(super) fn new_collection(mut message: pb::CreateCollectionRequest, call_id: &CallId) -> Result<NewCollection> {
    let id = message.request_id.take();
    let request = request_key("CreateCollection", id, "request_id", &message, call_id)?;
    let pb::CreateCollectionRequest {
        key,
        description,
        members,
        version,
        request_id: _,
    } = message;
    Ok(NewCollection {
        key: parsed(&key, "key", call_id)?,
        description: optional(description.as_ref(), "description", call_id)?,
        members: new_members(members, call_id)?,
        version: optional(version.as_ref(), "version", call_id)?,
        request,
    })
}

/// What to append; to which something has to be.
fn appendix(message: pb::AppendToCollectionRequest, call_id: &CallId) -> Result<Appendix> {
    match message.members.is_empty() {
        true => Err(refused(call_id, "members", Rule::Required)),
        false => any_appendix(message, call_id),
    }
}

/// What to append, which may be nothing.
pub(super) fn any_appendix(mut message: pb::AppendToCollectionRequest, call_id: &CallId) -> Result<Appendix> {
    let id = message.request_id.take();
    let request = request_key("AppendToCollection", id, "request_id", &message, call_id)?;
    let pb::AppendToCollectionRequest {
        collection,
        members,
        version,
        etag,
        request_id: _,
    } = message;
    let collection = collection_ref(collection, call_id)?;
    if matches!(collection, CollectionRef::Uid(_) | CollectionRef::Key(_, Some(_))) {
        let rule = "must be a stem, or a key without a version: members are appended to the latest one";
        return Err(status::field(call_id, "collection", rule));
    }
    Ok(Appendix {
        collection,
        members: new_members(members, call_id)?,
        version: optional(version.as_ref(), "version", call_id)?,
        etag,
        request,
    })
}

fn to_read(message: pb::ReadCollectionRequest, call_id: &CallId) -> Result<CollectionToRead> {
    let pb::ReadCollectionRequest {
        collection,
        start,
        chunk_bytes: wish,
        is_run_input,
    } = message;
    let start = match start {
        None => CollectionStart::default(),
        Some(pb::CollectionStart {
            place,
            path,
            offset,
            if_match,
        }) => {
            if place < 0 {
                return Err(status::field(call_id, "start.place", "must not be negative"));
            }
            let offset = u64::try_from(offset);
            CollectionStart {
                place,
                path: path
                    .map(|path| convert::member_path(&path, "start.path", call_id))
                    .transpose()?,
                offset: offset.map_err(|_| status::field(call_id, "start.offset", "must not be negative"))?,
                if_match,
            }
        }
    };
    Ok(CollectionToRead {
        reference: collection_ref(collection, call_id)?,
        start,
        chunk_bytes: chunk_bytes(wish, call_id)?,
        is_run_input: convert::is_run_input(is_run_input),
    })
}

fn read_message(piece: CollectionPiece) -> pb::ReadCollectionResponse {
    use pb::read_collection_response::Message;
    let number = |number: u64| i64::try_from(number).expect("sizes come from the database's integers");
    let message = match piece {
        CollectionPiece::Begin {
            place,
            artifact,
            member,
            range,
        } => Message::Content(pb::CollectionContent {
            place,
            artifact: Some(convert::artifact(*artifact)),
            member: member.as_ref().map(convert::member),
            offset: number(range.start),
            length: number(range.end - range.start),
        }),
        CollectionPiece::Chunk(chunk) => Message::Chunk(pb::ContentChunk {
            crc32c: Some(chunk.crc32c),
            offset: Some(number(chunk.offset)),
            data: bytes::Bytes::clone(&chunk.data),
        }),
    };
    pb::ReadCollectionResponse { message: Some(message) }
}

fn member(member: CollectionMember) -> pb::CollectionMember {
    let CollectionMember {
        place,
        follows_latest,
        artifact,
        uid_or_stem,
    } = member;
    pb::CollectionMember {
        place,
        follows_latest,
        artifact: artifact.map(convert::artifact),
        uid_or_stem,
    }
}

/// A collection as a message.
pub(super) fn collection(collection: ArtifactCollection) -> pb::Collection {
    let ArtifactCollection {
        uid,
        key,
        version,
        version_number,
        is_latest,
        description,
        sha256,
        n_members,
        run_uid,
        space,
        created_by,
        created_at_us,
        updated_at_us,
        etag,
    } = collection;
    pb::Collection {
        uid: uid.to_string(),
        stem: uid.stem().to_string(),
        key,
        version,
        version_number,
        is_latest,
        description,
        hash: sha256.to_string(),
        n_members,
        run_uid,
        space,
        created_by,
        created_at: Some(timestamp(created_at_us)),
        updated_at: Some(timestamp(updated_at_us)),
        etag,
    }
}
