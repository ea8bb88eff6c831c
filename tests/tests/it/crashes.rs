//! Every named crash point once for each operation that meets it, and a short storm.

use artifactd_tests::{
    Backend,
    crash::{self, Operation},
    storm::{self, Storm},
};
use futures::{StreamExt, stream};
use tokio::{runtime::Handle, task};

/// How many servers are crashed at once: most of the time one waits for the disk.
/// Each has a thread of its own: what looks into a storage or runs `verify` blocks, and
/// in one thread the server of another would find that its caller has gone silent.
const AT_ONCE: usize = 3;

/// Each point that applies is met by each operation that is said to meet it.
async fn every_point_is_survived(backend: Backend) {
    let pairs = crash::crash_points().into_iter().flat_map(|point| {
        let all = Operation::ALL.into_iter();
        let meeting: Vec<_> = all
            .filter(|operation| crash::meets(&point, *operation, backend))
            .collect();
        let is_met = !meeting.is_empty() || !crash::applies(&point, backend);
        assert!(is_met, "no operation meets {point} on {backend:?}");
        meeting.into_iter().map(move |operation| (point.clone(), operation))
    });
    let survived = stream::iter(pairs).map(async |(point, operation)| {
        let runtime = Handle::current();
        let met = task::spawn_blocking(move || {
            let is_met = runtime.block_on(crash::meet(&point, operation, backend));
            assert!(is_met, "{operation:?} does not come by {point} on {backend:?}");
        });
        met.await.unwrap();
    });
    survived.buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_crash_point_is_survived_on_sqlite_and_a_folder() {
    every_point_is_survived(Backend::EMBEDDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_crash_point_is_survived_on_postgres_and_a_folder() {
    every_point_is_survived(Backend::POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_crash_point_is_survived_on_a_bucket() {
    every_point_is_survived(Backend::S3).await;
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
