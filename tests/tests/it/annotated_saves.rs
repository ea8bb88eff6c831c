//! Annotations that come with a save, in its transaction.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    pb::{self, ArtifactKind, ErrorReason, SaveHeader, SaveOutcome},
    records::{feature, features, float, int, label, label_named, param, params, said, text, values},
    refusal,
};

fn temperature(of: f64) -> Option<pb::Annotations> {
    features(vec![values("temperature", vec![float(of)])])
}

fn with(key: &str, annotations: Option<pb::Annotations>) -> SaveHeader {
    SaveHeader {
        annotations,
        ..keyed(key)
    }
}

async fn of(calls: &Calls, artifact: pb::ArtifactRef) -> Vec<String> {
    said(&calls.annotations_of(artifact).await.unwrap())
}

#[tokio::test]
async fn a_save_brings_its_annotations_along() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("temperature", "float")).await.unwrap();
        calls.create_label(label("good")).await.unwrap();
        let mut annotations = temperature(27.6);
        annotations.as_mut().unwrap().labels = vec![label_named("good")];
        let header = SaveHeader {
            request_id: Some("once".to_owned()),
            ..with("a.csv", annotations)
        };
        let first = calls.save(header.clone(), b"a").await.unwrap();
        let expected = ["temperature: 27.6", "label good"];
        assert_eq!(of(&calls, by_key("a.csv")).await, expected, "{backend:?}");
        assert_eq!(
            calls.save(header.clone(), b"a").await.unwrap(),
            first,
            "under its request id once"
        );
        // The record says so already; what is said of it is another call's to change.
        let existing = SaveHeader {
            request_id: None,
            ..with("a.csv", temperature(1.0))
        };
        let existing = calls.save(existing, b"a").await.unwrap();
        assert_eq!(existing.outcome(), SaveOutcome::Existing);
        assert_eq!(existing.not_applied, ["annotations"]);
        assert_eq!(of(&calls, by_key("a.csv")).await, expected);
        // Small saves and batches take the same way.
        calls.save_small(with("b.csv", temperature(1.5)), b"b").await.unwrap();
        assert_eq!(of(&calls, by_key("b.csv")).await, ["temperature: 1.5"]);
    }
}

#[tokio::test]
async fn a_save_with_a_fault_in_its_annotations_saves_nothing() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("temperature", "float")).await.unwrap();
        calls.create_feature(param("rate", "float")).await.unwrap();
        let faulty = features(vec![
            values("temperature", vec![text("warm")]),
            values("pressure", vec![int(1)]),
        ]);
        let failure = calls.save(with("a.csv", faulty), b"a").await.unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::AnnotationInvalid), "{backend:?}");
        let fields = failure.fields;
        assert_eq!(
            fields,
            [
                "header.annotations.features[0].values[0]",
                "header.annotations.features[1]"
            ]
        );
        let wrong_kind = with("a.csv", params(vec![values("rate", vec![float(0.1)])]));
        assert_eq!(refusal(calls.save(wrong_kind, b"a").await), ErrorReason::WrongKind);
        assert_eq!(refusal(calls.get(by_key("a.csv")).await), ErrorReason::ArtifactNotFound);
        assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 0);
        assert_eq!(server.query_integer("SELECT count(*) FROM feature_values").await, 0);
        let missing = SaveHeader {
            register_missing: true,
            ..with("a.csv", features(vec![values("pressure", vec![int(1)])]))
        };
        calls.save(missing, b"a").await.unwrap();
        assert_eq!(of(&calls, by_key("a.csv")).await, ["pressure: 1"]);
    }
}

#[tokio::test]
async fn a_version_inherits_annotations_when_wished() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("temperature", "float")).await.unwrap();
        let first = saved(calls.save(with("a.csv", temperature(20.0)), b"1").await.unwrap());
        calls.save(keyed("a.csv"), b"2").await.unwrap();
        assert!(
            of(&calls, by_key("a.csv")).await.is_empty(),
            "{backend:?}: not unless asked"
        );
        let back = SaveHeader {
            revises: Some(first.uid.clone()),
            inherit_annotations: true,
            ..with("a.csv", temperature(21.0))
        };
        calls.save(back, b"3").await.unwrap();
        assert_eq!(
            of(&calls, by_key("a.csv")).await,
            ["temperature: 21.0"],
            "of the latest, which had none"
        );
        let next = SaveHeader {
            inherit_annotations: true,
            ..with("a.csv", temperature(22.0))
        };
        calls.save(next, b"4").await.unwrap();
        assert_eq!(of(&calls, by_key("a.csv")).await, ["temperature: 21.0, 22.0"]);
        assert_eq!(of(&calls, by_uid(&first.uid)).await, ["temperature: 20.0"]);
        let model = SaveHeader {
            kind: ArtifactKind::Model.into(),
            inherit_annotations: true,
            ..keyed("a.csv")
        };
        assert_eq!(refusal(calls.save(model, b"5").await), ErrorReason::WrongKind);
    }
}
