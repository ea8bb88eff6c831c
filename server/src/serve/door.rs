//! The door: which requests come in at all, and in which layers they are wrapped.
//!
//! The port speaks gRPC over HTTP/2, and gRPC-Web also over HTTP/1.1. A web page
//! may call only when its origin is allowed, also when the browser takes the call
//! for one to the page's own site: a page whose name was rebound to this address
//! would otherwise reach a server that trusts everyone on this machine.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tonic::{body::Body, service::Routes, transport::server::TcpConnectInfo};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service};
use tower_http::cors::{AllowHeaders, AllowOrigin, Cors, CorsLayer};

use crate::{
    api::layer::{CallService, Calls},
    config::Origins,
};

const GRPC_WEB: &[u8] = b"application/grpc-web";
const PREFLIGHT_SECONDS: u64 = 3600;

type Inside = GrpcWebService<CallService<Routes>>;

/// All services behind their layers.
#[derive(Debug, Clone)]
pub(super) struct Door {
    inside: Inside,
    /// The same for web pages: other callers need no headers of CORS.
    for_pages: Cors<Inside>,
    origins: Arc<Origins>,
    peer: Option<TcpConnectInfo>,
}

impl Door {
    pub(super) fn new(routes: Routes, calls: &Calls, origins: &Origins) -> Self {
        let inside = GrpcWebLayer::new().layer(calls.layer(routes));
        Self {
            for_pages: cors(origins).layer(inside.clone()),
            inside,
            origins: Arc::new(origins.clone()),
            peer: None,
        }
    }

    /// The door for one connection.
    pub(super) fn of(&self, peer: TcpConnectInfo) -> Self {
        Self {
            peer: Some(peer),
            ..self.clone()
        }
    }

    fn refusal<B>(&self, request: &Request<B>) -> Option<StatusCode> {
        let origin = request.headers().get(header::ORIGIN);
        if origin.is_some_and(|origin| !self.origins.allow(origin)) {
            return Some(StatusCode::FORBIDDEN);
        }
        let is_preflight = request.method() == Method::OPTIONS && origin.is_some();
        let speaks = request.version() >= Version::HTTP_2 || is_preflight || is_grpc_web(request);
        if speaks { None } else { Some(StatusCode::BAD_REQUEST) }
    }
}

type Answer = Result<Response<Body>, Infallible>;
type Answering<S> = <S as Service<Request<Body>>>::Future;

impl Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answer>, Either<Answering<Inside>, Answering<Cors<Inside>>>>;

    /// Every layer is always ready: what is limited waits in its handler.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(status) = self.refusal(&request) {
            let (version, peer) = (
                request.version(),
                self.peer.as_ref().and_then(TcpConnectInfo::remote_addr),
            );
            tracing::info!(?version, ?peer, "Turned a request away: {status}");
            return Either::Left(ready(Ok(turned_away(status, version))));
        }
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        let request = request.map(Body::new);
        Either::Right(match request.headers().contains_key(header::ORIGIN) {
            false => Either::Left(self.inside.call(request)),
            true => Either::Right(self.for_pages.call(request)),
        })
    }
}

fn turned_away(status: StatusCode, version: Version) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn is_grpc_web<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(GRPC_WEB))
}

fn cors(origins: &Origins) -> CorsLayer {
    let allowed = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::These(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"];
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(std::time::Duration::from_secs(PREFLIGHT_SECONDS))
}
