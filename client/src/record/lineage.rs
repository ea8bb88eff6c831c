//! What artifacts were made from, and what was made from them.

use artifactd_proto::v1::{self as pb, get_lineage_response::Message, lineage_service_client::LineageServiceClient};

use super::call;
use crate::{Client, Error, IntoReference, Result, convert};

impl Client {
    /// The artifacts and runs around some, and how they are connected; true when something was left out.
    pub async fn lineage(&self, request: pb::GetLineageRequest) -> Result<(pb::LineagePart, bool)> {
        let mut lineages = LineageServiceClient::new(self.line(0));
        let mut answers = lineages.get_lineage(request).await?.into_inner();
        let mut whole = pb::LineagePart::default();
        while let Some(answer) = answers.message().await? {
            match answer.message {
                Some(Message::Part(part)) => {
                    whole.artifacts.extend(part.artifacts);
                    whole.runs.extend(part.runs);
                    whole.edges.extend(part.edges);
                }
                Some(Message::End(end)) => return Ok((whole, end.truncated)),
                None => {}
            }
        }
        Err(Error::Answer("a lineage without its end".to_owned()))
    }

    /// The same as a drawing, in DOT or Mermaid.
    pub async fn draw_lineage(
        &self,
        lineage: pb::GetLineageRequest,
        format: pb::LineageFormat,
    ) -> Result<pb::DrawLineageResponse> {
        let message = pb::DrawLineageRequest {
            lineage: Some(lineage),
            format: format.into(),
        };
        call!(self, LineageServiceClient, draw_lineage, "DrawLineage", message)
    }

    /// What would be touched by deleting or replacing an artifact.
    pub async fn impact(&self, artifact: impl IntoReference) -> Result<pb::GetImpactResponse> {
        let message = pb::GetImpactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
        };
        call!(self, LineageServiceClient, get_impact, "GetImpact", message)
    }
}
