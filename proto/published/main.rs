//! Makes what is published beside the protos from the protos themselves: the
//! reference in `proto/reference` and the gRPC service config of `client`.
//!
//! `published write` writes the files, `published check` fails when one is stale;
//! so does the test. Both are behind `.ci/protos`.

#![expect(clippy::print_stderr, reason = "it says what it did")]

mod interface;
mod page;
mod repeats;
mod service_config;

use std::{collections::BTreeMap, env, fs, io, path::PathBuf, process::ExitCode};

use interface::Interface;

const REFERENCE: &str = "proto/reference";

fn main() -> ExitCode {
    let command = env::args().nth(1);
    let done = match command.as_deref() {
        Some("write") => write(),
        Some("check") => stale(),
        _ => {
            eprintln!("published write | check");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            eprintln!("made from older protos: {}; run `.ci/protos write`", stale.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every file by its path in the repository.
fn made() -> BTreeMap<String, String> {
    let interface = Interface::read();
    let mut made = page::all(&interface)
        .into_iter()
        .map(|(name, page)| (format!("{REFERENCE}/{name}"), page))
        .collect::<BTreeMap<_, _>>();
    made.insert(
        "client/service_config.json".to_owned(),
        service_config::text(&interface),
    );
    made
}

/// The repository in which this is run. What is run may have been built in another clone, as
/// clones share the folder in which they build.
fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
        .join("..")
}

/// Files that are not as they would be made, or would not be made at all.
fn stale() -> io::Result<Vec<String>> {
    let made = made();
    let differs = |(path, text): (&String, &String)| {
        let found = fs::read_to_string(root().join(path)).unwrap_or_default();
        (found != *text).then(|| path.clone())
    };
    let mut stale: Vec<String> = made.iter().filter_map(differs).collect();
    stale.extend(present()?.into_iter().filter(|path| !made.contains_key(path)));
    Ok(stale)
}

/// Pages of the reference that are there.
fn present() -> io::Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(root().join(REFERENCE)) else {
        return Ok(Vec::new());
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names
        .map(|name: io::Result<String>| Ok(format!("{REFERENCE}/{}", name?)))
        .collect()
}

fn write() -> io::Result<Vec<String>> {
    let made = made();
    fs::create_dir_all(root().join(REFERENCE))?;
    for path in present()?.iter().filter(|path| !made.contains_key(*path)) {
        fs::remove_file(root().join(path))?;
    }
    for (path, text) in &made {
        fs::write(root().join(path), text)?;
    }
    stale()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_was_made_from_these_protos() {
        let stale = stale().expect("read what is published");
        assert!(stale.is_empty(), "stale: {stale:?}; run `.ci/protos write`");
    }

    #[test]
    fn every_part_of_the_interface_is_described() {
        for (name, page) in page::all(&Interface::read()) {
            let empty: Vec<&str> = page.lines().filter(|line| line.ends_with("|  |")).collect();
            assert!(empty.is_empty(), "{name} has parts without a comment: {empty:?}");
        }
    }
}
