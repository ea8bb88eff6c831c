//! What a value may be: every dtype, every fault, and what is registered for it.

use artifactd_tests::{
    Backend, Failure, TestServer,
    calls::by_key,
    example,
    pb::{self, AnnotateRequest, ErrorReason, value::Kind},
    records::{
        boolean, date, dict, feature, feature_named, features, float, int, label_in, label_named, label_value, list,
        of, said, text, values,
    },
    refusal,
};

use super::annotations::{dataset, of_key};

#[tokio::test]
async fn every_dtype_keeps_its_values() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        dataset(&calls, "a.csv").await;
        let long = "ä".repeat(4_000);
        let time = Kind::DatetimeValue(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 123_456_789,
        });
        let odd = "{\"b\": [1, 9007199254740993, 0.5], \"a\": {\"x\": \"é\"}}";
        for (dtype, given, kept) in [
            ("int", vec![int(i64::MAX), int(i64::MIN), int((1 << 53) + 1)], None),
            (
                "float",
                vec![float(-0.5), int(3), float(1e300)],
                Some("-0.5, 3.0, 1e300"),
            ),
            ("bool", vec![boolean(true)], Some("true")),
            ("str", vec![text("x"), text(&long)], None),
            (
                "url",
                vec![text("https://example.org/a?b=c")],
                Some("\"https://example.org/a?b=c\""),
            ),
            (
                "date",
                vec![date("2024-02-29"), text("1969-12-31")],
                Some("1969-12-31, 2024-02-29"),
            ),
            (
                "datetime",
                vec![of(time), text("1970-01-01T00:00:01Z")],
                Some("1.000000000, 1700000000.123456000"),
            ),
            (
                "dict",
                vec![dict(odd)],
                Some("{\"a\":{\"x\":\"é\"},\"b\":[1,9007199254740993,0.5]}"),
            ),
            (
                "list[int]",
                vec![list(vec![int(2), int(1)]), list(vec![int(2)])],
                Some("[2, 1], [2]"),
            ),
            (
                "list[str]",
                vec![list(vec![text("b"), text("a")]), list(vec![])],
                Some("[\"b\", \"a\"], []"),
            ),
            ("list[float]", vec![list(vec![int(1), float(0.5)])], Some("[1.0, 0.5]")),
            ("list[date]", vec![list(vec![date("2024-01-01")])], Some("[2024-01-01]")),
        ] {
            calls.create_feature(feature(dtype, dtype)).await.unwrap();
            let number = given.len() as i64;
            let add = features(vec![values(dtype, given.clone())]);
            let done = calls.add(by_key("a.csv"), add.clone()).await.unwrap();
            assert_eq!(done.added, number, "{dtype} on {backend:?}");
            let again = calls.add(by_key("a.csv"), add).await.unwrap();
            assert_eq!(again.added, 0, "{dtype} on {backend:?}");
            let annotations = calls.annotations_of(by_key("a.csv")).await.unwrap();
            let found = annotations.features.iter().find(|of| of.name == dtype).unwrap();
            assert_eq!(found.dtype, dtype);
            match kept {
                Some(kept) => assert!(
                    said(&annotations).contains(&format!("{dtype}: {kept}")),
                    "{dtype} on {backend:?}: {:?}",
                    said(&annotations)
                ),
                None => {
                    for value in &given {
                        assert!(found.values.contains(value), "{value:?} of {dtype} on {backend:?}");
                    }
                }
            }
        }
    }
}

fn faults(failure: &Failure) -> Vec<&str> {
    failure.fields.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn every_fault_is_told_and_nothing_is_written() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        example::register(&calls).await;
        dataset(&calls, "a.csv").await;
        let mut request = AnnotateRequest {
            artifacts: vec![by_key("a.csv")],
            add: features(vec![
                values(
                    "temperature",
                    vec![float(1.0), text("warm"), of(Kind::IntValue((1 << 53) + 1))],
                ),
                values("height", vec![int(1), float(0.5)]),
                values("when", vec![text("2024-01-01")]),
                values("odd", vec![list(vec![int(1), text("x")])]),
                values("scientist", vec![text("Nobody"), label_value(label_in("Tissue", "x"))]),
                values("study", vec![]),
            ]),
            ..Default::default()
        };
        request.add.as_mut().unwrap().labels = vec![label_named("nothing"), label_in("Tissue", "x")];
        let failure = calls.annotate(request).await.unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::AnnotationInvalid), "{backend:?}");
        let mut fields = faults(&failure);
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "add.features[0].values[1]",
                "add.features[0].values[2]",
                "add.features[1]",
                "add.features[2]",
                "add.features[3]",
                "add.features[4].values[0]",
                "add.features[4].values[1]",
                "add.features[5]",
                "add.labels[0]",
                "add.labels[1]",
            ],
            "{backend:?}"
        );
        let told = format!("{:?}", failure.violations());
        for fits in ["the dtype float fits", "the dtype date fits", "no one dtype fits"] {
            assert!(told.contains(fits), "{fits} in {told}");
        }
        assert!(of_key(&calls, "a.csv").await.is_empty(), "all or nothing");
    }
}

#[tokio::test]
async fn values_that_no_json_has_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for (name, dtype) in [
        ("f", "float"),
        ("d", "dict"),
        ("s", "str"),
        ("day", "date"),
        ("at", "datetime"),
    ] {
        calls.create_feature(feature(name, dtype)).await.unwrap();
    }
    dataset(&calls, "a.csv").await;
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let wide: Vec<String> = (0..100_000).map(|number| format!("\"k{number}\":1")).collect();
    let wide = format!("{{{}}}", wide.join(","));
    let late = Kind::DatetimeValue(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    for (name, value) in [
        ("f", float(f64::NAN)),
        ("f", float(f64::INFINITY)),
        ("d", dict("{\"a\": 1e400}")),
        ("d", dict("{\"a\": 9223372036854775808}")),
        ("d", dict("{\"a\": NaN}")),
        ("d", dict("{\"a\": 1, \"a\": 2}")),
        ("d", dict("[1]")),
        ("d", dict(&deep)),
        ("d", dict(&wide)),
        ("s", text("a\0b")),
        ("s", text(&"x".repeat(20_000))),
        ("s", list(vec![list(vec![text("x")])])),
        ("s", pb::Value { kind: None }),
        ("day", date("2023-02-29")),
        ("at", of(late)),
        ("at", text("2024-01-01T00:00:00")),
    ] {
        let failure = calls
            .add(by_key("a.csv"), features(vec![values(name, vec![value])]))
            .await
            .unwrap_err();
        assert_eq!(
            failure.reason,
            Some(ErrorReason::AnnotationInvalid),
            "{name}: {failure}"
        );
        assert_eq!(faults(&failure), ["add.features[0].values[0]"], "{name}");
    }
    let many = features(vec![values("s", vec![list(vec![text("x"); 1_001])])]);
    assert_eq!(
        refusal(calls.add(by_key("a.csv"), many).await),
        ErrorReason::AnnotationInvalid
    );
    let too_many = features(vec![values(
        "s",
        (0..10_001).map(|number| text(&number.to_string())).collect(),
    )]);
    assert_eq!(
        refusal(calls.add(by_key("a.csv"), too_many).await),
        ErrorReason::FieldInvalid
    );
    assert!(of_key(&calls, "a.csv").await.is_empty());
}

#[tokio::test]
async fn what_is_missing_is_registered_when_wished() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        dataset(&calls, "a.csv").await;
        let request = AnnotateRequest {
            artifacts: vec![by_key("a.csv")],
            add: Some(pb::Annotations {
                features: vec![
                    values("temperature", vec![int(20), float(27.6)]),
                    values("scientist", vec![text("Barbara McClintock"), text("Edgar Anderson")]),
                    values("when", vec![text("2024-01-01")]),
                    values("sizes", vec![list(vec![int(1), int(2)])]),
                ],
                labels: vec![label_named("good")],
                ..Default::default()
            }),
            register_missing: true,
            ..Default::default()
        };
        let done = calls.annotate(request.clone()).await.unwrap();
        assert_eq!(
            done.registered_features,
            ["scientist", "sizes", "temperature", "when"],
            "{backend:?}"
        );
        assert_eq!(done.registered_labels, ["Barbara McClintock", "Edgar Anderson", "good"]);
        for (name, dtype) in [
            ("temperature", "float"),
            ("scientist", "cat[ULabel]"),
            ("when", "date"),
            ("sizes", "list[int]"),
        ] {
            assert_eq!(calls.get_feature(feature_named(name)).await.unwrap().dtype, dtype);
        }
        assert_eq!(
            of_key(&calls, "a.csv").await,
            [
                "scientist: ULabel:Barbara McClintock, ULabel:Edgar Anderson",
                "sizes: [1, 2]",
                "temperature: 20.0, 27.6",
                "when: 2024-01-01",
                "label good",
            ]
        );
        let again = calls.annotate(request).await.unwrap();
        assert!(again.registered_features.is_empty() && again.added == 0);
        let odd = AnnotateRequest {
            artifacts: vec![by_key("a.csv")],
            add: features(vec![
                values("new", vec![int(1)]),
                values("odd", vec![int(1), boolean(true)]),
                values(" bad", vec![int(1)]),
            ]),
            register_missing: true,
            ..Default::default()
        };
        let failure = calls.annotate(odd).await.unwrap_err();
        assert_eq!(faults(&failure), ["add.features[2]", "add.features[1]"]);
        let unmade = calls.get_feature(feature_named("new")).await;
        assert_eq!(refusal(unmade), ErrorReason::FeatureNotFound, "all or nothing");
    }
}
