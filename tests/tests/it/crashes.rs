//! Every named crash point once for each operation that meets it, and a short storm.

use std::collections::BTreeSet;

use artifactd_tests::{
    Backend,
    crash::{self, Operation},
    storm::{self, Storm},
};

async fn every_point_is_survived(backend: Backend, operations: &[Operation]) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for point in crash::crash_points()
        .into_iter()
        .filter(|point| crash::applies(point, backend))
    {
        for operation in operations
            .iter()
            .filter(|operation| crash::may_meet(&point, **operation))
        {
            if crash::meet(&point, *operation, backend).await {
                met.insert(point.clone());
            }
        }
    }
    met
}

fn assert_all_met(met: &BTreeSet<String>, backend: Backend) {
    let applying = crash::crash_points()
        .into_iter()
        .filter(|point| crash::applies(point, backend));
    let never: Vec<_> = applying.filter(|point| !met.contains(point)).collect();
    assert!(never.is_empty(), "no operation meets {never:?} on {backend:?}");
}

#[tokio::test]
async fn every_crash_point_is_survived_on_sqlite_and_a_folder() {
    let met = every_point_is_survived(Backend::EMBEDDED, &Operation::ALL).await;
    assert_all_met(&met, Backend::EMBEDDED);
}

#[tokio::test]
async fn every_crash_point_is_survived_on_postgres_and_a_folder() {
    let met = every_point_is_survived(Backend::POSTGRES, &Operation::ALL).await;
    assert_all_met(&met, Backend::POSTGRES);
}

#[tokio::test]
async fn every_crash_point_is_survived_on_a_bucket() {
    let met = every_point_is_survived(
        Backend::S3,
        &[
            Operation::Save,
            Operation::SaveSmall,
            Operation::Replace,
            Operation::Upload,
            Operation::UploadAtOnce,
        ],
    )
    .await;
    let cloud: Vec<_> = crash::crash_points()
        .into_iter()
        .filter(|point| point.starts_with("cloud."))
        .collect();
    let never: Vec<_> = cloud.into_iter().filter(|point| !met.contains(point)).collect();
    assert!(never.is_empty(), "no operation meets {never:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing() {
    for backend in Backend::DATABASES {
        let tally = storm::run(Storm {
            seed: 2,
            rounds: 5,
            backend,
            life_ms_max: 400,
        })
        .await;
        assert!(tally.acknowledged > 0 && tally.cut > 0, "{tally:?}");
    }
}
