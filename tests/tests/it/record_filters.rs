//! Filters over the record around artifacts: values, labels, runs, transforms, collections, lineage.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    collections::{following, key_ref, pinned},
    example,
    pb::{self, CountArtifactsRequest, ErrorReason, ListArtifactsRequest, SaveHeader},
    records::{
        boolean, date, dict, feature, features, float, int, label, label_in, label_named, label_of, label_value,
        labels, list, param, params, text, values,
    },
    refusal_of,
};

async fn dataset(calls: &Calls, key: &str) -> pb::Artifact {
    saved(calls.save(keyed(key), key.as_bytes()).await.unwrap())
}

/// Keys of what matches, one page after the other; each must come once, and as many be counted.
async fn found(calls: &Calls, filter: &str) -> Vec<String> {
    let list = ListArtifactsRequest {
        page_size: 2,
        filter: filter.to_owned(),
        order_by: "key".to_owned(),
        ..Default::default()
    };
    let listed = calls.list_all(list).await;
    let listed = listed.unwrap_or_else(|failure| panic!("{filter}: {failure}"));
    let count = CountArtifactsRequest {
        filter: filter.to_owned(),
        ..Default::default()
    };
    let counted = calls.count(count).await.unwrap().count;
    assert_eq!(counted, listed.len() as i64, "{filter}");
    listed
        .into_iter()
        .map(|artifact| artifact.key.unwrap_or_default())
        .collect()
}

async fn require(calls: &Calls, backend: Backend, expected: &[(&str, &[&str])]) {
    for (filter, keys) in expected {
        assert_eq!(found(calls, filter).await, *keys, "{filter} on {backend:?}");
    }
}

/// The example of the model, on two datasets and a model, and one dataset without annotations.
async fn prepare(calls: &Calls) {
    example::register(calls).await;
    for name in ["hidden_size", "bottleneck_size", "batch_size"] {
        calls.create_feature(param(name, "int")).await.unwrap();
    }
    for key in ["iris.csv", "other.csv", "plain.csv"] {
        dataset(calls, key).await;
    }
    calls.add(by_key("iris.csv"), example::annotations()).await.unwrap();
    let other = features(vec![
        values("scientist", vec![text("Edgar Anderson")]),
        values("temperature", vec![int(19), float(20.5)]),
    ]);
    calls.add(by_key("other.csv"), other).await.unwrap();
    let header = SaveHeader {
        kind: pb::ArtifactKind::Model.into(),
        ..keyed("model.pt")
    };
    calls.save(header, b"model").await.unwrap();
    let sizes = params(vec![
        values("hidden_size", vec![int(32)]),
        values("bottleneck_size", vec![int(16)]),
        values("batch_size", vec![int(9_007_199_254_740_993)]),
    ]);
    calls.add(by_key("model.pt"), sizes).await.unwrap();
}

#[tokio::test]
async fn the_examples_of_the_model_are_found() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        prepare(&calls).await;
        let expected: [(&str, &[&str]); 29] = [
            ("features.species = iris", &["iris.csv"]),
            // Both names are of one artifact, which is found once.
            (
                "features.scientist = 'Barbara McClintock' OR features.scientist = 'Edgar Anderson'",
                &["iris.csv", "other.csv"],
            ),
            (
                "features.scientist = 'Barbara McClintock' AND features.scientist = 'Edgar Anderson'",
                &["iris.csv"],
            ),
            ("features.scientist = '* Anderson'", &["iris.csv", "other.csv"]),
            ("features.scientist != 'Barbara McClintock'", &["other.csv"]),
            ("features.scientist != 'B*'", &["other.csv"]),
            (
                "NOT features.scientist = 'Barbara McClintock'",
                &["model.pt", "other.csv", "plain.csv"],
            ),
            ("features.scientist:*", &["iris.csv", "other.csv"]),
            ("-features.scientist:*", &["model.pt", "plain.csv"]),
            ("features.temperature > 20", &["iris.csv", "other.csv"]),
            ("features.temperature > 20.5", &["iris.csv"]),
            ("features.temperature = 19", &["other.csv"]),
            (
                "features.temperature < 20 AND features.temperature > 20",
                &["other.csv"],
            ),
            ("features.temperature != 19", &["iris.csv"]),
            ("features.study = 'Study 0: initial plant gathering'", &["iris.csv"]),
            ("features.study = 'Study*gathering'", &["iris.csv"]),
            ("features.study:* AND key = 'o*'", &[]),
            ("params.hidden_size = 32", &["model.pt"]),
            (
                "params.hidden_size >= 32 AND params.bottleneck_size < 16.5",
                &["model.pt"],
            ),
            // Beyond what a float tells apart.
            ("params.batch_size = 9007199254740993", &["model.pt"]),
            ("params.batch_size = 9007199254740992", &[]),
            ("params.batch_size > 9007199254740992", &["model.pt"]),
            (
                "params.batch_size < 1e300 AND params.batch_size > -1e300",
                &["model.pt"],
            ),
            ("params.batch_size = 1.5", &[]),
            ("features:* OR params:*", &["iris.csv", "model.pt", "other.csv"]),
            ("features:study OR params:hidden_size", &["iris.csv", "model.pt"]),
            ("labels.ULabel = 'Edgar Anderson'", &["iris.csv", "other.csv"]),
            ("labels.Organism:*", &["iris.csv"]),
            ("-labels:*", &["model.pt", "plain.csv"]),
        ];
        require(&calls, backend, &expected).await;
        for (filter, says) in [
            (
                "features.humidity > 1",
                "at character 1: `features.humidity` is not registered",
            ),
            ("features.hidden_size = 1", "no feature has this name"),
            (
                "size > 1 AND features.scientist = Nobody",
                "at character 35: there is no label `Nobody`",
            ),
            (
                "features.species = 'Edgar Anderson'",
                "in the registries of this feature",
            ),
            ("labels.Tissue = x", "no label registry has this name"),
            ("features.temperature = warm", "takes a number, not `warm`"),
            ("features = 1", "is a map"),
            ("run = x", "at character 7: there is no run `x`"),
            ("derived_from(nothing)", "there is no artifact `nothing`"),
            ("used_by(x)", "there is no function `used_by`"),
        ] {
            let list = ListArtifactsRequest {
                filter: filter.to_owned(),
                ..Default::default()
            };
            let failure = calls.list(list.clone()).await.unwrap_err();
            assert!(failure.status.message().contains(says), "{filter}: {failure}");
            assert_eq!(refusal_of(filter, calls.list(list).await), ErrorReason::FilterInvalid);
        }
    }
}

#[tokio::test]
async fn values_of_every_dtype_are_compared_as_what_they_are() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for (name, dtype) in [
            ("done", "bool"),
            ("day", "date"),
            ("at", "datetime"),
            ("extra", "dict"),
            ("sizes", "list[int]"),
            ("n.genes", "int"),
            ("note", "str"),
        ] {
            calls.create_feature(feature(name, dtype)).await.unwrap();
        }
        for key in ["a.csv", "b.csv"] {
            dataset(&calls, key).await;
        }
        let long = format!("{}end", "x".repeat(5_000));
        let a = features(vec![
            values("done", vec![boolean(true)]),
            values("day", vec![date("2026-01-31")]),
            values("at", vec![text("2026-01-31T12:00:00.25Z")]),
            values("extra", vec![dict(r#"{"a": 1}"#)]),
            values("sizes", vec![list(vec![int(3), int(40)])]),
            values("n.genes", vec![int(-7)]),
            values("note", vec![text(&long)]),
        ]);
        calls.add(by_key("a.csv"), a).await.unwrap();
        let b = features(vec![
            values("done", vec![boolean(false)]),
            values("sizes", vec![list(vec![int(5)])]),
            values("note", vec![text("short")]),
        ]);
        calls.add(by_key("b.csv"), b).await.unwrap();
        let is_long = format!("features.note = '{long}'");
        let expected: [(&str, &[&str]); 17] = [
            ("features.done = true", &["a.csv"]),
            ("features.done != true", &["b.csv"]),
            ("features.day = 2026-01-31", &["a.csv"]),
            ("features.day < 2026-01-31", &[]),
            ("features.at > 2026-01-31T12:00:00.249999Z", &["a.csv"]),
            ("features.at = 2026-01-31T13:00:00.25+01:00", &["a.csv"]),
            ("features.extra:*", &["a.csv"]),
            ("features.sizes = 40", &["a.csv"]),
            ("features.sizes > 4", &["a.csv", "b.csv"]),
            ("features.sizes:5", &["b.csv"]),
            ("features.sizes != 5", &["a.csv"]),
            ("features.n.genes < 0", &["a.csv"]),
            ("features.\"n.genes\" = -7", &["a.csv"]),
            (&is_long, &["a.csv"]),
            ("features.note = '*end'", &["a.csv"]),
            ("features.note > short", &["a.csv"]),
            (
                "features.note = 'sh*rt' OR features.note = 'xxx*end'",
                &["a.csv", "b.csv"],
            ),
        ];
        require(&calls, backend, &expected).await;
    }
}

#[tokio::test]
async fn a_label_is_found_with_all_below_it() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_registry("CellType").await.unwrap();
        for name in ["cell", "T cell", "B cell", "CD8 T cell", "naive CD8 T cell"] {
            let ontology_id = (name == "T cell").then(|| "CL:0000084".to_owned());
            let new = label_of("CellType", name);
            let new = pb::CreateLabelRequest { ontology_id, ..new };
            calls.create_label(new).await.unwrap();
        }
        let cell = |name| label_in("CellType", name);
        for (child, parents) in [
            ("T cell", vec!["cell"]),
            ("B cell", vec!["cell"]),
            // By two ways below one.
            ("CD8 T cell", vec!["T cell", "cell"]),
            // Far below, and right below nothing that is asked for.
            ("naive CD8 T cell", vec!["CD8 T cell"]),
        ] {
            let parents = parents.into_iter().map(cell).collect();
            calls.set_parents(cell(child), parents).await.unwrap();
        }
        calls.create_feature(feature("type", "cat[CellType]")).await.unwrap();
        calls.create_label(label("mine")).await.unwrap();
        for key in ["b.csv", "cd8.csv", "naive.csv", "none.csv", "t.csv"] {
            dataset(&calls, key).await;
        }
        let say = |key, names: Vec<&'static str>| {
            let names = names.into_iter().map(|name| match name {
                "mine" => label_named(name),
                name => label_in("CellType", name),
            });
            calls.add(by_key(key), labels(names.collect()))
        };
        say("b.csv", vec!["B cell", "mine"]).await.unwrap();
        say("t.csv", vec!["T cell"]).await.unwrap();
        say("naive.csv", vec!["naive CD8 T cell"]).await.unwrap();
        let as_value = features(vec![values("type", vec![label_value(cell("CD8 T cell"))])]);
        calls.add(by_key("cd8.csv"), as_value).await.unwrap();
        let expected: [(&str, &[&str]); 11] = [
            ("labels.CellType:'T cell'", &["cd8.csv", "naive.csv", "t.csv"]),
            ("labels.CellType = 'T cell'", &["t.csv"]),
            ("labels.CellType:\"CL:0000084\"", &["cd8.csv", "naive.csv", "t.csv"]),
            ("labels.CellType:cell", &["b.csv", "cd8.csv", "naive.csv", "t.csv"]),
            ("labels.CellType = cell", &[]),
            ("NOT labels.CellType:'T cell'", &["b.csv", "none.csv"]),
            ("labels.CellType != 'T cell'", &["b.csv", "cd8.csv", "naive.csv"]),
            ("features.type:'T cell'", &["cd8.csv"]),
            ("features.type = 'T cell'", &[]),
            ("labels.CellType:cell AND labels.ULabel = mine", &["b.csv"]),
            (
                "labels.CellType:'B cell' OR labels.CellType:'T cell'",
                &["b.csv", "cd8.csv", "naive.csv", "t.csv"],
            ),
        ];
        require(&calls, backend, &expected).await;
    }
}

#[tokio::test]
async fn runs_transforms_collections_and_lineage_are_found() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let made = pb::CreateTransformRequest {
            key: "align.py".to_owned(),
            source: Some("x".to_owned()),
            ..Default::default()
        };
        let transform = calls.create_transform(made).await.unwrap().transform.unwrap();
        let of_transform = pb::TransformRef {
            r#ref: Some(pb::transform_ref::Ref::Key("align.py".to_owned())),
            version: None,
        };
        let request = pb::CreateRunRequest {
            transform: Some(of_transform),
            ..Default::default()
        };
        let first = calls.create_run(request).await.unwrap();
        let second = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        let raw = dataset(&calls, "raw.csv").await;
        let one = calls.under(&first.uid);
        one.read(by_key("raw.csv")).await.unwrap();
        let clean = dataset(&one, "clean.csv").await;
        let two = calls.under(&second.uid);
        two.read(by_key("clean.csv")).await.unwrap();
        dataset(&two, "model.csv").await;
        // Made again by another run.
        dataset(&two, "raw.csv").await;
        dataset(&calls, "alone.csv").await;
        let train = pb::CreateCollectionRequest {
            key: "train".to_owned(),
            members: vec![pinned(by_uid(&raw.uid)), following(by_key("clean.csv"))],
            ..Default::default()
        };
        let collection = calls.create_collection(train).await.unwrap().collection.unwrap();
        calls
            .append(key_ref("train"), vec![pinned(by_key("alone.csv"))])
            .await
            .unwrap();
        // The family is followed, the other is pinned.
        calls.save(keyed("clean.csv"), b"next").await.unwrap();
        calls.save(keyed("raw.csv"), b"next").await.unwrap();
        let latest = "is_latest = true AND ";
        let filters = [
            (format!("run = {}", first.uid), vec!["clean.csv"]),
            (format!("run_uid = {}", second.uid), vec!["model.csv"]),
            (format!("run != {}", second.uid), vec!["clean.csv"]),
            (format!("NOT run = {} AND run:*", first.uid), vec!["model.csv"]),
            ("transform = align.py".to_owned(), vec!["clean.csv"]),
            (format!("transform = {}", transform.uid), vec!["clean.csv"]),
            (format!("transform = {}", transform.stem), vec!["clean.csv"]),
            ("-transform:* AND run:*".to_owned(), vec!["model.csv"]),
            (format!("input_of({})", first.uid), vec!["raw.csv"]),
            (format!("input_of({})", second.uid), vec!["clean.csv"]),
            (format!("output_of({})", first.uid), vec!["clean.csv"]),
            (format!("output_of(\"{}\")", second.uid), vec!["model.csv", "raw.csv"]),
            (format!("derived_from({})", raw.uid), vec!["clean.csv", "model.csv"]),
            (format!("derived_from({})", clean.uid), vec!["model.csv"]),
            (
                "derived_from(\"raw.csv@@1\") AND key = 'm*'".to_owned(),
                vec!["model.csv"],
            ),
            ("derived_from(model.csv)".to_owned(), vec![]),
            (
                format!(
                    "NOT derived_from({}) AND NOT key = raw.csv AND {latest}size < 99",
                    raw.uid
                ),
                vec!["alone.csv", "clean.csv"],
            ),
            (
                "collection = train".to_owned(),
                vec!["alone.csv", "clean.csv", "raw.csv"],
            ),
            (format!("{latest}collection = train"), vec!["alone.csv", "clean.csv"]),
            (format!("collection = {}", collection.uid), vec!["clean.csv", "raw.csv"]),
            (
                format!("collection = {}", collection.stem),
                vec!["alone.csv", "clean.csv", "raw.csv"],
            ),
            (
                format!("-collection:* AND {latest}size > 0"),
                vec!["model.csv", "raw.csv"],
            ),
        ];
        for (filter, keys) in filters {
            assert_eq!(found(&calls, &filter).await, keys, "{filter} on {backend:?}");
        }
        let hits = calls.search_all(pb::SearchArtifactsRequest {
            query: "csv".to_owned(),
            filter: "transform = align.py".to_owned(),
            ..Default::default()
        });
        let hits: Vec<_> = hits
            .await
            .unwrap()
            .into_iter()
            .map(|hit| hit.artifact.unwrap().uid)
            .collect();
        assert_eq!(hits, [clean.uid], "a search takes the same filters");
    }
}
