//! Content of 1 GiB, in and out.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use artifactd_client::{Artifact, Client, DeleteOptions, SaveOptions};

use crate::{
    Wanted, bare,
    cases::{self, Case, GIB},
    grpcio::{Grpcio, Peer},
    machine,
    nginx::Nginx,
    rounds::{Both, time_of, timed},
    server::Server,
};

const ROUNDS: u64 = 7;

/// Name of the file that is moved.
const SOURCE: &str = "source";

pub(crate) async fn run(wanted: &Wanted) {
    let [on_disk @ .., upload_grpcio, upload_raw] = cases::LARGE else {
        unreachable!("these are the cases");
    };
    if wanted.has_any(on_disk) {
        self::on_disk(wanted).await;
    }
    for (case, peer) in [(upload_grpcio, Peer::Service), (upload_raw, Peer::Raw)] {
        if wanted.has(case) {
            on_tmpfs(case, peer).await;
        }
    }
}

async fn on_disk(wanted: &Wanted) {
    let folder = machine::folder();
    make_source(&folder.path().join(SOURCE));
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    if wanted.has(&cases::UPLOAD_BARE) {
        upload_beside_a_copy(&client, folder.path()).await;
    }
    if wanted.has_any(&[cases::DOWNLOAD_GRPCIO, cases::DOWNLOAD_RAW, cases::DOWNLOAD_NGINX]) {
        download(&client, folder.path(), wanted).await;
    }
    server.stop().await;
}

/// Both sides write a file that was not there, as cutting an old one takes time.
async fn upload_beside_a_copy(client: &Client, folder: &Path) {
    let (source, target) = (folder.join(SOURCE), folder.join("copy"));
    let mut both = Both::default();
    for number in 0..ROUNDS {
        change(&source, number);
        let mut saved = None;
        let ours = async {
            let (artifact, took) = save(client, &source).await;
            saved = Some(artifact);
            took
        };
        let copy = async {
            let began = Instant::now();
            bare::copy_hashed(&source, &target);
            began.elapsed()
        };
        both.round(number, ours, copy).await;
        std::fs::remove_file(&target).expect("remove the copy");
        forget(client, saved.expect("both sides copied"), folder).await;
    }
    cases::UPLOAD_BARE.report(&both.ours, &both.other);
}

/// Ours is read anew beside each peer, so that both pairs take turns of their own.
async fn download(client: &Client, folder: &Path, wanted: &Wanted) {
    let saved = save(client, &folder.join(SOURCE)).await.0;
    let ours = || time_of(client.check(saved.uid));
    // One of each reads the file into the page cache, where every round finds it.
    ours().await;
    for (case, peer) in [
        (cases::DOWNLOAD_GRPCIO, Peer::Service),
        (cases::DOWNLOAD_RAW, Peer::Raw),
    ] {
        if wanted.has(&case) {
            let (grpcio, mut both) = (Grpcio::start(folder), Both::default());
            for number in 0..ROUNDS {
                both.round(number, ours(), grpcio.download(peer, GIB)).await;
            }
            case.report(&both.ours, &both.other);
        }
    }
    if wanted.has(&cases::DOWNLOAD_NGINX) {
        let (nginx, mut both) = (Nginx::start(folder).await, Both::default());
        nginx.download(SOURCE, GIB).await;
        for number in 0..ROUNDS {
            both.round(number, ours(), nginx.download(SOURCE, GIB)).await;
        }
        cases::DOWNLOAD_NGINX.report(&both.ours, &both.other);
    }
}

async fn on_tmpfs(case: &Case, peer: Peer) {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        return case.not_run("there is no tmpfs at /dev/shm");
    };
    if machine::free_bytes(folder.path()) < 4 * GIB {
        return case.not_run("it needs 4 GiB at /dev/shm");
    }
    let (folder, source) = (folder.path(), folder.path().join(SOURCE));
    make_source(&source);
    let server = Server::start(folder).await;
    let (client, grpcio, mut both) = (server.client().await, Grpcio::start(folder), Both::default());
    for number in 0..ROUNDS {
        change(&source, number);
        let mut saved = None;
        let ours = async {
            let (artifact, took) = save(&client, &source).await;
            saved = Some(artifact);
            took
        };
        both.round(number, ours, grpcio.upload(peer, &source)).await;
        std::fs::remove_file(folder.join("peer")).expect("remove what the peer wrote");
        forget(&client, saved.expect("both sides uploaded"), folder).await;
    }
    case.report(&both.ours, &both.other);
    server.stop().await;
}

/// Bytes that do not repeat, so that nothing can be saved by leaving them out.
pub(crate) fn make_source(path: &Path) {
    let mut file = File::create(path).expect("create the source");
    let (mut state, mut buffer) = (1u64, vec![0; 1 << 20]);
    for _ in 0..GIB >> 20 {
        for word in buffer.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&buffer).expect("write the source");
    }
    file.sync_all().expect("fsync the source");
}

/// Makes it a content that the server does not hold.
fn change(path: &Path, number: u64) {
    let file = File::options().write(true).open(path).expect("open the source");
    file.write_all_at(&number.to_le_bytes(), 0).expect("change the source");
}

async fn save(client: &Client, source: &Path) -> (Artifact, Duration) {
    let (saved, took) = timed(client.save_file(source, SaveOptions::key("large.bin"))).await;
    (saved.artifact, took)
}

/// Destroys an artifact and frees its space, which the server may only do later.
async fn forget(client: &Client, artifact: Artifact, folder: &Path) {
    let options = DeleteOptions {
        permanent: true,
        force: true,
        ..DeleteOptions::default()
    };
    client.delete_with(artifact.uid, options).await.expect("delete");
    let shards = std::fs::read_dir(folder.join("data/storage/.artifactd/objects"))
        .into_iter()
        .flatten()
        .flatten();
    for object in shards
        .flat_map(|shard| std::fs::read_dir(shard.path()))
        .flatten()
        .flatten()
    {
        let _ = std::fs::remove_file(object.path());
    }
}
