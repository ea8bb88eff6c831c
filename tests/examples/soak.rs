//! The long form of the crash tests; `tests/soak/run` starts it.
//!
//! Prints its seed first, so that a failure can be met again.

use std::{
    io::{Write, stdout},
    path::Path,
    process::{Child, Command, ExitCode},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use artifactd_client::{Client, UploadOptions};
use artifactd_tests::{
    Backend,
    crash::{self, Operation},
    long_upload::{Course, FirstClient, LongUpload},
    storm::{self, Storm, Tally},
};

/// Makes this program a client instead.
const AS_CLIENT: &str = "--as-client";

const ROUNDS: usize = 1_000;
/// Kept short, so that a broken promise is found near its cause.
const ROUNDS_PER_SERVER: usize = 50;
const BACKENDS: [(&str, Backend); 4] = [
    ("embedded", Backend::EMBEDDED),
    ("postgres", Backend::POSTGRES),
    ("s3", Backend::S3),
    ("cluster", Backend::CLUSTER),
];

#[derive(Debug)]
struct Plan {
    rounds: usize,
    seed: u64,
    points: bool,
    /// MiB of a long upload; none when 0.
    upload_mib: u64,
    backends: Vec<(&'static str, Backend)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == AS_CLIENT).is_some() {
        return be_client(arguments.collect()).await;
    }
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(fault) => {
            say(&format!(
                "{fault}; options: --rounds N, --seed N, --points all|none, --backends a,b, --upload MIB"
            ));
            return ExitCode::from(2);
        }
    };
    say(&format!("seed {}", plan.seed));
    if plan.points {
        for (name, backend) in &plan.backends {
            Box::pin(cross_every_point(name, *backend)).await;
        }
    }
    if plan.upload_mib > 0 {
        for (name, backend) in &plan.backends {
            upload(&plan, name, *backend).await;
        }
    }
    weather(&plan).await;
    say("nothing was lost");
    ExitCode::SUCCESS
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64);
    let mut plan = Plan {
        rounds: ROUNDS,
        seed: now,
        points: true,
        upload_mib: 0,
        backends: BACKENDS.to_vec(),
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--rounds" => plan.rounds = number()? as usize,
            "--seed" => plan.seed = number()?,
            "--upload" => plan.upload_mib = number()?,
            "--points" => plan.points = value == "all",
            "--backends" => plan.backends = backends(&value)?,
            _ => return Err(format!("no option {name}")),
        }
    }
    Ok(plan)
}

fn backends(names: &str) -> Result<Vec<(&'static str, Backend)>, String> {
    let find = |name| {
        BACKENDS
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("no backend {name}"))
    };
    names.split(',').map(find).collect()
}

async fn cross_every_point(name: &str, backend: Backend) {
    for point in crash::crash_points()
        .into_iter()
        .filter(|point| crash::applies(point, backend))
    {
        let began = Instant::now();
        let mut met = Vec::new();
        for operation in Operation::ALL {
            if Box::pin(crash::meet(&point, operation, backend)).await {
                met.push(operation);
            }
        }
        say(&format!(
            "{name}: {point} survived by {met:?} in {:.1?}",
            began.elapsed()
        ));
    }
}

/// A large upload whose client, server and line are cut, in both ways.
async fn upload(plan: &Plan, name: &str, backend: Backend) {
    for in_order in [true, false] {
        let began = Instant::now();
        let upload = LongUpload {
            backend,
            size: plan.upload_mib << 20,
            part_bytes: 0,
            in_order,
            seed: plan.seed,
        };
        let Course {
            part_bytes,
            streams,
            lost_with_client,
            again_after_two_cuts,
        } = upload.survive(FirstClient::Killed(&start_client)).await;
        say(&format!(
            "{name}: {} MiB over {streams} streams in parts of {part_bytes} bytes survived in {:.0?}; sent again: \
             {lost_with_client} bytes after the client was killed, {again_after_two_cuts} after the server was and the \
             line was cut",
            plan.upload_mib,
            began.elapsed()
        ));
    }
}

fn start_client(url: &str, path: &Path, upload: &LongUpload) -> Child {
    let this = std::env::current_exe().expect("this program has a path");
    let mut client = Command::new(this);
    client.args([AS_CLIENT, url]).arg(path);
    client.args([upload.in_order.to_string(), upload.part_bytes.to_string()]);
    client.spawn().expect("start a client")
}

/// What a client does that will be killed.
async fn be_client(arguments: Vec<String>) -> ExitCode {
    let [url, path, in_order, part_bytes] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    let how = UploadOptions {
        in_order: in_order == "true",
        part_bytes: part_bytes.parse().expect("a number"),
        ..UploadOptions::default()
    };
    let client = Client::connect(url).await.expect("connect");
    let uploaded = client.upload_file_with(path, LongUpload::wanted(), how, |_| {}).await;
    say(&format!("the client came to its end: {uploaded:?}"));
    ExitCode::SUCCESS
}

async fn weather(plan: &Plan) {
    let mut left = plan.rounds;
    let mut storms = 0;
    while left > 0 {
        let (name, backend) = plan.backends[storms % plan.backends.len()];
        let rounds = left
            .min(ROUNDS_PER_SERVER)
            .min(plan.rounds.div_ceil(plan.backends.len()));
        let seed = plan.seed.wrapping_add(storms as u64);
        let began = Instant::now();
        let Tally {
            acknowledged,
            cut,
            collections,
        } = storm::run(Storm {
            seed,
            rounds,
            backend,
            life_ms_max: 400,
        })
        .await;
        left -= rounds;
        storms += 1;
        say(&format!(
            "{name}: {rounds} kills, {acknowledged} calls acknowledged, {cut} cut, {collections} collections, in {:.0?} \
             (seed {seed})",
            began.elapsed()
        ));
    }
}

fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
