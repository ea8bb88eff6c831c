//! Tables over Arrow Flight, beside pyarrow's server and local readers of the same files.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use artifactd_client::{Client, SaveOptions};
use artifactd_proto::flight::v1::ReadArray;
use artifactd_tests::calls::by_key;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tonic::{Request, metadata::MetadataValue};

use crate::{
    Wanted,
    cases::{self, Case},
    machine,
    rounds::Both,
    server::{Server, cpu_of},
    table::Samples,
};

const ROUNDS: u64 = 5;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/tables_peer.py");
const IPC: &str = "wide.arrow";
const PARQUET: &str = "cells.parquet";
const READERS: usize = 16;

/// How long a reader that stopped is watched.
const STOPPED: Duration = Duration::from_secs(2);

pub(crate) async fn run(wanted: &Wanted) {
    let folder = machine::folder();
    let folder = folder.path();
    python(&["make", text(folder)]).await;
    let server = Server::start(folder).await;
    let client = server.client().await;
    for key in [IPC, PARQUET] {
        let saved = client.save_file(folder.join(key), SaveOptions::key(key)).await;
        saved.expect("save");
    }
    if wanted.has_any(cases::TABLES_MEMORY) {
        memory(wanted, &server, &client).await;
    }
    if wanted.has_any(cases::TABLES_READ) {
        reads(wanted, &server, folder).await;
    }
    if wanted.has(&cases::TABLE_CLIENT) {
        rust_client(&client, folder).await;
    }
    if wanted.has(&cases::TABLE_PUT) {
        puts(&server, folder).await;
    }
    server.stop().await;
}

/// A client of pyarrow reads from both servers, and polars the same file without one.
async fn reads(wanted: &Wanted, server: &Server, folder: &Path) {
    let peer = Peer::start(folder);
    let ours_at = server.address().to_string();
    for (selection, rate, cpu, local) in [
        ("ipc", &cases::TABLE_IPC, Some(&cases::TABLE_IPC_CPU), None),
        (
            "parquet",
            &cases::TABLE_PARQUET,
            None,
            Some(&cases::TABLE_PARQUET_POLARS),
        ),
        ("columns", &cases::TABLE_COLUMNS, None, None),
        (
            "range",
            &cases::TABLE_RANGE_PEER,
            None,
            Some(&cases::TABLE_RANGE_POLARS),
        ),
    ] {
        let (mut both, mut busy, mut polars) = (Both::default(), Both::default(), Samples::default());
        if ![Some(rate), cpu, local]
            .into_iter()
            .flatten()
            .any(|case| wanted.has(case))
        {
            continue;
        }
        for number in 0..ROUNDS {
            let ours = get(server.pid(), &ours_at, "ours", selection, &mut busy.ours);
            let other = get(peer.child.id(), &peer.address, "peer", selection, &mut busy.other);
            both.round(number, ours, other).await;
            if local.is_some() {
                polars.push_time(python(&["local", text(folder), selection]).await);
            }
        }
        rate.report(&both.ours, &both.other);
        if let Some(cpu) = cpu {
            cpu.report(&busy.ours, &busy.other);
        }
        if let Some(local) = local {
            local.report(&both.ours, &polars);
        }
    }
}

/// One read, and how long the server's threads were busy with it.
async fn get(pid: u32, address: &str, whose: &str, selection: &str, busy: &mut Samples) -> Duration {
    let before = cpu_of(pid);
    let took = python(&["get", address, whose, selection]).await;
    busy.push_time(cpu_of(pid) - before);
    took
}

/// Our client with two streams, beside the parquet crate on one thread.
async fn rust_client(client: &Client, folder: &Path) {
    let mut both = Both::default();
    let table = client.open(PARQUET).await.expect("open").streams(2);
    for number in 0..ROUNDS {
        let ours = async {
            let began = Instant::now();
            let mut batches = table.batches().await.expect("read");
            let mut rows = 0;
            while let Some(batch) = batches.try_next().await.expect("read on") {
                rows += batch.num_rows() as u64;
            }
            assert_eq!(Some(rows), table.n_rows());
            began.elapsed()
        };
        let local = async { tokio::task::block_in_place(|| read_locally(&folder.join(PARQUET))) };
        both.round(number, ours, local).await;
    }
    cases::TABLE_CLIENT.report(&both.ours, &both.other);
}

fn read_locally(path: &Path) -> Duration {
    let began = Instant::now();
    let file = File::open(path).expect("open the file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is parquet");
    let reader = reader.with_batch_size(64 * 1024).build().expect("it can be read");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert!(rows > 0);
    began.elapsed()
}

/// 1 GiB of batches that become a durable parquet file, beside pyarrow, which writes one here.
async fn puts(server: &Server, folder: &Path) {
    let (mut both, address) = (Both::default(), server.address().to_string());
    for number in 0..ROUNDS {
        let mark = number.to_string();
        let (ours, local) = (["put", text(folder), &address, &mark], ["write", text(folder), &mark]);
        let (ours, local) = (python(&ours), python(&local));
        both.round(number, ours, local).await;
    }
    cases::TABLE_PUT.report(&both.ours, &both.other);
}

async fn memory(wanted: &Wanted, server: &Server, client: &Client) {
    let idle_mib = server.idle_mib().await;
    let report = |case: &Case| case.report(&Samples::one(server.peak_mib()), &Samples::one(idle_mib));
    if wanted.has(&cases::TABLE_STOPPED) {
        server.reset_peak();
        let calls = server.calls().await;
        let read = ReadArray {
            artifact: Some(by_key(IPC)),
            max_endpoints: 1,
            ..ReadArray::default()
        };
        let mut request = Request::new(calls.ticket(&read).await.expect("a ticket"));
        let largest = MetadataValue::from_static("16777216");
        request.metadata_mut().insert("artifactd-max-message-bytes", largest);
        let mut stopped = calls.flight().do_get(request).await.expect("read").into_inner();
        stopped.message().await.expect("the schema comes");
        tokio::time::sleep(STOPPED).await;
        report(&cases::TABLE_STOPPED);
    }
    if wanted.has(&cases::TABLE_READERS) {
        server.reset_peak();
        let readers = (0..READERS).map(async |_| {
            let table = client.open(IPC).await.expect("open").streams(1);
            let batches = table.batches().await.expect("read");
            let rows = batches.try_fold(0, async |rows, batch| Ok(rows + batch.num_rows() as u64));
            assert_eq!(Some(rows.await.expect("read on")), table.n_rows());
        });
        futures::future::join_all(readers).await;
        report(&cases::TABLE_READERS);
    }
}

/// A Flight server of pyarrow.
struct Peer {
    child: Child,
    address: String,
}

impl Peer {
    fn start(folder: &Path) -> Self {
        use std::io::{BufRead, BufReader};
        let mut child = Command::new(interpreter())
            .args([SCRIPT, "serve", text(folder)])
            .env("PYTHONPATH", stubs())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the peer");
        let mut port = String::new();
        let out = child.stdout.take().expect("its output is piped");
        BufReader::new(out).read_line(&mut port).expect("read its port");
        let address = format!("127.0.0.1:{}", port.trim());
        Self { child, address }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's name is UTF-8")
}

fn interpreter() -> String {
    std::env::var("ARTIFACTD_TEST_PYTHON").expect("start the benchmark with tests/bench/run")
}

fn stubs() -> String {
    std::env::var("ARTIFACTD_TEST_STUBS").expect("start the benchmark with tests/bench/run")
}

/// Runs the script; what it prints is how long its work took, where it prints that.
async fn python(arguments: &[&str]) -> Duration {
    let done = tokio::process::Command::new(interpreter())
        .arg(SCRIPT)
        .args(arguments)
        .env("PYTHONPATH", stubs())
        .output()
        .await;
    let done = done.expect("run Python");
    assert!(
        done.status.success(),
        "{arguments:?} failed: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    match String::from_utf8_lossy(&done.stdout).trim() {
        "" => Duration::ZERO,
        seconds => Duration::from_secs_f64(seconds.parse().expect("it prints its seconds")),
    }
}
