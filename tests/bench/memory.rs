//! How much memory the server takes at its busiest, beyond what it takes idle.
//!
//! The peak is the kernel's own (`VmHWM`), so nothing between two looks is missed.
//! Sources are sparse: they take no space, while the server stores every byte.

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

use artifactd_client::SaveOptions;
use tempfile::TempDir;

use crate::{
    Wanted,
    cases::{self, Case, GIB},
    machine,
    server::Server,
    table::Samples,
};

const LARGE_BYTES: u64 = 10 * GIB;
const SAVES: u64 = 500;
const SAVE_BYTES: u64 = 64 << 20;

/// What must be free beyond the content itself.
const SPARE_BYTES: u64 = GIB;

pub(crate) async fn run(wanted: &Wanted) {
    if wanted.has(&cases::MEMORY_IN) || wanted.has(&cases::MEMORY_OUT) {
        one_large_content(wanted).await;
    }
    if wanted.has(&cases::MEMORY_SAVES) {
        many_saves().await;
    }
}

/// A folder with space for `bytes`, or word of why the cases were not run.
fn folder_for(bytes: u64, cases: &[&Case]) -> Option<TempDir> {
    let folder = machine::folder();
    if machine::free_bytes(folder.path()) >= bytes + SPARE_BYTES {
        return Some(folder);
    }
    let why = format!("it needs {} GiB of free space", (bytes + SPARE_BYTES).div_ceil(GIB));
    cases.iter().for_each(|case| case.not_run(&why));
    None
}

async fn one_large_content(wanted: &Wanted) {
    let Some(folder) = folder_for(LARGE_BYTES, &[&cases::MEMORY_IN, &cases::MEMORY_OUT]) else {
        return;
    };
    let source = folder.path().join("source");
    make_sparse(&source, LARGE_BYTES, 0);
    let server = Server::start(folder.path()).await;
    let (client, idle_mib) = (server.client().await, server.idle_mib().await);
    let report = |case: &Case| {
        if wanted.has(case) {
            case.report(&Samples::one(server.peak_mib()), &Samples::one(idle_mib));
        }
    };
    server.reset_peak();
    let saved = client
        .save_file(&source, SaveOptions::key("large.bin"))
        .await
        .expect("save")
        .artifact;
    report(&cases::MEMORY_IN);
    server.reset_peak();
    client.check(saved.uid).await.expect("read");
    report(&cases::MEMORY_OUT);
    server.stop().await;
}

async fn many_saves() {
    let Some(folder) = folder_for(SAVES * SAVE_BYTES, &[&cases::MEMORY_SAVES]) else {
        return;
    };
    let server = Server::start(folder.path()).await;
    let idle_mib = server.idle_mib().await;
    server.reset_peak();
    let saves = (0..SAVES).map(|number| save_one(&server, folder.path(), number));
    futures::future::join_all(saves).await;
    cases::MEMORY_SAVES.report(&Samples::one(server.peak_mib()), &Samples::one(idle_mib));
    server.stop().await;
}

/// One caller with a connection and a content of its own. A save that waited in vain for its turn is one that the caller repeats.
async fn save_one(server: &Server, folder: &Path, number: u64) {
    let (client, source) = (server.client().await, folder.join(format!("{number}.bin")));
    make_sparse(&source, SAVE_BYTES, number);
    let options = SaveOptions::key(format!("many/{number}.bin"));
    while let Err(error) = client.save_file(&source, options.clone()).await {
        assert!(error.is_retryable(), "save {number}: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A file of zeros but for the number that it begins with.
fn make_sparse(path: &Path, bytes: u64, number: u64) {
    let file = File::create(path).expect("create the source");
    file.set_len(bytes).expect("stretch the source");
    file.write_all_at(&number.to_le_bytes(), 0).expect("number the source");
}
