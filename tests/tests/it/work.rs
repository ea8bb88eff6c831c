//! Work as a whole: committed at once, and done once.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, by_version, described, keyed, saved},
    collections::{key_ref, pinned},
    failure::Outcome,
    pb::{
        self, ErrorReason, RunStatus, SaveOutcome, collection_change::Change, commit_work_request::Run,
        reserve_output_response::Result as Reserved, work_alias::Target,
    },
    records::{feature, features, int, label, label_named, said, values},
    refusal,
};

fn output(header: pb::SaveHeader, content: &[u8]) -> pb::SaveSmallArtifactRequest {
    pb::SaveSmallArtifactRequest {
        header: Some(header),
        content: content.to_vec().into(),
        crc32c: None,
    }
}

fn completed() -> Option<pb::WorkEnd> {
    Some(pb::WorkEnd {
        status: RunStatus::Completed.into(),
        exit_code: Some(0),
        error: None,
    })
}

fn create(key: &str, members: Vec<pb::NewCollectionMember>, outputs: Vec<i32>) -> pb::CollectionChange {
    pb::CollectionChange {
        change: Some(Change::Create(pb::CreateCollectionRequest {
            key: key.to_owned(),
            members,
            ..Default::default()
        })),
        outputs,
        follow_latest: false,
    }
}

/// Everything at once: a run that used the input, made two files, one of them a version of
/// what was there, said something of both and of the input, and collected all three.
fn everything(input: &pb::Artifact, held: &[u8]) -> pb::CommitWorkRequest {
    let said_of_one = pb::SaveHeader {
        annotations: features(vec![values("cells", vec![int(7)])]),
        ..keyed("made/one.csv")
    };
    let claim = pb::SaveHeader {
        claim: true,
        sha256: Some(artifactd_tests::content::digest(held)),
        ..keyed("made/two.csv")
    };
    pb::CommitWorkRequest {
        run: Some(Run::Begin(pb::CreateRunRequest {
            name: Some("nightly".to_owned()),
            ..Default::default()
        })),
        inputs: vec![by_uid(&input.uid)],
        outputs: vec![output(said_of_one, b"1"), output(claim, b"")],
        annotations: vec![pb::AnnotateRequest {
            artifacts: vec![by_uid(&input.uid)],
            add: Some(pb::Annotations {
                labels: vec![label_named("used")],
                ..Default::default()
            }),
            ..Default::default()
        }],
        collections: vec![create("all", vec![pinned(by_uid(&input.uid))], vec![1, 0])],
        aliases: vec![
            alias(Target::Output(0), "current"),
            alias(Target::Artifact(by_uid(&input.uid)), "used"),
        ],
        end: completed(),
        request_id: Some("once".to_owned()),
    }
}

fn alias(target: Target, name: &str) -> pb::WorkAlias {
    pb::WorkAlias {
        target: Some(target),
        name: name.to_owned(),
        r#if: None,
    }
}

async fn prepared(backend: Backend) -> (TestServer, Calls, pb::Artifact) {
    let server = TestServer::on(backend).await;
    let calls = server.calls();
    calls.create_feature(feature("cells", "int")).await.unwrap();
    calls.create_label(label("used")).await.unwrap();
    let input = saved(calls.save(keyed("input.csv"), b"input").await.unwrap());
    saved(calls.save(keyed("made/one.csv"), b"0").await.unwrap());
    (server, calls, input)
}

#[tokio::test]
async fn what_a_run_used_made_and_said_is_committed_at_once() {
    for backend in Backend::DATABASES {
        let (server, calls, input) = prepared(backend).await;
        let done = calls.commit_work(everything(&input, b"input")).await.unwrap();
        let run = done.run.clone().unwrap();
        assert_eq!(
            (run.status(), run.exit_code),
            (RunStatus::Completed, Some(0)),
            "{backend:?}"
        );
        assert_eq!(done.inputs_added, 1);
        let outcomes: Vec<_> = done.outputs.iter().map(pb::SaveArtifactResponse::outcome).collect();
        assert_eq!(outcomes, [SaveOutcome::NewVersion, SaveOutcome::Created]);
        let one = calls.get(by_key("made/one.csv")).await.unwrap();
        assert_eq!(
            (one.version.as_str(), one.run_uid.as_deref()),
            ("2", Some(run.uid.as_str()))
        );
        assert_eq!(calls.read(by_key("made/one.csv")).await.unwrap(), b"1");
        assert_eq!(calls.read(by_key("made/two.csv")).await.unwrap(), b"input");
        assert_eq!(
            said(&calls.annotations_of(by_uid(&one.uid)).await.unwrap()),
            ["cells: 7"]
        );
        assert_eq!(
            said(&calls.annotations_of(by_uid(&input.uid)).await.unwrap()),
            ["label used"]
        );
        let members = calls.all_members(key_ref("all")).await.unwrap();
        let keys: Vec<_> = members
            .iter()
            .map(|member| member.artifact.clone().unwrap().key.unwrap())
            .collect();
        assert_eq!(keys, ["input.csv", "made/two.csv", "made/one.csv"]);
        for (key, name, uid) in [("made/one.csv", "current", &one.uid), ("input.csv", "used", &input.uid)] {
            assert_eq!(&calls.get(by_version(key, name)).await.unwrap().uid, uid);
        }
        let moved: Vec<_> = done
            .aliases
            .iter()
            .map(|moved| moved.alias.clone().unwrap().uid)
            .collect();
        assert_eq!(moved, [one.uid.clone(), input.uid.clone()]);
        assert_eq!(server.query_integer("SELECT count(*) FROM run_inputs").await, 1);
        // Under its request id once; another one under the same id is refused.
        assert_eq!(calls.commit_work(everything(&input, b"input")).await.unwrap(), done);
        let other = pb::CommitWorkRequest {
            inputs: Vec::new(),
            ..everything(&input, b"input")
        };
        assert_eq!(refusal(calls.commit_work(other).await), ErrorReason::RequestIdReused);
        assert_eq!(calls.family(by_key("made/one.csv")).await.unwrap().len(), 2);
        server.assert_clean();
    }
}

#[tokio::test]
async fn what_a_run_has_made_is_none_of_its_inputs() {
    for backend in Backend::DATABASES {
        let (server, calls, input) = prepared(backend).await;
        let run = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        let under = calls.under(&run.uid);
        let own = saved(under.save(keyed("own.csv"), b"own").await.unwrap());
        let work = |run: Run, output: &str| pb::CommitWorkRequest {
            run: Some(run),
            inputs: vec![by_uid(&own.uid), by_uid(&input.uid)],
            outputs: vec![self::output(keyed(output), output.as_bytes())],
            ..Default::default()
        };
        const INPUTS: &str = "SELECT count(*) FROM run_inputs JOIN artifacts ON artifacts.id = run_inputs.artifact_id \
             WHERE artifacts.run_id = run_inputs.run_id";
        let done = calls
            .commit_work(work(Run::RunUid(run.uid.clone()), "1.csv"))
            .await
            .unwrap();
        assert_eq!(done.inputs_added, 1, "{backend:?}");
        assert_eq!(
            done.outputs[0].artifact.as_ref().unwrap().run_uid,
            Some(run.uid.clone())
        );
        // What it made in the work before is its own by now as well.
        let made = done.outputs[0].artifact.clone().unwrap();
        let again = pb::CommitWorkRequest {
            inputs: vec![by_uid(&made.uid), by_uid(&own.uid)],
            ..work(Run::RunUid(run.uid.clone()), "2.csv")
        };
        assert_eq!(calls.commit_work(again).await.unwrap().inputs_added, 0);
        assert_eq!(server.query_integer(INPUTS).await, 0);
        // Of another run it is an input.
        let other = work(Run::Begin(pb::CreateRunRequest::default()), "3.csv");
        assert_eq!(calls.commit_work(other).await.unwrap().inputs_added, 2);
        assert_eq!(server.query_integer("SELECT count(*) FROM run_inputs").await, 3);
        server.assert_clean();
    }
}

#[tokio::test]
async fn whatever_is_wrong_nothing_of_it_happens() {
    for backend in Backend::DATABASES {
        let (server, calls, input) = prepared(backend).await;
        let finished = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        calls.finish_run(&finished.uid, RunStatus::Failed).await.unwrap();
        let trashed = saved(calls.save(keyed("trashed.csv"), b"trashed").await.unwrap());
        calls.trash(by_uid(&trashed.uid)).await.unwrap();
        let before = counts(&server).await;
        let mut wrong: Vec<(ErrorReason, pb::CommitWorkRequest)> = Vec::new();
        let mut add = |reason, change: &dyn Fn(&mut pb::CommitWorkRequest)| {
            let mut request = everything(&input, b"input");
            request.request_id = None;
            change(&mut request);
            wrong.push((reason, request));
        };
        add(ErrorReason::ContentNotHeld, &|request| {
            let header = request.outputs[1].header.as_mut().unwrap();
            header.sha256 = Some("0".repeat(64));
        });
        add(ErrorReason::AnnotationInvalid, &|request| {
            let header = request.outputs[0].header.as_mut().unwrap();
            header.annotations = features(vec![values("unknown", vec![int(7)])]);
        });
        add(ErrorReason::ArtifactInTrash, &|request| {
            request.inputs.push(by_uid(&trashed.uid))
        });
        add(ErrorReason::ArtifactNotFound, &|request| {
            request.annotations[0].artifacts = vec![by_key("nothing.csv")];
        });
        add(ErrorReason::AnnotationInvalid, &|request| {
            request.annotations[0].add.as_mut().unwrap().labels = vec![label_named("unknown")];
        });
        add(ErrorReason::CollectionNotFound, &|request| {
            request.collections.push(pb::CollectionChange {
                change: Some(Change::Append(pb::AppendToCollectionRequest {
                    collection: Some(key_ref("nothing")),
                    ..Default::default()
                })),
                outputs: vec![0],
                follow_latest: true,
            });
        });
        add(ErrorReason::RunFinished, &|request| {
            request.run = Some(Run::RunUid(finished.uid.clone()))
        });
        add(ErrorReason::RunRequired, &|request| request.run = None);
        add(ErrorReason::DigestMismatch, &|request| {
            request.outputs[0].header.as_mut().unwrap().sha256 = Some("0".repeat(64));
        });
        add(ErrorReason::FieldInvalid, &|request| {
            request.collections[0].outputs = vec![2]
        });
        add(ErrorReason::FieldInvalid, &|request| {
            request.aliases.push(alias(Target::Output(2), "current"));
        });
        add(ErrorReason::FieldRequired, &|request| request.aliases[1].target = None);
        add(ErrorReason::AliasInvalid, &|request| {
            request.aliases[1].name = "latest".to_owned()
        });
        add(ErrorReason::AliasMoved, &|request| {
            let precondition = Some(pb::alias_precondition::Precondition::Uid(input.uid.clone()));
            request.aliases[1].r#if = Some(pb::AliasPrecondition { precondition });
        });
        add(ErrorReason::ArtifactNotFound, &|request| {
            request.aliases[1].target = Some(Target::Artifact(by_key("nothing.csv")));
        });
        add(ErrorReason::FieldInvalid, &|request| {
            request.outputs[0].header.as_mut().unwrap().request_id = Some("its".to_owned());
        });
        add(ErrorReason::FieldInvalid, &|request| {
            request.end.as_mut().unwrap().status = RunStatus::Started.into();
        });
        add(ErrorReason::MessageTooLarge, &|request| {
            request.outputs = vec![
                output(keyed("a.bin"), &vec![1; 600_000]),
                output(keyed("b.bin"), &vec![2; 600_000]),
            ];
        });
        for (reason, request) in wrong {
            assert_eq!(refusal(calls.commit_work(request.clone()).await), reason, "{request:?}");
            assert_eq!(counts(&server).await, before, "{backend:?}: {reason:?} left something");
        }
        calls.commit_work(everything(&input, b"input")).await.unwrap();
        server.assert_clean();
    }
}

async fn counts(server: &TestServer) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in [
        "runs",
        "run_inputs",
        "artifacts",
        "feature_values",
        "artifact_labels",
        "collections",
        "aliases",
        "events",
    ] {
        counts.push(server.query_integer(&format!("SELECT count(*) FROM {table}")).await);
    }
    counts
}

fn of_transform(inputs: &[&pb::Artifact], seed: i64) -> pb::ReserveOutputRequest {
    pb::ReserveOutputRequest {
        transform: Some(pb::TransformRef {
            r#ref: Some(pb::transform_ref::Ref::Key("align.py".to_owned())),
            version: None,
        }),
        inputs: inputs.iter().map(|artifact| by_uid(&artifact.uid)).collect(),
        params: vec![pb::RunParam {
            name: "seed".to_owned(),
            value: Some(int(seed)),
        }],
        ..Default::default()
    }
}

fn leased(reserved: Outcome<Reserved>) -> pb::Run {
    match reserved.unwrap() {
        Reserved::Leased(lease) => lease.run.unwrap(),
        other => panic!("{other:?} is no lease"),
    }
}

async fn with_transform(backend: Backend) -> (TestServer, Calls, pb::Artifact) {
    let (server, calls, input) = prepared(backend).await;
    let transform = pb::CreateTransformRequest {
        key: "align.py".to_owned(),
        source: Some("print(1)".to_owned()),
        ..Default::default()
    };
    calls.create_transform(transform).await.unwrap();
    (server, calls, input)
}

#[tokio::test]
async fn work_that_was_done_is_not_done_again() {
    for backend in Backend::DATABASES {
        let (server, calls, input) = with_transform(backend).await;
        let run = leased(calls.reserve_output(of_transform(&[&input], 1)).await);
        assert_eq!(run.status(), RunStatus::Started);
        assert_eq!(server.query_integer("SELECT count(*) FROM run_inputs").await, 1);
        // Others wait, and are told for whom.
        let Reserved::Held(held) = calls.reserve_output(of_transform(&[&input], 1)).await.unwrap() else {
            panic!("{backend:?}: it is held");
        };
        assert_eq!(held.run.unwrap().uid, run.uid);
        assert!(held.expires_at.is_some());
        // Whoever has it may have it for longer.
        let longer = pb::ReserveOutputRequest {
            run_uid: Some(run.uid.clone()),
            ..of_transform(&[&input], 1)
        };
        assert_eq!(leased(calls.reserve_output(longer).await).uid, run.uid);
        // What it is called with, and what its inputs hold, make it other work.
        let other = leased(calls.reserve_output(of_transform(&[&input], 2)).await);
        assert_ne!(other.uid, run.uid);
        assert_ne!(leased(calls.reserve_output(of_transform(&[], 1)).await).uid, run.uid);
        // So does the order of these.
        let second = saved(calls.save(keyed("second.csv"), b"second").await.unwrap());
        let in_order = leased(calls.reserve_output(of_transform(&[&input, &second], 1)).await);
        let turned = leased(calls.reserve_output(of_transform(&[&second, &input], 1)).await);
        assert_ne!(turned.uid, in_order.uid, "{backend:?}");
        let under = calls.under(&run.uid);
        let made = saved(under.save(keyed("aligned.csv"), b"aligned").await.unwrap());
        calls.finish_run(&run.uid, RunStatus::Completed).await.unwrap();
        // The same content under another name is the same input.
        let copy = saved(calls.save(keyed("copy.csv"), b"input").await.unwrap());
        for input in [&input, &copy] {
            match calls.reserve_output(of_transform(&[input], 1)).await.unwrap() {
                Reserved::Existing(existing) => {
                    assert_eq!(existing.run.unwrap().uid, run.uid);
                    let uids: Vec<_> = existing.artifacts.into_iter().map(|artifact| artifact.uid).collect();
                    assert_eq!(uids, std::slice::from_ref(&made.uid));
                }
                other => panic!("{backend:?}: {other:?} is not what was made"),
            }
        }
        // Work that failed, or of which nothing is left, is to be done again.
        calls.finish_run(&other.uid, RunStatus::Failed).await.unwrap();
        assert_ne!(
            leased(calls.reserve_output(of_transform(&[&input], 2)).await).uid,
            other.uid
        );
        calls.trash(by_uid(&made.uid)).await.unwrap();
        assert_ne!(
            leased(calls.reserve_output(of_transform(&[&input], 1)).await).uid,
            run.uid
        );
        assert_eq!(
            refusal(calls.reserve_output(longer_of(&run, &input)).await),
            ErrorReason::RunFinished
        );
    }
}

fn longer_of(run: &pb::Run, input: &pb::Artifact) -> pb::ReserveOutputRequest {
    pb::ReserveOutputRequest {
        run_uid: Some(run.uid.clone()),
        ..of_transform(&[input], 3)
    }
}

#[tokio::test]
async fn of_many_who_ask_for_work_one_gets_it() {
    for backend in Backend::DATABASES {
        let (_server, calls, input) = with_transform(backend).await;
        let asking = (0..16).map(|_| calls.reserve_output(of_transform(&[&input], 1)));
        let answers = futures::future::join_all(asking).await;
        let leases = answers.into_iter().map(Result::unwrap);
        let leases = leases.filter(|answer| matches!(answer, Reserved::Leased(_)));
        assert_eq!(leases.count(), 1, "{backend:?}");
    }
}

#[tokio::test]
async fn whoever_loses_the_work_saves_nothing_any_more() {
    for backend in Backend::DATABASES {
        let (server, calls, input) = with_transform(backend).await;
        let slow = leased(calls.reserve_output(of_transform(&[&input], 1)).await);
        let late = "UPDATE reservations SET expires_at_us = 1";
        server.database().await.run(late).await;
        let next = leased(calls.reserve_output(of_transform(&[&input], 1)).await);
        assert_ne!(next.uid, slow.uid, "{backend:?}");
        let lost = calls.get_run(&slow.uid).await.unwrap();
        assert_eq!(lost.status(), RunStatus::Aborted);
        assert_eq!(
            refusal(calls.under(&slow.uid).save(described("late"), b"late").await),
            ErrorReason::RunFinished
        );
        let longer = pb::ReserveOutputRequest {
            run_uid: Some(slow.uid.clone()),
            ..of_transform(&[&input], 1)
        };
        assert!(matches!(calls.reserve_output(longer).await.unwrap(), Reserved::Held(_)));
    }
}

#[tokio::test]
async fn who_got_work_under_a_request_id_is_answered_so_again() {
    for backend in Backend::DATABASES {
        let (server, calls, input) = with_transform(backend).await;
        let asked = |id: &str, seed: i64| pb::ReserveOutputRequest {
            request_id: Some(id.to_owned()),
            ..of_transform(&[&input], seed)
        };
        let mine = leased(calls.reserve_output(asked("mine", 1)).await);
        // The answer was lost on its way: nothing says that the caller has it but the id.
        assert_eq!(leased(calls.reserve_output(asked("mine", 1)).await).uid, mine.uid);
        for _ in 0..2 {
            let theirs = calls.reserve_output(asked("theirs", 1)).await.unwrap();
            assert!(matches!(theirs, Reserved::Held(_)), "{backend:?}");
        }
        let other = calls.reserve_output(asked("mine", 2)).await;
        assert_eq!(refusal(other), ErrorReason::RequestIdReused);
        assert_eq!(server.query_integer("SELECT count(*) FROM runs").await, 1);
        calls.finish_run(&mine.uid, RunStatus::Failed).await.unwrap();
        let next = leased(calls.reserve_output(asked("theirs", 1)).await);
        assert_ne!(next.uid, mine.uid, "who heard that it was held may ask again");
    }
}

#[tokio::test]
async fn bad_reservations_are_refused() {
    let (_server, calls, input) = with_transform(Backend::EMBEDDED).await;
    let good = || of_transform(&[&input], 1);
    let stranger = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
    let with = |change: &dyn Fn(&mut pb::ReserveOutputRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    for (reason, request) in [
        (ErrorReason::FieldRequired, with(&|request| request.transform = None)),
        (ErrorReason::FieldInvalid, with(&|request| request.lease_seconds = -1)),
        (
            ErrorReason::FieldInvalid,
            with(&|request| request.lease_seconds = 86_401),
        ),
        (
            ErrorReason::DigestInvalid,
            with(&|request| request.input_digests = vec!["x".to_owned()]),
        ),
        (
            ErrorReason::ArtifactNotFound,
            with(&|request| request.inputs = vec![by_key("nothing.csv")]),
        ),
        (
            ErrorReason::FieldInvalid,
            with(&|request| request.run_uid = Some(stranger.uid.clone())),
        ),
        (
            ErrorReason::RunNotFound,
            with(&|request| request.run_uid = Some("0".repeat(16))),
        ),
    ] {
        assert_eq!(
            refusal(calls.reserve_output(request.clone()).await),
            reason,
            "{request:?}"
        );
    }
}
