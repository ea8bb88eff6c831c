//! The long form of the crash tests; `tests/soak/run` starts it.
//!
//! Prints its seed first, so that a failure can be met again.

use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use artifactd_tests::{
    Backend,
    crash::{self, Operation},
    storm::{self, Storm, Tally},
};

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
    backends: Vec<(&'static str, Backend)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(fault) => {
            say(&format!(
                "{fault}; options: --rounds N, --seed N, --points all|none, --backends a,b"
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
        backends: BACKENDS.to_vec(),
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--rounds" => plan.rounds = number()? as usize,
            "--seed" => plan.seed = number()?,
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
        let Tally { acknowledged, cut } = storm::run(Storm {
            seed,
            rounds,
            backend,
            life_ms_max: 400,
        })
        .await;
        left -= rounds;
        storms += 1;
        say(&format!(
            "{name}: {rounds} kills, {acknowledged} calls acknowledged, {cut} cut, in {:.0?} (seed {seed})",
            began.elapsed()
        ));
    }
}

fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
