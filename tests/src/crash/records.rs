//! What people write about artifacts, where it meets a crash point.

use artifactd_proto::v1 as pb;

use crate::{
    Calls, Outcome,
    calls::by_uid,
    records::{features, of, said, values},
};

const FEATURE: &str = "donors";

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

async fn annotations(calls: &Calls, base: &pb::Artifact) -> Vec<String> {
    let annotations = calls.annotations_of(by_uid(&base.uid)).await;
    said(&annotations.expect("read the annotations"))
}

async fn registered(calls: &Calls) -> usize {
    let listed = calls.list_features(pb::ListFeaturesRequest::default()).await;
    listed.expect("list the features").features.len()
}
