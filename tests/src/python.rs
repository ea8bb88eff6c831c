//! Programs in Python that the tests run.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::required_env;

/// Where a program lies.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("polyglot/python").join(name)
}

/// A program that may use the stubs that were made from the protos.
pub fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(required_env("ARTIFACTD_TEST_PYTHON"));
    command.arg(script(name)).args(arguments);
    command.env("PYTHONPATH", required_env("ARTIFACTD_TEST_STUBS"));
    command
}

/// Runs a program to its end, from a runtime of several threads.
///
/// # Panics
/// When it cannot be run.
pub fn output(name: &str, arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| command(name, arguments).output().expect("run Python"))
}

/// The same; what it printed.
///
/// # Panics
/// When it does not succeed.
pub fn run(name: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = output(name, arguments);
    let [out, err] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{name}:\n{out}\n{err}");
    out
}
