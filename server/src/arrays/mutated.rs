//! Files that were damaged in every way: each gives rows or an error.
//!
//! `ARTIFACTD_MUTATIONS` says how many of each format, and `ARTIFACTD_SEED` which.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    conformance::{small_files, unpacked},
    error::Result,
    measure, open, settle,
    source::Place,
    summary,
    table::{Portion, Scan},
};
use artifactd_domain::Suffix;

const MUTATIONS: u64 = 2_000;

const BATCH_BYTES: usize = 32 * 1024;

/// The name of the threads that read them.
const THREADS: &str = "damaged";

/// What one of them may take; none is larger than some 10 KiB.
pub(super) const TIME_MAX: Duration = Duration::from_secs(5);

fn number_of(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |value| value.parse().expect("a number"))
}

/// Numbers that look random and can be had again.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Where most of what a file says of itself stands: at its end, or at its start.
fn place(draw: &mut Draw, length: usize) -> usize {
    match draw.below(3) {
        0 => draw.below(length),
        1 => draw.below(length.min(256)),
        _ => length - 1 - draw.below(length.min(1_024)),
    }
}

fn mutate(file: &[u8], draw: &mut Draw) -> Vec<u8> {
    const EXTREMES: [u64; 8] = [
        0,
        1,
        u64::MAX,
        i64::MAX as u64,
        i32::MAX as u64,
        1 << 31,
        0xffff,
        1 << 40,
    ];
    let mut bytes = file.to_vec();
    for _ in 0..=draw.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = place(draw, bytes.len());
        match draw.below(8) {
            0 | 1 => bytes[at] ^= 1 << draw.below(8),
            2 => bytes[at] = draw.next() as u8,
            3 => bytes.truncate(at),
            4 => {
                let extreme = EXTREMES[draw.below(EXTREMES.len())].to_le_bytes();
                let width = [2, 4, 8][draw.below(3)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&extreme[..width]);
            }
            5 => {
                let end = (at + draw.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let from = draw.below(bytes.len());
                let piece = bytes[from..(from + draw.below(64)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + draw.below(16)).min(bytes.len());
                bytes[at..end].fill(draw.next() as u8);
            }
        }
    }
    bytes
}

/// Reads all that a file has. What comes must hold together, whatever it is.
pub(super) fn read_all(name: &str, bytes: &[u8]) -> Result<u64> {
    let suffix = Suffix::of_name(name);
    let place = || Place::here(Bytes::copy_from_slice(bytes));
    let found = summary::look_into(place(), suffix.as_str());
    let table = open::open(place(), suffix.as_str(), found.table.as_deref())?;
    let (schema, counted) = (Arc::clone(table.schema()), table.n_rows());
    let scan = Scan {
        columns: (0..schema.fields().len()).collect(),
        rows: None,
        filter: None,
        limit: None,
        batch_bytes: BATCH_BYTES,
        cancel: CancellationToken::new(),
    };
    let schema = scan.schema(&schema);
    let (mut rows, mut has_stored) = (0, false);
    let mut sent = Vec::new();
    for portion in Arc::clone(&table).scan_to_send(scan.clone())? {
        let portion = portion?;
        has_stored |= matches!(portion, Portion::Stored(_));
        for part in measure::cut(&unpacked(portion, &schema), BATCH_BYTES, BATCH_BYTES)? {
            let batch = settle::settle(&part.batch, &schema)?;
            for column in batch.columns() {
                column.to_data().validate_full().expect("a batch that holds together");
            }
            rows += batch.num_rows() as u64;
            sent.push(batch);
        }
    }
    // What goes out as it is stored is what it is when it is unpacked.
    if has_stored {
        let mut read = Vec::new();
        for batch in table.scan(scan)? {
            for part in measure::cut(&batch?, BATCH_BYTES, BATCH_BYTES)? {
                read.push(settle::settle(&part.batch, &schema)?);
            }
        }
        let all = |batches: &[RecordBatch]| arrow_select::concat::concat_batches(&schema, batches).unwrap();
        assert_eq!(all(&sent), all(&read), "what was sent, and what was read");
    }
    if let Some(counted) = counted {
        assert_eq!(rows, counted, "rows that came, and rows that were counted");
    }
    Ok(rows)
}

/// The most memory that this process had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[test]
fn a_damaged_file_gives_rows_or_an_error() {
    const PEAK_BYTES_MAX: u64 = 1024 * 1024 * 1024;
    let (mutations, seed) = (
        number_of("ARTIFACTD_MUTATIONS", MUTATIONS),
        number_of("ARTIFACTD_SEED", 20_261_126),
    );
    // What panics here is caught, and told below.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(THREADS) {
            usual(panic);
        }
    }));
    let failures = Mutex::new(Vec::new());
    let files = small_files();
    std::thread::scope(|scope| {
        for (name, file) in &files {
            let failures = &failures;
            let thread = std::thread::Builder::new().name(THREADS.to_owned());
            let spawned = thread.spawn_scoped(scope, move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.thread_name(THREADS).build().unwrap();
                let _inside = runtime.enter();
                let whole = read_all(name, file);
                assert_eq!(whole.unwrap(), super::conformance::SMALL_ROWS as u64, "{name}");
                for number in 0..mutations {
                    let mut draw = Draw(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
                    let bytes = mutate(file, &mut draw);
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| read_all(name, &bytes)));
                    let took = began.elapsed();
                    let failure = match ended {
                        Err(panic) => {
                            let text = panic.downcast_ref::<String>().cloned();
                            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                            Some(text.unwrap_or_default())
                        }
                        Ok(Err(error)) if !error.is_about_content() => Some(format!("{error:?}")),
                        Ok(_) if took > TIME_MAX => Some(format!("it took {took:?}")),
                        Ok(_) => None,
                    };
                    if let Some(failure) = failure {
                        failures.lock().unwrap().push(format!("{name} {number}: {failure}"));
                    }
                }
            });
            spawned.unwrap();
        }
    });
    let failures = failures.into_inner().unwrap();
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of seed {seed}:\n{shown}", failures.len());
    let peak = peak_bytes();
    assert!(peak < PEAK_BYTES_MAX, "it had {peak} bytes");
}
