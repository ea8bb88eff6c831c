//! The calls about uploads that carry no content.

use std::collections::VecDeque;

use artifactd_proto::v1 as pb;
use futures::{Stream, stream};

use super::{Upload, patience::Patience};
use crate::{Client, Reason, Result, convert};

impl Client {
    /// How far an upload is.
    pub async fn get_upload(&self, uid: impl Into<String>) -> Result<Upload> {
        convert::upload(self.fetch_upload(&uid.into(), false).await?)
    }

    /// The caller's uploads, the oldest first, also those that are artifacts, until they
    /// expire; pages are fetched as they are needed.
    pub fn list_uploads(&self) -> impl Stream<Item = Result<Upload>> + Send + use<> {
        let first = (self.clone(), VecDeque::new(), Some(String::new()));
        stream::try_unfold(first, |(client, mut waiting, mut next)| async move {
            loop {
                if let Some(upload) = waiting.pop_front() {
                    return Ok(Some((upload, (client, waiting, next))));
                }
                let Some(page_token) = next.take() else {
                    return Ok(None);
                };
                let page = client.fetch_uploads(page_token).await?;
                let uploads = page.uploads.into_iter().map(convert::upload);
                waiting = uploads.collect::<Result<_>>()?;
                next = Some(page.next_page_token).filter(|token| !token.is_empty());
            }
        })
    }

    /// Removes an upload that is no artifact, and what came of it.
    pub async fn abort_upload(&self, uid: impl Into<String>) -> Result<()> {
        let message = pb::AbortUploadRequest { uid: uid.into() };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.abort_upload(request).await }
        };
        self.call("AbortUpload", message, call).await?;
        Ok(())
    }

    /// The same where another one may have been faster.
    pub(super) async fn remove_upload(&self, uid: &str) -> Result<()> {
        match self.abort_upload(uid).await {
            Err(error) if error.reason() == Some(Reason::UploadNotFound) => Ok(()),
            removed => removed,
        }
    }

    /// An upload, asked for until the server answers.
    pub(super) async fn find_upload(&self, uid: &str, patience: &mut Patience<'_>) -> Result<pb::Upload> {
        patience.run(|| self.fetch_upload(uid, false)).await
    }

    /// The same with what its durable parts are.
    pub(super) async fn find_upload_with_sums(&self, uid: &str, patience: &mut Patience<'_>) -> Result<pb::Upload> {
        patience.run(|| self.fetch_upload(uid, true)).await
    }

    pub(super) async fn create_upload(&self, message: pb::CreateUploadRequest) -> Result<pb::Upload> {
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.create_upload(request).await }
        };
        self.call("CreateUpload", message, call).await
    }

    pub(super) async fn fetch_upload(&self, uid: &str, part_sums: bool) -> Result<pb::Upload> {
        let uid = uid.to_owned();
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.get_upload(request).await }
        };
        self.call("GetUpload", pb::GetUploadRequest { uid, part_sums }, call)
            .await
    }

    async fn fetch_uploads(&self, page_token: String) -> Result<pb::ListUploadsResponse> {
        let message = pb::ListUploadsRequest {
            page_size: 0,
            page_token,
        };
        let call = |request| {
            let mut uploads = self.uploads(0);
            async move { uploads.list_uploads(request).await }
        };
        self.call("ListUploads", message, call).await
    }
}
