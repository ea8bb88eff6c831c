//! What differs between two folders.

use artifactd_domain::manifest::Difference;
use artifactd_proto::v1::{self as pb, diff_folders_response::Message};

use crate::{Artifact, Client, Error, IntoReference, Result, convert};

/// What differs between two folders.
#[derive(Debug, Clone)]
pub struct FolderDiff {
    /// The old folder.
    pub old: Artifact,
    /// The new folder.
    pub new: Artifact,
    /// The differences, in no promised order.
    pub differences: Vec<Difference>,
    /// Whether some files that moved may be told as removed and added, since too many differ.
    pub moves_may_be_missing: bool,
}

impl Client {
    /// Compares two folders, most often two versions of one.
    pub async fn diff_folders(&self, old: impl IntoReference, new: impl IntoReference) -> Result<FolderDiff> {
        let message = pb::DiffFoldersRequest {
            old: Some(convert::reference(old.into_reference()?)),
            new: Some(convert::reference(new.into_reference()?)),
            include_hidden: false,
        };
        let call = || self.collect_diff(message.clone());
        self.inner.retry.run("DiffFolders", call).await
    }

    async fn collect_diff(&self, request: pb::DiffFoldersRequest) -> Result<FolderDiff> {
        // Without a deadline: it takes as long as the folders differ.
        let mut messages = self.artifacts().diff_folders(request).await?.into_inner();
        let mut diff = match messages.message().await?.and_then(|answer| answer.message) {
            Some(Message::Head(pb::DiffHead { old, new })) => FolderDiff {
                old: convert::some(old)?,
                new: convert::some(new)?,
                differences: Vec::new(),
                moves_may_be_missing: false,
            },
            _ => return Err(Error::Answer("a comparison without a head".to_owned())),
        };
        while let Some(answer) = messages.message().await? {
            match answer.message {
                Some(Message::Differences(pb::FolderDifferences { differences })) => {
                    for difference in differences {
                        diff.differences.push(convert::difference(difference)?);
                    }
                }
                Some(Message::End(pb::DiffEnd { moves_may_be_missing })) => {
                    diff.moves_may_be_missing = moves_may_be_missing;
                    return Ok(diff);
                }
                Some(Message::Head(_)) | None => return Err(Error::Answer("no difference".to_owned())),
            }
        }
        Err(Error::Answer("a comparison without an end".to_owned()))
    }
}
