//! The machine that a run says something about, and where its files lie.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Folder for what is measured. Not the one for temporary files, which may lie in memory.
fn base() -> PathBuf {
    let base =
        PathBuf::from(std::env::var_os("ARTIFACTD_BENCH_DIR").expect("start the benchmark with tests/bench/run"));
    std::fs::create_dir_all(&base).expect("make the folder of the benchmark");
    base.canonicalize().expect("the folder is there")
}

/// A fresh folder that is gone after its case.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(base()).expect("make a folder")
}

/// Prints which code ran on what.
pub(crate) fn print() {
    let base = base();
    let file_system = file_system(&base);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "commit {}, {cores} cores, {} on {file_system}",
        commit(),
        base.display()
    );
    if ["tmpfs", "ramfs", "overlay"].contains(&file_system.as_str()) {
        println!("Nothing is durable there: set ARTIFACTD_BENCH_DIR to a folder on a disk.");
    }
}

/// The commit of the working tree, and whether it was changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .arg("-C")
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .output();
        let done = done.ok().filter(|done| done.status.success())?;
        Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{commit} with changes"),
        _ => commit,
    }
}

/// Type of the file system with the longest mount point above `path`.
fn file_system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or_else(|| "an unknown file system".to_owned(), |(_, kind)| kind.to_owned())
}

/// Bytes that may still be written below `path`.
pub(crate) fn free_bytes(path: &Path) -> u64 {
    let status = rustix::fs::statvfs(path).expect("ask the file system");
    status.f_bavail * status.f_frsize
}
