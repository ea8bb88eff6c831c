//! Gets while others list and save, beside gets while nobody does.
//!
//! First it measures how many calls the server does in a second when 64 connections
//! list and save as fast as they are answered. Then they do half as many, at fixed
//! times whether answers come or not, and one more connection gets. It has a thread of
//! its own, so that it waits for the server and not for its neighbours here. A get that
//! begins late because the one before was slow counts from when it should have begun.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use artifactd_tests::{
    Calls,
    calls::{by_key, keyed},
    pb,
};
use tokio::{task::JoinSet, time::Instant};

use crate::{cases, machine, server::Server, shelf, table::Samples};

const CONNECTIONS: u32 = 64;
const PAGE_ROWS: i32 = 100;
const FULL: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(500);
const ROUNDS: u64 = 7;
const GETS: u32 = 1_000;
const WARM_UP: u32 = 100;
const PACE: Duration = Duration::from_millis(3);

pub(crate) async fn run() {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    shelf::fill(&server.client().await).await;
    let load = Load::on(&server).await;
    let full = load.full().await;
    let half = full / 2.0;
    let (mut loaded, mut idle) = (Samples::default(), Samples::default());
    for number in 0..ROUNDS {
        let beside = async |samples: &mut Samples| {
            let running = load.at(half);
            tokio::time::sleep(SETTLE).await;
            samples.push(p99_of_gets(&server).await);
            running.stop().await;
            tokio::time::sleep(SETTLE).await;
        };
        if number.is_multiple_of(2) {
            beside(&mut loaded).await;
            idle.push(p99_of_gets(&server).await);
        } else {
            idle.push(p99_of_gets(&server).await);
            beside(&mut loaded).await;
        }
    }
    println!("lists and saves of {CONNECTIONS} connections: at most {full:.0} a second, {half:.0} beside the gets");
    cases::GET_P99.report(&loaded, &idle);
    server.stop().await;
}

/// Connections that list and save.
struct Load {
    connections: Vec<Calls>,
    saved: Arc<AtomicU64>,
}

/// A load that goes on until it is stopped.
struct Running {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn on(server: &Server) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(server.calls().await);
        }
        Self {
            connections,
            saved: Arc::default(),
        }
    }

    /// Calls a second when each connection makes the next one as soon as it has an answer.
    async fn full(&self) -> f64 {
        let end = Instant::now() + FULL;
        let mut tasks = JoinSet::new();
        for calls in &self.connections {
            let (calls, saved) = (calls.clone(), Arc::clone(&self.saved));
            tasks.spawn(async move {
                let mut done = 0_u32;
                while Instant::now() < end {
                    call(&calls, &saved, done).await;
                    done += 1;
                }
                done
            });
        }
        let done: u32 = tasks.join_all().await.into_iter().sum();
        f64::from(done) / FULL.as_secs_f64()
    }

    /// As many calls a second.
    fn at(&self, rate: f64) -> Running {
        let (mut tasks, stop) = (JoinSet::new(), Arc::<AtomicBool>::default());
        let between = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
        let begin = Instant::now();
        for (calls, number) in self.connections.iter().zip(0..) {
            let (calls, saved, stop) = (calls.clone(), Arc::clone(&self.saved), Arc::clone(&stop));
            let mut next = begin + between * number / CONNECTIONS;
            tasks.spawn(async move {
                let mut done = number;
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep_until(next).await;
                    call(&calls, &saved, done).await;
                    done += 1;
                    next += between;
                }
            });
        }
        Running { tasks, stop }
    }
}

impl Running {
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

/// A list and a save in turns.
async fn call(calls: &Calls, saved: &AtomicU64, number: u32) {
    if number.is_multiple_of(2) {
        let request = pb::ListArtifactsRequest {
            page_size: PAGE_ROWS,
            ..Default::default()
        };
        calls.list(request).await.expect("list");
    } else {
        let number = saved.fetch_add(1, Ordering::Relaxed);
        let content = shelf::content(3_000_000 + number);
        let done = calls.save_small(keyed(&format!("load/{number}.bin")), &content).await;
        done.expect("save");
    }
}

/// The time that 99 of 100 gets stay below.
async fn p99_of_gets(server: &Server) -> f64 {
    let address = server.address();
    let prober = thread::spawn(move || {
        let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build();
        one_thread.expect("a runtime").block_on(async move {
            let calls = Server::calls_to(address).await;
            gets(&calls, WARM_UP).await;
            gets(&calls, GETS).await.quantile(0.99)
        })
    });
    let waiting = tokio::task::spawn_blocking(move || prober.join().expect("gets succeed"));
    waiting.await.expect("the thread ends")
}

async fn gets(calls: &Calls, count: u32) -> Samples {
    let mut times = Samples::default();
    let begin = Instant::now();
    for number in 0..count {
        let due = begin + PACE * number;
        let is_late = Instant::now() > due;
        tokio::time::sleep_until(due).await;
        let since = if is_late { due } else { Instant::now() };
        let key = format!("fill/{}.bin", u64::from(number) * 7 % shelf::ARTIFACTS);
        calls.get(by_key(&key)).await.expect("get");
        times.push_time(since.elapsed());
    }
    times
}
