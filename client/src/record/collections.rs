//! Ordered, versioned sets of artifacts.

use artifactd_domain::crc32c;
use artifactd_proto::v1::{
    self as pb, collection_service_client::CollectionServiceClient, read_collection_response::Message,
};
use bytes::Bytes;
use futures::{Stream, stream};
use tonic::Streaming;

use super::{all_pages, call, change};
use crate::{Artifact, Client, Error, Result, convert};

/// A part of the contents of a collection.
#[derive(Debug, Clone)]
pub enum CollectionPiece {
    /// A content begins, or goes on.
    Content {
        /// Place of the member, counted from 0.
        place: i64,
        /// The artifact.
        artifact: Box<Artifact>,
        /// The file of it, when it is a folder.
        member: Option<pb::Member>,
        /// First byte that follows.
        offset: i64,
    },
    /// The next bytes of the content.
    Bytes(Bytes),
}

impl Client {
    /// Makes a collection; the same again is answered as it is.
    pub async fn create_collection(
        &self,
        collection: pb::CreateCollectionRequest,
    ) -> Result<pb::CreateCollectionResponse> {
        change!(
            self,
            CollectionServiceClient,
            create_collection,
            "CreateCollection",
            collection
        )
    }

    /// Appends members; answers the new version.
    pub async fn append_to_collection(&self, appendix: pb::AppendToCollectionRequest) -> Result<pb::Collection> {
        change!(
            self,
            CollectionServiceClient,
            append_to_collection,
            "AppendToCollection",
            appendix
        )
    }

    /// Finds a collection.
    pub async fn get_collection(&self, collection: pb::CollectionRef) -> Result<pb::Collection> {
        let message = pb::GetCollectionRequest {
            collection: Some(collection),
        };
        call!(self, CollectionServiceClient, get_collection, "GetCollection", message)
    }

    /// Collections, in the order of their keys.
    pub fn collections(
        &self,
        request: pb::ListCollectionsRequest,
    ) -> impl Stream<Item = Result<pb::Collection>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let message = pb::ListCollectionsRequest { page_token, ..request };
                let page = call!(
                    client,
                    CollectionServiceClient,
                    list_collections,
                    "ListCollections",
                    message
                )?;
                Ok((page.collections, page.next_page_token))
            }
        })
    }

    /// The members of a version of a collection, in order.
    pub fn collection_members(
        &self,
        collection: pb::CollectionRef,
    ) -> impl Stream<Item = Result<pb::CollectionMember>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, collection) = (client.clone(), collection.clone());
            async move {
                let message = pb::ListCollectionMembersRequest {
                    collection: Some(collection),
                    page_token,
                    ..Default::default()
                };
                let page = call!(
                    client,
                    CollectionServiceClient,
                    list_collection_members,
                    "ListCollectionMembers",
                    message
                )?;
                Ok((page.members, page.next_page_token))
            }
        })
    }

    /// The contents of all members in one stream, which goes on by itself after a lost connection.
    pub fn read_collection(
        &self,
        collection: pb::CollectionRef,
        start: Option<pb::CollectionStart>,
    ) -> impl Stream<Item = Result<CollectionPiece>> + Send + use<> {
        let reading = Reading {
            client: self.clone(),
            collection,
            start,
            answers: None,
            tries: 0,
        };
        stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        })
    }

    /// Changes what is said of a collection.
    pub async fn update_collection(&self, update: pb::UpdateCollectionRequest) -> Result<pb::Collection> {
        change!(
            self,
            CollectionServiceClient,
            update_collection,
            "UpdateCollection",
            update
        )
    }

    /// Deletes a version of a collection.
    pub async fn delete_collection(&self, request: pb::DeleteCollectionRequest) -> Result<()> {
        change!(
            self,
            CollectionServiceClient,
            delete_collection,
            "DeleteCollection",
            request
        )
        .map(drop)
    }
}

struct Reading {
    client: Client,
    collection: pb::CollectionRef,
    /// Where to go on.
    start: Option<pb::CollectionStart>,
    answers: Option<Streaming<pb::ReadCollectionResponse>>,
    /// Tries since something came.
    tries: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<CollectionPiece>> {
        loop {
            match self.answer().await {
                Ok(None) => return Ok(None),
                Ok(Some(answer)) => {
                    self.tries = 0;
                    if let Some(piece) = self.piece(answer)? {
                        return Ok(Some(piece));
                    }
                }
                Err(error) => {
                    self.answers = None;
                    self.tries += 1;
                    if !self.client.wait(self.tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn answer(&mut self) -> Result<Option<pb::ReadCollectionResponse>> {
        if self.answers.is_none() {
            let message = pb::ReadCollectionRequest {
                collection: Some(self.collection.clone()),
                start: self.start.clone(),
                ..Default::default()
            };
            let mut collections = CollectionServiceClient::new(self.client.line(0));
            self.answers = Some(collections.read_collection(message).await?.into_inner());
        }
        let answers = self.answers.as_mut().expect("it was just set");
        let idle = self.client.inner.idle_timeout;
        match tokio::time::timeout(idle, answers.message()).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::TimedOut { after: idle }),
        }
    }

    fn piece(&mut self, answer: pb::ReadCollectionResponse) -> Result<Option<CollectionPiece>> {
        match answer.message {
            Some(Message::Content(content)) => {
                let artifact = convert::some(content.artifact)?;
                self.start = Some(pb::CollectionStart {
                    place: content.place,
                    path: content.member.as_ref().map(|member| member.path.clone()),
                    offset: content.offset,
                    if_match: Some(artifact.content_etag.clone()),
                });
                Ok(Some(CollectionPiece::Content {
                    place: content.place,
                    artifact: Box::new(artifact),
                    member: content.member,
                    offset: content.offset,
                }))
            }
            Some(Message::Chunk(chunk)) => {
                let start = self.start.as_mut();
                let start = start.ok_or_else(|| Error::Answer("bytes of no content".to_owned()))?;
                let is_next = chunk.offset.is_none_or(|offset| offset == start.offset);
                if !is_next || chunk.crc32c.is_some_and(|sum| sum != crc32c(&chunk.data)) {
                    let (place, offset) = (start.place, start.offset);
                    return Err(Error::Answer(format!("wrong bytes at {offset} of place {place}")));
                }
                start.offset += i64::try_from(chunk.data.len()).unwrap_or(i64::MAX);
                Ok(Some(CollectionPiece::Bytes(chunk.data)))
            }
            None => Ok(None),
        }
    }
}
