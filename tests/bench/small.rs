//! Calls about one small artifact, and the server that only holds such ones.

use std::{path::Path, time::Instant};

use artifactd_client::{Client, DeleteOptions, SaveOptions};

use crate::{
    Wanted, bare, cases, machine,
    peer::Peer,
    rounds::{Both, time_of, timed},
    server::Server,
    shelf,
    table::Samples,
};

const ROUNDS: u64 = 400;
/// 100 rounds beside lamindb.
const LAMINDB_BLOCKS: u64 = 5;
const BLOCK_ROUNDS: u64 = 20;
const STARTS: usize = 11;

pub(crate) async fn run(wanted: &Wanted) {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    if wanted.has(&cases::SAVE_BARE) {
        save(&client, folder.path()).await;
    }
    if wanted.has_any(cases::AMONG_MANY) {
        shelf::fill(&client).await;
    }
    if wanted.has(&cases::GET) {
        get(&client).await;
    }
    if wanted.has_any(cases::BESIDE_LAMINDB) {
        beside_lamindb(&client, wanted).await;
    }
    server.stop().await;
    if wanted.has(&cases::START) || wanted.has(&cases::IDLE) {
        start(folder.path(), wanted).await;
    }
}

/// Save of 1 KiB against the bare work.
async fn save(client: &Client, folder: &Path) {
    let database = bare::database(folder);
    let mut both = Both::default();
    for number in 0..ROUNDS {
        let content = shelf::content(number);
        let ours = time_of(client.save(content.clone(), format!("save/{number}.bin")));
        let bare = async {
            let began = Instant::now();
            bare::durable_file(folder, &format!("{number}.bin"), &content);
            bare::commit(&database);
            client.server_info().await.expect("an empty call succeeds");
            began.elapsed()
        };
        both.round(number, ours, bare).await;
    }
    cases::SAVE_BARE.report(&both.ours, &both.other);
}

async fn get(client: &Client) {
    let uid = client
        .save(shelf::content(u64::MAX), "get.bin")
        .await
        .expect("save")
        .artifact
        .uid;
    let mut both = Both::default();
    for number in 0..ROUNDS {
        both.round(number, time_of(client.get(uid)), time_of(client.server_info()))
            .await;
    }
    cases::GET.report(&both.ours, &both.other);
}

/// Everything that lamindb does too, on files that neither side has seen. Both hold as many artifacts.
async fn beside_lamindb(client: &Client, wanted: &Wanted) {
    let folder = machine::folder();
    let lamindb = Peer::lamindb(folder.path());
    lamindb.call("fill", shelf::ARTIFACTS).await;
    let mut sides = BesideLamindb {
        client,
        lamindb,
        folder: folder.path(),
        measured: std::array::from_fn(|_| Both::default()),
    };
    for block in 0..LAMINDB_BLOCKS {
        sides.block(block).await;
    }
    for (case, both) in cases::BESIDE_LAMINDB.iter().zip(&sides.measured) {
        if wanted.has(case) {
            case.report(&both.ours, &both.other);
        }
    }
}

/// Both sides, and what was measured of each of `cases::BESIDE_LAMINDB`.
struct BesideLamindb<'b> {
    client: &'b Client,
    lamindb: Peer,
    folder: &'b Path,
    measured: [Both; 5],
}

impl BesideLamindb<'_> {
    /// One life of some artifacts, step by step.
    async fn block(&mut self, block: u64) {
        let client = self.client;
        let [saves, claims, trashes, restores, deletes] = &mut self.measured;
        let numbers = block * BLOCK_ROUNDS..(block + 1) * BLOCK_ROUNDS;
        // The peer looks for its files under these names.
        let source = |number: u64| self.folder.join(format!("{number}.bin"));
        for number in numbers.clone() {
            std::fs::write(source(number), shelf::content(2_000_000 + number)).expect("write the source");
        }
        let lamindb = async |operation: &str, times: &mut Samples| {
            for number in numbers.clone() {
                times.push_time(self.lamindb.call(operation, number).await);
            }
        };
        let mut saved = Vec::new();
        let save = async |times: &mut Samples| {
            for number in numbers.clone() {
                let options = SaveOptions::key(format!("new/{number}.bin"));
                let (done, took) = timed(client.save_file(source(number), options)).await;
                saved.push(done.artifact);
                times.push_time(took);
            }
        };
        saves
            .block(block, save, async |times| lamindb("save", times).await)
            .await;
        let mut claimed = Vec::new();
        let claim = async |times: &mut Samples| {
            for (number, artifact) in numbers.clone().zip(&saved) {
                let options = SaveOptions::key(format!("again/{number}.bin"));
                let (done, took) = timed(client.claim(artifact.sha256, options)).await;
                claimed.push(done.artifact.uid);
                times.push_time(took);
            }
        };
        claims
            .block(block, claim, async |times| lamindb("save_again", times).await)
            .await;
        // Else the permanent delete would leave the bytes to these; lamindb made no second artifacts.
        for uid in claimed {
            client.delete_with(uid, destroy()).await.expect("delete");
        }
        let trash = async |times: &mut Samples| {
            for artifact in &saved {
                times.push_time(time_of(client.delete(artifact.uid)).await);
            }
        };
        trashes
            .block(block, trash, async |times| lamindb("trash", times).await)
            .await;
        let restore = async |times: &mut Samples| {
            for artifact in &saved {
                times.push_time(time_of(client.restore(artifact.uid, Default::default())).await);
            }
        };
        restores
            .block(block, restore, async |times| lamindb("restore", times).await)
            .await;
        let delete = async |times: &mut Samples| {
            for artifact in &saved {
                times.push_time(time_of(client.delete_with(artifact.uid, destroy())).await);
            }
        };
        deletes
            .block(block, delete, async |times| lamindb("delete", times).await)
            .await;
    }
}

fn destroy() -> DeleteOptions {
    DeleteOptions {
        permanent: true,
        force: true,
        ..DeleteOptions::default()
    }
}

/// Start on a folder that is in use, and the memory of a server that has answered one call.
async fn start(folder: &Path, wanted: &Wanted) {
    let (mut times, mut sizes) = (Samples::default(), Samples::default());
    for _ in 0..STARTS {
        let began = Instant::now();
        let server = Server::start(folder).await;
        times.push_time(began.elapsed());
        sizes.push(server.idle_mib().await);
        server.stop().await;
    }
    if wanted.has(&cases::START) {
        cases::START.report_alone(&times);
    }
    if wanted.has(&cases::IDLE) {
        cases::IDLE.report_alone(&sizes);
    }
}
