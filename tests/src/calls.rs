//! Every RPC as a function over generated clients, with stock settings.

use std::{future::Future, time::Duration};

use artifactd_proto::v1 as pb;
use bytes::Bytes;
use futures::Stream;
use pb::{
    admin_service_client::AdminServiceClient, artifact_service_client::ArtifactServiceClient,
    content_service_client::ContentServiceClient, save_artifact_request::Message,
};
use tonic::{
    Request, Response, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::failure::Outcome;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const CHUNK_BYTES: usize = 1 << 20;

/// Calls to one server. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Calls {
    /// The connection, for clients of other services.
    pub channel: Line,
    connection: Channel,
    under: Under,
}

/// A connection whose calls may belong to a run and a space.
pub type Line = InterceptedService<Channel, Under>;

/// Puts the run and the space to which calls belong into their metadata.
#[derive(Debug, Clone, Default)]
pub struct Under {
    run: Option<AsciiMetadataValue>,
    space: Option<AsciiMetadataValue>,
}

impl Interceptor for Under {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in [("artifactd-run", &self.run), ("artifactd-space", &self.space)] {
            if let Some(value) = value {
                request.metadata_mut().insert(name, value.clone());
            }
        }
        Ok(request)
    }
}

/// What a read gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// What the server said was coming.
    pub head: pb::ContentHead,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Size of every chunk, in order.
    pub chunk_sizes: Vec<usize>,
}

/// A header with a key and nothing else.
pub fn keyed(key: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        key: Some(key.to_owned()),
        ..Default::default()
    }
}

/// A header with a description and nothing else.
pub fn described(description: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        description: Some(description.to_owned()),
        ..Default::default()
    }
}

/// A reference by full uid.
pub fn by_uid(uid: &str) -> pb::ArtifactRef {
    reference(pb::artifact_ref::Ref::Uid(uid.to_owned()))
}

/// A reference by stem.
pub fn by_stem(stem: &str) -> pb::ArtifactRef {
    reference(pb::artifact_ref::Ref::Stem(stem.to_owned()))
}

/// A reference by key, to the latest version.
pub fn by_key(key: &str) -> pb::ArtifactRef {
    reference(pb::artifact_ref::Ref::Key(pb::KeyRef {
        key: key.to_owned(),
        version: None,
        storage: None,
    }))
}

/// A reference by key and version.
pub fn by_version(key: &str, version: &str) -> pb::ArtifactRef {
    let version = Some(version.to_owned());
    reference(pb::artifact_ref::Ref::Key(pb::KeyRef {
        key: key.to_owned(),
        version,
        storage: None,
    }))
}

/// A reference in text form.
pub fn by_text(text: &str) -> pb::ArtifactRef {
    reference(pb::artifact_ref::Ref::Text(text.to_owned()))
}

fn reference(inner: pb::artifact_ref::Ref) -> pb::ArtifactRef {
    pb::ArtifactRef { r#ref: Some(inner) }
}

/// One chunk without checks.
pub fn chunk(data: &[u8]) -> pb::ContentChunk {
    pb::ContentChunk {
        data: Bytes::copy_from_slice(data),
        crc32c: None,
        offset: None,
    }
}

/// The messages of an honest save: every chunk carries its checksum and offset,
/// the trailer the size and digest.
pub fn save_messages(header: pb::SaveHeader, content: &[u8]) -> Vec<Message> {
    let mut messages = vec![Message::Header(header)];
    messages.extend(honest_chunks(content).into_iter().map(Message::Chunk));
    messages.push(Message::Trailer(honest_trailer(content)));
    messages
}

/// Content in chunks that carry checksum and offset.
pub fn honest_chunks(content: &[u8]) -> Vec<pb::ContentChunk> {
    content
        .chunks(CHUNK_BYTES)
        .enumerate()
        .map(|(number, piece)| pb::ContentChunk {
            data: Bytes::copy_from_slice(piece),
            crc32c: Some(artifactd_domain::crc32c(piece)),
            offset: Some((number * CHUNK_BYTES) as i64),
        })
        .collect()
}

/// The trailer that says what `content` is.
pub fn honest_trailer(content: &[u8]) -> pb::ContentTrailer {
    pb::ContentTrailer {
        sha256: Some(crate::content::digest(content)),
        size: Some(content.len() as i64),
    }
}

fn batch_outcome(result: pb::BatchSaveResult) -> Outcome<pb::SaveArtifactResponse> {
    use pb::batch_save_result::Result as R;
    use prost::Message as _;
    match result.result.expect("a result has content") {
        R::Saved(saved) => Ok(saved),
        R::Error(status) => {
            let details = status.encode_to_vec().into();
            Err(Status::with_details(status.code.into(), status.message, details).into())
        }
    }
}

impl Calls {
    /// Calls over a connection.
    pub fn over(channel: Channel) -> Self {
        Self::belonging(channel, Under::default())
    }

    fn belonging(connection: Channel, under: Under) -> Self {
        Self {
            channel: InterceptedService::new(connection.clone(), under.clone()),
            connection,
            under,
        }
    }

    /// The same calls, which belong to a run.
    ///
    /// # Panics
    /// When its uid cannot travel in metadata.
    pub fn under(&self, run_uid: &str) -> Self {
        let run = Some(run_uid.parse().expect("ASCII"));
        let under = Under {
            run,
            ..self.under.clone()
        };
        Self::belonging(self.connection.clone(), under)
    }

    /// The same calls, which work in a space.
    ///
    /// # Panics
    /// When its name cannot travel in metadata.
    pub fn in_space(&self, name: &str) -> Self {
        let space = Some(name.parse().expect("ASCII"));
        let under = Under {
            space,
            ..self.under.clone()
        };
        Self::belonging(self.connection.clone(), under)
    }

    /// Saves content as a stream.
    pub async fn save(&self, header: pb::SaveHeader, content: &[u8]) -> Outcome<pb::SaveArtifactResponse> {
        self.save_stream(futures::stream::iter(save_messages(header, content)))
            .await
    }

    /// Saves what a stream of messages says, honest or not.
    pub async fn save_stream(
        &self,
        messages: impl Stream<Item = Message> + Send + 'static,
    ) -> Outcome<pb::SaveArtifactResponse> {
        use futures::StreamExt;
        let requests = messages.map(|message| pb::SaveArtifactRequest { message: Some(message) });
        answer(self.artifacts().save_artifact(requests)).await
    }

    /// Saves content in one message.
    pub async fn save_small(&self, header: pb::SaveHeader, content: &[u8]) -> Outcome<pb::SaveArtifactResponse> {
        let crc32c = Some(artifactd_domain::crc32c(content));
        let content = Bytes::copy_from_slice(content);
        self.save_small_raw(pb::SaveSmallArtifactRequest {
            header: Some(header),
            content,
            crc32c,
        })
        .await
    }

    /// Sends one message of a small save as it is.
    pub async fn save_small_raw(&self, request: pb::SaveSmallArtifactRequest) -> Outcome<pb::SaveArtifactResponse> {
        answer(self.artifacts().save_small_artifact(request)).await
    }

    /// Saves some contents in one message of a batch; a result for each.
    pub async fn save_batch(
        &self,
        files: Vec<(pb::SaveHeader, Vec<u8>)>,
    ) -> Outcome<Vec<Outcome<pb::SaveArtifactResponse>>> {
        let items = files.into_iter().map(|(header, content)| pb::BatchSaveItem {
            header: Some(header),
            crc32c: Some(artifactd_domain::crc32c(&content)),
            content: content.into(),
        });
        let items = items.collect();
        let mut answers = self.save_batches(vec![pb::BatchSaveRequest { items }]).await?;
        Ok(answers.remove(0))
    }

    /// Sends messages of a batch as they are; the results of each.
    pub async fn save_batches(
        &self,
        messages: Vec<pb::BatchSaveRequest>,
    ) -> Outcome<Vec<Vec<Outcome<pb::SaveArtifactResponse>>>> {
        use futures::TryStreamExt;
        let call = async {
            let answers = self.artifacts().batch_save(futures::stream::iter(messages)).await?;
            let answers: Vec<pb::BatchSaveResponse> = answers.into_inner().try_collect().await?;
            Ok(Response::new(answers))
        };
        let answers = answer(call).await?;
        let outcomes = |answer: pb::BatchSaveResponse| answer.results.into_iter().map(batch_outcome).collect();
        Ok(answers.into_iter().map(outcomes).collect())
    }

    /// Replaces content.
    pub async fn replace(&self, header: pb::ReplaceHeader, content: &[u8]) -> Outcome<pb::ReplaceArtifactResponse> {
        use pb::replace_artifact_request::Message;
        let mut messages = vec![Message::Header(header)];
        messages.extend(honest_chunks(content).into_iter().map(Message::Chunk));
        messages.push(Message::Trailer(honest_trailer(content)));
        self.replace_stream(messages).await
    }

    /// Replaces what a list of messages says, honest or not.
    pub async fn replace_stream(
        &self,
        messages: Vec<pb::replace_artifact_request::Message>,
    ) -> Outcome<pb::ReplaceArtifactResponse> {
        let requests = messages
            .into_iter()
            .map(|message| pb::ReplaceArtifactRequest { message: Some(message) });
        answer(
            self.artifacts()
                .replace_artifact(futures::stream::iter(requests.collect::<Vec<_>>())),
        )
        .await
    }

    /// Finds one artifact.
    pub async fn get(&self, artifact: pb::ArtifactRef) -> Outcome<pb::Artifact> {
        self.get_raw(pb::GetArtifactRequest {
            artifact: Some(artifact),
            include_hidden: false,
            ..Default::default()
        })
        .await
    }

    /// Finds one artifact, hidden ones too.
    pub async fn get_hidden(&self, artifact: pb::ArtifactRef) -> Outcome<pb::Artifact> {
        self.get_raw(pb::GetArtifactRequest {
            artifact: Some(artifact),
            include_hidden: true,
            ..Default::default()
        })
        .await
    }

    /// Sends one get as it is.
    pub async fn get_raw(&self, request: pb::GetArtifactRequest) -> Outcome<pb::Artifact> {
        answer(self.artifacts().get_artifact(request)).await
    }

    /// One page of the space.
    pub async fn list(&self, request: pb::ListArtifactsRequest) -> Outcome<pb::ListArtifactsResponse> {
        answer(self.artifacts().list_artifacts(request)).await
    }

    /// All pages of a list.
    pub async fn list_all(&self, mut request: pb::ListArtifactsRequest) -> Outcome<Vec<pb::Artifact>> {
        let mut artifacts = Vec::new();
        loop {
            let page = self.list(request.clone()).await?;
            artifacts.extend(page.artifacts);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(artifacts);
            }
        }
    }

    /// How many match.
    pub async fn count(&self, request: pb::CountArtifactsRequest) -> Outcome<pb::CountArtifactsResponse> {
        answer(self.artifacts().count_artifacts(request)).await
    }

    /// Finds some artifacts at once.
    pub async fn batch_get(&self, request: pb::BatchGetArtifactsRequest) -> Outcome<pb::BatchGetArtifactsResponse> {
        answer(self.artifacts().batch_get_artifacts(request)).await
    }

    /// Points an alias somewhere.
    pub async fn set_alias(&self, request: pb::SetAliasRequest) -> Outcome<pb::SetAliasResponse> {
        answer(self.artifacts().set_alias(request)).await
    }

    /// Removes an alias.
    pub async fn delete_alias(&self, request: pb::DeleteAliasRequest) -> Outcome<pb::DeleteAliasResponse> {
        answer(self.artifacts().delete_alias(request)).await
    }

    /// One page of the aliases of a family.
    pub async fn aliases(&self, request: pb::ListAliasesRequest) -> Outcome<pb::ListAliasesResponse> {
        answer(self.artifacts().list_aliases(request)).await
    }

    /// One page of what happened to them.
    pub async fn alias_changes(&self, request: pb::ListAliasChangesRequest) -> Outcome<pb::ListAliasChangesResponse> {
        answer(self.artifacts().list_alias_changes(request)).await
    }

    /// One page of a search.
    pub async fn search(&self, request: pb::SearchArtifactsRequest) -> Outcome<pb::SearchArtifactsResponse> {
        answer(self.artifacts().search_artifacts(request)).await
    }

    /// All pages of a search.
    pub async fn search_all(&self, mut request: pb::SearchArtifactsRequest) -> Outcome<Vec<pb::SearchHit>> {
        let mut hits = Vec::new();
        loop {
            let page = self.search(request.clone()).await?;
            hits.extend(page.hits);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(hits);
            }
        }
    }

    /// One page of a family.
    pub async fn versions(
        &self,
        request: pb::ListArtifactVersionsRequest,
    ) -> Outcome<pb::ListArtifactVersionsResponse> {
        answer(self.artifacts().list_artifact_versions(request)).await
    }

    /// Every version of a family, in trash or not, highest number first.
    ///
    /// # Panics
    /// When there is more than one page.
    pub async fn family(&self, artifact: pb::ArtifactRef) -> Outcome<Vec<pb::Artifact>> {
        let visibilities = [pb::Visibility::Default, pb::Visibility::Hidden, pb::Visibility::Trash].map(i32::from);
        let page = self
            .versions(pb::ListArtifactVersionsRequest {
                artifact: Some(artifact),
                page_size: 1000,
                page_token: String::new(),
                visibilities: visibilities.to_vec(),
                ..Default::default()
            })
            .await?;
        assert_eq!(page.next_page_token, "", "a family of more than one page");
        Ok(page.artifacts)
    }

    /// Changes fields.
    pub async fn update(&self, request: pb::UpdateArtifactRequest) -> Outcome<pb::Artifact> {
        answer(self.artifacts().update_artifact(request)).await
    }

    /// Moves to trash.
    pub async fn trash(&self, artifact: pb::ArtifactRef) -> Outcome<pb::DeleteArtifactResponse> {
        self.delete(pb::DeleteArtifactRequest {
            artifact: Some(artifact),
            ..Default::default()
        })
        .await
    }

    /// Destroys, from trash or not.
    pub async fn destroy(&self, artifact: pb::ArtifactRef) -> Outcome<pb::DeleteArtifactResponse> {
        let artifact = Some(artifact);
        self.delete(pb::DeleteArtifactRequest {
            artifact,
            permanent: true,
            force: true,
            ..Default::default()
        })
        .await
    }

    /// Deletes as the request says.
    pub async fn delete(&self, request: pb::DeleteArtifactRequest) -> Outcome<pb::DeleteArtifactResponse> {
        answer(self.artifacts().delete_artifact(request)).await
    }

    /// Takes out of trash.
    pub async fn restore(&self, artifact: pb::ArtifactRef) -> Outcome<pb::RestoreArtifactResponse> {
        self.restore_raw(pb::RestoreArtifactRequest {
            artifact: Some(artifact),
            ..Default::default()
        })
        .await
    }

    /// Restores as the request says.
    pub async fn restore_raw(&self, request: pb::RestoreArtifactRequest) -> Outcome<pb::RestoreArtifactResponse> {
        answer(self.artifacts().restore_artifact(request)).await
    }

    /// Reads everything, and checks what the server promises of a stream.
    pub async fn read(&self, artifact: pb::ArtifactRef) -> Outcome<Vec<u8>> {
        let read = self
            .read_raw(pb::ReadContentRequest {
                artifact: Some(artifact),
                ..Default::default()
            })
            .await?;
        Ok(read.bytes)
    }

    /// Reads `length` bytes from `offset`.
    pub async fn read_range(&self, artifact: pb::ArtifactRef, offset: i64, length: i64) -> Outcome<Vec<u8>> {
        let artifact = Some(artifact);
        let request = pb::ReadContentRequest {
            artifact,
            offset,
            length: Some(length),
            ..Default::default()
        };
        Ok(self.read_raw(request).await?.bytes)
    }

    /// Reads as the request says.
    ///
    /// # Panics
    /// When the stream breaks its own promises: head first, chunks in order with
    /// right checksums, as many bytes as announced.
    pub async fn read_raw(&self, request: pb::ReadContentRequest) -> Outcome<Read> {
        within(async {
            let mut stream = self.contents().read_content(request).await?.into_inner();
            let mut read = Read {
                head: head_of(stream.message().await?),
                ..Read::default()
            };
            while let Some(message) = stream.message().await? {
                let Some(pb::read_content_response::Message::Chunk(chunk)) = message.message else {
                    panic!("expected a chunk, got {message:?}");
                };
                assert_eq!(
                    chunk.offset,
                    Some(read.head.offset + read.bytes.len() as i64),
                    "offset of a chunk"
                );
                assert_eq!(
                    chunk.crc32c,
                    Some(artifactd_domain::crc32c(&chunk.data)),
                    "checksum of a chunk"
                );
                read.chunk_sizes.push(chunk.data.len());
                read.bytes.extend_from_slice(&chunk.data);
            }
            assert_eq!(
                read.bytes.len() as i64,
                read.head.length,
                "the head announces another length"
            );
            Ok(read)
        })
        .await
    }

    /// Collects garbage, or says what would go.
    pub async fn collect_garbage(&self, dry_run: bool) -> Outcome<pb::CollectGarbageResponse> {
        let mut admin = AdminServiceClient::new(self.channel.clone());
        answer(admin.collect_garbage(pb::CollectGarbageRequest { dry_run })).await
    }

    /// Facts about the server.
    pub async fn info(&self) -> Outcome<pb::ServerInfo> {
        let mut admin = AdminServiceClient::new(self.channel.clone());
        answer(admin.get_server_info(pb::GetServerInfoRequest {})).await
    }

    /// The generated client of artifacts.
    pub fn artifacts(&self) -> ArtifactServiceClient<Line> {
        ArtifactServiceClient::new(self.channel.clone())
    }

    /// The generated client of content.
    pub fn contents(&self) -> ContentServiceClient<Line> {
        ContentServiceClient::new(self.channel.clone())
    }
}

fn head_of(message: Option<pb::ReadContentResponse>) -> pb::ContentHead {
    match message.and_then(|message| message.message) {
        Some(pb::read_content_response::Message::Head(head)) => head,
        other => panic!("expected a head, got {other:?}"),
    }
}

pub(crate) async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Outcome<T> {
    within(async { Ok(call.await?.into_inner()) }).await
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Outcome<T> {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, call).await;
    Ok(answered.unwrap_or_else(|_| panic!("no answer within {ANSWER_TIMEOUT:?}"))?)
}

/// The artifact of a save.
///
/// # Panics
/// When the answer has none.
pub fn saved(response: pb::SaveArtifactResponse) -> pb::Artifact {
    response.artifact.expect("a save answers its artifact")
}
