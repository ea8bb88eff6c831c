//! Collections: every RPC as a function, and streams of them read with all their promises checked.

use artifactd_proto::v1 as pb;
use pb::{collection_ref::Ref, collection_service_client::CollectionServiceClient, read_collection_response::Message};

use crate::{
    Calls, Outcome,
    calls::{Line, answer},
};

/// A content that came in a stream of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadContents {
    /// Place of the member.
    pub place: i64,
    /// Path of the file, in a folder.
    pub path: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl ReadContents {
    /// A content as it is expected.
    pub fn new(place: i64, path: Option<&str>, bytes: &[u8]) -> Self {
        Self {
            place,
            path: path.map(str::to_owned),
            bytes: bytes.to_vec(),
        }
    }
}

/// A collection by its key.
pub fn key_ref(key: &str) -> pb::CollectionRef {
    reference(Ref::Key(key.to_owned()))
}

/// A version of a collection.
pub fn uid_ref(uid: &str) -> pb::CollectionRef {
    reference(Ref::Uid(uid.to_owned()))
}

/// The latest version of a family.
pub fn stem_ref(stem: &str) -> pb::CollectionRef {
    reference(Ref::Stem(stem.to_owned()))
}

fn reference(inner: Ref) -> pb::CollectionRef {
    pb::CollectionRef {
        r#ref: Some(inner),
        version: None,
    }
}

/// A member that is pinned.
pub fn pinned(artifact: pb::ArtifactRef) -> pb::NewCollectionMember {
    pb::NewCollectionMember {
        artifact: Some(artifact),
        follow_latest: false,
    }
}

/// A member that follows the latest version.
pub fn following(artifact: pb::ArtifactRef) -> pb::NewCollectionMember {
    pb::NewCollectionMember {
        follow_latest: true,
        ..pinned(artifact)
    }
}

impl Calls {
    /// The generated client of collections.
    pub fn collections(&self) -> CollectionServiceClient<Line> {
        CollectionServiceClient::new(self.channel.clone())
    }

    /// Adds a collection or its next version.
    pub async fn create_collection(
        &self,
        request: pb::CreateCollectionRequest,
    ) -> Outcome<pb::CreateCollectionResponse> {
        answer(self.collections().create_collection(request)).await
    }

    /// Appends members.
    pub async fn append(
        &self,
        collection: pb::CollectionRef,
        members: Vec<pb::NewCollectionMember>,
    ) -> Outcome<pb::Collection> {
        let request = pb::AppendToCollectionRequest {
            collection: Some(collection),
            members,
            ..Default::default()
        };
        answer(self.collections().append_to_collection(request)).await
    }

    /// Finds a collection.
    pub async fn get_collection(&self, collection: pb::CollectionRef) -> Outcome<pb::Collection> {
        let collection = Some(collection);
        answer(
            self.collections()
                .get_collection(pb::GetCollectionRequest { collection }),
        )
        .await
    }

    /// One page of collections.
    pub async fn list_collections(&self, request: pb::ListCollectionsRequest) -> Outcome<pb::ListCollectionsResponse> {
        answer(self.collections().list_collections(request)).await
    }

    /// One page of members.
    pub async fn list_collection_members(
        &self,
        collection: pb::CollectionRef,
        page_size: i32,
        page_token: &str,
    ) -> Outcome<pb::ListCollectionMembersResponse> {
        let request = pb::ListCollectionMembersRequest {
            collection: Some(collection),
            page_size,
            page_token: page_token.to_owned(),
        };
        answer(self.collections().list_collection_members(request)).await
    }

    /// All members.
    ///
    /// # Panics
    /// When there is more than one page.
    pub async fn all_members(&self, collection: pb::CollectionRef) -> Outcome<Vec<pb::CollectionMember>> {
        let page = self.list_collection_members(collection, 1_000, "").await?;
        assert_eq!(page.next_page_token, "", "more than one page");
        Ok(page.members)
    }

    /// Deletes a version of a collection.
    pub async fn delete_collection(&self, collection: pb::CollectionRef) -> Outcome<pb::DeleteCollectionResponse> {
        let request = pb::DeleteCollectionRequest {
            collection: Some(collection),
            ..Default::default()
        };
        answer(self.collections().delete_collection(request)).await
    }

    /// Reads all contents from a place on.
    ///
    /// # Panics
    /// When the stream breaks its promises: chunks follow their beginning in order with right
    /// checksums, as many bytes as announced.
    pub async fn read_collection(
        &self,
        collection: pb::CollectionRef,
        start: Option<pb::CollectionStart>,
    ) -> Outcome<Vec<ReadContents>> {
        let request = pb::ReadCollectionRequest {
            collection: Some(collection),
            start,
            ..Default::default()
        };
        let mut stream = self.collections().read_collection(request).await?.into_inner();
        let mut read: Vec<ReadContents> = Vec::new();
        let (mut next_offset, mut left) = (0, 0);
        while let Some(message) = stream.message().await? {
            match message.message.expect("a message of a known kind") {
                Message::Content(content) => {
                    assert_eq!(left, 0, "a content ends before the next begins");
                    (next_offset, left) = (content.offset, content.length);
                    read.push(ReadContents {
                        place: content.place,
                        path: content.member.map(|member| member.path),
                        bytes: Vec::new(),
                    });
                }
                Message::Chunk(chunk) => {
                    assert_eq!(chunk.offset, Some(next_offset), "offset of a chunk");
                    assert_eq!(
                        chunk.crc32c,
                        Some(artifactd_domain::crc32c(&chunk.data)),
                        "checksum of a chunk"
                    );
                    next_offset += chunk.data.len() as i64;
                    left -= chunk.data.len() as i64;
                    let open = read.last_mut().expect("a content begins before its chunks");
                    open.bytes.extend_from_slice(&chunk.data);
                }
            }
        }
        assert_eq!(left, 0, "the last content is whole");
        Ok(read)
    }
}
