//! What happens in a space, as it happens.

use artifactd_proto::v1::{self as pb, event_service_client::EventServiceClient, watch_response::Message};
use futures::{Stream, stream};
use tonic::Streaming;

use crate::{Client, Result};

impl Client {
    /// Events in their order, each once, which goes on by itself after a lost connection.
    /// A program that was ended goes on with the `resume_token` of the last event that it has seen.
    pub fn watch(&self, request: pb::WatchRequest) -> impl Stream<Item = Result<pb::Event>> + Send + use<> {
        let watching = Watching {
            client: self.clone(),
            request,
            answers: None,
            tries: 0,
        };
        stream::try_unfold(watching, |mut watching| async move {
            let event = watching.next().await?;
            Ok(Some((event, watching)))
        })
    }
}

struct Watching {
    client: Client,
    request: pb::WatchRequest,
    answers: Option<Streaming<pb::WatchResponse>>,
    /// Tries since something came.
    tries: u32,
}

impl Watching {
    async fn next(&mut self) -> Result<pb::Event> {
        loop {
            match self.answer().await {
                Ok(Some(answer)) => {
                    self.tries = 0;
                    match answer.message {
                        Some(Message::Event(event)) => {
                            self.request.resume_token.clone_from(&event.resume_token);
                            return Ok(event);
                        }
                        Some(Message::Bookmark(bookmark)) => self.request.resume_token = bookmark.resume_token,
                        None => {}
                    }
                }
                // A watch has no end: the server went.
                Ok(None) => self.answers = None,
                Err(error) => {
                    self.answers = None;
                    self.tries += 1;
                    if !self.client.wait(self.tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn answer(&mut self) -> Result<Option<pb::WatchResponse>> {
        if self.answers.is_none() {
            let mut events = EventServiceClient::new(self.client.line(0));
            self.answers = Some(events.watch(self.request.clone()).await?.into_inner());
        }
        Ok(self.answers.as_mut().expect("it was just set").message().await?)
    }
}
