//! What runs have used and made.

use std::collections::HashMap;

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    failure::Outcome,
    pb::{self, ErrorReason, LineageDirection, LineageEdgeKind, RunStatus},
    records::{feature, features, int, values},
    refusal,
};

use super::runs::{begin, by_transform_key, save, transform};

async fn inputs(server: &TestServer) -> i64 {
    server.query_integer("SELECT count(*) FROM run_inputs").await
}

#[tokio::test]
async fn what_is_saved_under_a_run_is_its_output() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_transform(transform("align.py", "x")).await.unwrap();
        let run = calls
            .create_run(pb::CreateRunRequest {
                transform: by_transform_key("align.py"),
                ..Default::default()
            })
            .await
            .unwrap();
        let under = calls.under(&run.uid);
        let output = save_under(&under, keyed("out.csv"), b"out").await.unwrap();
        assert_eq!(output.run_uid.as_ref(), Some(&run.uid), "{backend:?}");
        assert_eq!(output.transform_uid, run.transform.map(|transform| transform.uid));
        assert_eq!(calls.get(by_key("out.csv")).await.unwrap(), output);
        let nameless = save_under(&under, pb::SaveHeader::default(), b"nameless")
            .await
            .unwrap();
        assert_eq!((nameless.key, nameless.description), (None, None));
        let unnamed = calls.save(pb::SaveHeader::default(), b"unnamed").await;
        assert_eq!(refusal(unnamed), ErrorReason::NameRequired);
        let plain = save(&calls, "plain.csv").await;
        assert_eq!((plain.run_uid, plain.previous_run_uids.len()), (None, 0));
        calls.finish_run(&run.uid, RunStatus::Completed).await.unwrap();
        let late = save_under(&under, keyed("late.csv"), b"late").await;
        assert_eq!(refusal(late), ErrorReason::RunFinished);
        assert_eq!(refusal(calls.delete_run(&run.uid).await), ErrorReason::InUse);
        for (uid, reason) in [
            ("0123456789abcdef", ErrorReason::RunNotFound),
            ("x", ErrorReason::FieldInvalid),
        ] {
            let outcome = save_under(&calls.under(uid), keyed("late.csv"), b"late").await;
            assert_eq!(refusal(outcome), reason);
        }
    }
}

async fn save_under(calls: &Calls, header: pb::SaveHeader, content: &[u8]) -> Outcome<pb::Artifact> {
    Ok(saved(calls.save(header, content).await?))
}

#[tokio::test]
async fn runs_that_make_the_same_again_or_change_it_are_remembered() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("x", "int")).await.unwrap();
        let (first, second, third) = (begin(&calls).await, begin(&calls).await, begin(&calls).await);
        let made = save_under(&calls.under(&first.uid), keyed("a.csv"), b"a")
            .await
            .unwrap();
        save_under(&calls.under(&first.uid), keyed("a.csv"), b"a")
            .await
            .unwrap();
        for _ in 0..2 {
            let again = save_under(&calls.under(&second.uid), keyed("a.csv"), b"a")
                .await
                .unwrap();
            assert_eq!(again.uid, made.uid);
            assert_eq!(
                (again.run_uid.as_ref(), &again.previous_run_uids),
                (Some(&first.uid), &vec![second.uid.clone()])
            );
        }
        let under = calls.under(&third.uid);
        let done = under
            .add(by_key("a.csv"), features(vec![values("x", vec![int(1)])]))
            .await
            .unwrap();
        let runs = vec![second.uid.clone(), third.uid.clone()];
        assert_eq!(done.artifacts[0].previous_run_uids, runs, "{backend:?}");
        let header = pb::ReplaceHeader {
            artifact: Some(by_key("a.csv")),
            ..Default::default()
        };
        let replaced = under.replace(header, b"b").await.unwrap().artifact.unwrap();
        assert_eq!(
            (replaced.previous_run_uids, replaced.run_uid),
            (runs.clone(), Some(first.uid.clone()))
        );
        let listed = calls.list(pb::ListArtifactsRequest::default()).await.unwrap();
        assert_eq!(listed.artifacts[0].previous_run_uids, runs);
    }
}

#[tokio::test]
async fn what_is_read_under_a_run_is_its_input_once() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let input = save(&calls, "in.csv").await;
        let run = begin(&calls).await;
        let under = calls.under(&run.uid);
        for _ in 0..2 {
            assert_eq!(under.read(by_key("in.csv")).await.unwrap(), b"in.csv");
        }
        assert_eq!(inputs(&server).await, 1, "{backend:?}");
        calls.read(by_key("in.csv")).await.unwrap();
        let own = save_under(&under, keyed("out.csv"), b"out").await.unwrap();
        under.read(by_uid(&own.uid)).await.unwrap();
        assert_eq!(inputs(&server).await, 1, "never what the run made itself");
        save(&calls, "other.csv").await;
        let read = |is_run_input| pb::ReadContentRequest {
            artifact: Some(by_key("other.csv")),
            is_run_input,
            ..Default::default()
        };
        under.read_raw(read(Some(false))).await.unwrap();
        assert_eq!(inputs(&server).await, 1, "not when it shall not be");
        assert_eq!(
            refusal(calls.read_raw(read(Some(true))).await),
            ErrorReason::RunRequired
        );
        under.read_raw(read(Some(true))).await.unwrap();
        assert_eq!(inputs(&server).await, 2);
        let added = calls
            .add_run_inputs(&run.uid, vec![by_key("in.csv"), by_key("out.csv")])
            .await
            .unwrap();
        assert_eq!(added, 0);
        assert_eq!(refusal(calls.destroy(by_uid(&input.uid)).await), ErrorReason::InUse);
        let forced = pb::DeleteArtifactRequest {
            artifact: Some(by_uid(&input.uid)),
            permanent: true,
            force: true,
            if_used: pb::IfUsed::Allow.into(),
            ..Default::default()
        };
        calls.delete(forced).await.unwrap();
        assert_eq!(inputs(&server).await, 1);
        calls.finish_run(&run.uid, RunStatus::Completed).await.unwrap();
        assert_eq!(refusal(under.read(by_key("other.csv")).await), ErrorReason::RunFinished);
    }
}

#[tokio::test]
async fn a_damaged_content_is_no_input() {
    let server = TestServer::start().await;
    let calls = server.calls();
    save(&calls, "in.csv").await;
    server.overwrite_only_object(|stored| stored[0] ^= 1);
    let run = begin(&calls).await;
    let read = calls.under(&run.uid).read(by_key("in.csv")).await;
    assert_eq!(refusal(read), ErrorReason::ContentCorrupt);
    assert_eq!(inputs(&server).await, 0);
}

/// A graph in words: `run name -> artifact key`.
async fn graph(calls: &Calls, request: pb::GetLineageRequest) -> (Vec<String>, bool) {
    let graph = calls.lineage(request).await.unwrap();
    let artifact = |uid: &str| {
        let found = graph
            .artifacts
            .iter()
            .find(|artifact| artifact.uid == uid)
            .expect("nodes come first");
        found.key.clone().or(found.description.clone()).unwrap()
    };
    let run = |uid: &str| {
        graph
            .runs
            .iter()
            .find(|run| run.uid == uid)
            .expect("nodes come first")
            .name
            .clone()
            .unwrap()
    };
    let mut edges: Vec<String> = graph
        .edges
        .iter()
        .map(|edge| match edge.kind() {
            LineageEdgeKind::Input => format!("{} -> {}", artifact(&edge.artifact_uid), run(&edge.run_uid)),
            LineageEdgeKind::Output => format!("{} -> {}", run(&edge.run_uid), artifact(&edge.artifact_uid)),
            LineageEdgeKind::Updated => format!("{} => {}", run(&edge.run_uid), artifact(&edge.artifact_uid)),
            LineageEdgeKind::Unspecified => panic!("an edge of no kind"),
        })
        .collect();
    edges.sort();
    (edges, graph.truncated)
}

/// What led to `model` in a [`pipeline`].
const UP: [&str; 6] = [
    "again => tidy",
    "clean -> tidy",
    "raw -> again",
    "raw -> clean",
    "tidy -> train",
    "train -> model",
];

/// The edges of a drawing in the words of its nodes, as [`graph`] says them.
fn drawn(drawing: &str) -> Vec<String> {
    let mut labels: HashMap<&str, &str> = HashMap::new();
    let mut edges = Vec::new();
    for line in drawing.lines().map(str::trim) {
        let arrows = [(" -.-> ", "=>"), (" --> ", "->"), (" -> ", "->")];
        let edge = arrows
            .into_iter()
            .find_map(|(arrow, word)| Some((line.split_once(arrow)?, word)));
        if let Some(((from, to), word)) = edge {
            let word = if to.ends_with("[style=dashed];") { "=>" } else { word };
            let to = to.split([' ', ';']).next().unwrap();
            edges.push((from, word, to));
        } else if let Some((head, rest)) = line.split_once("label=\"").or_else(|| line.split_once('"')) {
            let name = head.split([' ', '[', '(']).next().unwrap();
            let label = rest.split('"').next().unwrap();
            labels.insert(name, label.trim_end_matches(" v1"));
        }
    }
    let edges = edges.into_iter();
    let mut edges: Vec<String> = edges
        .map(|(from, word, to)| format!("{} {word} {}", labels[from], labels[to]))
        .collect();
    edges.sort();
    edges
}

/// `raw -> clean -> tidy -> train -> model`, and `tidy -> plot -> figure`; `again` makes `tidy` too.
async fn pipeline(calls: &Calls) {
    save(calls, "raw").await;
    for (name, from, to) in [
        ("clean", "raw", "tidy"),
        ("train", "tidy", "model"),
        ("plot", "tidy", "figure"),
        ("again", "raw", "tidy"),
    ] {
        let run = calls
            .create_run(pb::CreateRunRequest {
                name: Some(name.to_owned()),
                ..Default::default()
            })
            .await
            .unwrap();
        let under = calls.under(&run.uid);
        under.read(by_key(from)).await.unwrap();
        under.save(keyed(to), to.as_bytes()).await.unwrap();
        calls.finish_run(&run.uid, RunStatus::Completed).await.unwrap();
    }
}

#[tokio::test]
async fn the_graph_is_walked_both_ways_with_limits() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        pipeline(&calls).await;
        let request = |key: &str, direction: LineageDirection| pb::GetLineageRequest {
            artifacts: vec![by_key(key)],
            direction: direction.into(),
            ..Default::default()
        };
        let up = UP.map(str::to_owned).to_vec();
        assert_eq!(
            graph(&calls, request("model", LineageDirection::Upstream)).await,
            (up.clone(), false),
            "{backend:?}"
        );
        // As many steps as there are leave nothing out.
        let two_steps = pb::GetLineageRequest {
            depth: 2,
            ..request("model", LineageDirection::Upstream)
        };
        assert_eq!(graph(&calls, two_steps).await, (up, false), "{backend:?}");
        let down = ["plot -> figure", "tidy -> plot", "tidy -> train", "train -> model"];
        let found = graph(&calls, request("tidy", LineageDirection::Downstream)).await;
        assert_eq!(found, (down.map(str::to_owned).to_vec(), false));
        let (both, _) = graph(&calls, request("tidy", LineageDirection::Both)).await;
        assert_eq!(both.len(), 8, "{both:?}");
        let one_step = pb::GetLineageRequest {
            depth: 1,
            ..request("model", LineageDirection::Upstream)
        };
        let (edges, truncated) = graph(&calls, one_step).await;
        assert_eq!(
            (edges, truncated),
            (vec!["tidy -> train".to_owned(), "train -> model".to_owned()], true)
        );
        let few = pb::GetLineageRequest {
            nodes_max: 3,
            ..request("model", LineageDirection::Upstream)
        };
        let few = calls.lineage(few).await.unwrap();
        assert_eq!((few.artifacts.len() + few.runs.len(), few.truncated), (3, true));
        let runs = calls.list_runs(pb::ListRunsRequest::default()).await.unwrap().runs;
        let train = runs.iter().find(|run| run.name() == "train").unwrap();
        let of_run = pb::GetLineageRequest {
            run_uid: Some(train.uid.clone()),
            depth: 1,
            ..Default::default()
        };
        let (edges, truncated) = graph(&calls, of_run).await;
        assert_eq!(
            (edges, truncated),
            (vec!["tidy -> train".to_owned(), "train -> model".to_owned()], true)
        );
    }
}

#[tokio::test]
async fn a_graph_is_drawn_and_impact_is_told() {
    let server = TestServer::start().await;
    let calls = server.calls();
    pipeline(&calls).await;
    let lineage = pb::GetLineageRequest {
        artifacts: vec![by_key("model")],
        direction: LineageDirection::Upstream.into(),
        ..Default::default()
    };
    let dot = calls.draw(lineage.clone(), pb::LineageFormat::Dot).await.unwrap();
    assert!(
        dot.starts_with("digraph lineage {") && dot.contains("label=\"raw v1\""),
        "{dot}"
    );
    assert_eq!(drawn(&dot), UP, "{dot}");
    let mermaid = calls.draw(lineage.clone(), pb::LineageFormat::Mermaid).await.unwrap();
    assert!(
        mermaid.starts_with("flowchart LR") && mermaid.contains("[\"model v1\"]"),
        "{mermaid}"
    );
    assert_eq!(drawn(&mermaid), UP, "{mermaid}");
    let nothing = calls.draw(lineage, pb::LineageFormat::Unspecified).await;
    assert_eq!(refusal(nothing), ErrorReason::FieldRequired);
    let impact = calls.impact(by_key("tidy")).await.unwrap();
    assert_eq!((impact.input_of_runs, impact.derived_artifacts), (2, 2));
    assert_eq!(impact.derived_artifact_uids.len(), 2);
    assert!(impact.is_latest);
    assert_eq!(
        (impact.described_runs, impact.same_content_artifacts, impact.annotations),
        (0, 0, 0)
    );
    for request in [
        pb::GetLineageRequest::default(),
        pb::GetLineageRequest {
            run_uid: Some("x".to_owned()),
            ..Default::default()
        },
        pb::GetLineageRequest {
            artifacts: vec![by_key("raw")],
            depth: 101,
            ..Default::default()
        },
        pb::GetLineageRequest {
            artifacts: vec![by_key("raw")],
            nodes_max: -1,
            ..Default::default()
        },
    ] {
        assert!(calls.lineage(request).await.is_err());
    }
}
