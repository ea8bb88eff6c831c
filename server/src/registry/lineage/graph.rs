//! Artifacts and runs around others: a walk in steps, each a few queries for all nodes of it.

use std::{collections::VecDeque, sync::Arc};

use artifactd_domain::{ArtifactRef, Kind, RunStatus, RunUid, Uid, Visibility};
use foldhash::{HashMap, HashMapExt, HashSet};
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    db::{
        DbError, artifacts,
        lineage::{self, ArtifactNode, Link, RunNode, TransformNode},
        runs,
    },
    registry::{Caller, Registry, RegistryError, Result, runs::missing},
};

/// Nodes in one part of an answer.
const PART_NODES: usize = 500;

/// Parts that wait to be told while the walk goes on.
const PARTS_AHEAD: usize = 4;

/// Edges that one step may bring for each node that is still allowed; more say nothing new.
const EDGES_FOR_NODE: usize = 20;

/// Which way to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what things were made from.
    Up,
    /// To what was made from things.
    Down,
    /// Both.
    Both,
}

/// Around what to look.
#[derive(Debug, Clone)]
pub struct GraphQuery {
    /// Artifacts to begin with.
    pub artifacts: Vec<ArtifactRef>,
    /// Run to begin with.
    pub run: Option<RunUid>,
    /// Which way to look.
    pub direction: Direction,
    /// Steps from artifact to artifact.
    pub depth: u32,
    /// Artifacts and runs at most.
    pub nodes_max: usize,
}

/// An artifact of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageArtifact {
    /// Its full uid.
    pub uid: String,
    /// Its key.
    pub key: Option<String>,
    /// The beginning of its description, where it has no key.
    pub description: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Label of its version.
    pub version: String,
    /// Who sees it.
    pub visibility: Visibility,
    /// Bytes.
    pub size_bytes: i64,
    /// When it was saved, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// Steps from where the look began.
    pub distance: u32,
}

/// A run of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageRun {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: Option<String>,
    /// How far it is.
    pub status: RunStatus,
    /// Uid, key and version of its transform.
    pub transform: Option<(String, String, String)>,
    /// Steps from where the look began.
    pub distance: u32,
}

/// How an artifact and a run are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EdgeKind {
    /// The run has read it.
    Input,
    /// The run has made it.
    Output,
    /// The run has made it again, or changed its record.
    Updated,
}

/// What connects an artifact and a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageEdge {
    /// The artifact.
    pub artifact_uid: Uid,
    /// The run.
    pub run_uid: RunUid,
    /// How they are connected.
    pub kind: EdgeKind,
}

/// A part of a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphPart {
    /// Artifacts that were not told before.
    pub artifacts: Vec<LineageArtifact>,
    /// Runs that were not told before.
    pub runs: Vec<LineageRun>,
    /// What connects artifacts and runs that were told.
    pub edges: Vec<LineageEdge>,
}

/// The end of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphEnd {
    /// Whether something was left out.
    pub truncated: bool,
}

/// A graph as it is walked: parts, and then its end.
#[derive(Debug)]
pub enum Graph {
    /// Some nodes and edges.
    Part(GraphPart),
    /// There is no more.
    End(GraphEnd),
}

/// Which ways from a node are still to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ways {
    up: bool,
    down: bool,
}

/// Nodes, and the ways from each.
type Nodes = Vec<(i64, Ways)>;

/// A node that was found, and which ways from it were.
struct Seen<U> {
    uid: U,
    up: bool,
    down: bool,
}

/// A walk that goes on.
struct Walk {
    registry: Arc<Registry>,
    caller: Caller,
    query: GraphQuery,
    artifacts: HashMap<i64, Seen<Uid>>,
    runs: HashMap<i64, Seen<RunUid>>,
    /// Those of the runs.
    transforms: HashMap<i64, TransformNode>,
    edges: HashSet<(Link, EdgeKind)>,
    /// Artifacts whose runs come next.
    frontier: Nodes,
    /// Runs whose artifacts come next, before those of the frontier.
    run_frontier: Nodes,
    made_by: HashMap<i64, i64>,
    /// Artifacts that other runs made again or changed.
    updated: HashSet<i64>,
    distance: u32,
    truncated: bool,
    waiting: VecDeque<GraphPart>,
    ended: bool,
}

impl Registry {
    /// Streams the artifacts and runs around some, nearest first.
    pub async fn lineage(
        self: &Arc<Self>,
        caller: &Caller,
        query: GraphQuery,
    ) -> Result<BoxStream<'static, Result<Graph>>> {
        let conn = self.db.reader();
        let uids = self.uids_of(caller, &query.artifacts).await?;
        let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
        let rows = artifacts::by_uids(conn, &uids).await?;
        for uid in uids {
            if !rows.iter().any(|row| row.uid == uid && caller.may_read(row.space_id)) {
                return Err(RegistryError::NotFound(uid.to_owned()));
            }
        }
        let run = match &query.run {
            None => None,
            Some(uid) => {
                let row = runs::by_uid(conn, uid.as_str()).await?;
                let row = row.filter(|row| caller.may_read(row.space_id));
                Some(row.ok_or_else(|| missing(uid))?.id)
            }
        };
        let mut walk = Walk {
            registry: Arc::clone(self),
            caller: caller.clone(),
            artifacts: HashMap::new(),
            runs: HashMap::new(),
            transforms: HashMap::new(),
            edges: Default::default(),
            frontier: Vec::new(),
            run_frontier: Vec::new(),
            made_by: HashMap::new(),
            updated: Default::default(),
            distance: 0,
            truncated: false,
            waiting: Default::default(),
            ended: false,
            query,
        };
        let ways = Ways {
            up: walk.query.direction != Direction::Down,
            down: walk.query.direction != Direction::Up,
        };
        let ids: Nodes = rows.iter().map(|row| (row.id, ways)).collect();
        walk.begin(ids, run.map(|id| (id, ways))).await?;
        let (parts, told) = mpsc::channel(PARTS_AHEAD);
        tokio::spawn(walk.run(parts));
        Ok(ReceiverStream::new(told).boxed())
    }
}

impl Walk {
    async fn begin(&mut self, artifacts: Nodes, run: Option<(i64, Ways)>) -> Result<()> {
        let mut part = GraphPart::default();
        self.take_artifacts(artifacts, Vec::new(), &mut part).await?;
        if let Some(run) = run {
            self.run_frontier = self.take_runs(vec![run], Vec::new(), &mut part).await?;
        }
        self.tell(part);
        Ok(())
    }

    /// Walks on while what was found is told, until nobody hears any more.
    async fn run(mut self, parts: mpsc::Sender<Result<Graph>>) {
        while let Some(part) = self.next().await {
            if parts.send(part).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Option<Result<Graph>> {
        loop {
            if let Some(part) = self.waiting.pop_front() {
                return Some(Ok(Graph::Part(part)));
            }
            if self.ended {
                return None;
            }
            let goes_on = !self.frontier.is_empty() || !self.run_frontier.is_empty();
            if !goes_on || self.distance >= self.query.depth {
                self.ended = true;
                let truncated = self.truncated || (goes_on && self.has_more().await);
                return Some(Ok(Graph::End(GraphEnd { truncated })));
            }
            if let Err(error) = self.step().await {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    /// Whether another step would find something. Who cannot tell says so.
    async fn has_more(&self) -> bool {
        let up = ids(&self.frontier, |ways| ways.up);
        let down = ids(&self.frontier, |ways| ways.down);
        let conn = self.registry.db.reader();
        let made = up.iter().any(|id| self.made_by.contains_key(id));
        made || !lineage::updaters_of(conn, &up, 1)
            .await
            .is_ok_and(|links| links.is_empty())
            || !lineage::readers_of(conn, &down, 1)
                .await
                .is_ok_and(|links| links.is_empty())
    }

    /// From artifacts over runs to artifacts.
    async fn step(&mut self) -> Result<()> {
        let mut part = GraphPart::default();
        let mut edges: Vec<(Link, EdgeKind)> = Vec::new();
        let begun = std::mem::take(&mut self.run_frontier);
        let mut runs = Vec::new();
        let frontier = std::mem::take(&mut self.frontier);
        let (up, down) = (ids(&frontier, |ways| ways.up), ids(&frontier, |ways| ways.down));
        let most = self.edges_max();
        self.distance += 1;
        let mut made: Vec<Link> = Vec::new();
        for artifact_id in &up {
            if let Some(run_id) = self.made_by.get(artifact_id) {
                let (artifact_id, run_id) = (*artifact_id, *run_id);
                made.push(Link { artifact_id, run_id });
            }
        }
        let updated: Vec<i64> = up.into_iter().filter(|id| self.updated.contains(id)).collect();
        let updated = lineage::updaters_of(self.registry.db.reader(), &updated, most).await?;
        let read = lineage::readers_of(self.registry.db.reader(), &down, most).await?;
        let (read, readers): (Vec<Link>, Vec<RunNode>) = read
            .into_iter()
            .map(|(artifact_id, run)| {
                (
                    Link {
                        artifact_id,
                        run_id: run.id,
                    },
                    run,
                )
            })
            .unzip();
        self.truncated |= updated.len() >= most || read.len() >= most;
        for (links, kind, ways) in [
            (made, EdgeKind::Output, Ways { up: true, down: false }),
            (updated, EdgeKind::Updated, Ways { up: true, down: false }),
            (read, EdgeKind::Input, Ways { up: false, down: true }),
        ] {
            for link in links {
                edges.push((link, kind));
                runs.push((link.run_id, ways));
            }
        }
        let mut runs = self.take_runs(runs, readers, &mut part).await?;
        runs.extend(begun);
        let (up, down) = (ids(&runs, |ways| ways.up), ids(&runs, |ways| ways.down));
        let inputs = lineage::inputs_of(self.registry.db.reader(), &up, most).await?;
        let made = lineage::outputs_of(self.registry.db.reader(), &down, most).await?;
        let link = |node: &ArtifactNode| {
            Some(Link {
                artifact_id: node.id,
                run_id: node.run_id?,
            })
        };
        let outputs: Vec<Link> = made.iter().filter_map(link).collect();
        let updates = lineage::updated_by(self.registry.db.reader(), &down, most).await?;
        self.truncated |= [&inputs, &outputs, &updates].iter().any(|links| links.len() >= most);
        let mut artifacts = Vec::new();
        for (links, kind, ways) in [
            (inputs, EdgeKind::Input, Ways { up: true, down: false }),
            (outputs, EdgeKind::Output, Ways { up: false, down: true }),
            (updates, EdgeKind::Updated, Ways { up: false, down: true }),
        ] {
            for link in links {
                edges.push((link, kind));
                artifacts.push((link.artifact_id, ways));
            }
        }
        self.take_artifacts(artifacts, made, &mut part).await?;
        for (link, kind) in edges {
            self.take_edge(link, kind, &mut part);
        }
        self.tell(part);
        Ok(())
    }

    fn nodes_left(&self) -> usize {
        self.query
            .nodes_max
            .saturating_sub(self.artifacts.len() + self.runs.len())
    }

    fn edges_max(&self) -> usize {
        (self.nodes_left() + 1) * EDGES_FOR_NODE
    }

    /// Takes artifacts into the graph, some of which were found already; those with ways that
    /// are new come next.
    async fn take_artifacts(
        &mut self,
        wanted: Nodes,
        mut nodes: Vec<ArtifactNode>,
        part: &mut GraphPart,
    ) -> Result<()> {
        let (new, mut again) = sorted(wanted, &mut self.artifacts);
        let new = self.within_limit(new);
        let unknown = unknown(&new, nodes.iter().map(|node| node.id));
        nodes.extend(lineage::artifacts(self.registry.db.reader(), &unknown).await?);
        let mut left: HashMap<i64, Ways> = new.into_iter().collect();
        for node in nodes {
            let ways = left.remove(&node.id);
            let Some(ways) = ways.filter(|_| self.caller.may_read(node.space_id)) else {
                continue;
            };
            let Ways { up, down } = ways;
            let uid = node.uid.parse().map_err(|_| impossible("artifacts", "uid"))?;
            self.artifacts.insert(node.id, Seen { uid, up, down });
            self.made_by.extend(node.run_id.map(|run_id| (node.id, run_id)));
            self.updated.extend(node.has_previous_runs.then_some(node.id));
            again.push((node.id, ways));
            part.artifacts.push(told_artifact(node, self.distance)?);
        }
        self.frontier.extend(again);
        Ok(())
    }

    /// Takes runs into the graph, some of which were found already; answers those with ways
    /// that are new.
    async fn take_runs(&mut self, wanted: Nodes, mut nodes: Vec<RunNode>, part: &mut GraphPart) -> Result<Nodes> {
        let (new, mut again) = sorted(wanted, &mut self.runs);
        let new = self.within_limit(new);
        let unknown = unknown(&new, nodes.iter().map(|node| node.id));
        nodes.extend(lineage::runs(self.registry.db.reader(), &unknown).await?);
        self.look_up_transforms(&nodes).await?;
        let mut left: HashMap<i64, Ways> = new.into_iter().collect();
        for node in nodes {
            let ways = left.remove(&node.id);
            let Some(ways) = ways.filter(|_| self.caller.may_read(node.space_id)) else {
                continue;
            };
            let Ways { up, down } = ways;
            let uid = node.uid.parse().map_err(|_| impossible("runs", "uid"))?;
            self.runs.insert(node.id, Seen { uid, up, down });
            again.push((node.id, ways));
            let transform = node.transform_id.and_then(|id| self.transforms.get(&id));
            part.runs.push(told_run(node, transform, self.distance)?);
        }
        Ok(again)
    }

    async fn look_up_transforms(&mut self, runs: &[RunNode]) -> Result<()> {
        let ids: HashSet<i64> = runs.iter().filter_map(|run| run.transform_id).collect();
        let new: Vec<i64> = ids.into_iter().filter(|id| !self.transforms.contains_key(id)).collect();
        let found = lineage::transforms(self.registry.db.reader(), &new).await?;
        self.transforms
            .extend(found.into_iter().map(|transform| (transform.id, transform)));
        Ok(())
    }

    fn within_limit(&mut self, mut new: Nodes) -> Nodes {
        let left = self.nodes_left();
        self.truncated |= new.len() > left;
        new.truncate(left);
        new
    }

    /// An edge is told when both its ends are.
    fn take_edge(&mut self, link: Link, kind: EdgeKind, part: &mut GraphPart) {
        let (Some(artifact), Some(run)) = (self.artifacts.get(&link.artifact_id), self.runs.get(&link.run_id)) else {
            return;
        };
        if self.edges.insert((link, kind)) {
            part.edges.push(LineageEdge {
                artifact_uid: artifact.uid,
                run_uid: run.uid.clone(),
                kind,
            });
        }
    }

    /// Cuts a part into messages of a bounded size.
    fn tell(&mut self, part: GraphPart) {
        let GraphPart { artifacts, runs, edges } = part;
        let waiting = &mut self.waiting;
        waiting.extend(in_parts(artifacts, PART_NODES).map(|artifacts| GraphPart {
            artifacts,
            ..GraphPart::default()
        }));
        waiting.extend(in_parts(runs, PART_NODES).map(|runs| GraphPart {
            runs,
            ..GraphPart::default()
        }));
        waiting.extend(in_parts(edges, PART_NODES * 4).map(|edges| GraphPart {
            edges,
            ..GraphPart::default()
        }));
    }
}

/// Ids of nodes that were not found yet.
fn unknown(new: &Nodes, found: impl Iterator<Item = i64>) -> Vec<i64> {
    let found: HashSet<i64> = found.collect();
    new.iter().map(|(id, _)| *id).filter(|id| !found.contains(id)).collect()
}

/// All of them, so many at a time.
fn in_parts<T>(all: Vec<T>, most: usize) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter();
    std::iter::from_fn(move || Some(all.by_ref().take(most).collect()).filter(|part: &Vec<T>| !part.is_empty()))
}

fn ids(nodes: &[(i64, Ways)], which: impl Fn(&Ways) -> bool) -> Vec<i64> {
    nodes
        .iter()
        .filter(|(_, ways)| which(ways))
        .map(|(id, _)| *id)
        .collect()
}

/// Those that were not seen yet, with all ways that are wanted from them; and those that were,
/// with the ways that are new.
fn sorted<U>(wanted: Nodes, seen: &mut HashMap<i64, Seen<U>>) -> (Nodes, Nodes) {
    let (mut new, mut again): (Nodes, Nodes) = (Vec::new(), Vec::new());
    let mut places: HashMap<i64, usize> = HashMap::new();
    for (id, ways) in wanted {
        match (seen.get_mut(&id), places.get(&id)) {
            (Some(seen), _) => {
                let more = Ways {
                    up: ways.up && !seen.up,
                    down: ways.down && !seen.down,
                };
                seen.up |= ways.up;
                seen.down |= ways.down;
                if more.up || more.down {
                    again.push((id, more));
                }
            }
            (None, Some(place)) => {
                new[*place].1.up |= ways.up;
                new[*place].1.down |= ways.down;
            }
            (None, None) => {
                places.insert(id, new.len());
                new.push((id, ways));
            }
        }
    }
    (new, again)
}

fn impossible(table: &'static str, column: &'static str) -> DbError {
    DbError::Row { table, column }
}

fn told_artifact(node: ArtifactNode, distance: u32) -> Result<LineageArtifact> {
    Ok(LineageArtifact {
        kind: Kind::from_code(node.kind).ok_or(impossible("artifacts", "kind"))?,
        visibility: Visibility::from_code(node.visibility).ok_or(impossible("artifacts", "visibility"))?,
        uid: node.uid,
        key: node.key,
        description: Some(node.description).filter(|text| !text.is_empty()),
        version: node.version_label,
        size_bytes: node.size_bytes,
        created_at_us: node.created_at_us,
        distance,
    })
}

fn told_run(node: RunNode, transform: Option<&TransformNode>, distance: u32) -> Result<LineageRun> {
    let transform = transform.map(|transform| {
        let TransformNode { uid, key, version, .. } = transform.clone();
        (uid, key, version)
    });
    Ok(LineageRun {
        status: RunStatus::from_code(node.status).ok_or(impossible("runs", "status"))?,
        uid: node.uid,
        name: node.name,
        transform,
        distance,
    })
}
