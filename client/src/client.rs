//! The connection, and the calls that carry no content.

use std::{sync::Arc, time::Duration};

use artifactd_proto::{
    aside::ClientAside,
    v1::{
        self as pb, admin_service_client::AdminServiceClient, artifact_service_client::ArtifactServiceClient,
        content_service_client::ContentServiceClient, upload_service_client::UploadServiceClient,
    },
};
use futures::{Stream, TryStreamExt, stream};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{self, Instant},
};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    Artifact, Builder, DeleteOptions, DeleteStorage, Error, GetOptions, IntoReference, ListOptions, RestoreOptions,
    Result, ServerInfo, Update,
    builder::visible,
    cache, convert,
    events::{Event, Teller},
    line::{Headers, Line, RUN},
    retry::Retry,
};

/// A client of one server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) headers: Headers,
    /// Who hears of transfers.
    pub(crate) events: Teller,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// Where the server is.
    pub(crate) endpoint: String,
    pub(crate) channel: Channel,
    /// More connections, made when they are used first.
    pub(crate) more_channels: Vec<Channel>,
    /// For a call without content, with all its tries.
    pub(crate) call_timeout: Duration,
    /// For the next bytes of a content.
    pub(crate) idle_timeout: Duration,
    pub(crate) cache: cache::Settings,
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
        Builder::new(endpoint.into())
    }

    pub(crate) fn new(inner: Arc<Inner>, headers: Headers) -> Self {
        Self {
            inner,
            headers,
            events: Teller::default(),
        }
    }

    /// The same client, whose calls are made for a run: what it writes is output of the
    /// run, and what it reads is input.
    ///
    /// ```no_run
    /// # async fn run(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// let nightly = client.with_run("b3xkTq0e9VfLr2aW")?;
    /// nightly.save(&b"a,b\n1,2\n"[..], "tables/small.csv").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_run(&self, run: impl AsRef<str>) -> Result<Self> {
        let mut client = self.clone();
        client.headers.set(RUN, visible(run.as_ref(), "run")?);
        Ok(client)
    }

    /// The same client, whose calls are made for the run that `ARTIFACTD_RUN` names: what
    /// `artifactctl run exec` tells the programs that it starts. Without one it stays as it is.
    pub fn with_run_of_environment(&self) -> Result<Self> {
        match std::env::var("ARTIFACTD_RUN") {
            Ok(run) if !run.is_empty() => self.with_run(run),
            _ => Ok(self.clone()),
        }
    }

    pub(crate) fn artifacts(&self) -> ArtifactServiceClient<ClientAside<Line>> {
        ArtifactServiceClient::new(self.line(0))
    }

    pub(crate) fn contents(&self) -> ContentServiceClient<ClientAside<Line>> {
        ContentServiceClient::new(self.line(0))
    }

    /// Uploads over one of the connections.
    pub(crate) fn uploads(&self, connection: usize) -> UploadServiceClient<ClientAside<Line>> {
        UploadServiceClient::new(self.line(connection))
    }

    pub(crate) fn line(&self, connection: usize) -> ClientAside<Line> {
        let Inner {
            channel, more_channels, ..
        } = &*self.inner;
        let channel = match connection % (1 + more_channels.len()) {
            0 => channel,
            number => &more_channels[number - 1],
        };
        ClientAside(Line::new(channel, &self.headers, self.inner.idle_timeout))
    }

    /// Makes a call without content, again while that is safe and may help, until its time is over.
    pub(crate) async fn call<M, T, F>(&self, method: &str, message: M, call: impl Fn(Request<M>) -> F) -> Result<T>
    where
        M: Clone,
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        self.call_within(self.inner.call_timeout, method, message, call).await
    }

    /// The same with another time.
    pub(crate) async fn call_within<M, T, F>(
        &self,
        timeout: Duration,
        method: &str,
        message: M,
        call: impl Fn(Request<M>) -> F,
    ) -> Result<T>
    where
        M: Clone,
        F: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + timeout;
        let attempt = || {
            let mut request = Request::new(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let answer = call(request);
            async move {
                // Also for an answer that begins and never ends.
                match time::timeout_at(deadline, answer).await {
                    Ok(Ok(answer)) => Ok(answer.into_inner()),
                    Ok(Err(status)) => match Error::from(status) {
                        // The channel looks at the deadline too.
                        Error::Transport(_) if Instant::now() >= deadline => Err(Error::TimedOut { after: timeout }),
                        error => Err(error),
                    },
                    Err(_) => Err(Error::TimedOut { after: timeout }),
                }
            }
        };
        self.inner.retry.run_until(method, Some(deadline), attempt).await
    }

    /// The same client, of whose transfers nobody hears: they are parts of one that is told.
    pub(crate) fn unwatched(&self) -> Self {
        Self {
            events: Teller::default(),
            ..self.clone()
        }
    }

    /// A place among the contents that travel at once.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.inner.content_turns.acquire().await;
        turn.expect("the semaphore is never closed")
    }

    /// Waits before another try of a transfer; false when there should be none.
    pub(crate) async fn wait(&self, tries: u32, error: &Error) -> bool {
        let plan = error.is_retryable().then(|| self.inner.retry.plan(tries, error, None));
        let Some(wait) = plan.flatten() else {
            return false;
        };
        self.events.tell(Event::Retrying {
            tries,
            wait,
            error: error.to_string(),
        });
        time::sleep(wait).await;
        true
    }

    /// Facts about the server.
    pub async fn server_info(&self) -> Result<ServerInfo> {
        let call = |request| {
            let mut admin = AdminServiceClient::new(self.line(0));
            async move { admin.get_server_info(request).await }
        };
        let info = self.call("GetServerInfo", pb::GetServerInfoRequest {}, call).await?;
        Ok(convert::server_info(info))
    }

    /// Finds an artifact by uid, stem, key or text.
    pub async fn get(&self, artifact: impl IntoReference) -> Result<Artifact> {
        self.get_with(artifact, GetOptions::default()).await
    }

    /// Finds an artifact with options.
    pub async fn get_with(&self, artifact: impl IntoReference, options: GetOptions) -> Result<Artifact> {
        let GetOptions { include_hidden } = options;
        let message = pb::GetArtifactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            include_hidden,
            ..Default::default()
        };
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.get_artifact(request).await }
        };
        convert::artifact(self.call("GetArtifact", message, call).await?)
    }

    /// All versions of a family outside trash that are not hidden, newest first.
    pub async fn versions(&self, artifact: impl IntoReference) -> Result<Vec<Artifact>> {
        let reference = convert::reference(artifact.into_reference()?);
        let (mut versions, mut page_token) = (Vec::new(), String::new());
        loop {
            let artifact = Some(reference.clone());
            let message = pb::ListArtifactVersionsRequest {
                artifact,
                page_token,
                ..Default::default()
            };
            let call = |request| {
                let mut artifacts = self.artifacts();
                async move { artifacts.list_artifact_versions(request).await }
            };
            let page = self.call("ListArtifactVersions", message, call).await?;
            versions.extend(convert::artifacts(page.artifacts)?);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(versions);
            }
        }
    }

    /// The artifacts of the space that match; pages are fetched as they are needed.
    pub fn list(&self, options: ListOptions) -> impl Stream<Item = Result<Artifact>> + Send + use<> {
        let first = Listing {
            client: self.clone(),
            options,
            next: Some(String::new()),
        };
        let pages = stream::try_unfold(first, |mut listing| async move {
            let page = listing.fetch().await?;
            Ok::<_, Error>(page.map(|page| (page, listing)))
        });
        pages
            .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
            .try_flatten()
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
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.update_artifact(request).await }
        };
        convert::artifact(self.call("UpdateArtifact", message, call).await?)
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
            allow_used,
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
            if_used: match allow_used {
                false => pb::IfUsed::Unspecified,
                true => pb::IfUsed::Allow,
            }
            .into(),
        };
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.delete_artifact(request).await }
        };
        convert::artifacts(self.call("DeleteArtifact", message, call).await?.trashed)
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
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.restore_artifact(request).await }
        };
        convert::artifacts(self.call("RestoreArtifact", message, call).await?.artifacts)
    }
}

/// A list that is fetched page by page.
struct Listing {
    client: Client,
    options: ListOptions,
    /// Token of the next page; empty for the first, `None` after the last.
    next: Option<String>,
}

impl Listing {
    /// Fetches a page; none after the last.
    async fn fetch(&mut self) -> Result<Option<Vec<Artifact>>> {
        let Some(page_token) = self.next.take() else {
            return Ok(None);
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
            filter: self.options.filter.clone(),
            order_by: self.options.order.to_string(),
            read_mask: None,
        };
        let client = &self.client;
        let call = |request| {
            let mut artifacts = client.artifacts();
            async move { artifacts.list_artifacts(request).await }
        };
        let page = client.call("ListArtifacts", message, call).await?;
        self.next = Some(page.next_page_token).filter(|token| !token.is_empty());
        convert::artifacts(page.artifacts).map(Some)
    }
}
