//! Requests that never set out.
//!
//! The HTTP library can lose a request that meets the end of its connection
//! (hyperium/hyper#4122): it is neither sent nor failed, and its call would wait for ever.
//! A request that is sent is asked for its body first, so that one can be told from the other.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// What a call fails with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether a request set out.
#[derive(Debug, Clone, Default)]
pub(super) struct SetOut(Arc<AtomicBool>);

impl SetOut {
    /// The body of a request, watched from now on.
    pub(super) fn watch(&self, body: Body) -> Body {
        // Of one that ends before it began nothing is asked.
        self.0.store(body.is_end_stream(), Ordering::Relaxed);
        Body::new(Watched {
            body,
            set_out: self.clone(),
        })
    }

    /// The answer of a request. `UNAVAILABLE` when it has not set out in this time; one that
    /// has may take any time.
    pub(super) async fn or_lost<T, E: Into<BoxError>>(
        self,
        answer: impl Future<Output = Result<T, E>>,
        within: Duration,
    ) -> Result<T, BoxError> {
        let mut answer = pin!(answer);
        match tokio::time::timeout(within, &mut answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) if self.0.load(Ordering::Relaxed) => answer.await.map_err(Into::into),
            Err(_) => Err(Status::unavailable(format!("the request was not sent within {within:?}")).into()),
        }
    }
}

/// A body that tells when it is asked for.
struct Watched {
    body: Body,
    set_out: SetOut,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.set_out.0.store(true, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use http_body_util::{BodyExt, Full};
    use tonic::Code;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn content() -> Body {
        Body::new(Full::new(Bytes::from_static(b"content")).map_err(|never| match never {}))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_takes_is_lost() {
        let set_out = SetOut::default();
        let _body = set_out.watch(content());
        let answer = set_out.or_lost(pending::<Result<(), Status>>(), LIMIT).await;
        let failure = Status::from_error(answer.unwrap_err());
        assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_set_out_is_waited_for() {
        let set_out = SetOut::default();
        let mut body = set_out.watch(content());
        let answer = async {
            let sent = body.frame().await.unwrap()?.into_data().unwrap();
            tokio::time::sleep(100 * LIMIT).await;
            Ok::<_, Status>(sent)
        };
        assert_eq!(set_out.or_lost(answer, LIMIT).await.unwrap(), "content");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_body_is_waited_for() {
        let set_out = SetOut::default();
        let body = set_out.watch(Body::empty());
        assert!(body.is_end_stream());
        let answer = async {
            tokio::time::sleep(2 * LIMIT).await;
            Ok::<_, Status>(())
        };
        set_out.or_lost(answer, LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_is_told_as_it_is() {
        let set_out = SetOut::default();
        let answer = poll_fn(|_| Poll::Ready(Err::<(), _>(Status::data_loss("gone"))));
        let failure = Status::from_error(set_out.or_lost(answer, LIMIT).await.unwrap_err());
        assert_eq!(failure.code(), Code::DataLoss);
    }
}
