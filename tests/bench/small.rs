//! Calls about one small artifact.

use std::time::{Duration, Instant};

use artifactd_client::{Client, DeleteOptions, SaveOptions};

use crate::{Row, bare, median, server::Server};

const RUNS: usize = 400;
const ARTIFACTS: u64 = 10_000;

fn content(number: u64) -> Vec<u8> {
    let mut content = vec![0; 1024];
    content[..8].copy_from_slice(&number.to_le_bytes());
    content
}

async fn timed<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> (T, Duration) {
    let began = Instant::now();
    let done = call.await.expect("the call succeeds");
    (done, began.elapsed())
}

pub(crate) async fn run() {
    let folder = tempfile::tempdir().expect("make a folder");
    let (server, _) = Server::start(folder.path()).await;
    let client = server.client().await;
    save(&client, folder.path()).await;
    fill(&client).await;
    get_and_claim(&client).await;
    trash(&client).await;
    server.stop().await;
}

/// Save of 1 KiB against the bare work, in turns.
async fn save(client: &Client, folder: &std::path::Path) {
    let database = bare::database(folder);
    let (mut ours, mut other, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..RUNS as u64 {
        let content = content(number);
        ours.push(
            timed(client.save(content.clone(), format!("save/{number}.bin")))
                .await
                .1,
        );
        let began = Instant::now();
        bare::durable_file(folder, &format!("{number}.bin"), &content);
        bare::commit(&database);
        let call = timed(client.server_info()).await.1;
        other.push(began.elapsed());
        empty.push(call);
    }
    Row::time(
        "save 1 KiB, durable / bare work",
        median(ours),
        median(other),
        1.5,
        "1.5 x (aim 1.3)",
    )
    .print();
    println!(
        "{:<42} {:>9.3} ms",
        "  of which an empty call",
        median(empty).as_secs_f64() * 1e3
    );
}

async fn fill(client: &Client) {
    let lanes = (0..16u64).map(|lane| async move {
        for number in (lane..ARTIFACTS).step_by(16) {
            client
                .save(content(number + 1_000_000), format!("fill/{number}.bin"))
                .await
                .expect("save");
        }
    });
    futures::future::join_all(lanes).await;
}

async fn get_and_claim(client: &Client) {
    let saved = client.save(content(u64::MAX), "get.bin").await.expect("save").artifact;
    let (mut gets, mut empties, mut claims, mut saves) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..RUNS {
        gets.push(timed(client.get(saved.uid)).await.1);
        empties.push(timed(client.server_info()).await.1);
        claims.push(
            timed(client.claim(saved.sha256, SaveOptions::key(format!("claim/{number}.bin"))))
                .await
                .1,
        );
        saves.push(
            timed(client.save(content(number as u64 + 9_000_000), format!("new/{number}.bin")))
                .await
                .1,
        );
    }
    let (get, empty) = (median(gets), median(empties));
    let more = get.saturating_sub(empty).as_secs_f64() * 1e3;
    let verdict = if more <= 0.25 { "met" } else { "MISSED" };
    Row::time(
        "get by uid of 10,000 / empty call",
        get,
        empty,
        f64::INFINITY,
        "see the next line",
    )
    .print();
    println!(
        "{:<42} {more:>9.3} ms {:>21}  {:<24} {verdict}",
        "  more than an empty call", "", "0.25 ms (aim 0.1)"
    );
    Row::time(
        "claim of held content / save",
        median(claims),
        median(saves),
        f64::INFINITY,
        "lamindb: not run here",
    )
    .print();
}

async fn trash(client: &Client) {
    let (mut trashes, mut restores, mut destroys) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..RUNS / 2 {
        let uid = client
            .save(content(number as u64 + 5_000_000), format!("trash/{number}.bin"))
            .await
            .expect("save");
        let uid = uid.artifact.uid;
        trashes.push(timed(client.delete(uid)).await.1);
        restores.push(timed(client.restore(uid, Default::default())).await.1);
        let options = DeleteOptions {
            permanent: true,
            force: true,
            ..DeleteOptions::default()
        };
        destroys.push(timed(client.delete_with(uid, options)).await.1);
    }
    for (case, times) in [
        ("trash", trashes),
        ("restore", restores),
        ("permanent delete", destroys),
    ] {
        println!("{case:<42} {:>9.3} ms", median(times).as_secs_f64() * 1e3);
    }
}
