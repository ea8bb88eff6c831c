//! What people write about artifacts, where it meets a crash point.

use artifactd_proto::v1 as pb;

use crate::{
    Calls, Outcome, TestServer,
    calls::{by_uid, by_version},
    records::{features, of, said, values},
};

const FEATURE: &str = "donors";
const ALIAS: &str = "stable";

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
    while !server.is_indexed().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
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

async fn annotations(calls: &Calls, base: &pb::Artifact) -> Vec<String> {
    let annotations = calls.annotations_of(by_uid(&base.uid)).await;
    said(&annotations.expect("read the annotations"))
}

async fn registered(calls: &Calls) -> usize {
    let listed = calls.list_features(pb::ListFeaturesRequest::default()).await;
    listed.expect("list the features").features.len()
}
