//! A bad line between the server and PostgreSQL: nothing acknowledged is lost, calls
//! end in bounded time, and the server recovers by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use artifactd_tests::{
    Backend, Calls, Failure, TestServer,
    calls::{by_key, keyed},
    content::content,
    failure::checked_reason,
    pb::{self, ErrorReason},
    postgres::Postgres,
    proxy::{Line, Proxy},
    wire::{self, framed},
};
use prost::Message;

const WORKERS: u64 = 6;
const GET: &str = "/artifactd.v1.ArtifactService/GetArtifact";

/// Longest time that a call may take while the database is away.
const PATIENCE: Duration = Duration::from_secs(25);

/// Longest time until calls succeed once the line is open again.
const HEALED: Duration = Duration::from_secs(5);

struct Scene {
    server: TestServer,
    proxy: Proxy,
}

impl Scene {
    async fn prepare() -> Self {
        let url = Postgres::shared().create_database().await;
        let proxy = Proxy::start(Postgres::shared().address()).await;
        let setup = TestServer::setup()
            .on(Backend::POSTGRES)
            .database_url(proxy.through(&url));
        Self {
            server: setup.start().await,
            proxy,
        }
    }

    /// Saves from many workers until the load is ended.
    fn load(&self) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..WORKERS).map(|worker| tokio::spawn(work(self.server.calls(), worker, Arc::clone(&stop))));
        Load {
            workers: workers.collect(),
            stop,
        }
    }

    async fn assert_healed(&self) {
        let began = Instant::now();
        while self
            .server
            .calls()
            .get(by_key("none.bin"))
            .await
            .is_err_and(|failure| is_outage(&failure))
        {
            assert!(
                began.elapsed() < HEALED,
                "no answers {:?} after the line came back",
                began.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every acknowledged save is there, and a repeated one has the effect of one.
    async fn assert_settled(&self, saves: Vec<Save>) {
        let calls = self.server.calls();
        assert!(saves.iter().any(|save| save.acknowledged), "nothing was acknowledged");
        for Save {
            key,
            seed,
            acknowledged,
        } in saves
        {
            let bytes = content(seed, 1_000);
            match calls.read(by_key(&key)).await {
                Ok(read) => assert!(read == bytes, "{key} has other bytes"),
                Err(failure) => {
                    assert_eq!(failure.reason, Some(ErrorReason::ArtifactNotFound), "{key}: {failure}");
                    assert!(!acknowledged, "{key} was acknowledged and is lost");
                }
            }
            calls.save(requested(&key), &bytes).await.unwrap();
            assert_eq!(
                calls.family(by_key(&key)).await.unwrap().len(),
                1,
                "{key} was saved twice"
            );
        }
        self.server.assert_clean();
    }
}

fn is_outage(failure: &Failure) -> bool {
    matches!(
        failure.reason,
        Some(ErrorReason::DatabaseUnavailable | ErrorReason::Conflict | ErrorReason::ServerBusy)
    )
}

fn requested(key: &str) -> pb::SaveHeader {
    pb::SaveHeader {
        request_id: Some(key.to_owned()),
        ..keyed(key)
    }
}

struct Save {
    key: String,
    seed: u64,
    acknowledged: bool,
}

struct Load {
    workers: Vec<tokio::task::JoinHandle<Vec<Save>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn end(self) -> Vec<Save> {
        self.stop.store(true, Ordering::Relaxed);
        let saves = futures::future::join_all(self.workers).await;
        saves.into_iter().flat_map(Result::unwrap).collect()
    }
}

async fn work(calls: Calls, worker: u64, stop: Arc<AtomicBool>) -> Vec<Save> {
    let mut saves = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = saves.len() as u64;
        let (key, seed) = (format!("{worker}-{number}.bin"), worker * 10_000 + number);
        let began = Instant::now();
        let outcome = calls.save(requested(&key), &content(seed, 1_000)).await;
        assert!(
            began.elapsed() < PATIENCE,
            "{key} took {:?}: {outcome:?}",
            began.elapsed()
        );
        if let Err(failure) = &outcome {
            assert!(is_outage(failure), "{failure}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let acknowledged = outcome.is_ok();
        saves.push(Save {
            key,
            seed,
            acknowledged,
        });
    }
    saves
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_under_load_lose_nothing() {
    let scene = Scene::prepare().await;
    let load = scene.load();
    for round in 0..40_u64 {
        pause(20 + round % 7 * 20).await;
        scene.proxy.cut();
    }
    scene.assert_healed().await;
    let saves = load.end().await;
    scene.assert_settled(saves).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_answer_is_lost_are_done_once() {
    let scene = Scene::prepare().await;
    let load = scene.load();
    pause(300).await;
    scene.proxy.set(Line::CutsCommits);
    pause(2_000).await;
    scene.proxy.set(Line::Open);
    scene.assert_healed().await;
    pause(300).await;
    let saves = load.end().await;
    assert!(saves.iter().any(|save| !save.acknowledged), "no commit was cut");
    scene.assert_settled(saves).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_stalls_holds_calls_up_until_their_deadline_and_loses_nothing() {
    let scene = Scene::prepare().await;
    let load = scene.load();
    pause(300).await;
    scene.proxy.set(Line::Stalled);
    pause(200).await;
    let request = pb::GetArtifactRequest {
        artifact: Some(by_key("none.bin")),
        include_hidden: false,
        ..Default::default()
    };
    for _ in 0..5 {
        let began = Instant::now();
        let message = framed(&request.encode_to_vec());
        let answer = wire::call(scene.server.address(), GET, &[("grpc-timeout", b"500m")], &message).await;
        let reason = checked_reason(&answer.unwrap().status.unwrap());
        let in_time = [ErrorReason::DeadlineExceeded, ErrorReason::DatabaseUnavailable];
        assert!(
            reason.as_ref().is_ok_and(|reason| in_time.contains(reason)),
            "{reason:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    scene.proxy.set(Line::Open);
    scene.assert_healed().await;
    let saves = load.end().await;
    scene.assert_settled(saves).await;
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_swallows_everything_ends_calls_and_is_left_for_new_ones() {
    let scene = Scene::prepare().await;
    let load = scene.load();
    pause(300).await;
    scene.proxy.set(Line::BlackHole);
    pause(3_000).await;
    scene.proxy.set(Line::Open);
    // What was in the hole stays there; only new connections help.
    let began = Instant::now();
    while scene
        .server
        .calls()
        .get(by_key("none.bin"))
        .await
        .is_err_and(|failure| is_outage(&failure))
    {
        assert!(began.elapsed() < PATIENCE, "still away {:?} later", began.elapsed());
    }
    let saves = load.end().await;
    scene.assert_settled(saves).await;
}
