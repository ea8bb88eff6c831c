//! A watch of events, read one by one.

use std::time::Duration;

use artifactd_proto::v1 as pb;
use pb::{event_service_client::EventServiceClient, watch_response::Message};
use tonic::Streaming;

use crate::{Calls, Failure, Outcome};

const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// An open watch.
#[derive(Debug)]
pub struct Watch {
    stream: Streaming<pb::WatchResponse>,
    /// Goes on after what was read last.
    pub token: String,
}

impl Watch {
    /// Begins to watch, once the server has told how far it is.
    pub async fn open(calls: &Calls, request: pb::WatchRequest) -> Outcome<Self> {
        let mut client = EventServiceClient::new(calls.channel.clone());
        let stream = client.watch(request).await?.into_inner();
        let token = String::new();
        Ok(Self { stream, token })
    }

    /// The next event.
    ///
    /// # Panics
    /// When none comes for long, or the watch ends.
    pub async fn event(&mut self) -> pb::Event {
        let event = async {
            loop {
                let message = self.stream.message().await.expect("the watch goes on");
                match message.expect("the watch goes on").message.expect("a known message") {
                    Message::Event(event) => {
                        self.token.clone_from(&event.resume_token);
                        return event;
                    }
                    Message::Bookmark(bookmark) => self.token = bookmark.resume_token,
                }
            }
        };
        // Bookmarks come for ever, also where an event is missing.
        tokio::time::timeout(EVENT_TIMEOUT, event)
            .await
            .expect("an event in time")
    }

    /// Whether no event comes for some time.
    pub async fn nothing_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.event()).await.is_err()
    }

    /// Why the watch ends.
    ///
    /// # Panics
    /// When it ends in good order.
    pub async fn failure(&mut self) -> Failure {
        loop {
            match self.stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the watch ended without a reason"),
                Err(status) => return status.into(),
            }
        }
    }
}
