//! Calls whose one message holds content: they have their turn before it is read.
//!
//! A message is in memory as a whole before its handler sees it. What a caller sends
//! before its turn stays in its window, like the beginning of a content that is streamed.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::{layer::CallId, status};
use crate::registry::Registry;

/// Calls that take a large message.
const LARGE_MESSAGES: [&str; 1] = ["/artifactd.v1.UploadService/UploadPart"];

/// A service whose calls of large messages find a [`ContentTurn`](crate::registry::ContentTurn)
/// among their extensions.
#[derive(Debug, Clone)]
pub(super) struct InTurn<S> {
    inner: S,
    registry: Arc<Registry>,
}

impl<S> InTurn<S> {
    pub(super) fn new(inner: S, registry: &Arc<Registry>) -> Self {
        let registry = Arc::clone(registry);
        Self { inner, registry }
    }
}

impl<S: NamedService> NamedService for InTurn<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for InTurn<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if !LARGE_MESSAGES.contains(&request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        // The one that is ready now is the one to call.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let registry = Arc::clone(&self.registry);
        Box::pin(async move {
            match registry.message_turn().await {
                Ok(turn) => {
                    request.extensions_mut().insert(turn);
                    ready.call(request).await
                }
                Err(error) => {
                    let call_id = request.extensions().get::<CallId>().cloned().unwrap_or_default();
                    Ok(status::from_registry(error, &call_id).into_http())
                }
            }
        })
    }
}
