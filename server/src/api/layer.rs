//! What surrounds every call: an id that the caller sees, one line in the log,
//! and errors of one shape, also those that tonic makes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::status;
use crate::registry::random;

const HEADER: &str = "x-request-id";
const ID_CHARS_MAX: usize = 128;

/// The id under which a call is logged. Only letters, digits, `.`, `_` and `-`,
/// so that it can forge nothing in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallId(String);

impl CallId {
    /// Takes an id that was made here.
    pub(crate) fn new(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn of(headers: &HeaderMap) -> Self {
        let plain = |id: &&str| {
            (1..=ID_CHARS_MAX).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        match headers.get(HEADER).and_then(|id| id.to_str().ok()).filter(plain) {
            Some(id) => Self(id.to_owned()),
            None => Self(random::<16>().iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}

/// Wraps a service so that its calls have ids, log lines and shaped errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls;

impl<S> Layer<S> for Calls {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner }
    }
}

/// See [`Calls`].
#[derive(Debug, Clone)]
pub(crate) struct CallService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for CallService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call_id = CallId::of(request.headers());
        let call = Call {
            id: call_id.clone(),
            method: request.uri().path().to_owned(),
            since: Instant::now(),
        };
        if let Some(refused) = bad_timeout(request.headers(), &call_id) {
            call.log(refused.code());
            let response = with_id(refused.into_http(), &call_id);
            return Box::pin(async move { Ok(response) });
        }
        request.extensions_mut().insert(call_id);
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(call.finish(answer.await?)) })
    }
}

/// tonic passes over a deadline that it cannot read; a caller should hear of it.
fn bad_timeout(headers: &HeaderMap, call_id: &CallId) -> Option<Status> {
    let timeout = headers.get("grpc-timeout")?;
    let well_formed = timeout.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let digits_only = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        (digits_only && matches!(unit, "H" | "M" | "S" | "m" | "u" | "n")).then_some(())
    });
    match well_formed {
        Some(()) => None,
        None => Some(status::field(
            call_id,
            "grpc-timeout",
            "must be 1 to 8 digits and one of H, M, S, m, u, n",
        )),
    }
}

fn with_id(mut response: Response<Body>, call_id: &CallId) -> Response<Body> {
    let value = HeaderValue::from_str(call_id.as_str()).expect("call ids are plain ASCII");
    response.headers_mut().insert(HEADER, value);
    response
}

/// One call, for its line in the log.
#[derive(Debug)]
struct Call {
    id: CallId,
    method: String,
    since: Instant,
}

impl Call {
    fn finish(self, response: Response<Body>) -> Response<Body> {
        let response = match Status::from_header_map(response.headers()) {
            // Errors of ours carry details; one without was made by tonic.
            Some(made) if made.code() != Code::Ok && made.details().is_empty() => {
                status::from_tonic(&made, &self.id).into_http()
            }
            _ => response,
        };
        let response = with_id(response, &self.id);
        match Status::from_header_map(response.headers()) {
            Some(status) => {
                self.log(status.code());
                response
            }
            None => response.map(|body| Body::new(LoggedBody { body, call: Some(self) })),
        }
    }

    fn log(&self, code: Code) {
        let (method, request_id) = (self.method.as_str(), self.id.as_str());
        let duration_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        if method.starts_with("/grpc.health") {
            tracing::debug!(method, request_id, code = ?code, duration_us, "Finished {method}");
        } else {
            tracing::info!(method, request_id, code = ?code, duration_us, "Finished {method}");
        }
    }
}

/// A body that logs its call when it ends.
struct LoggedBody {
    body: Body,
    call: Option<Call>,
}

impl http_body::Body for LoggedBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let code = match &frame {
            None => Some(Code::Ok),
            Some(Err(status)) => Some(status.code()),
            Some(Ok(frame)) => frame
                .trailers_ref()
                .map(|trailers| Status::from_header_map(trailers).map_or(Code::Ok, |s| s.code())),
        };
        if let Some(code) = code
            && let Some(call) = self.call.take()
        {
            call.log(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // The caller went away before the end.
        if let Some(call) = self.call.take() {
            call.log(Code::Cancelled);
        }
    }
}
