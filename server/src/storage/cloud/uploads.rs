//! What was begun in a bucket and has no end, which `object_store` does not ask for.

use std::{
    fmt::Debug,
    io,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpRequest, ReqwestConnector},
    path::Path,
};

use super::unavailable;
use crate::storage::error::Result;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An upload in parts as a service lists it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct ListedUpload {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) initiated: Option<SystemTime>,
}

/// What a service keeps of an object that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) enum Kept {
    /// Nothing, as far as it tells.
    Nothing,
    /// Versions of it, unless somebody removes them.
    Versions,
    /// All of it, and nobody can remove it for a while.
    Locked,
}

/// Uploads in parts that were begun in a bucket.
#[async_trait]
pub(in crate::storage) trait OpenUploads: Debug + Send + Sync {
    /// All of objects below a prefix, whoever began them.
    async fn begun(&self, prefix: &Path) -> Result<Vec<ListedUpload>>;

    /// Whether the service knows of one.
    async fn is_begun(&self, object: &Path, id: &str) -> Result<bool>;

    /// Numbers of parts that are not any more what they were named when they came.
    async fn replaced(&self, object: &Path, id: &str, parts: &[String]) -> Result<Vec<usize>>;

    /// Removes what came of one. What is complete stays; nothing there is fine.
    async fn forget(&self, object: &Path, id: &str) -> Result<()>;

    /// Whether a part that comes late begins an upload anew that was forgotten.
    fn takes_late_parts(&self) -> bool;

    /// Removes what the service keeps of an object that was removed; answers what that was.
    async fn clear(&self, _object: &Path) -> Result<Kept> {
        Ok(Kept::Nothing)
    }
}

/// Makes the requests of our own.
pub(super) fn connected(allow_http: bool) -> Result<HttpClient> {
    let options = ClientOptions::new().with_allow_http(allow_http).with_timeout(TIMEOUT);
    ReqwestConnector::default().connect(&options).map_err(unavailable)
}

/// The body that answers a request, or nothing where the answer is one of these.
pub(super) async fn answered(http: &HttpClient, request: HttpRequest, nothing: &[u16]) -> Result<Option<Vec<u8>>> {
    let response = http.execute(request).await.map_err(unavailable)?;
    let status = response.status();
    if nothing.contains(&status.as_u16()) {
        return Ok(None);
    }
    if !status.is_success() {
        let said = format!("a request about what was begun is answered {status}");
        return Err(unavailable(io::Error::other(said)));
    }
    let body = response.into_body().bytes().await.map_err(unavailable)?;
    Ok(Some(body.into()))
}

/// A text as one segment of a URL or one value of its query.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The path of an object in a URL, with a slash before it.
pub(super) fn encode_path(object: &Path) -> String {
    let parts: Vec<String> = object.parts().map(|part| encode(part.as_ref())).collect();
    format!("/{}", parts.join("/"))
}
