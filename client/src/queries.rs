//! Calls that find many artifacts at once, or count them.

use artifactd_domain::{ArtifactRef, Visibility};
use artifactd_proto::v1 as pb;

use crate::{Artifact, Client, Result, convert};

/// References in one call.
const REFERENCES_MAX: usize = 1_000;

/// How many artifacts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many match, or more.
    pub count: u64,
    /// Whether there are more.
    pub more: bool,
}

impl Client {
    /// Finds artifacts by uid, stem, key or text, in the order in which they are named.
    ///
    /// Fails with ARTIFACT_NOT_FOUND when one of them is missing.
    pub async fn get_all(&self, artifacts: impl IntoIterator<Item = ArtifactRef>) -> Result<Vec<Artifact>> {
        let references: Vec<_> = artifacts.into_iter().map(convert::reference).collect();
        let mut found = Vec::with_capacity(references.len());
        for some in references.chunks(REFERENCES_MAX) {
            let message = pb::BatchGetArtifactsRequest {
                artifacts: some.to_vec(),
                ..Default::default()
            };
            let call = |request| {
                let mut artifacts = self.artifacts();
                async move { artifacts.batch_get_artifacts(request).await }
            };
            let answer = self.call("BatchGetArtifacts", message, call).await?;
            found.extend(convert::artifacts(answer.artifacts)?);
        }
        Ok(found)
    }

    /// Counts the artifacts of the space that match a filter, up to a million.
    pub async fn count(&self, filter: &str, visibilities: &[Visibility]) -> Result<Count> {
        let message = pb::CountArtifactsRequest {
            filter: filter.to_owned(),
            visibilities: visibilities.iter().map(|v| convert::visibility(*v).into()).collect(),
            at_most: 0,
        };
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.count_artifacts(request).await }
        };
        let answer = self.call("CountArtifacts", message, call).await?;
        Ok(Count {
            count: answer.count.try_into().unwrap_or_default(),
            more: answer.more,
        })
    }
}
