//! Calls about one small artifact, and the server that only holds such ones.

use std::{path::Path, time::Instant};

use artifactd_client::{Client, DeleteOptions, SaveOptions};

use crate::{
    Wanted, bare, cases,
    lamindb::Lamindb,
    machine,
    rounds::{Both, time_of, timed},
    server::Server,
    shelf,
    table::Samples,
};

const ROUNDS: u64 = 400;
const LAMINDB_ROUNDS: u64 = 100;
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

/// Everything that lamindb does too, on a file that neither side has seen. Both hold as many artifacts.
async fn beside_lamindb(client: &Client, wanted: &Wanted) {
    let folder = machine::folder();
    let lamindb = Lamindb::start(folder.path()).await;
    lamindb.call("fill", shelf::ARTIFACTS).await;
    let [mut saves, mut claims, mut trashes, mut restores, mut deletes] = std::array::from_fn(|_| Both::default());
    let destroy = || DeleteOptions {
        permanent: true,
        force: true,
        ..DeleteOptions::default()
    };
    for number in 0..LAMINDB_ROUNDS {
        // The peer looks for its file under this name.
        let source = folder.path().join(format!("{number}.bin"));
        std::fs::write(&source, shelf::content(2_000_000 + number)).expect("write the source");
        let mut saved = None;
        let save = async {
            let (done, took) = timed(client.save_file(&source, SaveOptions::key(format!("new/{number}.bin")))).await;
            saved = Some(done.artifact);
            took
        };
        saves.round(number, save, lamindb.call("save", number)).await;
        let saved = saved.expect("both sides saved");
        let mut claimed = None;
        let claim = async {
            let options = SaveOptions::key(format!("again/{number}.bin"));
            let (done, took) = timed(client.claim(saved.sha256, options)).await;
            claimed = Some(done.artifact.uid);
            took
        };
        claims.round(number, claim, lamindb.call("save_again", number)).await;
        // Else the permanent delete would leave the bytes to this one; lamindb made no second artifact.
        let claimed = claimed.expect("both sides saved again");
        client.delete_with(claimed, destroy()).await.expect("delete");
        trashes
            .round(number, time_of(client.delete(saved.uid)), lamindb.call("trash", number))
            .await;
        let restore = client.restore(saved.uid, Default::default());
        restores
            .round(number, time_of(restore), lamindb.call("restore", number))
            .await;
        let delete = client.delete_with(saved.uid, destroy());
        deletes
            .round(number, time_of(delete), lamindb.call("delete", number))
            .await;
    }
    for (case, both) in cases::BESIDE_LAMINDB
        .iter()
        .zip([saves, claims, trashes, restores, deletes])
    {
        if wanted.has(case) {
            case.report(&both.ours, &both.other);
        }
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
