//! What people write about artifacts, where it meets a crash point.

use std::time::Duration;

use artifactd_proto::v1 as pb;

use crate::{
    Calls, Outcome, TestServer,
    calls::{by_key, by_uid, by_version},
    collections::key_ref,
    records::{features, of, said, values},
};

const FEATURE: &str = "donors";
const ALIAS: &str = "stable";
const COLLECTION: &str = "made";

/// How long words may take to reach the index of a server that has just begun.
const INDEXED_WITHIN: Duration = Duration::from_secs(30);

/// Gives the base a value of a feature that is registered with it.
pub(super) async fn annotate(calls: &Calls, base: &pb::Artifact, request_id: Option<String>) -> Outcome<()> {
    let value = of(pb::value::Kind::IntValue(3));
    let request = pb::AnnotateRequest {
        artifacts: vec![by_uid(&base.uid)],
        add: features(vec![values(FEATURE, vec![value])]),
        register_missing: true,
        request_id,
        ..Default::default()
    };
    calls.annotate(request).await.map(drop)
}

/// Before any retry: both the feature and its value, or neither.
pub(super) async fn assert_all_or_nothing(calls: &Calls, base: &pb::Artifact) {
    let registered = registered(calls).await;
    assert_eq!(
        annotations(calls, base).await.len(),
        registered,
        "a feature and its value"
    );
}

/// The feature is there once, with one value.
pub(super) async fn assert_annotated_once(calls: &Calls, base: &pb::Artifact) {
    assert_eq!(annotations(calls, base).await, [format!("{FEATURE}: 3")]);
    assert_eq!(registered(calls).await, 1);
}

/// Begins a run.
pub(super) async fn begin_run(calls: &Calls, request_id: Option<String>) -> Outcome<()> {
    let request = pb::CreateRunRequest {
        request_id,
        ..Default::default()
    };
    calls.create_run(request).await.map(drop)
}

/// However often it was asked for, one has begun.
pub(super) async fn assert_one_run(calls: &Calls) {
    let listed = calls.list_runs(pb::ListRunsRequest::default()).await;
    assert_eq!(listed.expect("list the runs").runs.len(), 1);
}

/// Points an alias to the base.
pub(super) async fn set_alias(calls: &Calls, base: &pb::Artifact, request_id: Option<String>) -> Outcome<()> {
    let request = pb::SetAliasRequest {
        artifact: Some(by_uid(&base.uid)),
        name: ALIAS.to_owned(),
        request_id,
        ..Default::default()
    };
    calls.set_alias(request).await.map(drop)
}

/// It was set once, and finds the base.
pub(super) async fn assert_one_alias(calls: &Calls, base: &pb::Artifact) {
    let found = calls.get(by_version(base.key(), ALIAS)).await;
    assert_eq!(found.expect("find it by its alias").uid, base.uid);
    let changes = calls.alias_changes(pb::ListAliasChangesRequest {
        artifact: Some(by_uid(&base.uid)),
        ..Default::default()
    });
    assert_eq!(changes.await.expect("list the changes").changes.len(), 1);
}

/// The words of a key find its artifact once, when they are in the index.
pub(super) async fn assert_found_once(server: &TestServer, key: &str) {
    tokio::time::timeout(INDEXED_WITHIN, server.wait_until_indexed())
        .await
        .expect("the index is brought up to date");
    let request = pb::SearchArtifactsRequest {
        query: key.to_owned(),
        ..Default::default()
    };
    let hits = server.calls().search_all(request).await.expect("search");
    let found = hits
        .iter()
        .filter(|hit| hit.artifact.as_ref().expect("a hit").key() == key);
    assert_eq!(found.count(), 1);
}

/// Commits a run that used the base and made one artifact, all of it at once.
pub(super) async fn commit_work(
    calls: &Calls,
    base: &pb::Artifact,
    mut header: pb::SaveHeader,
    content: &[u8],
) -> Outcome<()> {
    use pb::{collection_change::Change, commit_work_request::Run};
    let request_id = header.request_id.take();
    let value = of(pb::value::Kind::IntValue(3));
    header.annotations = features(vec![values(FEATURE, vec![value])]);
    header.register_missing = true;
    let create = pb::CreateCollectionRequest {
        key: COLLECTION.to_owned(),
        ..Default::default()
    };
    let request = pb::CommitWorkRequest {
        run: Some(Run::Begin(pb::CreateRunRequest::default())),
        inputs: vec![by_uid(&base.uid)],
        outputs: vec![pb::SaveSmallArtifactRequest {
            header: Some(header),
            content: content.to_vec().into(),
            crc32c: None,
        }],
        collections: vec![pb::CollectionChange {
            change: Some(Change::Create(create)),
            outputs: vec![0],
            follow_latest: false,
        }],
        end: Some(pb::WorkEnd {
            status: pb::RunStatus::Completed.into(),
            ..Default::default()
        }),
        request_id,
        ..Default::default()
    };
    calls.commit_work(request).await.map(drop)
}

/// The run, its output, its value and its collection are there together, or none of them.
pub(super) async fn assert_work_is_whole(calls: &Calls, key: &str) {
    let runs = calls.list_runs(pb::ListRunsRequest::default()).await;
    let runs = runs.expect("list the runs").runs;
    let output = calls.get(by_key(key)).await.ok();
    assert_eq!(output.is_some(), runs.len() == 1, "a run and its output");
    assert_eq!(registered(calls).await, runs.len(), "a run and what it says");
    let collection = calls.get_collection(key_ref(COLLECTION)).await;
    assert_eq!(collection.is_ok(), runs.len() == 1, "a run and what it collects");
    if let Some(output) = output {
        assert_eq!(output.run_uid.as_deref(), Some(runs[0].uid.as_str()));
        assert_eq!(runs[0].status(), pb::RunStatus::Completed);
    }
}

async fn annotations(calls: &Calls, base: &pb::Artifact) -> Vec<String> {
    let annotations = calls.annotations_of(by_uid(&base.uid)).await;
    said(&annotations.expect("read the annotations"))
}

async fn registered(calls: &Calls) -> usize {
    let listed = calls.list_features(pb::ListFeaturesRequest::default()).await;
    listed.expect("list the features").features.len()
}
