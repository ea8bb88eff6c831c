//! Schemas and feature sets with the Rust client.

use artifactd_client::{Client, Error, Reason, SaveOptions, messages as pb};
use artifactd_tests::{Backend, TestServer};
use futures::TryStreamExt;

fn column(name: &str, optional: bool) -> pb::SchemaFeature {
    pb::SchemaFeature {
        name: name.to_owned(),
        optional,
        dtype: String::new(),
    }
}

async fn prepared(backend: Backend) -> (TestServer, Client) {
    let server = TestServer::on(backend).await;
    let client = server.client().await;
    for (name, dtype) in [("age", "int"), ("weight", "float")] {
        let feature = pb::CreateFeatureRequest {
            name: name.to_owned(),
            dtype: dtype.to_owned(),
            ..Default::default()
        };
        client.create_feature(feature).await.unwrap();
    }
    for name in ["people", "patients", "animals"] {
        let schema = pb::CreateSchemaRequest {
            name: name.to_owned(),
            slots: vec![pb::SchemaSlot {
                slot: "columns".to_owned(),
                features: vec![column("age", false), column("weight", true)],
                closed: name == "people",
            }],
            ..Default::default()
        };
        client.create_schema(schema).await.unwrap();
    }
    (server, client)
}

fn under(schema: &str, key: &str) -> SaveOptions {
    SaveOptions {
        key: Some(key.to_owned()),
        schema: Some(schema.to_owned()),
        ..SaveOptions::default()
    }
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Reason {
    match outcome {
        Err(Error::Refused { reason, .. }) => reason,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn a_save_keeps_to_its_schema_or_is_refused_with_all_that_is_wrong() {
    for backend in Backend::DATABASES {
        let (server, client) = prepared(backend).await;
        let good = client
            .save_bytes(&b"age\n31\n"[..], under("people", "good.csv"))
            .await
            .unwrap();
        assert!(client.check_schema("people", "good.csv").await.unwrap().is_empty());
        let wrong = &b"weight,name\nheavy,x\n"[..];
        let refused = client.save_bytes(wrong, under("people", "bad.csv")).await;
        assert_eq!(reason(refused), Reason::SchemaBroken, "{backend:?}");
        let unknown = client.save_bytes(wrong, under("nothing", "bad.csv")).await;
        assert_eq!(reason(unknown), Reason::SchemaNotFound);
        assert_eq!(reason(client.get("bad.csv").await), Reason::ArtifactNotFound);
        client.save(wrong, "bad.csv").await.unwrap();
        let names = |faults: Vec<pb::SchemaFault>| faults.into_iter().map(|fault| fault.name).collect::<Vec<_>>();
        assert_eq!(
            names(client.check_schema("people", "bad.csv").await.unwrap()),
            ["age", "weight", "name"]
        );
        assert_eq!(
            names(client.check_schema("animals", "bad.csv").await.unwrap()),
            ["age", "weight"],
            "other columns may be there"
        );
        assert_eq!(reason(client.delete_schema("people").await), Reason::InUse);
        drop(good);
        server.assert_clean();
    }
}

#[tokio::test]
async fn schemas_and_feature_sets_are_found_listed_and_deleted() {
    let (_server, client) = prepared(Backend::EMBEDDED).await;
    let schema = client.get_schema("people").await.unwrap();
    let columns: Vec<_> = schema.slots[0]
        .features
        .iter()
        .map(|feature| (feature.name.as_str(), feature.dtype.as_str(), feature.optional))
        .collect();
    assert_eq!(columns, [("age", "int", false), ("weight", "float", true)]);
    for (prefix, page_size, expected) in [
        ("", 1, &["animals", "patients", "people"][..]),
        ("p", 100, &["patients", "people"]),
        ("x", 100, &[]),
    ] {
        let request = pb::ListSchemasRequest {
            name_prefix: prefix.to_owned(),
            page_size,
            ..Default::default()
        };
        let listed: Vec<_> = client.schemas(request).try_collect().await.unwrap();
        let names: Vec<_> = listed.iter().map(|schema| schema.name.as_str()).collect();
        assert_eq!(names, expected, "{prefix:?}");
    }
    client.delete_schema("patients").await.unwrap();
    assert_eq!(reason(client.get_schema("patients").await), Reason::SchemaNotFound);
    client.save(&b"age,name\n31,x\n"[..], "people.csv").await.unwrap();
    let described = client.describe("people.csv").await.unwrap();
    let slot = &described.feature_sets[0];
    let set = slot.feature_set.as_ref().unwrap();
    assert_eq!(slot.unregistered, ["name"]);
    let found = client.get_feature_set(&set.uid).await.unwrap();
    assert_eq!((found.hash.as_str(), found.n_artifacts), (set.hash.as_str(), 1));
    assert_eq!(found.features.len(), 1);
    assert_eq!(found.features[0].name, "age");
    assert_eq!(
        reason(client.get_feature_set("0".repeat(16)).await),
        Reason::FeatureSetNotFound
    );
}
