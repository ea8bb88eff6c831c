//! `artifactctl lineage`

use std::collections::{HashMap, HashSet};

use artifactd_client::messages::{self as pb, LineageDirection, LineageEdgeKind, LineageFormat};

use super::{names, said};
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Show what artifacts were made from (`<`), and what was made from them (`>`)
#[derive(Debug, clap::Args)]
pub(crate) struct Lineage {
    /// The artifacts
    #[arg(required_unless_present = "of_run")]
    artifacts: Vec<String>,
    /// A run to begin with
    #[arg(long, value_name = "UID")]
    of_run: Option<String>,
    /// Only what they were made from
    #[arg(long)]
    up: bool,
    /// Only what was made from them
    #[arg(long, conflicts_with = "up")]
    down: bool,
    /// Steps from artifact to artifact
    #[arg(long, default_value_t = 10)]
    depth: i32,
    /// Artifacts and runs at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    most: i32,
    /// As a drawing for Graphviz
    #[arg(long)]
    dot: bool,
    /// As a drawing for Mermaid
    #[arg(long, conflicts_with = "dot")]
    mermaid: bool,
    /// What deleting or replacing them would touch, instead
    #[arg(long, conflicts_with_all = ["up", "down", "dot", "mermaid", "of_run"])]
    impact: bool,
}

pub(crate) async fn run(context: &mut Context, command: Lineage) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    if command.impact {
        for artifact in &command.artifacts {
            let impact = client.impact(artifact).await?;
            context.output.message("GetImpactResponse", &impact)?;
            for line in touched(&impact) {
                context.output.line(&line)?;
            }
        }
        return Ok(Code::Done);
    }
    let request = pb::GetLineageRequest {
        artifacts: names::artifacts(&command.artifacts)?,
        run_uid: command.of_run.clone(),
        direction: match (command.up, command.down) {
            (true, _) => LineageDirection::Upstream,
            (false, true) => LineageDirection::Downstream,
            (false, false) => LineageDirection::Both,
        }
        .into(),
        depth: command.depth,
        nodes_max: command.most,
    };
    let format = match (command.dot, command.mermaid) {
        (true, _) => Some(LineageFormat::Dot),
        (false, true) => Some(LineageFormat::Mermaid),
        (false, false) => None,
    };
    let truncated = match format {
        Some(format) => {
            let drawing = client.draw_lineage(request, format).await?;
            context.output.message("DrawLineageResponse", &drawing)?;
            drawing.text.lines().try_for_each(|line| context.output.line(line))?;
            // A drawing says itself what it leaves out.
            false
        }
        None => {
            let (graph, truncated) = client.lineage(request).await?;
            context.output.message("LineagePart", &graph)?;
            for line in Graph::of(&graph).lines() {
                context.output.line(&line)?;
            }
            truncated
        }
    };
    if truncated {
        context.output.line("… and more: --depth and --most show it")?;
    }
    Ok(Code::Done)
}

fn touched(impact: &pb::GetImpactResponse) -> Vec<String> {
    let artifact = impact.artifact.clone().unwrap_or_default();
    let counts = [
        (impact.input_of_runs, "runs have used it"),
        (impact.derived_artifacts, "artifacts were made by these"),
        (impact.described_runs, "runs have it as report or environment"),
        (impact.same_content_artifacts, "other artifacts have the same content"),
        (impact.annotations, "values and labels would go with it"),
    ];
    let mut lines = vec![format!("{}  {}", artifact.uid, artifact.key())];
    let counted = counts.into_iter().filter(|(count, _)| *count > 0);
    lines.extend(counted.map(|(count, what)| format!("  {count} {what}")));
    if impact.is_latest {
        lines.push("  another version would be the latest, if there is one".to_owned());
    }
    lines
}

/// A graph, to be shown as a tree: what was shown before is not shown again below it.
struct Graph<'a> {
    artifacts: HashMap<&'a str, &'a pb::LineageArtifact>,
    runs: HashMap<&'a str, &'a pb::LineageRun>,
    roots: Vec<(&'a str, Node)>,
    /// Runs that made an artifact, and artifacts that a run used.
    up: HashMap<&'a str, Vec<&'a str>>,
    /// Runs that used an artifact, and artifacts that a run made.
    down: HashMap<&'a str, Vec<&'a str>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Node {
    Artifact,
    Run,
}

impl Node {
    fn other(self) -> Self {
        match self {
            Self::Artifact => Self::Run,
            Self::Run => Self::Artifact,
        }
    }
}

impl<'a> Graph<'a> {
    fn of(part: &'a pb::LineagePart) -> Self {
        let mut graph = Self {
            artifacts: part.artifacts.iter().map(|node| (node.uid.as_str(), node)).collect(),
            runs: part.runs.iter().map(|node| (node.uid.as_str(), node)).collect(),
            roots: Vec::new(),
            up: HashMap::new(),
            down: HashMap::new(),
        };
        let began = |distance: i32| distance == 0;
        let artifacts = part.artifacts.iter().filter(|node| began(node.distance));
        graph
            .roots
            .extend(artifacts.map(|node| (node.uid.as_str(), Node::Artifact)));
        if graph.roots.is_empty() {
            let runs = part.runs.iter().filter(|node| began(node.distance));
            graph.roots.extend(runs.map(|node| (node.uid.as_str(), Node::Run)));
        }
        for edge in &part.edges {
            let (artifact, run) = (edge.artifact_uid.as_str(), edge.run_uid.as_str());
            let (before, after) = match edge.kind() {
                LineageEdgeKind::Input => (artifact, run),
                LineageEdgeKind::Output | LineageEdgeKind::Updated => (run, artifact),
                LineageEdgeKind::Unspecified => continue,
            };
            graph.down.entry(before).or_default().push(after);
            graph.up.entry(after).or_default().push(before);
        }
        graph
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (uid, node) in &self.roots {
            lines.push(self.named(uid, *node));
            for (arrow, neighbours) in [("<", &self.up), (">", &self.down)] {
                self.walk(&mut lines, (uid, *node), arrow, neighbours);
            }
        }
        lines
    }

    /// Adds all that is reached from a node in one direction, deeper nodes further in.
    fn walk(
        &self,
        lines: &mut Vec<String>,
        from: (&'a str, Node),
        arrow: &str,
        neighbours: &HashMap<&'a str, Vec<&'a str>>,
    ) {
        let next = |(uid, node): (&'a str, Node), depth: usize| {
            let found = neighbours.get(uid).into_iter().flatten().rev();
            found.map(move |uid| (*uid, node.other(), depth))
        };
        let mut seen = HashSet::from([from.0]);
        let mut waiting: Vec<_> = next(from, 1).collect();
        while let Some((uid, node, depth)) = waiting.pop() {
            let is_new = seen.insert(uid);
            let again = if is_new { "" } else { "  (shown above)" };
            let indent = "  ".repeat(depth);
            lines.push(format!("{indent}{arrow} {}{again}", self.named(uid, node)));
            if is_new {
                waiting.extend(next((uid, node), depth + 1));
            }
        }
    }

    fn named(&self, uid: &str, node: Node) -> String {
        match node {
            Node::Artifact => match self.artifacts.get(uid) {
                Some(artifact) => {
                    let name = match (&artifact.key, &artifact.description) {
                        (Some(key), _) => key.clone(),
                        (None, Some(text)) => format!("({text})"),
                        (None, None) => "-".to_owned(),
                    };
                    format!("{uid}  {name}@@{}", artifact.version)
                }
                None => uid.to_owned(),
            },
            Node::Run => match self.runs.get(uid) {
                Some(run) => {
                    let name = said::run_name(run.transform.as_ref(), run.name.as_deref());
                    format!("run {uid}  {name}  {}", said::status(run.status()))
                }
                None => format!("run {uid}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(artifact: &str, run: &str, kind: LineageEdgeKind) -> pb::LineageEdge {
        pb::LineageEdge {
            artifact_uid: artifact.to_owned(),
            run_uid: run.to_owned(),
            kind: kind.into(),
        }
    }

    fn node(uid: &str, distance: i32) -> pb::LineageArtifact {
        pb::LineageArtifact {
            uid: uid.to_owned(),
            key: Some(format!("{uid}.csv")),
            version: "1".to_owned(),
            distance,
            ..Default::default()
        }
    }

    #[test]
    fn a_graph_is_shown_as_a_tree_and_nothing_twice() {
        use LineageEdgeKind::{Input, Output};
        let run = |uid: &str| pb::LineageRun {
            uid: uid.to_owned(),
            status: pb::RunStatus::Completed.into(),
            distance: 1,
            ..Default::default()
        };
        let part = pb::LineagePart {
            artifacts: vec![node("b", 0), node("a", 1), node("c", 1)],
            runs: vec![run("r1"), run("r2")],
            edges: vec![
                edge("b", "r1", Output),
                edge("a", "r1", Input),
                edge("b", "r2", Input),
                edge("c", "r2", Output),
                // A run that has also read what another made of it.
                edge("c", "r1", Input),
            ],
        };
        assert_eq!(
            Graph::of(&part).lines(),
            [
                "b  b.csv@@1",
                "  < run r1  -  completed",
                "    < a  a.csv@@1",
                "    < c  c.csv@@1",
                "      < run r2  -  completed",
                "        < b  b.csv@@1  (shown above)",
                "  > run r2  -  completed",
                "    > c  c.csv@@1",
                "      > run r1  -  completed",
                "        > b  b.csv@@1  (shown above)",
            ]
        );
    }
}
