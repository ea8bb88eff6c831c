//! What a program on the other side sees: the cache, and the command line.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use artifactd_client::{Client, SaveOptions};

use crate::{
    Wanted,
    cases::{self, GIB},
    large, machine,
    rounds::{Both, time_of},
    server::Server,
    shelf,
};

const CACHE_ROUNDS: u64 = 400;
const CAT_ROUNDS: u64 = 7;

pub(crate) async fn run(wanted: &Wanted) {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    if wanted.has(&cases::CACHE) {
        let cache = folder.path().join("cache");
        let client = Client::builder(server.endpoint()).cache_folder(cache).connect();
        fresh(&client.await.expect("connect")).await;
    }
    if wanted.has(&cases::CAT) {
        let source = folder.path().join("source");
        large::make_source(&source);
        cat(&server, &source).await;
    }
    server.stop().await;
}

/// A copy that is fresh, beside an empty call.
async fn fresh(client: &Client) {
    client.save(shelf::content(1), "cells/fresh.bin").await.expect("save");
    client.cache("cells/fresh.bin").await.expect("fetch it once");
    let mut both = Both::default();
    for number in 0..CACHE_ROUNDS {
        let ours = time_of(client.cache("cells/fresh.bin"));
        both.round(number, ours, time_of(client.server_info())).await;
    }
    cases::CACHE.report(&both.ours, &both.other);
}

/// The command line to nowhere, beside a read that keeps nothing; both check every byte.
async fn cat(server: &Server, source: &std::path::Path) {
    let client = server.client().await;
    let saved = client
        .save_file(source, SaveOptions::key("large.bin"))
        .await
        .expect("save");
    let mut both = Both::default();
    let read = || time_of(client.check(saved.artifact.uid));
    // One reads the file into the page cache, where every round finds it.
    read().await;
    for number in 0..CAT_ROUNDS {
        let ours = async { run_cat(server.endpoint()) };
        both.round(number, ours, read()).await;
    }
    cases::CAT.report(&both.ours, &both.other);
    assert_eq!(saved.artifact.size_bytes, GIB);
}

fn run_cat(endpoint: &str) -> Duration {
    let binary = std::env::var_os("ARTIFACTCTL_BIN").expect("start the benchmark with tests/bench/run");
    let began = Instant::now();
    let status = Command::new(binary)
        .args(["cat", "large.bin", "--endpoint", endpoint])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("run artifactctl").success());
    began.elapsed()
}
