//! Both sides of each case in one run: ours against the bare work, or against a
//! Python gRPC server. Prints medians and the ratio, with the bound it is held to.
//!
//! "Bare work" of a small save is what no design can leave out: a file and its
//! folder made durable, one SQLite commit with `synchronous = FULL`, one empty
//! call. That of a large one is a single pass of copy, sha256 and fsync.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod bare;
mod large;
mod peer;
mod server;
mod small;

use std::time::Duration;

/// One line of the table.
struct Row {
    case: &'static str,
    ours: String,
    other: String,
    ratio: f64,
    must: &'static str,
    met: bool,
}

impl Row {
    /// Ours may take at most `most` times as long as the other.
    fn time(case: &'static str, ours: Duration, other: Duration, most: f64, must: &'static str) -> Self {
        let ratio = ours.as_secs_f64() / other.as_secs_f64();
        let text = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
        Self {
            case,
            ours: text(ours),
            other: text(other),
            ratio,
            must,
            met: ratio <= most,
        }
    }

    /// Ours must move at least `least` times as many bytes a second as the other.
    fn rate(case: &'static str, bytes: u64, ours: Duration, other: Duration, least: f64, must: &'static str) -> Self {
        let ratio = other.as_secs_f64() / ours.as_secs_f64();
        let text = |time: Duration| format!("{:.0} MB/s", bytes as f64 / 1e6 / time.as_secs_f64());
        Self {
            case,
            ours: text(ours),
            other: text(other),
            ratio,
            must,
            met: ratio >= least,
        }
    }

    fn print(&self) {
        let Self {
            case,
            ours,
            other,
            ratio,
            must,
            met,
        } = self;
        let verdict = if *met { "met" } else { "MISSED" };
        println!("{case:<42} {ours:>12} {other:>12} {ratio:>7.2}   {must:<24} {verdict}");
    }
}

/// The middle of some measurements.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wants = |case: &str| wanted.is_empty() || wanted.iter().any(|prefix| case.starts_with(prefix.as_str()));
    println!("{:<42} {:>12} {:>12} {:>7}   must", "case", "ours", "other", "ratio");
    if wants("save") || wants("get") || wants("trash") {
        small::run().await;
    }
    if wants("start") {
        server::run().await;
    }
    if wants("upload") || wants("download") {
        large::run().await;
    }
}
