//! All that is known of an artifact, in one call.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, keyed},
    collections::{following, pinned},
    pb::{self, ErrorReason},
    records::{feature, features, float, said, values},
    refusal,
};

#[tokio::test]
async fn an_artifact_is_described_with_what_made_it_and_what_uses_it() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_feature(feature("temperature", "float")).await.unwrap();
        let transform = pb::CreateTransformRequest {
            key: "clean.py".to_owned(),
            source: Some("print(1)".to_owned()),
            ..Default::default()
        };
        let transform = calls.create_transform(transform).await.unwrap().transform.unwrap();
        let run = pb::CreateRunRequest {
            transform: Some(pb::TransformRef {
                r#ref: Some(pb::transform_ref::Ref::Uid(transform.uid.clone())),
                version: None,
            }),
            ..Default::default()
        };
        let run = calls.create_run(run).await.unwrap();
        let header = pb::SaveHeader {
            annotations: features(vec![values("temperature", vec![float(27.6)])]),
            ..keyed("clean.csv")
        };
        calls.under(&run.uid).save(header, b"clean").await.unwrap();
        let user = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        calls
            .add_run_inputs(&user.uid, vec![by_key("clean.csv")])
            .await
            .unwrap();
        for (key, member) in [
            ("all", pinned(by_key("clean.csv"))),
            ("new", following(by_key("clean.csv"))),
        ] {
            let collection = pb::CreateCollectionRequest {
                key: key.to_owned(),
                members: vec![member],
                ..Default::default()
            };
            calls.create_collection(collection).await.unwrap();
        }
        let described = calls.describe(by_key("clean.csv")).await.unwrap();
        assert_eq!(described.artifact, Some(calls.get(by_key("clean.csv")).await.unwrap()));
        assert_eq!(
            said(&described.annotations.unwrap()),
            ["temperature: 27.6"],
            "{backend:?}"
        );
        assert_eq!(described.run, Some(calls.get_run(&run.uid).await.unwrap()));
        assert_eq!(
            described.transform,
            Some(pb::Transform {
                source: None,
                ..transform
            })
        );
        assert_eq!(
            (described.input_of_runs, described.input_of_run_uids),
            (1, vec![user.uid])
        );
        let keys: Vec<&str> = described.collections.iter().map(|of| of.key.as_str()).collect();
        assert_eq!((keys, described.more_collections), (vec!["all", "new"], false));
        assert_eq!(described.versions, 1);
        calls.save(keyed("plain.csv"), b"plain").await.unwrap();
        let plain = calls.describe(by_key("plain.csv")).await.unwrap();
        assert_eq!(plain.annotations, Some(pb::Annotations::default()));
        assert_eq!((plain.run, plain.transform, plain.input_of_runs), (None, None, 0));
        assert!(plain.collections.is_empty());
        assert_eq!(
            refusal(calls.describe(by_key("none.csv")).await),
            ErrorReason::ArtifactNotFound
        );
    }
}
