//! A graph of artifacts and runs as text that other programs draw.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use futures::StreamExt;

use super::{EdgeKind, Graph, GraphPart, GraphQuery};
use crate::registry::{Caller, Registry, Result};

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawFormat {
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

/// Longest text of a node.
const LABEL_CHARS_MAX: usize = 60;

impl Registry {
    /// Draws the artifacts and runs around some; answers whether something was left out.
    pub async fn draw_lineage(
        self: &Arc<Self>,
        caller: &Caller,
        query: GraphQuery,
        format: DrawFormat,
    ) -> Result<(String, bool)> {
        let mut graph = self.lineage(caller, query).await?;
        let (mut whole, mut truncated) = (GraphPart::default(), false);
        while let Some(part) = graph.next().await {
            match part? {
                Graph::Part(part) => {
                    whole.artifacts.extend(part.artifacts);
                    whole.runs.extend(part.runs);
                    whole.edges.extend(part.edges);
                }
                Graph::End(end) => truncated = end.truncated,
            }
        }
        Ok((draw(&whole, format), truncated))
    }
}

fn draw(graph: &GraphPart, format: DrawFormat) -> String {
    let mut text = String::from(match format {
        DrawFormat::Dot => "digraph lineage {\n  rankdir=LR;\n",
        DrawFormat::Mermaid => "flowchart LR\n",
    });
    // Names of nodes are made here: a uid may begin with a digit.
    let mut names: HashMap<&str, String> = HashMap::new();
    for (number, artifact) in graph.artifacts.iter().enumerate() {
        let name = format!("a{number}");
        let called = artifact
            .key
            .as_deref()
            .or(artifact.description.as_deref())
            .unwrap_or(&artifact.uid);
        let label = escaped(&format!("{called} v{}", artifact.version), format);
        let _ = match format {
            DrawFormat::Dot => writeln!(
                text,
                "  {name} [shape=box, label=\"{label}\", tooltip=\"{}\"];",
                artifact.uid
            ),
            DrawFormat::Mermaid => writeln!(text, "  {name}[\"{label}\"]"),
        };
        names.insert(&artifact.uid, name);
    }
    for (number, run) in graph.runs.iter().enumerate() {
        let name = format!("r{number}");
        let transform = run
            .transform
            .as_ref()
            .map(|(_, key, version)| format!("{key} v{version}"));
        let called = transform
            .or_else(|| run.name.clone())
            .unwrap_or_else(|| run.uid.clone());
        let label = escaped(&called, format);
        let _ = match format {
            DrawFormat::Dot => writeln!(
                text,
                "  {name} [shape=ellipse, label=\"{label}\", tooltip=\"{}\"];",
                run.uid
            ),
            DrawFormat::Mermaid => writeln!(text, "  {name}([\"{label}\"])"),
        };
        names.insert(&run.uid, name);
    }
    for edge in &graph.edges {
        let (Some(artifact), Some(run)) = (names.get(edge.artifact_uid.as_str()), names.get(edge.run_uid.as_str()))
        else {
            continue;
        };
        let _ = match (format, edge.kind) {
            (DrawFormat::Dot, EdgeKind::Input) => writeln!(text, "  {artifact} -> {run};"),
            (DrawFormat::Dot, EdgeKind::Output) => writeln!(text, "  {run} -> {artifact};"),
            (DrawFormat::Dot, EdgeKind::Updated) => writeln!(text, "  {run} -> {artifact} [style=dashed];"),
            (DrawFormat::Mermaid, EdgeKind::Input) => writeln!(text, "  {artifact} --> {run}"),
            (DrawFormat::Mermaid, EdgeKind::Output) => writeln!(text, "  {run} --> {artifact}"),
            (DrawFormat::Mermaid, EdgeKind::Updated) => writeln!(text, "  {run} -.-> {artifact}"),
        };
    }
    if format == DrawFormat::Dot {
        text.push_str("}\n");
    }
    text
}

/// A text in quotes: what people named things must not end them.
fn escaped(text: &str, format: DrawFormat) -> String {
    let mut safe = String::new();
    for c in text.chars().take(LABEL_CHARS_MAX) {
        match (format, c) {
            (_, c) if c.is_control() => safe.push(' '),
            (DrawFormat::Dot, '"' | '\\') => {
                safe.push('\\');
                safe.push(c);
            }
            // Mermaid reads entities, and HTML where it is allowed.
            (DrawFormat::Mermaid, '"' | '<' | '>' | '&' | '#' | ';' | '`') => {
                let _ = write!(safe, "#{};", u32::from(c));
            }
            (_, c) => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use artifactd_domain::{Kind, RunStatus, Visibility};

    use super::*;
    use crate::registry::{LineageArtifact, LineageEdge, LineageRun};

    fn graph() -> GraphPart {
        GraphPart {
            artifacts: vec![LineageArtifact {
                uid: "0123456789abcdef0000".to_owned(),
                key: Some("a\"]; evil <b>\\.csv".to_owned()),
                description: None,
                kind: Kind::Dataset,
                version: "1".to_owned(),
                visibility: Visibility::Default,
                size_bytes: 1,
                created_at_us: 0,
                distance: 0,
            }],
            runs: vec![LineageRun {
                uid: "0123456789abcdef".to_owned(),
                name: None,
                status: RunStatus::Started,
                transform: None,
                distance: 1,
            }],
            edges: vec![LineageEdge {
                artifact_uid: "0123456789abcdef0000".parse().unwrap(),
                run_uid: "0123456789abcdef".parse().unwrap(),
                kind: EdgeKind::Output,
            }],
        }
    }

    #[test]
    fn names_cannot_end_their_quotes() {
        let dot = draw(&graph(), DrawFormat::Dot);
        assert!(dot.contains(r#"label="a\"]; evil <b>\\.csv v1""#), "{dot}");
        assert!(dot.contains("  r0 -> a0;\n}"), "{dot}");
        let mermaid = draw(&graph(), DrawFormat::Mermaid);
        assert!(
            mermaid.contains(r#"a0["a#34;]#59; evil #60;b#62;\.csv v1"]"#),
            "{mermaid}"
        );
        assert!(mermaid.contains("  r0 --> a0\n"), "{mermaid}");
    }
}
