//! The connection, and the calls that carry no content.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use artifactd_proto::{
    aside::ClientAside,
    v1::{
        self as pb, admin_service_client::AdminServiceClient, artifact_service_client::ArtifactServiceClient,
        content_service_client::ContentServiceClient, upload_service_client::UploadServiceClient,
    },
};
use futures::{Stream, stream};
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Artifact, DeleteOptions, DeleteStorage, IntoReference, ListOptions, RestoreOptions, Result, ServerInfo, Update,
    convert, memory, retry::Retry,
};

const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// A chunk of 1 MiB then comes in 4 frames instead of 64.
const FRAME_BYTES_MAX: u32 = 256 * 1024;

/// Content streams that one client keeps open at once; more wait here instead of
/// at the server.
const CONTENT_STREAMS_MAX: usize = 8;

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Builder {
    endpoint: String,
    connect_timeout: Duration,
    call_timeout: Duration,
    tries_max: u32,
    content_streams_max: usize,
    connections: usize,
}

impl Builder {
    /// How long a connection may take to be made; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call without content may take; 60 s unless set.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How often a call is tried; 5 times unless set. 1 means never again.
    pub fn tries_max(mut self, tries: u32) -> Self {
        self.tries_max = tries;
        self
    }

    /// How many contents travel at once; 8 unless set.
    pub fn content_streams_max(mut self, streams: usize) -> Self {
        self.content_streams_max = streams.max(1);
        self
    }

    /// Connections over which the parts of an upload travel; 1 unless set. More help where
    /// one cannot fill the line, as over a long one that loses packets.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Connects. `Transport` when there is no server.
    pub async fn connect(self) -> Result<Client> {
        let endpoint = Endpoint::from_shared(self.endpoint)?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        memory::keep_buffers();
        let inner = Inner {
            channel: endpoint.connect().await?,
            more_channels: (1..self.connections).map(|_| endpoint.connect_lazy()).collect(),
            call_timeout: self.call_timeout,
            retry: Retry::new(self.tries_max),
            content_turns: Semaphore::new(self.content_streams_max),
        };
        Ok(Client { inner: Arc::new(inner) })
    }
}

/// A client of one server. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) channel: Channel,
    /// More connections, made when they are used first.
    more_channels: Vec<Channel>,
    pub(crate) call_timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) content_turns: Semaphore,
}

impl Client {
    /// Connects to a server, such as `http://127.0.0.1:50051`.
    pub async fn connect(endpoint: impl Into<String>) -> Result<Self> {
        Self::builder(endpoint).connect().await
    }

    /// Connects with other settings.
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder {
            endpoint: endpoint.into(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            tries_max: 5,
            content_streams_max: CONTENT_STREAMS_MAX,
            connections: 1,
        }
    }

    pub(crate) fn artifacts(&self) -> ArtifactServiceClient<ClientAside<Channel>> {
        ArtifactServiceClient::new(ClientAside(self.inner.channel.clone()))
    }

    pub(crate) fn contents(&self) -> ContentServiceClient<ClientAside<Channel>> {
        ContentServiceClient::new(ClientAside(self.inner.channel.clone()))
    }

    /// Uploads over one of the connections.
    pub(crate) fn uploads(&self, connection: usize) -> UploadServiceClient<ClientAside<Channel>> {
        let Inner {
            channel, more_channels, ..
        } = &*self.inner;
        let channel = match connection % (1 + more_channels.len()) {
            0 => channel,
            number => &more_channels[number - 1],
        };
        UploadServiceClient::new(ClientAside(channel.clone()))
    }

    /// A request with the deadline of calls without content.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.inner.call_timeout);
        request
    }

    /// Facts about the server.
    pub async fn server_info(&self) -> Result<ServerInfo> {
        let mut admin = AdminServiceClient::new(self.inner.channel.clone());
        let info = admin.get_server_info(self.request(pb::GetServerInfoRequest {})).await?;
        Ok(convert::server_info(info.into_inner()))
    }

    /// Finds an artifact by uid, stem, key or text.
    pub async fn get(&self, artifact: impl IntoReference) -> Result<Artifact> {
        let artifact = Some(convert::reference(artifact.into_reference()?));
        let message = pb::GetArtifactRequest {
            artifact,
            include_hidden: false,
        };
        let call = || async {
            Ok(self
                .artifacts()
                .get_artifact(self.request(message.clone()))
                .await?
                .into_inner())
        };
        convert::artifact(self.inner.retry.run(call).await?)
    }

    /// All versions of a family outside trash that are not hidden, newest first.
    pub async fn versions(&self, artifact: impl IntoReference) -> Result<Vec<Artifact>> {
        let reference = convert::reference(artifact.into_reference()?);
        let (mut versions, mut page_token) = (Vec::new(), String::new());
        loop {
            let artifact = Some(reference.clone());
            let message = pb::ListArtifactVersionsRequest {
                artifact,
                page_size: 0,
                page_token,
                visibilities: Vec::new(),
            };
            let call = || async {
                Ok(self
                    .artifacts()
                    .list_artifact_versions(self.request(message.clone()))
                    .await?
                    .into_inner())
            };
            let page = self.inner.retry.run(call).await?;
            versions.extend(convert::artifacts(page.artifacts)?);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(versions);
            }
        }
    }

    /// The artifacts of the space, newest first; pages are fetched as they are needed.
    pub fn list(&self, options: ListOptions) -> impl Stream<Item = Result<Artifact>> + Send + use<> {
        let first = Listing {
            client: self.clone(),
            options,
            waiting: VecDeque::new(),
            next: Some(String::new()),
        };
        stream::try_unfold(first, |mut listing| async move {
            loop {
                if let Some(artifact) = listing.waiting.pop_front() {
                    return Ok(Some((artifact, listing)));
                }
                if !listing.fetch().await? {
                    return Ok(None);
                }
            }
        })
    }

    /// Changes fields of a record.
    pub async fn update(&self, artifact: impl IntoReference, update: Update) -> Result<Artifact> {
        let Update {
            key,
            description,
            kind,
            media_type,
            visibility,
            etag,
        } = update;
        let set = [
            ("key", key.is_some()),
            ("description", description.is_some()),
            ("kind", kind.is_some()),
            ("media_type", media_type.is_some()),
            ("visibility", visibility.is_some()),
        ];
        let paths = set
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(path, _)| path.to_owned())
            .collect();
        let message = pb::UpdateArtifactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            update: Some(pb::ArtifactUpdate {
                key,
                description: description.flatten(),
                kind: kind.map_or(pb::ArtifactKind::Unspecified, convert::kind).into(),
                media_type,
                visibility: visibility
                    .map_or(pb::Visibility::Unspecified, convert::visibility)
                    .into(),
            }),
            update_mask: Some(prost_types::FieldMask { paths }),
            etag,
            request_id: Some(convert::draw_request_id()),
        };
        let call = || async {
            Ok(self
                .artifacts()
                .update_artifact(self.request(message.clone()))
                .await?
                .into_inner())
        };
        convert::artifact(self.inner.retry.run(call).await?)
    }

    /// Moves an artifact to trash; by key or stem all its versions. Answers what is in trash now.
    pub async fn delete(&self, artifact: impl IntoReference) -> Result<Vec<Artifact>> {
        self.delete_with(artifact, DeleteOptions::default()).await
    }

    /// Deletes with options. Answers what is in trash now, nothing when it was destroyed.
    pub async fn delete_with(&self, artifact: impl IntoReference, options: DeleteOptions) -> Result<Vec<Artifact>> {
        let DeleteOptions {
            permanent,
            force,
            storage,
            etag,
        } = options;
        let message = pb::DeleteArtifactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            permanent,
            force,
            storage: match storage {
                DeleteStorage::Managed => pb::DeleteStorage::Unspecified,
                DeleteStorage::Delete => pb::DeleteStorage::Delete,
                DeleteStorage::Keep => pb::DeleteStorage::Keep,
            }
            .into(),
            etag,
            request_id: Some(convert::draw_request_id()),
        };
        let call = || async {
            Ok(self
                .artifacts()
                .delete_artifact(self.request(message.clone()))
                .await?
                .into_inner())
        };
        convert::artifacts(self.inner.retry.run(call).await?.trashed)
    }

    /// Takes an artifact out of trash; by stem all that one deletion trashed.
    pub async fn restore(&self, artifact: impl IntoReference, options: RestoreOptions) -> Result<Vec<Artifact>> {
        let RestoreOptions { key, etag } = options;
        let message = pb::RestoreArtifactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            key,
            etag,
            request_id: Some(convert::draw_request_id()),
        };
        let call = || async {
            Ok(self
                .artifacts()
                .restore_artifact(self.request(message.clone()))
                .await?
                .into_inner())
        };
        convert::artifacts(self.inner.retry.run(call).await?.artifacts)
    }
}

/// A list that is fetched page by page.
struct Listing {
    client: Client,
    options: ListOptions,
    waiting: VecDeque<Artifact>,
    /// Token of the next page; empty for the first, `None` after the last.
    next: Option<String>,
}

impl Listing {
    /// Fetches a page; false when there is none.
    async fn fetch(&mut self) -> Result<bool> {
        let Some(page_token) = self.next.take() else {
            return Ok(false);
        };
        let message = pb::ListArtifactsRequest {
            page_size: i32::try_from(self.options.page_size).unwrap_or(i32::MAX),
            page_token,
            visibilities: self
                .options
                .visibilities
                .iter()
                .map(|v| convert::visibility(*v).into())
                .collect(),
        };
        let client = &self.client;
        let call = || async {
            Ok(client
                .artifacts()
                .list_artifacts(client.request(message.clone()))
                .await?
                .into_inner())
        };
        let page = client.inner.retry.run(call).await?;
        self.waiting = convert::artifacts(page.artifacts)?.into();
        self.next = Some(page.next_page_token).filter(|token| !token.is_empty());
        Ok(true)
    }
}
