//! Feature sets, found in what is saved, and schemas, which it must keep to.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, keyed},
    pb::{self, ErrorReason},
    records::{feature, feature_named},
    refusal,
    schemas::schema,
};
use tonic_types::StatusExt;

async fn slot(calls: &Calls, key: &str) -> pb::ArtifactFeatureSet {
    let mut slots = calls.describe(by_key(key)).await.unwrap().feature_sets;
    assert_eq!(slots.len(), 1, "{key}");
    slots.remove(0)
}

fn under(schema: &str, key: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        schema: Some(schema.to_owned()),
        ..keyed(key)
    }
}

fn content_of(key: &str) -> pb::ReplaceHeader {
    pb::ReplaceHeader {
        artifact: Some(by_key(key)),
        ..Default::default()
    }
}

async fn register(calls: &Calls, features: &[(&str, &str)]) {
    for (name, dtype) in features {
        calls.create_feature(feature(name, dtype)).await.unwrap();
    }
}

#[tokio::test]
async fn artifacts_with_the_same_registered_columns_share_a_feature_set() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("early.csv"), b"age,weight\n1,2.5\n").await.unwrap();
        let early = slot(&calls, "early.csv").await;
        assert_eq!((early.slot.as_str(), early.feature_set), ("columns", None));
        assert_eq!(early.unregistered, ["age", "weight"]);

        register(&calls, &[("age", "int"), ("weight", "float")]).await;
        calls
            .save(keyed("one.csv"), b"age,weight,note\n1,2.5,x\n")
            .await
            .unwrap();
        calls.save(keyed("two.csv"), b"weight,age\n3.5,4\n").await.unwrap();
        calls.save(keyed("three.csv"), b"weight,other\n3.5,4\n").await.unwrap();
        let (one, two) = (slot(&calls, "one.csv").await, slot(&calls, "two.csv").await);
        assert_eq!((one.n_unregistered, one.unregistered), (1, vec!["note".to_owned()]));
        assert_eq!((two.n_unregistered, two.unregistered), (0, Vec::new()));
        let (one, two) = (one.feature_set.unwrap(), two.feature_set.unwrap());
        assert_eq!(one, two, "{backend:?}");
        let names: Vec<&str> = one.features.iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!((one.n_features, names), (2, vec!["age", "weight"]));
        assert_ne!(slot(&calls, "three.csv").await.feature_set.unwrap().uid, one.uid);
        let found = calls.get_feature_set(&one.uid).await.unwrap();
        assert_eq!(found.n_artifacts, 2);
        assert_eq!(
            refusal(calls.get_feature_set("0000000000000000").await),
            ErrorReason::FeatureSetNotFound
        );
        calls.save(keyed("plain.txt"), b"no table").await.unwrap();
        assert!(
            calls
                .describe(by_key("plain.txt"))
                .await
                .unwrap()
                .feature_sets
                .is_empty()
        );

        // What takes the place of a content has the columns of its own.
        calls.replace(content_of("two.csv"), b"age\n1\n").await.unwrap();
        assert_eq!(slot(&calls, "two.csv").await.feature_set.unwrap().n_features, 1);
        assert_eq!(calls.get_feature_set(&one.uid).await.unwrap().n_artifacts, 1);

        // A feature goes when no artifact has it any more.
        assert_eq!(
            refusal(calls.delete_feature(feature_named("weight")).await),
            ErrorReason::InUse
        );
        for key in ["one.csv", "three.csv"] {
            calls.destroy(by_key(key)).await.unwrap();
        }
        calls.delete_feature(feature_named("weight")).await.unwrap();
    }
}

#[tokio::test]
async fn of_many_who_save_the_same_columns_at_once_all_have_one_set() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        register(&calls, &[("age", "int"), ("weight", "float")]).await;
        let saves = (0..16).map(|number| {
            let calls = calls.clone();
            async move {
                let (key, content) = (format!("{number}.csv"), format!("age,weight\n{number},1.5\n"));
                calls.save(keyed(&key), content.as_bytes()).await.unwrap();
                slot(&calls, &key).await.feature_set.unwrap().uid
            }
        });
        let mut uids = futures::future::join_all(saves).await;
        let first = uids[0].clone();
        uids.retain(|uid| *uid != first);
        assert!(uids.is_empty(), "{backend:?}");
        assert_eq!(calls.get_feature_set(&first).await.unwrap().n_artifacts, 16);
    }
}

#[tokio::test]
async fn what_breaks_a_schema_is_refused_with_every_fault() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        register(
            &calls,
            &[
                ("age", "int"),
                ("weight", "float"),
                ("species", "cat[ULabel]"),
                ("note", "str"),
            ],
        )
        .await;
        let columns = ["age", "weight", "species", "note?"];
        let made = calls.create_schema(schema("animals", &columns, true)).await.unwrap();
        assert_eq!(calls.get_schema("animals").await.unwrap(), made);
        let dtypes: Vec<&str> = made.slots[0].features.iter().map(|of| of.dtype.as_str()).collect();
        assert_eq!(dtypes, ["int", "float", "cat[ULabel]", "str"]);

        calls
            .save(under("animals", "good.csv"), b"species,age,weight\ncat,1,2\n")
            .await
            .unwrap();
        let described = calls.describe(by_key("good.csv")).await.unwrap();
        assert_eq!(described.schema.as_deref(), Some("animals"));
        let failure = calls
            .save(under("animals", "bad.csv"), b"age,weight,what\nx,y,z\n")
            .await
            .unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::SchemaBroken), "{backend:?}");
        let violations = failure.status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<&str> = violations.iter().map(|told| told.field.as_str()).collect();
        let broken = ["columns.age", "columns.weight", "columns.species", "columns.what"];
        assert_eq!(fields, broken);
        assert_eq!(
            refusal(calls.get(by_key("bad.csv")).await),
            ErrorReason::ArtifactNotFound
        );
        assert_eq!(
            refusal(calls.save(under("animals", "text.txt"), b"no table").await),
            ErrorReason::SchemaBroken
        );
        assert_eq!(
            refusal(calls.save(under("none", "x.csv"), b"age\n1\n").await),
            ErrorReason::SchemaNotFound
        );
        // What need not be there holds what it should where it is.
        let failure = calls
            .save(under("animals", "odd.csv"), b"age,weight,species,note\n1,2,cat,7\n")
            .await
            .unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::SchemaBroken), "{backend:?}");
        // Nor does a content that breaks it take the place of one that does not.
        assert_eq!(
            refusal(calls.replace(content_of("good.csv"), b"age\n1\n").await),
            ErrorReason::SchemaBroken
        );

        calls
            .save(keyed("free.csv"), b"age,weight,what\nx,y,z\n")
            .await
            .unwrap();
        let told = calls.check_schema("animals", by_key("free.csv")).await.unwrap();
        assert_eq!(
            told,
            [
                "columns.age must hold int, and holds str",
                "columns.weight must hold float, and holds str",
                "columns.species is required, of dtype cat[ULabel], and is not there",
                "columns.what is no column that the schema knows, and it takes no others",
            ]
        );
        assert!(
            calls
                .check_schema("animals", by_key("good.csv"))
                .await
                .unwrap()
                .is_empty()
        );

        // What is used stays.
        assert_eq!(refusal(calls.delete_schema("animals").await), ErrorReason::InUse);
        assert_eq!(
            refusal(calls.delete_feature(feature_named("note")).await),
            ErrorReason::InUse
        );
        calls.destroy(by_key("good.csv")).await.unwrap();
        calls.delete_schema("animals").await.unwrap();
        calls.delete_feature(feature_named("note")).await.unwrap();
        assert_eq!(refusal(calls.get_schema("animals").await), ErrorReason::SchemaNotFound);
    }
}

#[tokio::test]
async fn schemas_are_listed_by_name_and_bad_ones_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    register(&calls, &[("age", "int")]).await;
    for name in ["b", "a", "c"] {
        calls.create_schema(schema(name, &["age"], false)).await.unwrap();
    }
    let first = pb::ListSchemasRequest {
        page_size: 2,
        ..Default::default()
    };
    let page = calls.list_schemas(first.clone()).await.unwrap();
    let rest = pb::ListSchemasRequest {
        page_token: page.next_page_token.clone(),
        ..first
    };
    let rest = calls.list_schemas(rest).await.unwrap();
    let listed = page.schemas.iter().chain(&rest.schemas);
    assert_eq!(listed.map(|schema| schema.name.as_str()).collect::<String>(), "abc");
    assert!(rest.next_page_token.is_empty());
    for (bad, reason) in [
        (schema("a", &["age"], false), ErrorReason::NameTaken),
        (schema("x", &["nobody"], false), ErrorReason::FeatureNotFound),
        (schema("x", &["age", "age"], false), ErrorReason::FieldInvalid),
        (schema("x", &[], false), ErrorReason::FieldRequired),
        (schema("", &["age"], false), ErrorReason::FieldRequired),
        (
            pb::CreateSchemaRequest {
                name: "x".to_owned(),
                ..Default::default()
            },
            ErrorReason::FieldRequired,
        ),
    ] {
        assert_eq!(refusal(calls.create_schema(bad).await), reason);
    }
}
