//! The README: what it tells people to run runs, and prints what it says.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
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
    let shown = blocks.windows(2).filter_map(|pair| match pair {
        [("python", script), ("text", prints)] => Some((script, prints)),
        _ => None,
    });
    let shown: Vec<_> = shown.collect();
    assert_eq!(
        shown.len(),
        2,
        "Python for artifacts and for tables, with what it prints"
    );
    for (script, prints) in shown {
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
}

/// A shell in which the tour is walked.
struct Shell {
    bash: Child,
    answers: BufReader<ChildStdout>,
}

/// Ends what a command printed.
const END: &str = "--- end ---";

impl Shell {
    /// One that finds our commands, and in which the repository's folders lie. What it
    /// calls is this server.
    fn start(folder: &Path, server: &TestServer) -> Self {
        for name in ["client", "deploy", "proto", "tests"] {
            std::os::unix::fs::symlink(repository().join(name), folder.join(name)).unwrap();
        }
        let commands = PathBuf::from(required_env("ARTIFACTCTL_BIN"));
        let path = format!(
            "{}:{}",
            commands.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let mut bash = Command::new("bash");
        bash.env("PATH", path)
            .env("HOME", folder)
            .env("ARTIFACTD_ENDPOINT", server.url())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut bash = bash.spawn().expect("run bash");
        let answers = BufReader::new(bash.stdout.take().unwrap());
        Self { bash, answers }
    }

    /// What a command prints, and says besides.
    fn run(&mut self, command: &str) -> String {
        let stdin = self.bash.stdin.as_mut().unwrap();
        // In braces, so that it may be several; what comes in are not our commands.
        writeln!(stdin, "{{ {command}\n}} </dev/null 2>&1; echo; echo '{END}'").unwrap();
        let lines = self.answers.by_ref().lines().map(|line| line.expect("bash goes on"));
        let printed: Vec<String> = lines.take_while(|line| line != END).collect();
        printed.join("\n").trim_end().to_owned()
    }
}

/// A command of a tour with what it prints.
fn steps(tour: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let steps = tour.trim_start_matches("$ ").split("\n$ ");
    steps.map(|step| step.split_once('\n').unwrap_or((step, "")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_prints_what_is_shown() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let tour = blocks().into_iter().filter(|(kind, _)| *kind == "console");
    let steps: Vec<_> = tour.flat_map(|(_, text)| steps(text)).collect();
    assert!(steps.len() > 5, "the README has no tour");
    tokio::task::block_in_place(|| {
        let (mut shell, mut uids) = (Shell::start(folder.path(), &server), Uids::default());
        for (command, prints) in steps {
            // Ours runs already.
            if command != "artifactd serve &" {
                let printed = shell.run(&uids.translated(command));
                assert_eq!(
                    without_the_passing(&printed),
                    uids.met(prints, &printed),
                    "after {command}"
                );
            }
        }
        drop(shell.bash.stdin.take());
        shell.bash.wait().expect("wait for bash");
    });
}

/// Stems that are shown, with those that the server gave instead.
#[derive(Default)]
struct Uids(BTreeMap<String, String>);

impl Uids {
    /// A text that is shown, as this server would print it; what it printed tells stems that are new.
    fn met(&mut self, shown: &str, printed: &str) -> String {
        let (shown, printed) = (without_the_passing(shown), without_the_passing(printed));
        for (shown, printed) in shown.lines().zip(printed.lines()) {
            let mut at = 0;
            for word in shown.split(|letter: char| !letter.is_ascii_alphanumeric()) {
                match printed.get(at..at + word.len()) {
                    Some(given) if is_uid(word) && is_plain(given) => {
                        self.0.entry(word[..16].to_owned()).or_insert(given[..16].to_owned());
                    }
                    _ => {}
                }
                at += word.len() + 1;
            }
        }
        self.translated(&shown)
    }

    fn translated(&self, text: &str) -> String {
        let stems = self.0.iter();
        stems.fold(text.to_owned(), |text, (shown, given)| text.replace(shown, given))
    }
}

/// Fails unless both texts are the same but for times and ids of calls, and for uids,
/// which must differ in one way.
fn assert_same(shown: &str, printed: &str) {
    assert_eq!(
        without_the_passing(printed.trim_end()),
        Uids::default().met(shown, printed)
    );
}

/// A text with a word in place of each time, and of each id of a call.
fn without_the_passing(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']);
    let same = words.map(|word| match word.trim_end().trim_end_matches(')') {
        time if is_time(time) => word.replace(time, "(time)"),
        id if is_call_id(id) => word.replace(id, "(call)"),
        _ => word.to_owned(),
    });
    same.collect()
}

/// Whether a word is the id of a call.
fn is_call_id(word: &str) -> bool {
    word.len() == 32 && word.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a word is a time in UTC, to the second.
fn is_time(word: &str) -> bool {
    let shape = word
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter });
    shape.eq("0000-00-00T00:00:00Z".chars())
}

/// Whether a word is a uid or a stem. No word of the README is as long and has a digit.
fn is_uid(word: &str) -> bool {
    is_plain(word) && matches!(word.len(), 16 | 20) && word.bytes().any(|letter| letter.is_ascii_digit())
}

fn is_plain(word: &str) -> bool {
    word.bytes().all(|letter| letter.is_ascii_alphanumeric())
}

#[test]
fn only_times_and_uids_may_differ_and_uids_in_one_way() {
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
