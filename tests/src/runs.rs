//! Transforms, runs and lineage: every RPC as a function.

use artifactd_proto::v1 as pb;
use pb::{
    get_lineage_response::Message, lineage_service_client::LineageServiceClient, run_service_client::RunServiceClient,
    transform_service_client::TransformServiceClient, work_service_client::WorkServiceClient,
};

use crate::{
    Calls, Outcome,
    calls::{Line, answer},
};

/// A graph of artifacts and runs that came whole.
#[derive(Debug, Default)]
pub struct Lineage {
    /// Its artifacts.
    pub artifacts: Vec<pb::LineageArtifact>,
    /// Its runs.
    pub runs: Vec<pb::LineageRun>,
    /// What connects them.
    pub edges: Vec<pb::LineageEdge>,
    /// Whether something was left out.
    pub truncated: bool,
}

impl Calls {
    /// The generated client of transforms.
    pub fn transforms(&self) -> TransformServiceClient<Line> {
        TransformServiceClient::new(self.channel.clone())
    }

    /// The generated client of runs.
    pub fn runs(&self) -> RunServiceClient<Line> {
        RunServiceClient::new(self.channel.clone())
    }

    /// The generated client of work as a whole.
    pub fn work(&self) -> WorkServiceClient<Line> {
        WorkServiceClient::new(self.channel.clone())
    }

    /// Commits what a run used, made and said.
    pub async fn commit_work(&self, request: pb::CommitWorkRequest) -> Outcome<pb::CommitWorkResponse> {
        answer(self.work().commit_work(request)).await
    }

    /// Asks for the outputs of some work, or for the work.
    pub async fn reserve_output(
        &self,
        request: pb::ReserveOutputRequest,
    ) -> Outcome<pb::reserve_output_response::Result> {
        let answered = answer(self.work().reserve_output(request)).await?;
        Ok(answered.result.expect("an answer says how it stands"))
    }

    /// Adds a transform or its next version.
    pub async fn create_transform(&self, request: pb::CreateTransformRequest) -> Outcome<pb::CreateTransformResponse> {
        answer(self.transforms().create_transform(request)).await
    }

    /// Finds a transform.
    pub async fn get_transform(&self, transform: Option<pb::TransformRef>) -> Outcome<pb::Transform> {
        answer(self.transforms().get_transform(pb::GetTransformRequest { transform })).await
    }

    /// One page of transforms.
    pub async fn list_transforms(&self, request: pb::ListTransformsRequest) -> Outcome<pb::ListTransformsResponse> {
        answer(self.transforms().list_transforms(request)).await
    }

    /// Deletes a version of a transform.
    pub async fn delete_transform(&self, transform: pb::TransformRef) -> Outcome<pb::DeleteTransformResponse> {
        let request = pb::DeleteTransformRequest {
            transform: Some(transform),
            ..Default::default()
        };
        answer(self.transforms().delete_transform(request)).await
    }

    /// Begins a run.
    pub async fn create_run(&self, request: pb::CreateRunRequest) -> Outcome<pb::Run> {
        answer(self.runs().create_run(request)).await
    }

    /// Finds a run.
    pub async fn get_run(&self, uid: &str) -> Outcome<pb::Run> {
        let uid = uid.to_owned();
        answer(self.runs().get_run(pb::GetRunRequest { uid })).await
    }

    /// One page of runs.
    pub async fn list_runs(&self, request: pb::ListRunsRequest) -> Outcome<pb::ListRunsResponse> {
        answer(self.runs().list_runs(request)).await
    }

    /// Changes a run.
    pub async fn update_run(&self, request: pb::UpdateRunRequest) -> Outcome<pb::Run> {
        answer(self.runs().update_run(request)).await
    }

    /// Starts a run that was scheduled.
    pub async fn start_run(&self, uid: &str) -> Outcome<pb::Run> {
        let request = pb::StartRunRequest {
            uid: uid.to_owned(),
            request_id: None,
        };
        answer(self.runs().start_run(request)).await
    }

    /// Ends a run, with exit code 1 unless it is completed.
    pub async fn finish_run(&self, uid: &str, status: pb::RunStatus) -> Outcome<pb::Run> {
        let request = pb::FinishRunRequest {
            uid: uid.to_owned(),
            status: status.into(),
            exit_code: Some((status != pb::RunStatus::Completed).into()),
            ..Default::default()
        };
        answer(self.runs().finish_run(request)).await
    }

    /// Says that a run has used artifacts; answers how many are new.
    pub async fn add_run_inputs(&self, uid: &str, artifacts: Vec<pb::ArtifactRef>) -> Outcome<i64> {
        let request = pb::AddRunInputsRequest {
            uid: uid.to_owned(),
            artifacts,
            request_id: None,
        };
        Ok(answer(self.runs().add_run_inputs(request)).await?.added)
    }

    /// Deletes a run.
    pub async fn delete_run(&self, uid: &str) -> Outcome<pb::DeleteRunResponse> {
        let request = pb::DeleteRunRequest {
            uid: uid.to_owned(),
            ..Default::default()
        };
        answer(self.runs().delete_run(request)).await
    }

    /// The generated client of lineage.
    pub fn lineages(&self) -> LineageServiceClient<Line> {
        LineageServiceClient::new(self.channel.clone())
    }

    /// A whole graph.
    ///
    /// # Panics
    /// When it does not end with its end.
    pub async fn lineage(&self, request: pb::GetLineageRequest) -> Outcome<Lineage> {
        let mut stream = self.lineages().get_lineage(request).await?.into_inner();
        let (mut graph, mut ended) = (Lineage::default(), false);
        while let Some(message) = stream.message().await? {
            assert!(!ended, "the end comes last");
            match message.message.expect("a message of a known kind") {
                Message::Part(part) => {
                    graph.artifacts.extend(part.artifacts);
                    graph.runs.extend(part.runs);
                    graph.edges.extend(part.edges);
                }
                Message::End(end) => (graph.truncated, ended) = (end.truncated, true),
            }
        }
        assert!(ended, "the graph does not end");
        Ok(graph)
    }

    /// A drawing of a graph.
    pub async fn draw(&self, lineage: pb::GetLineageRequest, format: pb::LineageFormat) -> Outcome<String> {
        let request = pb::DrawLineageRequest {
            lineage: Some(lineage),
            format: format.into(),
        };
        Ok(answer(self.lineages().draw_lineage(request)).await?.text)
    }

    /// What deleting or replacing an artifact would touch.
    pub async fn impact(&self, artifact: pb::ArtifactRef) -> Outcome<pb::GetImpactResponse> {
        let artifact = Some(artifact);
        answer(self.lineages().get_impact(pb::GetImpactRequest { artifact })).await
    }
}
