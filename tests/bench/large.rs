//! Content of 1 GiB, in and out.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use artifactd_client::SaveOptions;

use crate::{Row, bare, median, peer::Peer, server::Server};

const BYTES: u64 = 1 << 30;
const RUNS: u64 = 5;

/// Bytes that do not repeat, so that nothing can be saved by leaving them out.
fn make_source(path: &Path) {
    let mut file = File::create(path).expect("create the source");
    let (mut state, mut buffer) = (1u64, vec![0; 1 << 20]);
    for _ in 0..BYTES >> 20 {
        for word in buffer.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&buffer).expect("write the source");
    }
    file.sync_all().expect("fsync the source");
}

fn change(path: &Path, round: u64) {
    let file = File::options().write(true).open(path).expect("open the source");
    file.write_all_at(&round.to_le_bytes(), 0).expect("change the source");
}

pub(crate) async fn run() {
    on_disk().await;
    on_tmpfs().await;
}

async fn on_disk() {
    let folder = tempfile::tempdir().expect("make a folder");
    let source = folder.path().join("source");
    make_source(&source);
    let (server, _) = Server::start(folder.path()).await;
    let (client, peer) = (server.client().await, Peer::start(folder.path()));
    let (mut uploads, mut copies, mut downloads, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..RUNS {
        change(&source, round);
        let began = Instant::now();
        let saved = client
            .save_file(&source, SaveOptions::key("large.bin"))
            .await
            .expect("save")
            .artifact;
        uploads.push(began.elapsed());
        // Both sides write a file that was not there: cutting an old one takes time.
        let copy = folder.path().join("copy");
        let _ = std::fs::remove_file(&copy);
        let began = Instant::now();
        bare::copy_hashed(&source, &copy);
        copies.push(began.elapsed());
        let began = Instant::now();
        client.check(saved.uid).await.expect("read");
        downloads.push(began.elapsed());
        theirs.push(peer.download(BYTES).await);
        let options = artifactd_client::DeleteOptions {
            permanent: true,
            force: true,
            ..Default::default()
        };
        client.delete_with(saved.uid, options).await.expect("delete");
        empty_folder(&folder.path().join("data/storage/.artifactd/objects"));
    }
    Row::rate(
        "upload 1 GiB / bare copy",
        BYTES,
        median(uploads),
        median(copies),
        0.75,
        "0.75 x (aim 0.85)",
    )
    .print();
    Row::rate(
        "download 1 GiB / grpcio from memory",
        BYTES,
        median(downloads),
        median(theirs),
        1.0,
        "1 x (aim 1.3)",
    )
    .print();
    println!(
        "{:<42} {:>8.1} MiB",
        "  memory of the server then",
        server.resident_mib()
    );
    server.stop().await;
}

async fn on_tmpfs() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        println!("no tmpfs at /dev/shm: the case was not run");
        return;
    };
    let source = folder.path().join("source");
    make_source(&source);
    let (server, _) = Server::start(folder.path()).await;
    let (client, peer) = (server.client().await, Peer::start(folder.path()));
    let (mut uploads, mut theirs): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    for round in 0..RUNS {
        change(&source, round);
        let began = Instant::now();
        client
            .save_file(&source, SaveOptions::key("large.bin"))
            .await
            .expect("save");
        uploads.push(began.elapsed());
        empty_folder(&folder.path().join("data/storage/.artifactd/objects"));
        let _ = std::fs::remove_file(folder.path().join("peer"));
        theirs.push(peer.upload(&source).await);
    }
    Row::rate(
        "upload 1 GiB on tmpfs / grpcio",
        BYTES,
        median(uploads),
        median(theirs),
        1.7,
        "1.7 x (aim 2)",
    )
    .print();
    server.stop().await;
}

/// Frees the space of objects that no later round reads.
fn empty_folder(objects: &Path) {
    for shard in std::fs::read_dir(objects).into_iter().flatten().flatten() {
        for object in std::fs::read_dir(shard.path()).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(object.path());
        }
    }
}
