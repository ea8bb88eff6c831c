//! Transforms and runs, and what runs have used and made.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, described, keyed, saved},
    failure::Outcome,
    pb::{self, ErrorReason, LineageDirection, LineageEdgeKind, RunStatus},
    records::{feature, features, int, mask, text, values},
    refusal,
};

fn transform(key: &str, source: &str) -> pb::CreateTransformRequest {
    pb::CreateTransformRequest {
        key: key.to_owned(),
        source: Some(source.to_owned()),
        ..Default::default()
    }
}

fn by_transform_key(key: &str) -> Option<pb::TransformRef> {
    Some(pb::TransformRef {
        r#ref: Some(pb::transform_ref::Ref::Key(key.to_owned())),
        version: None,
    })
}

async fn begin(calls: &Calls) -> pb::Run {
    calls.create_run(pb::CreateRunRequest::default()).await.unwrap()
}

async fn save(calls: &Calls, key: &str) -> pb::Artifact {
    saved(calls.save(keyed(key), key.as_bytes()).await.unwrap())
}

async fn inputs(server: &TestServer) -> i64 {
    server.query_integer("SELECT count(*) FROM run_inputs").await
}

#[tokio::test]
async fn a_transform_has_versions_that_differ() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = calls.create_transform(transform("align.py", "print(1)")).await.unwrap();
        let made = first.transform.unwrap();
        assert!(first.created && made.is_latest);
        assert_eq!((made.version.as_str(), made.uid.len()), ("1", 20));
        assert_eq!(made.source.as_deref(), Some("print(1)"));
        assert_eq!(made.source_sha256, Some(artifactd_tests::content::digest(b"print(1)")));
        let same = calls.create_transform(transform("align.py", "print(1)")).await.unwrap();
        assert!(!same.created);
        assert_eq!(same.transform.unwrap(), made, "{backend:?}");
        let labelled = pb::CreateTransformRequest {
            version: Some("v2".to_owned()),
            ..transform("align.py", "print(2)")
        };
        let second = calls
            .create_transform(labelled.clone())
            .await
            .unwrap()
            .transform
            .unwrap();
        assert_eq!((second.stem.as_str(), second.version_number), (made.stem.as_str(), 2));
        let taken = pb::CreateTransformRequest {
            source: Some("print(3)".to_owned()),
            ..labelled
        };
        assert_eq!(refusal(calls.create_transform(taken).await), ErrorReason::VersionTaken);
        let latest = calls.get_transform(by_transform_key("align.py")).await.unwrap();
        assert_eq!(latest, second);
        for version in ["1", "v2", "2"] {
            let named = pb::TransformRef {
                version: Some(version.to_owned()),
                ..by_transform_key("align.py").unwrap()
            };
            let found = calls.get_transform(Some(named)).await.unwrap();
            assert_eq!(found.version_number, if version == "1" { 1 } else { 2 });
        }
        let old = pb::TransformRef {
            r#ref: Some(pb::transform_ref::Ref::Uid(second.uid.clone())),
            version: None,
        };
        calls.delete_transform(old).await.unwrap();
        let latest = calls.get_transform(by_transform_key("align.py")).await.unwrap();
        assert_eq!((latest.version_number, latest.is_latest), (1, true));
        let third = calls.create_transform(transform("align.py", "print(3)")).await.unwrap();
        assert_eq!(third.transform.unwrap().version_number, 3, "numbers are issued once");
        calls.create_transform(transform("b.py", "")).await.unwrap();
        for (request, keys) in [
            (pb::ListTransformsRequest::default(), vec![("align.py", 3), ("b.py", 1)]),
            (
                pb::ListTransformsRequest {
                    all_versions: true,
                    key_prefix: "align".to_owned(),
                    ..Default::default()
                },
                vec![("align.py", 3), ("align.py", 1)],
            ),
        ] {
            let mut found = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = pb::ListTransformsRequest {
                    page_size: 1,
                    page_token,
                    ..request.clone()
                };
                let page = calls.list_transforms(request).await.unwrap();
                found.extend(
                    page.transforms
                        .into_iter()
                        .map(|found| (found.key, found.version_number)),
                );
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let keys: Vec<_> = keys.into_iter().map(|(key, number)| (key.to_owned(), number)).collect();
            assert_eq!(found, keys, "{backend:?}");
        }
    }
}

#[tokio::test]
async fn a_run_begins_and_ends_once() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_transform(transform("align.py", "x")).await.unwrap();
        let request = pb::CreateRunRequest {
            transform: by_transform_key("align.py"),
            name: Some("first".to_owned()),
            params: vec![
                pb::RunParam {
                    name: "lr".to_owned(),
                    value: Some(artifactd_tests::records::float(0.1)),
                },
                pb::RunParam {
                    name: "seed".to_owned(),
                    value: Some(int((1 << 53) + 1)),
                },
            ],
            scheduled: true,
            request_id: Some("one".to_owned()),
            ..Default::default()
        };
        let run = calls.create_run(request.clone()).await.unwrap();
        assert_eq!(calls.create_run(request.clone()).await.unwrap(), run, "repeated");
        assert_eq!((run.status(), run.started_at), (RunStatus::Scheduled, None));
        assert_eq!(run.params, request.params);
        assert_eq!(run.transform.as_ref().unwrap().key, "align.py");
        let started = calls.start_run(&run.uid).await.unwrap();
        assert_eq!(started.status(), RunStatus::Started);
        assert!(started.started_at.is_some());
        let report = save(&calls, "report.html").await;
        let request = pb::UpdateRunRequest {
            uid: run.uid.clone(),
            update: Some(pb::RunUpdate {
                report: Some(by_key("report.html")),
                ..Default::default()
            }),
            update_mask: mask(&["report", "name"]),
            ..Default::default()
        };
        let updated = calls.update_run(request).await.unwrap();
        assert_eq!((updated.report_uid, updated.name), (Some(report.uid.clone()), None));
        let finished = calls.finish_run(&run.uid, RunStatus::Failed).await.unwrap();
        assert_eq!((finished.status(), finished.exit_code), (RunStatus::Failed, Some(1)));
        assert_eq!(calls.get_run(&run.uid).await.unwrap(), finished);
        for status in [RunStatus::Failed, RunStatus::Completed] {
            let again = calls.finish_run(&run.uid, status).await;
            assert_eq!(refusal(again), ErrorReason::RunFinished, "{backend:?}");
        }
        assert_eq!(refusal(calls.start_run(&run.uid).await), ErrorReason::RunFinished);
        let params = pb::UpdateRunRequest {
            uid: run.uid.clone(),
            update: Some(pb::RunUpdate::default()),
            update_mask: mask(&["params"]),
            ..Default::default()
        };
        assert_eq!(refusal(calls.update_run(params).await), ErrorReason::RunFinished);
        assert_eq!(refusal(calls.destroy(by_uid(&report.uid)).await), ErrorReason::InUse);
        let other = begin(&calls).await;
        let listed = async |request| -> Vec<String> {
            calls
                .list_runs(request)
                .await
                .unwrap()
                .runs
                .into_iter()
                .map(|run| run.uid)
                .collect()
        };
        assert_eq!(
            listed(pb::ListRunsRequest::default()).await,
            [other.uid.clone(), run.uid.clone()]
        );
        let failed = pb::ListRunsRequest {
            statuses: vec![RunStatus::Failed.into()],
            ..Default::default()
        };
        assert_eq!(listed(failed).await, std::slice::from_ref(&run.uid));
        let of_transform = pb::ListRunsRequest {
            transform: by_transform_key("align.py"),
            ..Default::default()
        };
        assert_eq!(listed(of_transform).await, std::slice::from_ref(&run.uid));
        let transform = pb::TransformRef {
            r#ref: Some(pb::transform_ref::Ref::Uid(run.transform.unwrap().uid)),
            version: None,
        };
        assert_eq!(refusal(calls.delete_transform(transform).await), ErrorReason::InUse);
    }
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
        let up = [
            "again => tidy",
            "clean -> tidy",
            "raw -> again",
            "raw -> clean",
            "tidy -> train",
            "train -> model",
        ];
        assert_eq!(
            graph(&calls, request("model", LineageDirection::Upstream)).await,
            (up.map(str::to_owned).to_vec(), false),
            "{backend:?}"
        );
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
        ..Default::default()
    };
    let dot = calls.draw(lineage.clone(), pb::LineageFormat::Dot).await.unwrap();
    assert!(
        dot.starts_with("digraph lineage {") && dot.contains("label=\"raw v1\""),
        "{dot}"
    );
    let mermaid = calls.draw(lineage.clone(), pb::LineageFormat::Mermaid).await.unwrap();
    assert!(
        mermaid.starts_with("flowchart LR") && mermaid.contains("[\"model v1\"]"),
        "{mermaid}"
    );
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

#[tokio::test]
async fn bad_runs_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let run = begin(&calls).await;
    let param = |name: &str, value| pb::RunParam {
        name: name.to_owned(),
        value: Some(value),
    };
    for params in [
        vec![param("", int(1))],
        vec![param("a", int(1)), param("a", int(2))],
        vec![param("a", artifactd_tests::records::float(f64::NAN))],
        vec![param("a", text("a\0b"))],
        vec![param("a", text(&"x".repeat(70_000)))],
        vec![pb::RunParam {
            name: "a".to_owned(),
            value: None,
        }],
    ] {
        let request = pb::CreateRunRequest {
            params,
            ..Default::default()
        };
        assert_eq!(refusal(calls.create_run(request).await), ErrorReason::FieldInvalid);
    }
    for (status, reason) in [
        (RunStatus::Started, ErrorReason::FieldInvalid),
        (RunStatus::Unspecified, ErrorReason::FieldRequired),
    ] {
        assert_eq!(refusal(calls.finish_run(&run.uid, status).await), reason);
    }
    assert_eq!(
        refusal(calls.get_run("0123456789abcdef").await),
        ErrorReason::RunNotFound
    );
    let unknown = pb::CreateRunRequest {
        transform: by_transform_key("nothing"),
        ..Default::default()
    };
    assert_eq!(refusal(calls.create_run(unknown).await), ErrorReason::TransformNotFound);
    calls.delete_run(&run.uid).await.unwrap();
    assert_eq!(refusal(calls.get_run(&run.uid).await), ErrorReason::RunNotFound);
    calls.save(described("x"), b"x").await.unwrap();
}

#[tokio::test]
async fn of_many_who_end_one_run_one_does() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let run = begin(&server.calls()).await;
        let calls: Vec<Calls> = (0..8).map(|_| server.calls()).collect();
        let ends = calls
            .iter()
            .map(|calls| calls.finish_run(&run.uid, RunStatus::Completed));
        let ends = futures::future::join_all(ends).await;
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "{backend:?}");
        for end in ends.into_iter().filter_map(Result::err) {
            assert_eq!(end.reason, Some(ErrorReason::RunFinished));
        }
    }
}
