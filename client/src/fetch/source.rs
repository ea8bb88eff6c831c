//! A content of one artifact, as it is asked for again and again.

use std::ops::Range;

use artifactd_domain::{Sha256, Uid};
use tokio::time;

use crate::{Artifact, Client, Content, Error, ReadOptions, Result};

/// One content: a file, or a file of a folder, as it was when it was first looked at.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) uid: Uid,
    pub(crate) content_etag: String,
    pub(crate) member: Option<String>,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: Sha256,
}

impl Source {
    /// What an artifact holds that is a file.
    pub(crate) fn of_artifact(artifact: &Artifact) -> Self {
        Self {
            uid: artifact.uid,
            content_etag: artifact.content_etag.clone(),
            member: None,
            size_bytes: artifact.size_bytes,
            sha256: artifact.sha256,
        }
    }

    /// What is being read.
    pub(crate) fn of_content(content: &Content, member: Option<String>) -> Self {
        Self {
            member,
            size_bytes: content.size_bytes,
            sha256: content.sha256,
            ..Self::of_artifact(content.artifact())
        }
    }

    /// Opens a range of it, which must be what was asked for.
    pub(crate) async fn open(&self, client: &Client, range: Range<u64>) -> Result<Content> {
        let options = ReadOptions {
            offset: range.start as i64,
            length: Some(range.end - range.start),
            if_match: Some(self.content_etag.clone()),
            include_hidden: true,
            member: self.member.clone(),
            is_run_input: None,
        };
        let content = client.open_content(self.uid, options).await?;
        let is_this = content.artifact().uid == self.uid && content.sha256 == self.sha256;
        if !is_this || content.offset != range.start || content.end != range.end {
            return Err(self.damaged("another range came than was asked for"));
        }
        Ok(content)
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        let what = what.into();
        Error::Damaged {
            uid: self.uid.to_string(),
            what: match &self.member {
                Some(path) => format!("`{path}`: {what}"),
                None => what,
            },
        }
    }
}

/// Waits for what comes next, but not for ever.
pub(crate) async fn in_time<T>(client: &Client, next: impl Future<Output = Result<T>>) -> Result<T> {
    let timeout = client.inner.idle_timeout;
    match time::timeout(timeout, next).await {
        Ok(next) => next,
        Err(_) => Err(Error::Transport(format!("nothing came for {timeout:?}").into())),
    }
}
