//! Walks over lists while others write.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_uid, keyed, saved},
    pb::{ArtifactUpdate, ListArtifactsRequest, UpdateArtifactRequest},
};

/// Artifacts that are there during the whole walk, unless `ARTIFACTD_WALKED` says more.
const STEADY: usize = 240;

/// How often the list is walked at least, and how much others do meanwhile.
const WALKS: usize = 12;
const ROUNDS: usize = 20;

async fn save(calls: &Calls, keys: Vec<String>) -> Vec<String> {
    let files = keys.iter().map(|key| (keyed(key), key.as_bytes().to_vec())).collect();
    let outcomes = calls.save_batch(files).await.unwrap();
    outcomes
        .into_iter()
        .map(|outcome| saved(outcome.unwrap()).uid)
        .collect()
}

fn steady_artifacts() -> usize {
    let wish = std::env::var("ARTIFACTD_WALKED");
    wish.map_or(STEADY, |wish| wish.parse().expect("a number of artifacts"))
}

/// Inserts, renames and deletes artifacts among the others until it is told to stop.
async fn stir(calls: &Calls, lane: usize, stop: &AtomicBool, rounds: &AtomicUsize) {
    let artifacts = steady_artifacts();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = |name: &str| format!("{:06}-{name}-{lane}-{round}.csv", (round * 37 + lane) % artifacts);
        let uids = save(calls, vec![key("a"), key("b")]).await;
        let update = UpdateArtifactRequest {
            artifact: Some(by_uid(&uids[0])),
            update: Some(ArtifactUpdate {
                key: Some(key("c")),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["key".to_owned()],
            }),
            ..Default::default()
        };
        calls.update(update).await.unwrap();
        calls.trash(by_uid(&uids[round % 2])).await.unwrap();
        round += 1;
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_all_the_time_is_listed_exactly_once_while_others_write() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut steady = Vec::new();
        let artifacts = steady_artifacts();
        for some in (0..artifacts).collect::<Vec<_>>().chunks(80) {
            let keys = some.iter().map(|number| format!("{number:06}-steady.csv"));
            steady.extend(save(&calls, keys.collect()).await);
        }
        let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        let walks = async {
            let mut orders = ["", "created_at", "key", "key desc", "size", "updated_at"]
                .iter()
                .cycle();
            for walk in 0.. {
                let order_by = orders.next().unwrap();
                let filter = ["", "key = '*steady*' OR media_type = 'text/csv'"][walk / 2 % 2];
                let request = ListArtifactsRequest {
                    page_size: i32::try_from(artifacts / 10).unwrap().clamp(1, 1000) - 1,
                    filter: filter.to_owned(),
                    order_by: (*order_by).to_owned(),
                    ..Default::default()
                };
                let mut times = BTreeMap::new();
                for artifact in calls.list_all(request).await.unwrap() {
                    *times.entry(artifact.uid).or_insert(0) += 1;
                }
                for uid in &steady {
                    assert_eq!(times.get(uid), Some(&1), "{order_by:?} {filter:?} on {backend:?}");
                }
                if walk >= WALKS && rounds.load(Ordering::Relaxed) >= ROUNDS {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        };
        let [one, other] = [1, 2].map(|lane| stir(&calls, lane, &stop, &rounds));
        tokio::join!(walks, one, other);
    }
}
