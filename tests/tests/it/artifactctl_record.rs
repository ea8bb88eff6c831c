//! The record from the command line: what is said of artifacts, what made them, where they lie.

use std::{fs, io::Read};

use artifactd_tests::{
    TestServer,
    command::{Ctl, Running},
    required_env,
};
use rustix::process::Signal;

const OBO: &str = "\
format-version: 1.2

[Term]
id: CL:1
name: cell

[Term]
id: CL:2
name: T cell
is_a: CL:1 ! cell
";

fn write(ctl: &Ctl, name: &str, content: &str) {
    fs::write(ctl.home().join(name), content).unwrap();
}

/// A shell's command line, in which `artifactctl` is the program under test.
fn shell(script: &str) -> [String; 3] {
    let ctl = required_env("ARTIFACTCTL_BIN");
    let script = format!("artifactctl() {{ '{ctl}' \"$@\"; }}; {script}");
    ["sh".to_owned(), "-c".to_owned(), script]
}

/// The arguments that run a command line as a run.
fn exec(flags: &[&str], script: &str) -> Vec<String> {
    let flags = ["run", "exec"].iter().chain(flags).chain(&["--"]);
    flags.map(|&flag| flag.to_owned()).chain(shell(script)).collect()
}

#[tokio::test]
async fn artifacts_are_annotated_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl, "x.csv", "a\n1\n");
    write(&ctl, "cells.obo", OBO);
    ctl.run(&["put", "x.csv"]).ok();
    ctl.run(&["put", "x.csv", "y.csv"]).ok();
    let created = ctl
        .run(&["feature", "create", "temperature", "float", "--unit", "°C"])
        .ok();
    assert_eq!(created, "temperature  float  °C\n");
    ctl.run(&["feature", "create", "temperature", "int"]).failed(4);
    ctl.run(&["feature", "create", "scientist", "cat[ULabel]"]).ok();
    ctl.run(&["feature", "create", "cell", "cat[CellType]"]).failed(3);
    ctl.run(&["label", "create-registry", "CellType"]).ok();
    ctl.run(&["feature", "create", "cell", "cat[CellType]"]).ok();
    let checked = ctl.run(&["label", "import", "CellType", "cells.obo", "--check"]).ok();
    assert_eq!(checked, "2 created, 0 updated, 0 unchanged, 0 skipped\n");
    assert_eq!(ctl.run(&["label", "ls", "-r", "CellType"]).ok(), "");
    ctl.run(&["label", "import", "CellType", "cells.obo"]).ok();
    let below = ctl.run(&["label", "ls", "--below", "CellType:cell"]).ok();
    assert_eq!(below, "T cell  CL:2  below cell\n");
    let resolved = ctl.run(&["label", "resolve", "-r", "CellType", "CL:2", "B cell"]).ok();
    assert_eq!(resolved, "CL:2  CellType:T cell\nB cell  unknown\n");

    let unknown = ctl.run(&["annotate", "x.csv", "-f", "temprature=27.6"]).failed(2);
    assert!(unknown.contains("temprature"), "{unknown}");
    let said = ctl.run(&[
        "annotate",
        "x.csv",
        "-f",
        "temperature=27.6",
        "-f",
        "cell=T cell",
        "-f",
        "scientist=Edgar",
        "-f",
        "scientist=Barbara",
        "-l",
        "published",
        "--register-missing",
    ]);
    let said = said.ok();
    assert!(said.ends_with("5 added, 0 removed\n"), "{said}");
    assert!(said.contains("registered label"), "{said}");
    let described = ctl.run(&["describe", "x.csv"]).ok();
    for line in [
        "feature temperature = 27.6  (float)",
        "feature scientist = Barbara, Edgar  (cat[ULabel])",
        "feature cell = CellType:T cell  (cat[CellType])",
        "label published",
        "versions: 1",
    ] {
        assert!(
            described.lines().any(|found| found == line),
            "{line} is not in\n{described}"
        );
    }
    ctl.run(&["annotate", "y.csv", "--from", "x.csv"]).ok();
    ctl.run(&["annotate", "y.csv", "-f", "temperature=3", "--set"]).ok();
    ctl.run(&["annotate", "y.csv", "-f", "scientist=Edgar", "--remove"])
        .ok();
    let found = ctl
        .run(&["find", "features.temperature < 20 AND features.scientist = 'Barbara'"])
        .ok();
    assert!(found.ends_with("  y.csv@@1\n") && found.lines().count() == 1, "{found}");
    let message = &ctl.run(&["--json", "describe", "y.csv"]).messages()[0];
    assert_eq!(message["annotations"]["features"][2]["values"][0]["floatValue"], 3.0);

    ctl.run(&["feature", "rm", "temperature"]).failed(4);
    ctl.run(&["annotate", "x.csv", "y.csv", "--clear"]).ok();
    assert_eq!(ctl.run(&["feature", "rm", "temperature"]).ok(), "deleted temperature\n");
    assert_eq!(ctl.run(&["feature", "ls", "sc"]).ok(), "scientist  cat[ULabel]\n");
    ctl.run(&["param", "create", "lr", "float"]).ok();
    assert_eq!(ctl.run(&["param", "ls"]).ok(), "lr  float\n");
    ctl.run(&["annotate", "x.csv", "-p", "lr=0.1"]).failed(4);
    for wrong in [
        ["annotate", "x.csv"].as_slice(),
        &["annotate", "x.csv", "-f", "scientist"],
        &["annotate", "x.csv", "-f", "n=123456789012345678901"],
        &["label", "import", "CellType", "cells.txt"],
    ] {
        ctl.run(wrong).failed(2);
    }
    server.assert_clean();
}

#[tokio::test]
async fn a_command_that_is_executed_is_a_run() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl, "raw.csv", "a\n1\n");
    write(&ctl, "clean.py", "print()");
    ctl.run(&["put", "raw.csv"]).ok();
    let made = ctl
        .run(&["transform", "create", "clean.py", "--source", "clean.py"])
        .ok();
    assert!(
        made.starts_with("created ") && made.ends_with("  clean.py@@1\n"),
        "{made}"
    );
    let again = ctl
        .run(&["transform", "create", "clean.py", "--source", "clean.py"])
        .ok();
    assert_eq!(again, made.replace("created", "existing"));
    assert_eq!(
        ctl.run(&["transform", "show", "clean.py@@1", "--source"]).ok(),
        "print()\n"
    );

    let script = "artifactctl cat raw.csv > local.csv && artifactctl put local.csv clean.csv -q && exit 0";
    let flags = ["--of", "clean.py", "--param", "lr=0.1", "--param", "mode=fast"];
    let ran = ctl.run(&exec(&flags, script)).ok();
    assert!(
        ran.starts_with("created ") && ran.ends_with("  clean.csv@@1\n"),
        "{ran}"
    );
    let runs = ctl.run(&["--json", "run", "ls", "--of", "clean.py"]).messages();
    assert_eq!(runs.len(), 1);
    assert_eq!(
        (&runs[0]["status"], &runs[0]["exitCode"]),
        (&"RUN_STATUS_COMPLETED".into(), &0.into())
    );
    let uid = runs[0]["uid"].as_str().unwrap();
    let shown = ctl.run(&["run", "show", uid]).ok();
    for line in ["param lr = 0.1", "param mode = fast", "exit code 0"] {
        assert!(shown.lines().any(|found| found == line), "{line} is not in\n{shown}");
    }
    let lineage = ctl.run(&["lineage", "clean.csv"]).ok();
    let lines: Vec<&str> = lineage.lines().collect();
    assert!(lines[0].ends_with("  clean.csv@@1"), "{lineage}");
    assert!(
        lines[1].starts_with(&format!("  < run {uid}  clean.py@@1 (sh -c ")),
        "{lineage}"
    );
    assert!(
        lines[2].starts_with("    < ") && lines[2].ends_with("  raw.csv@@1"),
        "{lineage}"
    );
    assert_eq!(lines.len(), 3);
    assert!(ctl.run(&["lineage", "clean.csv", "--dot"]).ok().starts_with("digraph "));
    assert!(
        ctl.run(&["lineage", "raw.csv", "--down", "--mermaid"])
            .ok()
            .contains("flowchart")
    );
    let impact = ctl.run(&["lineage", "raw.csv", "--impact"]).ok();
    assert!(
        impact.contains("  1 runs have used it\n  1 artifacts were made by these\n"),
        "{impact}"
    );
    let described = ctl.run(&["describe", "clean.csv"]).ok();
    assert!(described.contains(&format!("made by run {uid}")), "{described}");

    // A run within a run knows who began it.
    let inner = "artifactctl run exec --name inner -- true && artifactctl run begin --name later --scheduled";
    ctl.run(&exec(&["--name", "outer"], inner)).ok();
    let runs = ctl.run(&["--json", "run", "ls"]).messages();
    let named = |name: &str| runs.iter().find(|run| run["name"] == name).unwrap().clone();
    for name in ["inner", "later"] {
        assert_eq!(named(name)["initiatedByUid"], named("outer")["uid"], "{name}");
    }
    let later = named("later")["uid"].as_str().unwrap().to_owned();
    ctl.run(&["run", "start", &later]).ok();
    assert_eq!(ctl.run(&["run", "input", &later, "raw.csv"]).ok(), "1 new inputs\n");
    ctl.run(&["run", "finish", &later, "--as", "aborted"]).ok();
    ctl.run(&["run", "finish", &later]).failed(4);
    ctl.run(&["run", "rm", &later]).failed(4);
    ctl.run(&["transform", "rm", "clean.py"]).failed(4);
    ctl.run(&["transform", "create", "unused.py"]).ok();
    let deleted = ctl.run(&["transform", "rm", "unused.py"]).ok();
    assert!(deleted.ends_with("  unused.py@@1\n"), "{deleted}");
    server.assert_clean();
}

/// How the only run of this name ended: its status, its exit code and its error.
fn ended(ctl: &Ctl, name: &str) -> (String, i64, String) {
    let runs = ctl.run(&["--json", "run", "ls"]).messages();
    let mut runs = runs.iter().filter(|run| run["name"] == name);
    let run = runs.next().expect("it was begun");
    assert!(runs.next().is_none(), "{name} was begun twice");
    (
        run["status"].as_str().unwrap().to_owned(),
        run["exitCode"].as_i64().unwrap_or(-1),
        run["error"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn a_run_ends_as_its_command_does() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    let failed = "RUN_STATUS_FAILED".to_owned();
    ctl.run(&exec(&["--name", "three"], "exit 3")).failed(3);
    assert_eq!(ended(&ctl, "three"), (failed.clone(), 3, String::new()));
    ctl.run(&exec(&["--name", "killed"], "kill -9 $$")).failed(137);
    assert_eq!(
        ended(&ctl, "killed"),
        (failed.clone(), -1, "ended by signal 9".to_owned())
    );
    let missing = ctl
        .run(&["run", "exec", "--name", "missing", "--", "./nowhere"])
        .failed(127);
    assert!(missing.contains("./nowhere"), "{missing}");
    assert_eq!(ended(&ctl, "missing").1, 127);
    write(&ctl, "data", "no program");
    ctl.run(&["run", "exec", "--name", "data", "--", "./data"]).failed(126);
    ctl.run(&["run", "exec", "--of", "nothing", "--", "true"]).failed(3);
    ctl.run(&["run", "exec"]).failed(2);

    // What nobody can finish is said, and is no success.
    let finished = "artifactctl run finish $ARTIFACTD_RUN";
    let twice = ctl.run(&exec(&["--name", "twice"], finished)).failed(4);
    assert!(twice.contains("could not be finished"), "{twice}");
    server.assert_clean();
}

#[tokio::test]
async fn signals_reach_the_command_and_abort_the_run() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    let waits = "sleep 600 & echo ready; wait $!; kill $!";
    let trapped = format!("trap 'kill $!; exit 7' TERM; {waits}");
    for (name, signal, script, code, exit_code, error) in [
        ("trapped", Signal::TERM, trapped.as_str(), 7, 7, ""),
        (
            "ended",
            Signal::HUP,
            "echo ready; exec sleep 600",
            129,
            -1,
            "ended by signal 1",
        ),
        (
            "typed",
            Signal::INT,
            "echo ready; exec sleep 600",
            130,
            -1,
            "ended by signal 2",
        ),
    ] {
        let mut running: Running = ctl.start(&exec(&["--name", name], script));
        let mut said = [0; 6];
        let mut stdout = running.take_stdout();
        stdout.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"ready\n");
        running.signal(signal);
        running.wait().failed(code);
        let aborted = ("RUN_STATUS_ABORTED".to_owned(), exit_code, error.to_owned());
        assert_eq!(ended(&ctl, name), aborted, "{name}");
    }
    server.assert_clean();
}

#[tokio::test]
async fn collections_storages_and_events_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    for (name, content) in [("a.txt", "first"), ("b.txt", "second"), ("c.txt", "third")] {
        write(&ctl, name, content);
        ctl.run(&["put", name, &format!("texts/{name}")]).ok();
    }
    let made = ctl
        .run(&["collection", "create", "texts", "texts/b.txt", "texts/a.txt"])
        .ok();
    assert!(made.starts_with("created ") && made.ends_with("  texts@@1\n"), "{made}");
    ctl.run(&["collection", "append", "texts", "texts/c.txt", "--follow-latest"])
        .ok();
    write(&ctl, "c.txt", "third, again");
    ctl.run(&["put", "c.txt", "texts/c.txt"]).ok();
    let members = ctl.run(&["collection", "members", "texts"]).ok();
    let names: Vec<&str> = members.lines().map(|line| line.split("  ").last().unwrap()).collect();
    assert_eq!(names, ["texts/b.txt@@1", "texts/a.txt@@1", "(latest)"]);
    assert_eq!(ctl.run(&["collection", "members", "texts@@1"]).ok().lines().count(), 2);
    let got = ctl.run(&["collection", "get", "texts", "down"]).ok();
    assert!(got.starts_with("got down/texts/b.txt  6 B\n"), "{got}");
    assert_eq!(
        fs::read_to_string(ctl.home().join("down/texts/c.txt")).unwrap(),
        "third, again"
    );
    let again = ctl.run(&["collection", "get", "texts", "down"]).ok();
    assert!(again.lines().all(|line| line.starts_with("unchanged ")), "{again}");
    fs::write(ctl.home().join("down/texts/a.txt"), "mine").unwrap();
    ctl.run(&["collection", "get", "texts", "down"]).failed(4);
    ctl.run(&["collection", "get", "texts", "down", "--overwrite"]).ok();
    assert_eq!(
        fs::read_to_string(ctl.home().join("down/texts/a.txt")).unwrap(),
        "first"
    );
    assert_eq!(ctl.run(&["collection", "ls", "--all-versions"]).ok().lines().count(), 2);
    ctl.run(&["collection", "rm", "texts@@1"]).ok();
    ctl.run(&["collection", "show", "texts@@1"]).failed(3);

    let listed = ctl.run(&["storage", "ls"]).ok();
    assert!(listed.contains("managed, default"), "{listed}");
    ctl.run(&["storage", "register", "far", "http://169.254.169.254/"])
        .failed(5);
    ctl.run(&["storage", "add", "/nowhere/x.csv"]).failed(4);
    ctl.run(&["storage", "show", "far"]).failed(3);

    let seen = ctl
        .run(&["--json", "watch", "--from-beginning", "--kind", "saved", "-n", "3"])
        .messages();
    let positions: Vec<i64> = seen
        .iter()
        .map(|event| event["position"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(positions.is_sorted(), "{positions:?}");
    let token = seen[2]["resumeToken"].as_str().unwrap();
    let next = ctl
        .run(&["watch", "--resume", token, "--kind", "saved", "-n", "1"])
        .ok();
    assert!(next.contains("  saved  "), "{next}");
    server.assert_clean();
}

#[tokio::test]
async fn tables_are_held_against_schemas_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    ctl.run(&["schemas", "create", "people", "age"]).failed(3);
    for (name, dtype) in [("age", "int"), ("weight", "float")] {
        ctl.run(&["feature", "create", name, dtype]).ok();
    }
    ctl.run(&["schemas", "create", "people"]).failed(2);
    let create = ["schemas", "create", "people", "age", "--optional", "weight", "--closed"];
    assert_eq!(ctl.run(&create).ok(), "people  2 columns  closed\n");
    ctl.run(&create).failed(4);
    write(&ctl, "good.csv", "age\n31\n");
    write(&ctl, "bad.csv", "weight,name\nheavy,x\n");
    ctl.run(&["put", "good.csv", "--schema", "people"]).ok();
    let refused = ctl.run(&["put", "bad.csv", "--schema", "people"]).failed(2);
    assert!(refused.contains("columns.age"), "{refused}");
    ctl.run(&["info", "bad.csv"]).failed(3);
    ctl.run(&["put", "bad.csv"]).ok();
    assert_eq!(ctl.run(&["schemas", "check", "people", "good.csv"]).ok(), "");
    let faults = ctl.run(&["schemas", "check", "people", "bad.csv"]);
    assert_eq!(faults.code, 11, "{faults:?}");
    for column in ["age", "weight", "name"] {
        assert!(faults.stdout.contains(&format!("columns  {column}  ")), "{faults:?}");
    }
    let shown = ctl.run(&["schemas", "show", "people"]).ok();
    assert!(
        shown.ends_with("columns  age  int\ncolumns  weight  float  optional\n"),
        "{shown}"
    );
    assert_eq!(ctl.run(&["schemas", "ls", "p"]).ok().lines().count(), 1);
    assert_eq!(ctl.run(&["schemas", "ls", "x"]).ok(), "");
    ctl.run(&["schemas", "rm", "people"]).failed(4);
    ctl.run(&["rm", "good.csv", "--permanent", "--force", "--yes"]).ok();
    assert_eq!(ctl.run(&["schemas", "rm", "people"]).ok(), "deleted people\n");
    ctl.run(&["schemas", "show", "people"]).failed(3);
    server.assert_clean();
}

#[tokio::test]
async fn work_is_reserved_and_done_once_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    for (name, content) in [("input.txt", "input"), ("output.txt", "output"), ("t.py", "print(1)")] {
        write(&ctl, name, content);
    }
    ctl.run(&["put", "input.txt"]).ok();
    ctl.run(&["run", "reserve", "t.py", "--input", "input.txt"]).failed(3);
    ctl.run(&["transform", "create", "t.py"]).ok();
    let reserve = ["run", "reserve", "t.py", "-i", "input.txt", "-p", "seed=1"];
    let leased = ctl.run(&reserve).ok();
    let run = leased
        .strip_prefix("leased ")
        .and_then(|rest| rest.split("  until ").next());
    let run = run.unwrap_or_else(|| panic!("{leased}"));
    let held = ctl.run(&reserve);
    assert_eq!(held.code, 4, "{held:?}");
    assert!(held.stdout.starts_with(&format!("held {run}  until ")), "{held:?}");
    let keep: Vec<&str> = reserve.into_iter().chain(["--keep", run, "--lease", "3600"]).collect();
    assert!(ctl.run(&keep).ok().starts_with(&format!("leased {run} ")));
    let other = ["run", "reserve", "t.py", "-i", "input.txt", "-p", "seed=2"];
    assert!(!ctl.run(&other).ok().contains(run), "other work is another run");
    ctl.run_with(&[("ARTIFACTD_RUN", run)], &["put", "output.txt"]).ok();
    ctl.run(&["run", "finish", run]).ok();
    let done = ctl.run(&reserve).ok();
    assert!(
        done.starts_with(&format!("done by {run}\n")) && done.contains("output.txt"),
        "{done}"
    );
    server.assert_clean();
}
