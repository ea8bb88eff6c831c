//! Mixed load under random kills, against a model of what every caller knows.
//!
//! Each worker has keys of its own and does one thing at a time, so that it
//! always knows the state of its keys but for the one call that a kill cut. After
//! every start that key must be in the state before or after the call; the
//! same request again then settles which, at another server where there are two.
//! Beside them somebody collects garbage all the time, without grace.

mod model;
mod slot;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::timeout;

use self::slot::Worker;
use crate::{Backend, Calls, Database, Storage, TestServer, content::Random};

const WORKERS: usize = 6;

/// How long the collector rests.
const REST: Duration = Duration::from_millis(5);

/// What a storm is made of. Equal settings make the same choices.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Decides every choice.
    pub seed: u64,
    /// How often the servers are killed.
    pub rounds: usize,
    /// What they run on.
    pub backend: Backend,
    /// Longest time between start and kill.
    pub life_ms_max: usize,
}

/// What a storm did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Calls that were acknowledged.
    pub acknowledged: usize,
    /// Calls that a kill cut.
    pub cut: usize,
    /// Collections that came to their end.
    pub collections: usize,
}

/// The servers of a storm: two where they can share what they work on.
struct Servers {
    all: Vec<TestServer>,
    _storage: TempDir,
}

/// Runs a storm.
///
/// # Panics
/// When a promise was broken; the message holds the seed.
pub async fn run(storm: Storm) -> Tally {
    let mut random = Random::new(storm.seed);
    let mut servers = Servers::start(storm.backend).await;
    let mut tally = Tally::default();
    let mut workers: Vec<Worker> = (0..WORKERS)
        .map(|number| Worker::new(number, random.next_u64()))
        .collect();
    for round in 0..storm.rounds {
        let life = Duration::from_millis(20 + random.below(storm.life_ms_max) as u64);
        workers = servers.live_and_die(workers, (round, life), &mut tally).await;
        for server in &mut servers.all {
            server.start_again().await;
        }
        for (number, worker) in workers.iter_mut().enumerate() {
            // Who goes on where another server was cut finds all that it needs.
            let calls = servers.calls(number + round + 1);
            worker.settle(&calls, storm.seed, round).await;
        }
        if round % 10 == 9 || round + 1 == storm.rounds {
            servers.all[0].assert_clean();
        }
    }
    servers.assert_nothing_is_left().await;
    for worker in &workers {
        tally.acknowledged += worker.acknowledged;
        tally.cut += worker.cut;
    }
    tally
}

impl Servers {
    async fn start(backend: Backend) -> Self {
        let storage = tempfile::tempdir().expect("make a folder");
        let mut setup = TestServer::setup().on(backend).without_grace();
        if backend.storage == Storage::Local {
            setup = setup.storage_path(storage.path());
        }
        let mut all = vec![setup.start().await];
        if backend.database == Database::Postgres {
            all.push(all[0].replica().await);
        }
        Self { all, _storage: storage }
    }

    fn calls(&self, number: usize) -> Calls {
        self.all[number % self.all.len()].calls()
    }

    /// Works for some time, until one server after the other is killed.
    async fn live_and_die(
        &mut self,
        workers: Vec<Worker>,
        (round, life): (usize, Duration),
        tally: &mut Tally,
    ) -> Vec<Worker> {
        let mut running = tokio::task::JoinSet::new();
        for (number, worker) in workers.into_iter().enumerate() {
            running.spawn(worker.work(self.calls(number + round)));
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let collecting = tokio::spawn(collect(self.calls(round), Arc::clone(&is_over)));
        for server in &mut self.all {
            tokio::time::sleep(life).await;
            server.kill();
        }
        let mut workers = running.join_all().await;
        is_over.store(true, Ordering::Relaxed);
        tally.collections += collecting.await.expect("a collection is answered or cut");
        workers.sort_by_key(|worker| worker.number);
        workers
    }

    /// What no record needs goes with the next collections.
    async fn assert_nothing_is_left(&self) {
        let server = &self.all[0];
        for _ in 0..2 {
            server.calls().collect_garbage(false).await.expect("collect garbage");
        }
        assert_eq!(server.staged(), [""; 0], "something was never finished");
        assert_eq!(server.stored_files_below("uploads"), 0, "parts without an upload");
        let objects = "SELECT count(*) FROM objects WHERE deleted_at_us IS NULL";
        assert_eq!(
            server.stored_objects().len() as i64,
            server.query_integer(objects).await
        );
        let unused = "SELECT count(*) FROM blobs WHERE id NOT IN \
             (SELECT blob_id FROM artifacts WHERE blob_id IS NOT NULL UNION SELECT blob_id FROM manifest_page_blobs)";
        assert_eq!(server.query_integer(unused).await, 0);
        server.assert_clean();
    }
}

/// Collects until its server is killed; answers how often.
async fn collect(calls: Calls, is_over: Arc<AtomicBool>) -> usize {
    let mut collections = 0;
    while !is_over.load(Ordering::Relaxed) {
        match timeout(slot::LOST_AFTER, calls.collect_garbage(false)).await {
            Ok(Ok(_)) => collections += 1,
            Ok(Err(failure)) if failure.is_cut() => break,
            Ok(Err(failure)) => assert!(failure.says_when_to_retry, "a collection: {failure}"),
            Err(_) => break,
        }
        tokio::time::sleep(REST).await;
    }
    collections
}
