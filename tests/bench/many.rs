//! Many small files at once.

use std::{path::Path, time::Instant};

use artifactd_client::{Client, SaveOptions};

use crate::{Wanted, cases, machine, peer::Peer, rounds::Both, server::Server, shelf};

const ROUNDS: u64 = 5;
const FILES: u64 = 1_000;

pub(crate) async fn run(wanted: &Wanted) {
    if wanted.has(&cases::BATCH) {
        let folder = machine::folder();
        let server = Server::start(folder.path()).await;
        batch(&server.client().await).await;
        server.stop().await;
    }
}

/// 1,000 files of 1 KiB that neither side has seen, each as an artifact of its own.
async fn batch(client: &Client) {
    let folder = machine::folder();
    let lamindb = Peer::lamindb(folder.path());
    let mut both = Both::default();
    for number in 0..ROUNDS {
        let many = folder.path().join(format!("many-{number}"));
        std::fs::create_dir(&many).expect("make a folder");
        for file in 0..FILES {
            let content = shelf::content(3_000_000 + number * FILES + file);
            std::fs::write(many.join(format!("{file:04}.bin")), content).expect("write a file");
        }
        let ours = async {
            let began = Instant::now();
            let results = client.save_many(read(&many, number)).await.expect("save");
            let took = began.elapsed();
            assert_eq!(results.iter().filter(|result| result.is_ok()).count() as u64, FILES);
            took
        };
        both.round(number, ours, lamindb.call("save_many", number)).await;
    }
    cases::BATCH.report(&both.ours, &both.other);
}

fn read(folder: &Path, number: u64) -> Vec<(bytes::Bytes, SaveOptions)> {
    let entries = std::fs::read_dir(folder).expect("list a folder");
    let files = entries.map(|entry| {
        let entry = entry.expect("list a folder");
        let key = format!("many-{number}/{}", entry.file_name().to_string_lossy());
        let content = std::fs::read(entry.path()).expect("read a file");
        (content.into(), SaveOptions::key(key))
    });
    files.collect()
}
