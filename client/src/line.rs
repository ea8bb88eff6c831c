//! The connection as the generated clients see it: every call carries who calls,
//! in which space and for which run.

mod lost;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tonic::{body::Body, transport::Channel};
use tower::Service;

use self::lost::{BoxError, SetOut};

/// The space in which a call works.
pub(crate) const SPACE: HeaderName = HeaderName::from_static("artifactd-space");

/// The run for which a call is made.
pub(crate) const RUN: HeaderName = HeaderName::from_static("artifactd-run");

/// What is said in the head of every call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers(Arc<HeaderMap>);

impl Headers {
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        Arc::make_mut(&mut self.0).insert(name, value);
    }

    /// What a name stands for; nothing when it is not said.
    pub(crate) fn get(&self, name: &HeaderName) -> &str {
        self.0
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A channel whose calls carry headers.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    channel: Channel,
    headers: Headers,
    /// How long a request may take to set out.
    patience: Duration,
}

impl Line {
    pub(crate) fn new(channel: &Channel, headers: &Headers, patience: Duration) -> Self {
        Self {
            channel: channel.clone(),
            headers: headers.clone(),
            patience,
        }
    }
}

impl Service<Request<Body>> for Line {
    type Response = <Channel as Service<Request<Body>>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let headers = self.headers.0.iter();
        request
            .headers_mut()
            .extend(headers.map(|(name, value)| (name.clone(), value.clone())));
        let set_out = SetOut::default();
        let request = request.map(|body| set_out.watch(body));
        Box::pin(set_out.or_lost(self.channel.call(request), self.patience))
    }
}
