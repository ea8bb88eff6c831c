//! Mixed load under random kills, against a model of what every caller knows.
//!
//! Each worker has keys of its own and does one thing at a time, so that it
//! always knows the state of its keys but for the one call that a kill cut. After
//! every start that key must be in the state before or after the call; the
//! same request again then settles which.

use std::time::Duration;

use artifactd_proto::v1 as pb;

use crate::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, by_stem, by_uid, keyed},
    content::{Random, content, digest},
};

const WORKERS: usize = 6;
const SLOTS_PER_WORKER: usize = 4;
/// So small that some contents have several parts; a bucket makes them larger.
const PART_BYTES: i64 = 512 << 10;
/// Few contents, so that workers race for the same blobs.
const CONTENTS: usize = 12;

/// What a storm is made of. Equal settings make the same choices.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Decides every choice.
    pub seed: u64,
    /// How often the server is killed.
    pub rounds: usize,
    /// What it runs on.
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Save(usize),
    /// The same in parts.
    Upload(usize),
    Replace(usize),
    Trash,
    Restore,
    Destroy,
}

/// What lies under one key: its family's contents by version, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Empty,
    Live(Vec<usize>),
    Trashed(Vec<usize>),
}

#[derive(Debug, Clone)]
struct Pending {
    act: Act,
    request_id: String,
}

#[derive(Debug)]
struct Slot {
    key: String,
    stem: Option<String>,
    state: State,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Worker {
    random: Random,
    slots: Vec<Slot>,
    calls_made: usize,
    tally: Tally,
}

/// Runs a storm.
///
/// # Panics
/// When a promise was broken; the message holds the seed.
pub async fn run(storm: Storm) -> Tally {
    let mut random = Random::new(storm.seed);
    let mut server = TestServer::on(storm.backend).await;
    let mut workers: Vec<Worker> = (0..WORKERS)
        .map(|number| Worker::new(number, random.next_u64()))
        .collect();
    for round in 0..storm.rounds {
        let life = Duration::from_millis(20 + random.below(storm.life_ms_max) as u64);
        workers = live_and_die(&mut server, workers, life).await;
        server.start_again().await;
        for worker in &mut workers {
            worker.settle(&server.calls(), storm.seed, round).await;
        }
        if round % 10 == 9 || round + 1 == storm.rounds {
            server.assert_clean();
        }
    }
    let mut tally = Tally::default();
    for worker in &workers {
        tally.acknowledged += worker.tally.acknowledged;
        tally.cut += worker.tally.cut;
    }
    tally
}

async fn live_and_die(server: &mut TestServer, workers: Vec<Worker>, life: Duration) -> Vec<Worker> {
    let mut running = tokio::task::JoinSet::new();
    for worker in workers {
        running.spawn(worker.work(server.calls()));
    }
    tokio::time::sleep(life).await;
    server.kill();
    running.join_all().await
}

impl Worker {
    fn new(number: usize, seed: u64) -> Self {
        let slot = |slot| Slot {
            key: format!("worker-{number}/slot-{slot}.bin"),
            stem: None,
            state: State::Empty,
            pending: None,
        };
        let slots = (0..SLOTS_PER_WORKER).map(slot).collect();
        Self {
            random: Random::new(seed),
            slots,
            calls_made: 0,
            tally: Tally::default(),
        }
    }

    /// Works until a call is cut.
    async fn work(mut self, calls: Calls) -> Self {
        loop {
            let at = self.random.below(self.slots.len());
            let act = self.choose(&self.slots[at].state.clone());
            self.calls_made += 1;
            let request_id = format!("{}-{}", self.slots[at].key, self.calls_made);
            let pending = Pending { act, request_id };
            self.slots[at].pending = Some(pending);
            match self.slots[at].send(&calls).await {
                Ok(()) => self.tally.acknowledged += 1,
                Err(failure) => {
                    assert!(failure.is_cut(), "{:?}: {failure}", self.slots[at]);
                    self.tally.cut += 1;
                    return self;
                }
            }
        }
    }

    fn choose(&mut self, state: &State) -> Act {
        let content = self.random.below(CONTENTS);
        match (state, self.random.below(10)) {
            (State::Empty, 0..3) | (State::Live(_), 0..2) => Act::Upload(content),
            (State::Empty, _) | (State::Live(_), 2..6) => Act::Save(content),
            (State::Live(_), 6..8) => Act::Replace(content),
            (State::Live(_), _) => Act::Trash,
            (State::Trashed(_), 0..6) => Act::Restore,
            (State::Trashed(_), _) => Act::Destroy,
        }
    }

    async fn settle(&mut self, calls: &Calls, seed: u64, round: usize) {
        for slot in &mut self.slots {
            if slot.pending.is_some() {
                slot.assert_before_or_after(calls).await;
                let retried = slot.send(calls).await;
                assert!(
                    retried.is_ok(),
                    "seed {seed}, round {round}: retry of {slot:?}: {retried:?}"
                );
            }
            let fault = slot.compare(&slot.state, calls).await.err();
            assert_eq!(fault, None, "seed {seed}, round {round}: {slot:?}");
        }
    }
}

impl Slot {
    /// Sends what is pending; once it is acknowledged the state is the one after.
    async fn send(&mut self, calls: &Calls) -> Outcome<()> {
        let Some(Pending { act, request_id }) = self.pending.clone() else {
            return Ok(());
        };
        let request_id = Some(request_id);
        let stem = self.stem.clone().unwrap_or_default();
        match act {
            Act::Save(number) | Act::Upload(number) => {
                let header = pb::SaveHeader {
                    request_id,
                    ..keyed(&self.key)
                };
                let content = pooled(number);
                let answer = match act {
                    Act::Upload(_) => calls.save_in_parts(header, &content, PART_BYTES).await?,
                    _ => calls.save(header, &content).await?,
                };
                self.stem = Some(crate::calls::saved(answer).stem);
            }
            Act::Replace(number) => {
                let header = pb::ReplaceHeader {
                    request_id,
                    artifact: Some(by_key(&self.key)),
                    ..Default::default()
                };
                calls.replace(header, &pooled(number)).await?;
            }
            Act::Trash => {
                let artifact = Some(by_stem(&stem));
                calls
                    .delete(pb::DeleteArtifactRequest {
                        request_id,
                        artifact,
                        ..Default::default()
                    })
                    .await?;
            }
            Act::Restore => {
                let artifact = Some(by_stem(&stem));
                calls
                    .restore_raw(pb::RestoreArtifactRequest {
                        request_id,
                        artifact,
                        ..Default::default()
                    })
                    .await?;
            }
            Act::Destroy => {
                let request = pb::DeleteArtifactRequest {
                    request_id,
                    permanent: true,
                    ..Default::default()
                };
                calls
                    .delete(pb::DeleteArtifactRequest {
                        artifact: Some(by_stem(&stem)),
                        ..request
                    })
                    .await?;
            }
        }
        self.state = after(&self.state, act);
        self.pending = None;
        Ok(())
    }

    async fn assert_before_or_after(&self, calls: &Calls) {
        let Some(pending) = &self.pending else { return };
        let before = self.compare(&self.state, calls).await;
        let after = self.compare(&after(&self.state, pending.act), calls).await;
        assert!(
            before.is_ok() || after.is_ok(),
            "{self:?}: not before ({before:?}) and not after ({after:?})"
        );
    }

    /// Compares what the server has with what a state says.
    async fn compare(&self, state: &State, calls: &Calls) -> Result<(), String> {
        let found = calls.get(by_key(&self.key)).await;
        let State::Live(versions) = state else {
            return match found {
                Err(failure) if failure.reason == Some(pb::ErrorReason::ArtifactNotFound) => Ok(()),
                found => Err(format!("found {found:?}")),
            };
        };
        let head = found.map_err(|failure| failure.to_string())?;
        let expected = versions.last().copied().map(pooled).unwrap_or_default();
        if head.hash != digest(&expected) || head.version_number as usize != versions.len() {
            return Err(format!("the head is {head:?}"));
        }
        let bytes = calls
            .read(by_uid(&head.uid))
            .await
            .map_err(|failure| failure.to_string())?;
        if bytes != expected {
            return Err("other bytes than the record says".to_owned());
        }
        let family = calls
            .family(by_stem(&head.stem))
            .await
            .map_err(|failure| failure.to_string())?;
        let hashes: Vec<String> = family.iter().rev().map(|version| version.hash.clone()).collect();
        let expected: Vec<String> = versions.iter().map(|number| digest(&pooled(*number))).collect();
        if hashes != expected || family.iter().filter(|version| version.is_latest).count() != 1 {
            return Err(format!("the family is {family:?}"));
        }
        Ok(())
    }
}

fn after(state: &State, act: Act) -> State {
    let act = match act {
        Act::Upload(number) => Act::Save(number),
        act => act,
    };
    match (state, act) {
        (State::Live(versions), Act::Save(number)) if versions.last() == Some(&number) => State::Live(versions.clone()),
        (State::Live(versions), Act::Save(number)) => State::Live([versions.as_slice(), &[number]].concat()),
        (State::Live(versions), Act::Replace(number)) => {
            State::Live([&versions[..versions.len() - 1], &[number]].concat())
        }
        (State::Live(versions), Act::Trash) => State::Trashed(versions.clone()),
        (State::Trashed(versions), Act::Restore) => State::Live(versions.clone()),
        (_, Act::Save(number)) => State::Live(vec![number]),
        (_, _) => State::Empty,
    }
}

/// The contents of the storm: small and large ones, from few seeds.
fn pooled(number: usize) -> Vec<u8> {
    content(
        1000 + number as u64,
        [10, 5_000, 262_144, 700_000, 1_500_000, 0][number % 6] + number,
    )
    .to_vec()
}
