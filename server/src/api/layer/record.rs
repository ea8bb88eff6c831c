//! The one line that the log has of a call.

use std::time::Instant;

use tonic::Code;
use tracing::Span;

use super::{CallId, shape::End};

/// A path that a client made up may be as long as its headers; the log keeps this much.
const METHOD_CHARS_MAX: usize = 200;

/// A call that is yet to be logged: at its end, or when it is dropped because
/// the caller went away or the server stops.
#[derive(Debug)]
pub(super) struct Record {
    id: CallId,
    method: String,
    since: Instant,
    span: Span,
    finished: bool,
}

impl Record {
    pub(super) fn new(id: &CallId, path: &str) -> Self {
        let method: String = path.chars().skip(1).take(METHOD_CHARS_MAX).collect();
        let span = tracing::info_span!("call", method, request_id = id.as_str());
        Self {
            id: id.clone(),
            method,
            since: Instant::now(),
            span,
            finished: false,
        }
    }

    pub(super) fn id(&self) -> &CallId {
        &self.id
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn finish(mut self, end: &End) {
        self.log(end);
    }

    fn log(&mut self, end: &End) {
        self.finished = true;
        let (method, code, reason) = (self.method.as_str(), end.code, end.reason.as_deref());
        let duration_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(parent: &self.span, ?code, reason, duration_us, "Finished {method}: {code:?}");
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.finished {
            self.log(&End::from(Code::Cancelled));
        }
    }
}
