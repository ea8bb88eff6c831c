//! The record: what artifacts are annotated with, what made them, what they are collected in.
//!
//! Calls take and answer the messages of the protos ([`crate::messages`]). A change draws
//! its request id when the message has none, and is repeated by itself under it.

mod annotate;
mod collections;
mod features;
mod labels;
mod lineage;
mod runs;
mod schemas;
mod storages;
mod transforms;
mod watch;
mod work;

pub use annotate::{Annotations, IntoValue};
pub use collections::CollectionPiece;
pub use work::Reserved;

use futures::{Stream, TryStreamExt, stream};

use crate::{Error, Result, convert};

/// Makes a unary call of a service.
macro_rules! call {
    ($client:expr, $service:ident, $method:ident, $name:literal, $message:expr) => {{
        let call = |request| {
            let mut service = $service::new($client.line(0));
            async move { service.$method(request).await }
        };
        $client.call($name, $message, call).await
    }};
}

/// The same for a change, which gets a request id.
macro_rules! change {
    ($client:expr, $service:ident, $method:ident, $name:literal, $message:expr) => {{
        let mut message = $message;
        $crate::record::identify(&mut message.request_id);
        $crate::record::call!($client, $service, $method, $name, message)
    }};
}

pub(crate) use {call, change};

/// Draws a request id when there is none.
fn identify(request_id: &mut Option<String>) {
    request_id.get_or_insert_with(convert::draw_request_id);
}

/// What pages hold, one after the other; a page is fetched when it is needed.
fn all_pages<T, F>(fetch: impl Fn(String) -> F + Send + 'static) -> impl Stream<Item = Result<T>> + Send
where
    T: Send + 'static,
    F: Future<Output = Result<(Vec<T>, String)>> + Send,
{
    let pages = stream::try_unfold((Some(String::new()), fetch), |(token, fetch)| async move {
        let Some(token) = token else {
            return Ok::<_, Error>(None);
        };
        let (page, next) = fetch(token).await?;
        let next = Some(next).filter(|token| !token.is_empty());
        Ok(Some((stream::iter(page.into_iter().map(Ok)), (next, fetch))))
    });
    pages.try_flatten()
}
