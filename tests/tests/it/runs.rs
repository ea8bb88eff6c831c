//! Transforms and runs: their versions, and how a run begins and ends.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, described, keyed, saved},
    pb::{self, ErrorReason, RunStatus},
    records::{int, mask, text},
    refusal,
};

pub(crate) fn transform(key: &str, source: &str) -> pb::CreateTransformRequest {
    pb::CreateTransformRequest {
        key: key.to_owned(),
        source: Some(source.to_owned()),
        ..Default::default()
    }
}

pub(crate) fn by_transform_key(key: &str) -> Option<pb::TransformRef> {
    Some(pb::TransformRef {
        r#ref: Some(pb::transform_ref::Ref::Key(key.to_owned())),
        version: None,
    })
}

pub(crate) async fn begin(calls: &Calls) -> pb::Run {
    calls.create_run(pb::CreateRunRequest::default()).await.unwrap()
}

pub(crate) async fn save(calls: &Calls, key: &str) -> pb::Artifact {
    saved(calls.save(keyed(key), key.as_bytes()).await.unwrap())
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
        let (report, environment) = (save(&calls, "report.html").await, save(&calls, "environment.yml").await);
        let request = pb::UpdateRunRequest {
            uid: run.uid.clone(),
            update: Some(pb::RunUpdate {
                report: Some(by_key("report.html")),
                environment: Some(by_key("environment.yml")),
                ..Default::default()
            }),
            update_mask: mask(&["report", "environment", "name"]),
            ..Default::default()
        };
        let updated = calls.update_run(request).await.unwrap();
        assert_eq!((updated.report_uid, updated.name), (Some(report.uid.clone()), None));
        assert_eq!(updated.environment_uid, Some(environment.uid.clone()));
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
        for used in [&report, &environment] {
            assert_eq!(refusal(calls.destroy(by_uid(&used.uid)).await), ErrorReason::InUse);
        }
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
