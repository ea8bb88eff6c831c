//! Values of features and params, and labels, at artifacts.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    example,
    pb::{self, AnnotateRequest, ErrorReason},
    records::{
        feature, feature_named, features, float, int, label, label_in, label_named, labels, list, param, params, said,
        text, values,
    },
    refusal,
};

pub(crate) async fn dataset(calls: &Calls, key: &str) -> pb::Artifact {
    saved(calls.save(keyed(key), key.as_bytes()).await.unwrap())
}

async fn model(calls: &Calls, key: &str) -> pb::Artifact {
    let header = pb::SaveHeader {
        kind: pb::ArtifactKind::Model.into(),
        ..keyed(key)
    };
    saved(calls.save(header, key.as_bytes()).await.unwrap())
}

pub(crate) async fn of_key(calls: &Calls, key: &str) -> Vec<String> {
    said(&calls.annotations_of(by_key(key)).await.unwrap())
}

const EXAMPLE: [&str; 4] = [
    "scientist: ULabel:Barbara McClintock, ULabel:Edgar Anderson",
    "species: Organism:iris",
    "study: \"Study 0: initial plant gathering\"",
    "temperature: 27.6",
];

#[tokio::test]
async fn a_dataset_takes_the_values_of_the_example() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        example::register(&calls).await;
        let before = dataset(&calls, "iris.csv").await;
        let done = calls.add(by_key("iris.csv"), example::annotations()).await.unwrap();
        assert_eq!((done.added, done.removed), (5, 0), "{backend:?}");
        assert_ne!(done.artifacts[0].etag, before.etag);
        assert_eq!(calls.get(by_key("iris.csv")).await.unwrap(), done.artifacts[0]);
        assert_eq!(of_key(&calls, "iris.csv").await, EXAMPLE);
        let again = calls.add(by_key("iris.csv"), example::annotations()).await.unwrap();
        assert_eq!((again.added, again.removed), (0, 0), "the same again changes nothing");
        assert_eq!(again.artifacts[0].etag, done.artifacts[0].etag);
    }
}

#[tokio::test]
async fn a_model_takes_the_params_of_the_example() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for name in ["hidden_size", "bottleneck_size", "batch_size"] {
            calls.create_feature(param(name, "int")).await.unwrap();
        }
        model(&calls, "model.pt").await;
        let sizes = params(vec![
            values("hidden_size", vec![int(32)]),
            values("bottleneck_size", vec![int(16)]),
            values("batch_size", vec![int(32)]),
        ]);
        calls.add(by_key("model.pt"), sizes).await.unwrap();
        let expected = ["batch_size: 32", "bottleneck_size: 16", "hidden_size: 32"];
        assert_eq!(of_key(&calls, "model.pt").await, expected, "{backend:?}");
    }
}

#[tokio::test]
async fn datasets_have_features_and_models_have_params() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.create_feature(feature("x", "int")).await.unwrap();
    calls.create_feature(param("x", "int")).await.unwrap();
    calls.create_label(label("l")).await.unwrap();
    dataset(&calls, "a.csv").await;
    model(&calls, "a.pt").await;
    let code = pb::SaveHeader {
        kind: pb::ArtifactKind::Code.into(),
        ..keyed("a.py")
    };
    calls.save(code, b"code").await.unwrap();
    let one = || vec![values("x", vec![int(1)])];
    for (key, add) in [
        ("a.csv", params(one())),
        ("a.pt", features(one())),
        ("a.py", features(one())),
        ("a.py", params(one())),
    ] {
        assert_eq!(
            refusal(calls.add(by_key(key), add).await),
            ErrorReason::WrongKind,
            "{key}"
        );
    }
    for key in ["a.csv", "a.pt", "a.py"] {
        calls.add(by_key(key), labels(vec![label_named("l")])).await.unwrap();
    }
}

#[tokio::test]
async fn values_are_added_set_and_removed() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        example::register(&calls).await;
        calls.create_feature(feature("tags", "list[str]")).await.unwrap();
        dataset(&calls, "a.csv").await;
        calls.add(by_key("a.csv"), example::annotations()).await.unwrap();
        let tags = |tags: &[&str]| list(tags.iter().map(|tag| text(tag)).collect());
        calls
            .add(
                by_key("a.csv"),
                features(vec![values("tags", vec![tags(&["a", "b"]), tags(&["b", "c"])])]),
            )
            .await
            .unwrap();
        let items = "SELECT count(*) FROM feature_values WHERE is_item";
        assert_eq!(server.query_integer(items).await, 3);
        let request = AnnotateRequest {
            artifacts: vec![by_key("a.csv")],
            remove: features(vec![
                values("scientist", vec![text("Edgar Anderson")]),
                values("study", vec![]),
                values("tags", vec![tags(&["a", "b"])]),
            ]),
            set: features(vec![values("temperature", vec![float(1.0), float(2.0)])]),
            add: features(vec![values("temperature", vec![float(3.0)])]),
            ..Default::default()
        };
        let done = calls.annotate(request.clone()).await.unwrap();
        assert_eq!((done.added, done.removed), (3, 4), "{backend:?}");
        let expected = [
            "scientist: ULabel:Barbara McClintock",
            "species: Organism:iris",
            "tags: [\"b\", \"c\"]",
            "temperature: 1.0, 2.0, 3.0",
        ];
        assert_eq!(of_key(&calls, "a.csv").await, expected);
        assert_eq!(server.query_integer(items).await, 2, "items of the list that stays");
        let again = calls.annotate(request).await.unwrap();
        // Setting takes the added one away before it is added again.
        assert_eq!((again.added, again.removed), (0, 0), "{backend:?}");
        let clear = AnnotateRequest {
            artifacts: vec![by_key("a.csv")],
            clear: true,
            add: features(vec![values("temperature", vec![float(3.0)])]),
            ..Default::default()
        };
        let done = calls.annotate(clear).await.unwrap();
        assert_eq!((done.added, done.removed), (0, 5));
        assert_eq!(of_key(&calls, "a.csv").await, ["temperature: 3.0"]);
        assert_eq!(server.query_integer("SELECT count(*) FROM feature_values").await, 1);
        assert_eq!(server.query_integer("SELECT count(*) FROM artifact_labels").await, 0);
    }
}

#[tokio::test]
async fn labels_are_added_once_and_features_that_hold_them_say_it_all() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        example::register(&calls).await;
        dataset(&calls, "a.csv").await;
        let edgar = || labels(vec![label_named("Edgar Anderson"), label_named("Edgar Anderson")]);
        let done = calls.add(by_key("a.csv"), edgar()).await.unwrap();
        assert_eq!(done.added, 1, "{backend:?}");
        assert_eq!(calls.add(by_key("a.csv"), edgar()).await.unwrap().added, 0);
        let held = features(vec![values("scientist", vec![text("Edgar Anderson")])]);
        let done = calls.add(by_key("a.csv"), held).await.unwrap();
        assert_eq!((done.added, done.removed), (1, 1));
        assert_eq!(of_key(&calls, "a.csv").await, ["scientist: ULabel:Edgar Anderson"]);
        assert_eq!(calls.add(by_key("a.csv"), edgar()).await.unwrap().added, 0);
        assert_eq!(
            refusal(calls.delete_label(label_named("Edgar Anderson")).await),
            ErrorReason::InUse
        );
        assert_eq!(
            refusal(calls.delete_feature(feature_named("scientist")).await),
            ErrorReason::InUse
        );
    }
}

#[tokio::test]
async fn many_artifacts_change_together_or_not_at_all() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("x", "int")).await.unwrap();
        let mut artifacts = Vec::new();
        for number in 0..20 {
            artifacts.push(by_uid(&dataset(&calls, &format!("{number}.csv")).await.uid));
        }
        let request = AnnotateRequest {
            artifacts: artifacts.clone(),
            add: features(vec![values("x", vec![int(1), int(2)])]),
            request_id: Some("all".to_owned()),
            ..Default::default()
        };
        let done = calls.annotate(request.clone()).await.unwrap();
        assert_eq!((done.added, done.artifacts.len()), (40, 20), "{backend:?}");
        assert_eq!(calls.annotate(request.clone()).await.unwrap(), done, "repeated");
        calls.trash(artifacts[7].clone()).await.unwrap();
        let with_one_in_trash = AnnotateRequest {
            add: features(vec![values("x", vec![int(3)])]),
            request_id: None,
            ..request
        };
        assert_eq!(
            refusal(calls.annotate(with_one_in_trash.clone()).await),
            ErrorReason::ArtifactInTrash
        );
        assert_eq!(of_key(&calls, "0.csv").await, ["x: 1, 2"]);
        let mut missing = with_one_in_trash.clone();
        missing.artifacts[7] = by_uid("0123456789abcdef0000");
        assert_eq!(refusal(calls.annotate(missing).await), ErrorReason::ArtifactNotFound);
        let twice = AnnotateRequest {
            artifacts: vec![by_key("0.csv"), artifacts[0].clone()],
            ..with_one_in_trash
        };
        assert_eq!(calls.annotate(twice).await.unwrap().added, 1);
        let none = AnnotateRequest {
            add: features(vec![values("x", vec![int(3)])]),
            ..Default::default()
        };
        assert_eq!(refusal(calls.annotate(none).await), ErrorReason::FieldRequired);
        let nothing = AnnotateRequest {
            artifacts: vec![by_key("0.csv")],
            ..Default::default()
        };
        assert_eq!(refusal(calls.annotate(nothing).await), ErrorReason::FieldRequired);
    }
}

#[tokio::test]
async fn an_etag_guards_what_one_annotates() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.create_feature(feature("x", "int")).await.unwrap();
    let artifact = dataset(&calls, "a.csv").await;
    let request = |value| AnnotateRequest {
        artifacts: vec![by_key("a.csv")],
        add: features(vec![values("x", vec![int(value)])]),
        etag: Some(artifact.etag.clone()),
        ..Default::default()
    };
    calls.annotate(request(1)).await.unwrap();
    assert_eq!(refusal(calls.annotate(request(2)).await), ErrorReason::EtagMismatch);
}

#[tokio::test]
async fn thirty_two_clients_annotate_one_artifact() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("x", "int")).await.unwrap();
        dataset(&calls, "a.csv").await;
        let clients: Vec<Calls> = (0..32).map(|_| server.calls()).collect();
        let all = clients.iter().enumerate().map(|(number, calls)| {
            let number = number as i64;
            // Half of the values are those of another client, and labels come into being.
            let add = AnnotateRequest {
                artifacts: vec![by_key("a.csv")],
                add: Some(pb::Annotations {
                    features: vec![values("x", vec![int(number / 2), int(100 + number)])],
                    labels: vec![label_named("crowd"), label_named(&format!("client {number}"))],
                    ..Default::default()
                }),
                register_missing: true,
                ..Default::default()
            };
            calls.annotate(add)
        });
        let done = futures::future::join_all(all).await;
        let added: i64 = done.iter().map(|done| done.as_ref().unwrap().added).sum();
        assert_eq!(added, 16 + 32 + 1 + 32, "{backend:?}");
        let annotations = calls.annotations_of(by_key("a.csv")).await.unwrap();
        assert_eq!(annotations.features[0].values.len(), 48);
        assert_eq!(annotations.labels.len(), 33);
    }
}

#[tokio::test]
async fn annotations_are_copied_to_others_of_the_kind() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        example::register(&calls).await;
        calls
            .create_feature(feature("pairs", "list[cat[ULabel]]"))
            .await
            .unwrap();
        for key in ["from.csv", "a.csv", "b.csv"] {
            dataset(&calls, key).await;
        }
        model(&calls, "a.pt").await;
        calls.add(by_key("from.csv"), example::annotations()).await.unwrap();
        let more = pb::Annotations {
            features: vec![values("pairs", vec![list(vec![text("Edgar Anderson")])])],
            labels: vec![label_in("Organism", "iris")],
            ..Default::default()
        };
        // The feature that holds the label says it already.
        calls.add(by_key("from.csv"), Some(more)).await.unwrap();
        calls
            .add(by_key("b.csv"), features(vec![values("temperature", vec![int(1)])]))
            .await
            .unwrap();
        let to = vec![by_key("a.csv"), by_key("b.csv")];
        calls.copy_annotations(by_key("from.csv"), to.clone()).await.unwrap();
        let mut expected: Vec<&str> = EXAMPLE.to_vec();
        expected.insert(0, "pairs: [ULabel:Edgar Anderson]");
        assert_eq!(of_key(&calls, "a.csv").await, expected, "{backend:?}");
        expected[4] = "temperature: 1.0, 27.6";
        assert_eq!(of_key(&calls, "b.csv").await, expected);
        let again = calls.copy_annotations(by_key("from.csv"), to).await.unwrap();
        assert_eq!(again.added, 0);
        let other = calls.copy_annotations(by_key("from.csv"), vec![by_key("a.pt")]).await;
        assert_eq!(refusal(other), ErrorReason::WrongKind);
    }
}

#[tokio::test]
async fn a_new_version_inherits_nothing_and_a_destroyed_artifact_takes_its_values_along() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        example::register(&calls).await;
        let old = dataset(&calls, "a.csv").await;
        calls.add(by_key("a.csv"), example::annotations()).await.unwrap();
        calls.save(keyed("a.csv"), b"other").await.unwrap();
        assert!(of_key(&calls, "a.csv").await.is_empty(), "{backend:?}");
        assert_eq!(said(&calls.annotations_of(by_uid(&old.uid)).await.unwrap()), EXAMPLE);
        calls.destroy(by_uid(&old.uid)).await.unwrap();
        assert_eq!(server.query_integer("SELECT count(*) FROM feature_values").await, 0);
        assert_eq!(server.query_integer("SELECT count(*) FROM artifact_labels").await, 0);
        calls.delete_feature(feature_named("temperature")).await.unwrap();
    }
}
