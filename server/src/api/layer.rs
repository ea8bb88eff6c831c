//! What surrounds every call: an id that the caller sees, a deadline that holds,
//! one line in the log, errors of one shape, also those that tonic makes, and an end
//! for callers that neither send nor take.
//!
//! It looks at heads and trailers; messages pass through, counted and timed, and
//! are never collected. It must stand inside the translation of gRPC-Web, where
//! trailers are still trailers.

mod body;
mod call_id;
mod deadline;
mod pieces;
mod record;
mod request;
mod shape;

use std::{
    collections::HashSet,
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use self::{
    body::CallBody,
    deadline::{Deadline, DeadlineRefused},
    record::Record,
    request::RequestBody,
    shape::End,
};
pub(crate) use self::{call_id::CallId, pieces::while_taken, request::BYTES_PER_SECOND_MIN};

/// Wraps a service so that its calls have ids, deadlines, log lines and shaped errors.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    methods: Arc<Methods>,
    idle: Duration,
}

/// What is known of methods before they are called; unknown ones take anything.
#[derive(Debug, Default)]
struct Methods {
    /// Those that take one message.
    of_one_message: HashSet<String>,
    /// Those whose caller may wait for answers between two messages.
    two_ways: HashSet<String>,
}

impl Calls {
    /// For the services that `descriptors` describe. Callers that neither send nor take
    /// for `idle` are cut.
    pub(crate) fn new(descriptors: &[&[u8]], idle: Duration) -> Result<Self, prost::DecodeError> {
        let mut methods = Methods::default();
        for descriptor in descriptors {
            methods.add(&FileDescriptorSet::decode(*descriptor)?);
        }
        Ok(Self {
            methods: Arc::new(methods),
            idle,
        })
    }
}

impl Methods {
    fn add(&mut self, set: &FileDescriptorSet) {
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    if !method.client_streaming() {
                        self.of_one_message.insert(path);
                    } else if method.server_streaming() {
                        self.two_ways.insert(path);
                    }
                }
            }
        }
    }
}

impl<S> Layer<S> for Calls {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService {
            inner,
            calls: self.clone(),
        }
    }
}

/// See [`Calls`].
#[derive(Debug, Clone)]
pub(crate) struct CallService<S> {
    inner: S,
    calls: Calls,
}

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let id = CallId::of(request.headers());
        let record = Record::new(&id, request.uri().path());
        let span = record.span().clone();
        let deadline = match Deadline::of(request.headers()) {
            Ok(deadline) => deadline,
            Err(refused) => return Box::pin(std::future::ready(Ok(refuse(&refused, record)))),
        };
        request.extensions_mut().insert(id);
        let answer = self.inner.call(self.calls.checked(request));
        Box::pin(answer_in_time(answer, deadline, record).instrument(span))
    }
}

impl Calls {
    /// Looks after the messages that come in.
    fn checked(&self, request: Request<Body>) -> Request<Body> {
        let path = request.uri().path();
        if self.methods.two_ways.contains(path) {
            return request;
        }
        let one_message = self.methods.of_one_message.contains(path);
        request.map(|body| Body::new(RequestBody::new(body, one_message, self.idle)))
    }
}

fn refuse(refused: &DeadlineRefused, record: Record) -> Response<Body> {
    let status = match refused {
        DeadlineRefused::Malformed => Status::invalid_argument(refused.to_string()),
        DeadlineRefused::Passed => Status::deadline_exceeded(refused.to_string()),
    };
    finish(status.into_http(), None, record)
}

/// Awaits the head of the answer. A handler that is late is dropped, and so is
/// one that panics; its call gets an answer all the same.
async fn answer_in_time<F>(answer: F, deadline: Option<Deadline>, record: Record) -> Result<Response<Body>, Infallible>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let answer = AssertUnwindSafe(answer).catch_unwind();
    let answered = match &deadline {
        None => Some(answer.await),
        Some(deadline) => tokio::time::timeout_at(deadline.at(), answer).await.ok(),
    };
    let response = match answered {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(never))) => match never {},
        Some(Err(_panic)) => shape::panicked(record.id()).into_http(),
        None => Status::deadline_exceeded(DeadlineRefused::Passed.to_string()).into_http(),
    };
    Ok(finish(response, deadline, record))
}

/// Gives a response its id, and its error, if it is one, its shape. The record
/// ends here when there is nothing to come, else with the body.
fn finish(mut response: Response<Body>, deadline: Option<Deadline>, record: Record) -> Response<Body> {
    let id = record.id().clone();
    response.headers_mut().insert(CallId::HEADER, id.header_value());
    match shape::shape(response.headers_mut(), &id) {
        Some(end) => record.finish(&end),
        None if http_body::Body::is_end_stream(response.body()) => record.finish(&End::from(Code::Ok)),
        None => return response.map(|body| Body::new(CallBody::new(body, deadline, record))),
    }
    response
}
