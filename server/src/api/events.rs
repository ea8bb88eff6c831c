//! `EventService`.

use artifactd_domain::{Stem, Uid};
use artifactd_proto::v1::{self as pb, event_service_server::EventService};
use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    convert::{self, identifier, timestamp},
    layer::CallId,
    status,
};
use crate::registry::{Event, WatchQuery, Watchable, Watched};

const KINDS_MAX: usize = 100;
const KIND_BYTES_MAX: usize = 100;
const ARTIFACTS_MAX: usize = 1_000;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl EventService for Api {
    type WatchStream = BoxStream<'static, Result<pb::WatchResponse>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let message = request.into_inner();
        let asks = convert::asks("Watch", &caller, &message, |message| {
            message.resume_token.clear();
            message.from_beginning = false;
        });
        let after = self.resumed::<i64>(&message.resume_token, &asks, &call_id)?;
        let after = after.or(message.from_beginning.then_some(0));
        let query = query(message, after, &call_id)?;
        let watched = self.registry.watch(&caller, query).await;
        let watched = watched.map_err(|error| status::from_registry(error, &call_id))?;
        let api = self.clone();
        let messages = watched.map(move |watched| match watched {
            Ok(watched) => Ok(api.watch_message(watched, &asks)),
            Err(error) => Err(status::from_registry(error, &call_id)),
        });
        Ok(Response::new(messages.boxed()))
    }
}

impl Api {
    fn watch_message(&self, watched: Watched, asks: &str) -> pb::WatchResponse {
        use pb::watch_response::Message;
        let message = match watched {
            Watched::Bookmark(position) => Message::Bookmark(pb::Bookmark {
                resume_token: self.token(Some(&position), asks),
                position,
            }),
            Watched::Event(event) => {
                let Event {
                    position,
                    kind,
                    artifact_uid,
                    subject,
                    detail,
                    created_by,
                    space,
                    at_us,
                    call_id,
                } = event;
                Message::Event(pb::Event {
                    position,
                    resume_token: self.token(Some(&position), asks),
                    kind,
                    artifact_uid,
                    subject,
                    detail,
                    created_by,
                    space,
                    time: Some(timestamp(at_us)),
                    call_id,
                })
            }
        };
        pb::WatchResponse { message: Some(message) }
    }
}

fn query(message: pb::WatchRequest, after: Option<i64>, call_id: &CallId) -> Result<WatchQuery> {
    let pb::WatchRequest {
        resume_token: _,
        from_beginning: _,
        kinds,
        artifacts,
    } = message;
    let is_kind = |kind: &String| {
        (1..=KIND_BYTES_MAX).contains(&kind.len())
            && kind
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if kinds.len() > KINDS_MAX || !kinds.iter().all(is_kind) {
        let rule = format!("must be at most {KINDS_MAX} kinds such as `saved`");
        return Err(status::field(call_id, "kinds", rule));
    }
    if artifacts.len() > ARTIFACTS_MAX {
        let rule = format!("must be at most {ARTIFACTS_MAX}, got {}", artifacts.len());
        return Err(status::field(call_id, "artifacts", rule));
    }
    let artifacts = artifacts.iter().map(|text| match text.len() {
        16 => identifier::<Stem>(text, "artifacts", call_id).map(Watchable::Family),
        _ => identifier::<Uid>(text, "artifacts", call_id).map(|uid| Watchable::Artifact(uid.to_string())),
    });
    Ok(WatchQuery {
        after,
        kinds,
        artifacts: artifacts.collect::<Result<_>>()?,
    })
}
