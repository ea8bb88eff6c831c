//! `LineageService`.

use artifactd_domain::{Kind, Visibility};
use artifactd_proto::v1::{self as pb, lineage_service_server::LineageService};
use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    convert::{self, refused, timestamp, unknown},
    layer::CallId,
    runs::{run_transform, run_uid, status_message},
    status,
};
use crate::registry::{
    Direction, DrawFormat, EdgeKind, Graph, GraphEnd, GraphPart, GraphQuery, Impact, LineageArtifact, LineageEdge,
    LineageRun, Rule,
};

const STARTS_MAX: usize = 100;
const DEPTH_DEFAULT: u32 = 10;
const DEPTH_MAX: u32 = 100;
const NODES_DEFAULT: usize = 1_000;
const NODES_MAX: usize = 100_000;
const DRAWN_NODES_MAX: usize = 2_000;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl LineageService for Api {
    type GetLineageStream = BoxStream<'static, Result<pb::GetLineageResponse>>;

    async fn get_lineage(&self, request: Request<pb::GetLineageRequest>) -> Result<Response<Self::GetLineageStream>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let query = query(request.into_inner(), NODES_MAX, &call_id)?;
        let graph = self.registry.lineage(&caller, query).await;
        let graph = graph.map_err(|error| status::from_registry(error, &call_id))?;
        let messages = graph.map(move |part| match part {
            Ok(part) => Ok(message(part)),
            Err(error) => Err(status::from_registry(error, &call_id)),
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn draw_lineage(
        &self,
        request: Request<pb::DrawLineageRequest>,
    ) -> Result<Response<pb::DrawLineageResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::DrawLineageRequest { lineage, format } = request.into_inner();
        let format = match pb::LineageFormat::try_from(format).map_err(|_| unknown(&call_id, "format", format))? {
            pb::LineageFormat::Unspecified => return Err(refused(&call_id, "format", Rule::Required)),
            pb::LineageFormat::Dot => DrawFormat::Dot,
            pb::LineageFormat::Mermaid => DrawFormat::Mermaid,
        };
        let lineage = lineage.ok_or_else(|| refused(&call_id, "lineage", Rule::Required))?;
        let query = query(lineage, DRAWN_NODES_MAX, &call_id)?;
        let drawn = self.registry.draw_lineage(&caller, query, format).await;
        let (text, truncated) = drawn.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::DrawLineageResponse { text, truncated }))
    }

    async fn get_impact(&self, request: Request<pb::GetImpactRequest>) -> Result<Response<pb::GetImpactResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let reference = convert::reference(request.into_inner().artifact, &call_id)?;
        let impact = self.registry.impact(&caller, &reference).await;
        let impact = impact.map_err(|error| status::from_registry(error, &call_id))?;
        let Impact {
            artifact,
            input_of,
            derived,
            described_runs,
            same_content,
            annotations,
        } = impact;
        let is_latest = artifact.is_latest;
        Ok(Response::new(pb::GetImpactResponse {
            artifact: Some(convert::artifact(artifact)),
            input_of_runs: input_of.0,
            input_of_run_uids: input_of.1,
            derived_artifacts: derived.0,
            derived_artifact_uids: derived.1,
            described_runs,
            same_content_artifacts: same_content,
            annotations,
            is_latest,
        }))
    }
}

fn query(message: pb::GetLineageRequest, nodes_allowed: usize, call_id: &CallId) -> Result<GraphQuery> {
    let pb::GetLineageRequest {
        artifacts,
        run_uid: run,
        direction,
        depth,
        nodes_max,
    } = message;
    if artifacts.is_empty() && run.is_none() {
        return Err(refused(call_id, "artifacts", Rule::Required));
    }
    if artifacts.len() > STARTS_MAX {
        let rule = format!("must be at most {STARTS_MAX}, got {}", artifacts.len());
        return Err(status::field(call_id, "artifacts", rule));
    }
    let artifacts = artifacts
        .into_iter()
        .map(|message| convert::reference_in(Some(message), &convert::ARTIFACTS, call_id));
    let direction = pb::LineageDirection::try_from(direction).map_err(|_| unknown(call_id, "direction", direction))?;
    let depth = match u32::try_from(depth) {
        Ok(0) => DEPTH_DEFAULT,
        Ok(depth) if depth <= DEPTH_MAX => depth,
        _ => {
            return Err(status::field(
                call_id,
                "depth",
                format!("must be 1 to {DEPTH_MAX}, or 0"),
            ));
        }
    };
    let nodes_max = match usize::try_from(nodes_max) {
        Ok(0) => NODES_DEFAULT.min(nodes_allowed),
        Ok(nodes) if nodes <= nodes_allowed => nodes,
        _ => {
            return Err(status::field(
                call_id,
                "nodes_max",
                format!("must be 1 to {nodes_allowed}, or 0"),
            ));
        }
    };
    Ok(GraphQuery {
        artifacts: artifacts.collect::<Result<_>>()?,
        run: run.map(|uid| run_uid(&uid, "run_uid", call_id)).transpose()?,
        direction: match direction {
            pb::LineageDirection::Upstream => Direction::Up,
            pb::LineageDirection::Downstream => Direction::Down,
            pb::LineageDirection::Unspecified | pb::LineageDirection::Both => Direction::Both,
        },
        depth,
        nodes_max,
    })
}

fn message(graph: Graph) -> pb::GetLineageResponse {
    use pb::get_lineage_response::Message;
    let message = match graph {
        Graph::Part(GraphPart { artifacts, runs, edges }) => Message::Part(pb::LineagePart {
            artifacts: artifacts.into_iter().map(artifact).collect(),
            runs: runs.into_iter().map(run).collect(),
            edges: edges.into_iter().map(edge).collect(),
        }),
        Graph::End(GraphEnd { truncated }) => Message::End(pb::LineageEnd { truncated }),
    };
    pb::GetLineageResponse { message: Some(message) }
}

fn distance(steps: u32) -> i32 {
    i32::try_from(steps).expect("depth is bounded")
}

fn artifact(artifact: LineageArtifact) -> pb::LineageArtifact {
    let LineageArtifact {
        uid,
        key,
        description,
        kind,
        version,
        visibility,
        size_bytes,
        created_at_us,
        distance: steps,
    } = artifact;
    pb::LineageArtifact {
        uid,
        key,
        description,
        kind: match kind {
            Kind::Dataset => pb::ArtifactKind::Dataset,
            Kind::Model => pb::ArtifactKind::Model,
            Kind::Code => pb::ArtifactKind::Code,
        }
        .into(),
        version,
        visibility: match visibility {
            Visibility::Default => pb::Visibility::Default,
            Visibility::Hidden => pb::Visibility::Hidden,
            Visibility::Trash => pb::Visibility::Trash,
        }
        .into(),
        size: size_bytes,
        created_at: Some(timestamp(created_at_us)),
        distance: distance(steps),
    }
}

fn run(run: LineageRun) -> pb::LineageRun {
    let LineageRun {
        uid,
        name,
        status,
        transform,
        distance: steps,
    } = run;
    pb::LineageRun {
        uid,
        name,
        status: status_message(status).into(),
        transform: transform.map(run_transform),
        distance: distance(steps),
    }
}

fn edge(edge: LineageEdge) -> pb::LineageEdge {
    let LineageEdge {
        artifact_uid,
        run_uid,
        kind,
    } = edge;
    pb::LineageEdge {
        artifact_uid: artifact_uid.as_str().to_owned(),
        run_uid: run_uid.as_str().to_owned(),
        kind: match kind {
            EdgeKind::Input => pb::LineageEdgeKind::Input,
            EdgeKind::Output => pb::LineageEdgeKind::Output,
            EdgeKind::Updated => pb::LineageEdgeKind::Updated,
        }
        .into(),
    }
}
