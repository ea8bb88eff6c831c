//! The README: what it tells people to run runs, and prints what it says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use artifactd_tests::{TestServer, required_env};

const README: &str = include_str!("../../../README.md");

/// Where a server listens that nobody told anything else.
const USUAL_ADDRESS: &str = "127.0.0.1:50051";

/// A fenced block: what it is, and what it holds.
type Block = (&'static str, &'static str);

fn blocks() -> Vec<Block> {
    let fenced = README.split("\n```").skip(1).step_by(2);
    let blocks = fenced.map(|block| block.split_once('\n').expect("a fence ends its line"));
    blocks.collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_first_two_commands_stand_alone() {
    let commands: Vec<&str> = blocks()
        .into_iter()
        .filter_map(|(kind, text)| (kind == "sh").then_some(text))
        .take(2)
        .collect();
    assert_eq!(commands, ["./deploy/demo", "./tests/run"]);
}

#[test]
fn the_upload_that_is_shown_is_the_one_that_is_tested() {
    let tested = include_str!("../../polyglot/python/upload.py");
    let marked = tested.split("# README: begin\n").nth(1);
    let shown = marked.and_then(|rest| rest.split("# README: end").next());
    let shown = shown.expect("the script marks what the README shows").trim_end();
    assert!(blocks().contains(&("python", shown)), "the README shows something else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_that_is_shown_prints_what_is_shown() {
    let server = TestServer::start().await;
    let blocks = blocks();
    let shown = blocks
        .windows(2)
        .find(|pair| pair[0].0 == "python" && pair[1].0 == "text");
    let [(_, script), (_, prints)] = shown.expect("Python with what it prints") else {
        unreachable!("windows of two")
    };
    let mut python = Command::new(required_env("ARTIFACTD_TEST_PYTHON"));
    python.args(["-c", &script.replace(USUAL_ADDRESS, &server.address().to_string())]);
    python.env("PYTHONPATH", required_env("ARTIFACTD_TEST_STUBS"));
    let Output { status, stdout, stderr } = tokio::task::block_in_place(|| {
        let run = python.current_dir(repository()).output();
        run.expect("run Python")
    });
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert_same(prints, &String::from_utf8_lossy(&stdout));
}

/// Fails unless both texts are the same but for uids, which must differ in one way.
fn assert_same(shown: &str, printed: &str) {
    let mut uids = BTreeMap::new();
    let mut translated = String::new();
    for (shown, printed) in shown.lines().zip(printed.lines()) {
        let words = shown.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
        let mut rest = printed;
        for word in words {
            let name = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            match rest.get(..name.len()) {
                Some(uid) if is_uid(name) && is_plain(uid) => {
                    // A stem and its versions go together.
                    let (stem, same) = (
                        &name[..16],
                        uids.entry(name[..16].to_owned()).or_insert(uid[..16].to_owned()),
                    );
                    translated += &word.replace(stem, same);
                }
                _ => translated += word,
            }
            rest = rest.get(word.len()..).unwrap_or_default();
        }
        translated.push('\n');
    }
    let shown_lines = shown.lines().count();
    assert_eq!(
        printed.lines().count(),
        shown_lines,
        "other lines were printed:\n{printed}"
    );
    assert_eq!(translated, format!("{}\n", printed.trim_end()));
}

/// Whether a word is a uid or a stem. No word of the README is as long and has a digit.
fn is_uid(word: &str) -> bool {
    is_plain(word) && matches!(word.len(), 16 | 20) && word.bytes().any(|letter| letter.is_ascii_digit())
}

fn is_plain(word: &str) -> bool {
    word.bytes().all(|letter| letter.is_ascii_alphanumeric())
}

#[test]
fn only_uids_may_differ_and_each_in_one_way() {
    const SHOWN: &str = "saved 8dC0xkVkBAhJ3vTm0000, 7 bytes\nsaved 8dC0xkVkBAhJ3vTm0001";
    assert_same(
        SHOWN,
        "saved 1111111111111aaa0000, 7 bytes\nsaved 1111111111111aaa0001\n",
    );
    for other in [
        "saved 1111111111111aaa0000, 8 bytes\nsaved 1111111111111aaa0001\n",
        "saved 1111111111111aaa0000, 7 bytes\nsaved 1111111111111bbb0001\n",
        "saved 1111111111111aaa0000, 7 bytes\nsaved 1111111111111aaa0002\n",
        "saved 1111111111111aaa0000, 7 bytes\n",
    ] {
        assert!(
            std::panic::catch_unwind(|| assert_same(SHOWN, other)).is_err(),
            "{other}"
        );
    }
}
