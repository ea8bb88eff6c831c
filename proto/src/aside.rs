//! Bodies that travel beside tonic instead of through it.
//!
//! tonic copies every message on its way: into one buffer when it is sent, into
//! another when it comes in. For messages of a mebibyte that is most of the work.
//! So a body of content is put aside, in the extensions of its request or answer,
//! where the sender puts it and the receiver takes it; tonic sees an empty one.
//! Everything else of the call, its head, status and layers, stays as it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Extensions, Request, Response};
use tonic::{body::Body, server::NamedService};
use tower::Service;

/// A body in the extensions of a request or an answer.
#[derive(Debug, Clone)]
pub struct BodyAside(Arc<Mutex<Option<Body>>>);

impl BodyAside {
    /// Puts a body aside.
    pub fn put(extensions: &mut Extensions, body: Body) {
        extensions.insert(Self(Arc::new(Mutex::new(Some(body)))));
    }

    /// Takes the body that was put aside, once.
    pub fn take(extensions: &mut Extensions) -> Option<Body> {
        let Self(body) = extensions.remove()?;
        body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Calls whose request is content.
const CONTENT_REQUESTS: [&str; 4] = [
    "/artifactd.v1.ArtifactService/SaveArtifact",
    "/artifactd.v1.ArtifactService/ReplaceArtifact",
    "/artifactd.v1.UploadService/WriteUpload",
    "/arrow.flight.protocol.FlightService/DoPut",
];

/// Calls whose answer is content.
const CONTENT_ANSWERS: [&str; 3] = [
    "/artifactd.v1.ContentService/ReadContent",
    "/artifactd.v1.ContentService/ReadMembers",
    "/arrow.flight.protocol.FlightService/DoGet",
];

/// A service of a server whose handlers take and give bodies that were put aside.
#[derive(Debug, Clone)]
pub struct ServerAside<S>(pub S);

impl<S: NamedService> NamedService for ServerAside<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for ServerAside<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if CONTENT_REQUESTS.contains(&request.uri().path()) {
            let body = std::mem::take(request.body_mut());
            BodyAside::put(request.extensions_mut(), body);
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if let Some(body) = BodyAside::take(answer.extensions_mut()) {
                *answer.body_mut() = body;
            }
            Ok(answer)
        })
    }
}

/// The same on the other side: a channel whose callers give and take such bodies.
#[derive(Debug, Clone)]
pub struct ClientAside<S>(pub S);

impl<S> Service<Request<Body>> for ClientAside<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Send,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(body) = BodyAside::take(request.extensions_mut()) {
            *request.body_mut() = body;
        }
        let is_content = CONTENT_ANSWERS.contains(&request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if is_content {
                let body = std::mem::take(answer.body_mut());
                BodyAside::put(answer.extensions_mut(), body);
            }
            Ok(answer)
        })
    }
}
