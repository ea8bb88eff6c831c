//! The rest of an answer: messages, then trailers with the outcome.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body};

use super::{
    deadline::{Deadline, DeadlineRefused},
    pieces::Pieces,
    record::Record,
    shape::{self, End},
};

type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// A body that keeps its deadline, shapes its error and ends its record.
pub(super) struct CallBody {
    /// Gone once the answer has ended.
    open: Option<Open>,
}

struct Open {
    body: Body,
    /// How the body ended, once it has; it is not asked any more.
    ended: Option<Result<Option<HeaderMap>, Status>>,
    deadline: Option<Pin<Box<Sleep>>>,
    record: Record,
    pieces: Pieces,
}

impl CallBody {
    pub(super) fn new(body: Body, deadline: Option<Deadline>, record: Record) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.at())));
        Self {
            open: Some(Open {
                body,
                ended: None,
                deadline,
                record,
                pieces: Pieces::new(),
            }),
        }
    }

    fn end(&mut self, end: &End) {
        if let Some(open) = self.open.take() {
            open.record.finish(end);
        }
    }

    /// Ends the answer with an error of its own.
    fn end_with(&mut self, status: &Status) -> Polled {
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        self.end_with_trailers(added.map(|()| trailers))
    }

    /// Ends the answer as its body ended, once what came before has left.
    fn poll_end(&mut self, cx: &Context<'_>) -> Polled {
        let Some(open) = &mut self.open else {
            return Poll::Ready(None);
        };
        ready!(open.pieces.poll_left(cx));
        match open.ended.take() {
            Some(Ok(Some(trailers))) => self.end_with_trailers(Ok(trailers)),
            Some(Err(status)) => self.end_with(&status),
            Some(Ok(None)) | None => {
                self.end(&End::from(Code::Ok));
                Poll::Ready(None)
            }
        }
    }

    fn end_with_trailers(&mut self, trailers: Result<HeaderMap, Status>) -> Polled {
        let Some(open) = &self.open else {
            return Poll::Ready(None);
        };
        let shaped = trailers.map(|mut trailers| {
            let end = shape::shape(&mut trailers, open.record.id());
            (trailers, end.unwrap_or(End::from(Code::Ok)))
        });
        match shaped {
            Ok((trailers, end)) => {
                self.end(&end);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Err(status) => {
                self.end(&End::from(&status));
                Poll::Ready(Some(Err(status)))
            }
        }
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Some(open) = &mut self.open else {
            return Poll::Ready(None);
        };
        if open
            .deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
        {
            return self.end_with(&Status::deadline_exceeded(DeadlineRefused::Passed.to_string()));
        }
        if open.ended.is_some() {
            return self.poll_end(cx);
        }
        if let Some(rest) = open.pieces.asked() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let span = open.record.span().clone();
        let polled = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| Pin::new(&mut open.body).poll_frame(cx))));
        let Ok(polled) = polled else {
            let panicked = shape::panicked(open.record.id());
            return self.end_with(&panicked);
        };
        match ready!(polled) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Poll::Ready(Some(Ok(Frame::data(open.pieces.hand(data))))),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => {
                        open.ended = Some(Ok(Some(trailers)));
                        self.poll_end(cx)
                    }
                    Err(other) => Poll::Ready(Some(Ok(other))),
                },
            },
            Some(Err(status)) => {
                open.ended = Some(Err(status));
                self.poll_end(cx)
            }
            None => {
                open.ended = Some(Ok(None));
                self.poll_end(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }
}
