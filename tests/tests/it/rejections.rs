//! What the model rejects, rule by rule: each with our rejection and its reason.
//!
//! A rule is named by what it asks for. Where one has bad inputs of many kinds, the module
//! of its feature has them all, and one stands here.

use std::fmt::Debug;

use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, by_stem, by_uid, by_version, described, keyed, saved},
    collections::{key_ref, pinned},
    content::digest,
    folders::{Files, folder},
    pb::{self, ArtifactKind, ErrorReason, RunStatus, SaveHeader},
    records::{
        date, feature, feature_named, features, float, int, label, label_in, label_named, labels, mask, param, params,
        text, values,
    },
    refusal_of,
    schemas::schema,
    storages::root,
};

const TABLE: &[u8] = b"age,name\n31,x\n";

/// A server with something of everything.
struct World {
    server: TestServer,
    calls: Calls,
    /// The first of two versions.
    first: pb::Artifact,
    trashed: pb::Artifact,
    /// What a run has read.
    used: pb::Artifact,
    finished: pb::Run,
}

impl World {
    async fn on(backend: Backend) -> Self {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(keyed("two.csv"), b"one").await.unwrap());
        calls.save(keyed("two.csv"), b"two").await.unwrap();
        calls.save(keyed("other.csv"), b"other").await.unwrap();
        let model = SaveHeader {
            kind: ArtifactKind::Model.into(),
            ..keyed("model.bin")
        };
        calls.save(model, b"model").await.unwrap();
        let files = Files::from([("a.bin".to_owned(), b"a".as_slice().into())]);
        calls.save_folder(folder("folder"), &files).await.unwrap();
        let trashed = saved(calls.save(keyed("gone.csv"), b"gone").await.unwrap());
        calls.trash(by_uid(&trashed.uid)).await.unwrap();
        calls.save(keyed("gone.csv"), b"here again").await.unwrap();
        for (name, dtype) in [("age", "int"), ("temperature", "float"), ("species", "cat[ULabel]")] {
            calls.create_feature(feature(name, dtype)).await.unwrap();
        }
        calls.create_feature(param("rate", "float")).await.unwrap();
        calls.create_label(label("published")).await.unwrap();
        calls.create_label(label("child")).await.unwrap();
        calls
            .set_parents(label_named("child"), vec![label_named("published")])
            .await
            .unwrap();
        calls
            .add(
                by_key("two.csv"),
                features(vec![values("temperature", vec![float(1.5)])]),
            )
            .await
            .unwrap();
        let used = saved(calls.save(keyed("used.csv"), b"used").await.unwrap());
        let finished = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        calls
            .add_run_inputs(&finished.uid, vec![by_uid(&used.uid)])
            .await
            .unwrap();
        calls.finish_run(&finished.uid, RunStatus::Completed).await.unwrap();
        let all = pb::CreateCollectionRequest {
            key: "all".to_owned(),
            members: vec![pinned(by_key("other.csv"))],
            ..Default::default()
        };
        calls.create_collection(all).await.unwrap();
        calls.create_schema(schema("people", &["age"], true)).await.unwrap();
        Self {
            server,
            calls,
            first,
            trashed,
            used,
            finished,
        }
    }

    async fn save(&self, header: SaveHeader, content: &[u8]) -> Outcome<pb::SaveArtifactResponse> {
        self.calls.save(header, content).await
    }

    async fn update(&self, key: &str, paths: &[&str], update: pb::ArtifactUpdate) -> Outcome<pb::Artifact> {
        let request = pb::UpdateArtifactRequest {
            artifact: Some(by_key(key)),
            update: Some(update),
            update_mask: mask(paths),
            ..Default::default()
        };
        self.calls.update(request).await
    }

    async fn destroy(&self, artifact: pb::ArtifactRef, force: bool) -> Outcome<pb::DeleteArtifactResponse> {
        let request = pb::DeleteArtifactRequest {
            artifact: Some(artifact),
            permanent: true,
            force,
            ..Default::default()
        };
        self.calls.delete(request).await
    }

    async fn filtered(&self, filter: &str) -> Outcome<pb::ListArtifactsResponse> {
        let request = pb::ListArtifactsRequest {
            filter: filter.to_owned(),
            ..Default::default()
        };
        self.calls.list(request).await
    }
}

/// Calls that break a rule each, and the reason for which each is refused.
macro_rules! refused {
    ($($rule:expr => $reason:ident, $call:expr;)+) => {
        $(assert_refused($rule, $reason, $call).await;)+
    };
}

async fn assert_refused<T: Debug>(rule: &str, reason: ErrorReason, call: impl Future<Output = Outcome<T>>) {
    assert_eq!(refusal_of(rule, call.await), reason, "{rule}");
}

fn versioned(key: &str, version: &str) -> SaveHeader {
    SaveHeader {
        version: Some(version.to_owned()),
        ..keyed(key)
    }
}

#[tokio::test]
async fn uids_versions_and_families() {
    use ErrorReason::{ArtifactInTrash, ArtifactNotFound, KeyTaken, ReferenceInvalid, VersionInvalid, VersionTaken};
    for backend in Backend::DATABASES {
        let world = World::on(backend).await;
        let calls = &world.calls;
        refused! {
            "a uid has 20 characters" => ReferenceInvalid, calls.get(by_uid("short"));
            "a stem has 16 characters" => ReferenceInvalid, calls.get(by_stem("short"));
            "there is such a uid" => ArtifactNotFound, calls.get(by_uid(&"0".repeat(20)));
        }
        let taken = world.save(versioned("two.csv", "1"), b"three");
        refused! { "a label of digits is the number of its version" => VersionInvalid, taken; }
        world.save(versioned("two.csv", "good"), b"three").await.unwrap();
        let taken = world.save(versioned("two.csv", "good"), b"four");
        refused! { "a label is taken once" => VersionTaken, taken; }
        for label in ["latest", "", "a b\n", &"v".repeat(65)] {
            let call = world.save(versioned("two.csv", label), b"four");
            refused! { "labels are 1 to 64 visible characters and not latest" => VersionInvalid, call; }
        }
        let revising = |uid: &str, key: Option<&str>| SaveHeader {
            revises: Some(uid.to_owned()),
            key: key.map(str::to_owned),
            ..SaveHeader::default()
        };
        let unknown = world.save(revising(&"0".repeat(20), None), b"four");
        refused! { "what is revised is an artifact" => ArtifactNotFound, unknown; }
        let no_uid = world.save(revising("two.csv", None), b"four");
        refused! { "what is revised is named by uid or stem" => ReferenceInvalid, no_uid; }
        let trashed = world.save(revising(&world.trashed.uid, None), b"four");
        refused! { "what is revised is not in trash" => ArtifactInTrash, trashed; }
        let theirs = world.save(revising(&world.first.uid, Some("other.csv")), b"four");
        refused! {
            "a version keeps off the keys of other families" => KeyTaken, theirs;
            "a version of a key is there" => ArtifactNotFound, calls.get(by_version("two.csv", "nothing"));
        }
        world.server.assert_clean();
    }
}

#[tokio::test]
async fn names_keys_and_suffixes() {
    use ErrorReason::{
        FieldRequired, KeyInvalid, KeyOverlaps, KeyTaken, NameRequired, RealKeyUnsupported, StorageNotFound,
        StorageNotRegistered, SuffixMismatch,
    };
    for backend in Backend::DATABASES {
        let world = World::on(backend).await;
        let calls = &world.calls;
        let nameless = world.save(SaveHeader::default(), b"x");
        refused! { "one of key, description and run is needed" => NameRequired, nameless; }
        for key in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            "./a",
            "a\\b",
            ".artifactd/a",
            &"k".repeat(1_025),
        ] {
            let call = world.save(keyed(key), b"x");
            refused! { &format!("the key {key:?} is none") => KeyInvalid, call; }
        }
        let managed = world.server.data_dir().join("storage/.artifactd/lock");
        let managed = calls.register_file(managed.to_str().unwrap());
        refused! { "what the server writes lies nowhere else" => RealKeyUnsupported, managed; }
        let outside = calls.register_file("/nowhere/x.csv");
        refused! { "what stays in place lies in a storage" => StorageNotRegistered, outside; }
        let elsewhere = SaveHeader {
            storage: Some("elsewhere".to_owned()),
            ..keyed("x.csv")
        };
        refused! { "there is such a storage" => StorageNotFound, world.save(elsewhere, b"x"); }
        let named = SaveHeader {
            file_name: Some("x.parquet".to_owned()),
            ..keyed("x.csv")
        };
        refused! {
            "key and file name agree" => SuffixMismatch, world.save(named, b"x");
            "no key lies in a folder" => KeyOverlaps, world.save(keyed("folder/b.bin"), b"x");
        }
        let renamed = |key: Option<&str>| pb::ArtifactUpdate {
            key: key.map(str::to_owned),
            ..Default::default()
        };
        let other_suffix = world.update("two.csv", &["key"], renamed(Some("two.tsv")));
        refused! { "a new key keeps the suffix" => SuffixMismatch, other_suffix; }
        let theirs = world.update("two.csv", &["key"], renamed(Some("other.csv")));
        refused! {
            "a new key is free" => KeyTaken, theirs;
            "a key stays" => FieldRequired, world.update("two.csv", &["key"], renamed(None));
        }
        world.server.assert_clean();
    }
}

#[tokio::test]
async fn content_and_records() {
    use ErrorReason::{
        AccessorMismatch, ArtifactInTrash, ArtifactIsFolder, ArtifactNotFound, ArtifactNotInTrash, ContentExists,
        ContentNotHeld, DigestMismatch, FieldInvalid, InUse, KeyTaken, SizeMismatch,
    };
    for backend in Backend::DATABASES {
        let world = World::on(backend).await;
        let calls = &world.calls;
        let wrong_digest = SaveHeader {
            sha256: Some(digest(b"y")),
            ..keyed("x.csv")
        };
        refused! { "content is what its sender says" => DigestMismatch, world.save(wrong_digest, b"x"); }
        let wrong_size = SaveHeader {
            size: Some(2),
            ..keyed("x.csv")
        };
        refused! { "content is as large as its sender says" => SizeMismatch, world.save(wrong_size, b"x"); }
        let claimed = SaveHeader {
            claim: true,
            sha256: Some(digest(b"unknown")),
            ..keyed("x.csv")
        };
        refused! { "what is claimed is held" => ContentNotHeld, calls.save_small(claimed, b""); }
        let again = SaveHeader {
            if_content_exists: pb::IfContentExists::Fail.into(),
            ..keyed("two.csv")
        };
        refused! { "the same again, where that is unwanted" => ContentExists, world.save(again, b"two"); }
        let accessor = SaveHeader {
            expect_accessor: pb::Accessor::DataFrame.into(),
            ..keyed("x.bin")
        };
        refused! { "content is opened as its sender says" => AccessorMismatch, world.save(accessor, TABLE); }
        let in_trash = SaveHeader {
            visibility: pb::Visibility::Trash.into(),
            ..keyed("x.csv")
        };
        refused! { "nothing is saved into trash" => FieldInvalid, world.save(in_trash, b"x"); }
        let file = pb::ReplaceHeader {
            artifact: Some(by_key("folder")),
            ..Default::default()
        };
        refused! { "a folder stays a folder" => ArtifactIsFolder, calls.replace(file, b"x"); }
        let suffix = pb::ReplaceHeader {
            artifact: Some(by_key("two.csv")),
            file_name: Some("x.tsv".to_owned()),
            ..Default::default()
        };
        calls.save(keyed("two.tsv"), b"in the way").await.unwrap();
        refused! {
            "a replaced suffix needs a free key" => KeyTaken, calls.replace(suffix, b"x");
            "only what is in trash is destroyed" => ArtifactNotInTrash, world.destroy(by_key("other.csv"), false);
            "what a run has read stays" => InUse, world.destroy(by_uid(&world.used.uid), true);
            "what is collected stays" => InUse, world.destroy(by_key("other.csv"), true);
            "a key is free again before it is restored" => KeyTaken, calls.restore(by_uid(&world.trashed.uid));
            "content in trash is not read" => ArtifactInTrash, calls.read(by_uid(&world.trashed.uid));
            "there is such a key" => ArtifactNotFound, calls.get(by_key("nothing.csv"));
        }
        world.server.assert_clean();
    }
}

#[tokio::test]
async fn features_params_and_labels() {
    use ErrorReason::{
        AnnotationInvalid, FeatureNotFound, FeatureSetNotFound, FieldInvalid, InUse, LabelCycle, LabelNotFound,
        NameTaken, SchemaBroken, SchemaNotFound, WrongKind,
    };
    for backend in Backend::DATABASES {
        let world = World::on(backend).await;
        let calls = &world.calls;
        let data = || by_key("two.csv");
        for (rule, said) in [
            ("features are registered", values("pressure", vec![int(1)])),
            ("a number is no text", values("temperature", vec![text("warm")])),
            ("an int has no fraction", values("age", vec![float(1.5)])),
            ("a date is no number", values("temperature", vec![date("2024-02-29")])),
            ("labels are registered", values("species", vec![text("setosa")])),
            ("a label is no number", values("species", vec![int(1)])),
        ] {
            refused! { rule => AnnotationInvalid, calls.add(data(), features(vec![said])); }
        }
        let unknown = calls.add(data(), labels(vec![label_named("unknown")]));
        refused! { "labels that are said are registered" => AnnotationInvalid, unknown; }
        let registry = calls.add(data(), labels(vec![label_in("CellType", "T cell")]));
        refused! { "registries of labels are there" => AnnotationInvalid, registry; }
        let of_model = calls.add(by_key("model.bin"), features(vec![values("age", vec![int(1)])]));
        refused! { "models have no features" => WrongKind, of_model; }
        let rate = || params(vec![values("rate", vec![float(0.1)])]);
        refused! { "datasets have no params" => WrongKind, calls.add(data(), rate()); }
        let unregistered = calls.add(by_key("model.bin"), params(vec![values("depth", vec![int(1)])]));
        refused! {
            "params are registered" => AnnotationInvalid, unregistered;
            "dtypes are known" => FieldInvalid, calls.create_feature(feature("x", "number?"));
            "a name is taken once" => NameTaken, calls.create_feature(feature("age", "float"));
            "labels have names of their own" => NameTaken, calls.create_label(label("child"));
            "a feature with values stays" => InUse, calls.delete_feature(feature_named("temperature"));
            "there is such a feature" => FeatureNotFound, calls.get_feature(feature_named("x"));
            "there is such a label" => LabelNotFound, calls.get_label(label_named("x"));
        }
        let cycle = calls.set_parents(label_named("published"), vec![label_named("child")]);
        refused! { "no label lies below itself" => LabelCycle, cycle; }
        let set = "0".repeat(16);
        refused! { "there is such a feature set" => FeatureSetNotFound, calls.get_feature_set(&set); }
        let under = |name: &str| SaveHeader {
            schema: Some(name.to_owned()),
            ..keyed("people.csv")
        };
        refused! {
            "a table keeps to its schema" => SchemaBroken, world.save(under("people"), TABLE);
            "there is such a schema" => SchemaNotFound, world.save(under("x"), TABLE);
        }
        world.server.assert_clean();
    }
}

#[tokio::test]
async fn runs_queries_collections_and_storages() {
    use ErrorReason::{
        ArtifactInTrash, ArtifactNotFound, CollectionNotFound, FieldRequired, FilterInvalid, InUse, QueryInvalid,
        RunFinished, RunNotFound, RunRequired, StorageForbidden, TransformNotFound,
    };
    for backend in Backend::DATABASES {
        let world = World::on(backend).await;
        let calls = &world.calls;
        let read = |uid: &str| pb::ReadContentRequest {
            artifact: Some(by_uid(uid)),
            is_run_input: Some(true),
            ..Default::default()
        };
        let input = calls.read_raw(read(&world.first.uid));
        assert_eq!(
            input.await.err().and_then(|failure| failure.reason),
            Some(RunRequired),
            "an input needs a run"
        );
        let under = calls.under(&world.finished.uid);
        refused! { "a finished run takes no more" => RunFinished, under.save(described("x"), b"x"); }
        let nobody = calls.under(&"0".repeat(16));
        refused! {
            "there is such a run" => RunNotFound, nobody.save(described("x"), b"x");
            "a run ends once" => RunFinished, calls.finish_run(&world.finished.uid, RunStatus::Failed);
        }
        let of_nothing = pb::CreateRunRequest {
            transform: Some(pb::TransformRef {
                r#ref: Some(pb::transform_ref::Ref::Key("nothing.py".to_owned())),
                version: None,
            }),
            ..Default::default()
        };
        refused! { "there is such a transform" => TransformNotFound, calls.create_run(of_nothing); }
        for filter in [
            "features.pressure > 1",
            "params.temperature = 1",
            "features.temperature = 'warm'",
            "labels : 'unknown'",
            "colour = 'red'",
            "size >",
        ] {
            let call = world.filtered(filter);
            refused! { &format!("{filter} is no filter") => FilterInvalid, call; }
        }
        let search = calls.search(pb::SearchArtifactsRequest::default());
        refused! { "a search is for something" => QueryInvalid, search; }
        let collected = |members| pb::CreateCollectionRequest {
            key: "new".to_owned(),
            members,
            ..Default::default()
        };
        let unknown = calls.create_collection(collected(vec![pinned(by_key("nothing.csv"))]));
        refused! { "members are there" => ArtifactNotFound, unknown; }
        let trashed = calls.create_collection(collected(vec![pinned(by_uid(&world.trashed.uid))]));
        refused! {
            "members are not in trash" => ArtifactInTrash, trashed;
            "something is appended" => FieldRequired, calls.append(key_ref("all"), Vec::new());
        }
        let other = calls.get_collection(key_ref("nothing"));
        refused! { "there is such a collection" => CollectionNotFound, other; }
        let storage = calls.list_storages().await.unwrap().remove(0).name;
        refused! {
            "a storage with artifacts stays" => InUse, calls.delete_storage(&storage);
            "roots are allowed" => StorageForbidden, calls.register(root("lab", "/tmp"));
        }
        world.server.assert_clean();
    }
}
