//! Our server and its peers, side by side in one run.
//!
//! Every case of `cases` is a figure that the server is held to. Both sides of a
//! case do their work in turns, and the one that begins changes with each round,
//! so that a machine that is busy for a while is busy for both. What is printed
//! is the median of each side with its quartiles, and what follows from the two.
//!
//! "Bare work" of a small save is what no design can leave out: a file and its
//! folder made durable, one SQLite commit with `synchronous = FULL`, one empty
//! call. That of a large one is a single pass of copy, sha256 and fsync.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(
    clippy::large_futures,
    reason = "one task runs everything, and moving it once costs nothing"
)]

mod bare;
mod cases;
mod chunks;
mod delay;
mod finding;
mod folders;
mod grpcio;
mod large;
mod load;
mod machine;
mod many;
mod memory;
mod nginx;
mod parallel;
mod peer;
mod record;
mod rounds;
mod server;
mod shelf;
mod small;
mod table;
mod tables;
mod using;

use cases::Case;

/// What was asked for on the command line.
struct Wanted(Vec<String>);

impl Wanted {
    /// Whether a case is to be run: all are, unless some were named by the beginning of their names.
    fn has(&self, case: &Case) -> bool {
        self.0.is_empty() || self.0.iter().any(|beginning| case.name.starts_with(beginning))
    }

    fn has_any(&self, cases: &[Case]) -> bool {
        cases.iter().any(|case| self.has(case))
    }

    /// Ends the program when something names no case.
    fn require_known(&self) {
        for beginning in &self.0 {
            if !cases::all().any(|case| case.name.starts_with(beginning.as_str())) {
                let names: Vec<&str> = cases::all().map(|case| case.name).collect();
                println!("no case begins with {beginning:?}; there are {}", names.join(", "));
                std::process::exit(2);
            }
        }
    }
}

fn main() {
    let wanted = Wanted(std::env::args().skip(1).collect());
    wanted.require_known();
    machine::print();
    table::print_header();
    if wanted.has_any(cases::SMALL) {
        // One call after another needs one thread, as lamindb's does.
        let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build();
        one_thread.expect("a runtime").block_on(small::run(&wanted));
    }
    if wanted.has(&cases::GET_P99) {
        let threads = tokio::runtime::Runtime::new().expect("a runtime");
        threads.block_on(load::run());
    }
    if wanted.has(&cases::PAGE_LAMINDB)
        || wanted.has_any(&cases::AMONG_SQLITE)
        || wanted.has_any(&cases::AMONG_POSTGRES)
    {
        let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build();
        one_thread.expect("a runtime").block_on(finding::run(&wanted));
    }
    if wanted.has_any(cases::MANY) {
        let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build();
        one_thread.expect("a runtime").block_on(many::run(&wanted));
    }
    if wanted.has_any(cases::RECORD) {
        let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build();
        one_thread.expect("a runtime").block_on(record::run(&wanted));
    }
    let threads = tokio::runtime::Runtime::new().expect("a runtime");
    if wanted.has_any(cases::FOLDERS) {
        threads.block_on(folders::run(&wanted));
    }
    if wanted.has_any(cases::LARGE) {
        threads.block_on(large::run(&wanted));
    }
    if wanted.has_any(cases::CHUNKS) {
        threads.block_on(chunks::run(&wanted));
    }
    if wanted.has(&cases::PARALLEL) {
        threads.block_on(parallel::run());
    }
    if wanted.has_any(cases::USING) {
        threads.block_on(using::run(&wanted));
    }
    if wanted.has_any(cases::TABLES) {
        threads.block_on(tables::run(&wanted));
    }
    if wanted.has_any(cases::MEMORY) {
        threads.block_on(memory::run(&wanted));
    }
}
