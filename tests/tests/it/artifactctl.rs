//! The command line against a real server: what each command does and prints.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::Stdio,
};

use artifactd_tests::{TestServer, calls::by_key, command::Ctl, content::digest, required_env};
use serde_json::Value;

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn the_main_job_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl.home().join("small.csv"), b"a,b\n1,2\n");
    let first = ctl
        .run(&["put", "small.csv", "tables/small.csv", "-d", "two numbers"])
        .ok();
    assert!(
        first.starts_with("created ") && first.ends_with("  tables/small.csv@@1\n"),
        "{first}"
    );
    write(&ctl.home().join("small.csv"), b"a,b\n3,4\n");
    let second = ctl.run(&["put", "small.csv", "tables/small.csv"]).ok();
    assert!(second.starts_with("new version "), "{second}");
    assert!(
        ctl.run(&["put", "small.csv", "tables/small.csv"])
            .ok()
            .starts_with("existing ")
    );

    assert_eq!(ctl.run(&["cat", "tables/small.csv"]).ok(), "a,b\n3,4\n");
    assert_eq!(ctl.run(&["cat", "tables/small.csv@@1"]).ok(), "a,b\n1,2\n");
    assert_eq!(
        ctl.run(&["cat", "tables/small.csv", "--offset", "-4", "--length", "1"])
            .ok(),
        "3"
    );
    let got = ctl.run(&["get", "tables/small.csv", "down/there/"]).ok();
    assert!(got.starts_with("got down/there/small.csv  8 B  "), "{got}");
    assert_eq!(
        fs::read(ctl.home().join("down/there/small.csv")).unwrap(),
        b"a,b\n3,4\n"
    );
    assert!(
        ctl.run(&["get", "tables/small.csv", "down/there"])
            .ok()
            .starts_with("unchanged ")
    );

    let versions = ctl.run(&["versions", "tables/small.csv"]).ok();
    let names: Vec<&str> = versions.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(names, ["tables/small.csv@@2", "tables/small.csv@@1"]);
    let info = ctl.run(&["info", "tables/small.csv"]).ok();
    for line in [
        "key           tables/small.csv",
        "description   two numbers",
        "size          8 B (8 bytes)",
        &format!("sha256        {}", digest(b"a,b\n3,4\n")),
    ] {
        assert!(info.lines().any(|found| found == line), "{line} is not in\n{info}");
    }
    let diff = ctl.run(&["diff", "tables/small.csv@@1", "tables/small.csv"]).ok();
    assert_eq!(diff, "content differs: 8 B, 8 B\n");

    let uid = &second[12..32];
    let trashed = ctl.run(&["rm", "tables/small.csv"]).ok();
    assert_eq!(trashed.lines().count(), 2, "{trashed}");
    assert!(trashed.contains(" [trash]\n"));
    assert_eq!(ctl.run(&["ls"]).ok(), "");
    assert_eq!(ctl.run(&["ls", "--trash"]).ok().lines().count(), 2);
    assert_eq!(ctl.run(&["restore", &uid[..16]]).ok().lines().count(), 2);
    assert_eq!(ctl.run(&["ls", "-n", "1"]).ok().lines().count(), 1);
    assert_eq!(ctl.run(&["ls"]).ok().lines().count(), 2);

    write(&ctl.home().join("other.csv"), b"other\n");
    let replaced = ctl.run(&["replace", uid, "other.csv", "--yes"]).ok();
    assert!(replaced.starts_with(&format!("replaced {uid}  ")), "{replaced}");
    assert_eq!(ctl.run(&["cat", uid]).ok(), "other\n");
    let destroyed = ctl.run(&["rm", "--permanent", "--force", "-y", uid]).ok();
    assert_eq!(destroyed, format!("destroyed {uid}\n"));
    assert_eq!(ctl.run(&["cat", "tables/small.csv"]).ok(), "a,b\n1,2\n");
    server.assert_clean();
}

#[tokio::test]
async fn folders_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl.home().join("f/a/b.txt"), b"one");
    write(&ctl.home().join("f/c.txt"), b"two");
    std::os::unix::fs::symlink("/etc/hostname", ctl.home().join("f/link")).unwrap();
    let put = ctl.run(&["put", "f"]);
    assert!(put.stderr.contains("left out f/link: no regular file"), "{put:?}");
    assert!(put.ok().ends_with("  f/@@1\n"));
    fs::remove_file(ctl.home().join("f/link")).unwrap();
    let members = ctl.run(&["ls", "--members", "f"]).ok();
    assert_eq!(members, "       3 B  a/b.txt\n       3 B  c.txt\n");
    assert_eq!(
        ctl.run(&["ls", "-m", "f", "--glob", "**/b*"]).ok(),
        "       3 B  a/b.txt\n"
    );
    assert_eq!(ctl.run(&["cat", "f", "--member", "a/b.txt"]).ok(), "one");
    assert!(
        ctl.run(&["get", "f", "--member", "a/b.txt"])
            .ok()
            .starts_with("got b.txt  ")
    );

    fs::rename(ctl.home().join("f/c.txt"), ctl.home().join("f/d.txt")).unwrap();
    write(&ctl.home().join("f/a/b.txt"), b"three");
    write(&ctl.home().join("f/e.txt"), b"four");
    ctl.run(&["put", "f/", "f"]).ok();
    let diff = ctl.run(&["diff", "f@@1", "f", "--exit-code"]);
    assert_eq!(diff.code, 11);
    assert_eq!(diff.stdout, "M a/b.txt (3 B, 5 B)\nR c.txt -> d.txt\nA e.txt (4 B)\n");
    let same = ctl.run(&["diff", "f", "f", "--exit-code"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, ""));

    ctl.run(&["get", "f@@1", "down"]).ok();
    assert_eq!(fs::read(ctl.home().join("down/c.txt")).unwrap(), b"two");
    // Into a folder that is there.
    assert!(ctl.run(&["get", "f", "down"]).ok().starts_with("got down/f  "));
    let each = ctl.run(&["put", "--each", "f", "single"]).ok();
    assert_eq!(each.lines().count(), 3, "{each}");
    assert_eq!(ctl.run(&["cat", "single/a/b.txt"]).ok(), "three");
}

#[tokio::test]
async fn finding_searching_and_aliases_from_the_command_line() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    for (name, content) in [
        ("cells.csv", "one"),
        ("cells.csv", "two, longer"),
        ("my-cells.txt", "3"),
    ] {
        write(&ctl.home().join(name), content.as_bytes());
        ctl.run(&["put", name]).ok();
    }
    let names = |arguments: &[&str]| -> Vec<String> {
        let found = ctl.run(arguments).ok();
        let names = found.lines().map(|line| line.rsplit("  ").next().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(names(&["find", "suffix = .csv"]), ["cells.csv@@2", "cells.csv@@1"]);
    assert_eq!(
        names(&["find", "-o", "size desc", "-n", "2"]),
        ["cells.csv@@2", "cells.csv@@1"]
    );
    assert_eq!(ctl.run(&["find", "key = 'cells*'", "--count"]).ok(), "2\n");
    assert_eq!(ctl.run(&["--json", "find", "--count"]).ok(), "{\"count\":\"3\"}\n");
    assert_eq!(
        names(&["search", "CELLS"]),
        ["cells.csv@@2", "cells.csv@@1", "my-cells.txt@@1"]
    );
    assert_eq!(
        names(&["search", "cells", "txt", "--filter", "size < 2"]),
        ["my-cells.txt@@1"]
    );
    let hit: Value = serde_json::from_str(&ctl.run(&["--json", "search", "cells.csv", "-n", "1"]).ok()).unwrap();
    assert_eq!(hit["rank"], "SEARCH_RANK_EXACT");
    assert_eq!(hit["artifact"]["key"], "cells.csv");

    let set = ctl.run(&["alias", "set", "cells.csv@@1", "prod", "--if-absent"]).ok();
    let one = set.split("  ").nth(1).unwrap().to_owned();
    assert_eq!(set, format!("prod  {one}  @@1\n"));
    assert_eq!(ctl.run(&["cat", "cells.csv@@prod"]).ok(), "one");
    let moved = ctl.run(&["alias", "set", "cells.csv", "prod", "--if-at", &one]).ok();
    let two = moved.split("  ").nth(1).unwrap().to_owned();
    assert_eq!(ctl.run(&["cat", "cells.csv@@prod"]).ok(), "two, longer");
    assert_eq!(
        ctl.run(&["alias", "ls", "cells.csv"]).ok(),
        format!("prod  {two}  @@2\n")
    );
    assert_eq!(
        ctl.run(&["alias", "rm", "cells.csv", "prod"]).ok(),
        format!("removed prod  {two}\n")
    );
    let log = ctl.run(&["alias", "log", "cells.csv", "prod"]).ok();
    let moves: Vec<&str> = log.lines().map(|line| line.split("  ").nth(2).unwrap()).collect();
    let expected = [format!("{two} -> -"), format!("{one} -> {two}"), format!("- -> {one}")];
    assert_eq!(moves, expected);
    server.assert_clean();
}

#[tokio::test]
async fn pipes_in_and_out() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    for (size, key) in [(0, "none"), (9, "small"), (1 << 20, "edge"), ((17 << 20) + 5, "large")] {
        let content = artifactd_tests::content::content(size as u64 + 1, size);
        let put = ctl.run_reading(&content, &["put", "-", key]).ok();
        assert!(put.starts_with("created "), "{put}");
        let output = ctl.command(&["cat", key]).output().unwrap();
        assert!(output.stdout == content, "{key}");
    }
    assert_eq!(ctl.run(&["status"]).ok().lines().count(), 3, "no upload is left");
    assert!(ctl.run_reading(b"x", &["put", "-"]).failed(2).contains("give a key"));
    let described = ctl.run_reading(b"only described", &["put", "-", "-d", "words"]).ok();
    assert!(described.ends_with("  (words)@@1\n"), "{described}");
}

#[tokio::test]
async fn json_is_the_form_of_the_protos() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl.home().join("f/a.txt"), b"one");
    let json = |arguments: &[&str]| ctl.run(&[&["--json"], arguments].concat());
    let printed: RefCell<Vec<(&str, Value)>> = RefCell::default();
    let print = |name, arguments: &[&str]| {
        let messages = json(arguments).messages();
        assert!(!messages.is_empty(), "{arguments:?}");
        let messages = messages.into_iter().map(|message| (name, message));
        printed.borrow_mut().extend(messages);
    };
    print("SaveArtifactResponse", &["put", "f", "-d", "words ä\u{7}"]);
    write(&ctl.home().join("f/a.txt"), b"two");
    write(&ctl.home().join("f/b.txt"), b"");
    print("SaveArtifactResponse", &["put", "f"]);
    print("Artifact", &["info", "f"]);
    print("Artifact", &["versions", "f"]);
    print("Artifact", &["ls"]);
    print("Artifact", &["find", "is_latest = true"]);
    print("CountArtifactsResponse", &["find", "--count"]);
    print("SearchHit", &["search", "words"]);
    print("Alias", &["alias", "set", "f@@1", "prod"]);
    print("Alias", &["alias", "ls", "f"]);
    print("Alias", &["alias", "rm", "f", "prod"]);
    print("AliasChange", &["alias", "log", "f", "prod"]);
    print("Member", &["ls", "-m", "f"]);
    print("Artifact", &["get", "f", "down"]);
    print("ServerInfo", &["status"]);
    print("Artifact", &["rm", "f"]);
    let stem = printed.borrow()[0].1["artifact"]["stem"].as_str().unwrap().to_owned();
    print("Artifact", &["restore", &stem]);
    print("SaveArtifactResponse", &["put", "f/a.txt"]);
    print("ReplaceArtifactResponse", &["replace", "a.txt", "f/b.txt", "-y"]);
    let mut printed = printed.into_inner();
    let diff = json(&["diff", "f@@1", "f"]).messages();
    assert_eq!(diff.len(), 3);
    printed.push(("DiffHead", diff[0].clone()));
    printed.extend(
        diff[1..]
            .iter()
            .map(|difference| ("FolderDifference", difference.clone())),
    );

    // Another implementation reads every one and writes the same.
    let script = r#"
import importlib, json, pkgutil, sys
from google.protobuf import descriptor_pool, json_format, message_factory
for name in ["admin_service", "artifact", "artifact_service", "content_service", "upload_service"]:
    importlib.import_module(f"artifactd.v1.{name}_pb2")
pool = descriptor_pool.Default()
for line in sys.stdin:
    name, text = json.loads(line)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("artifactd.v1." + name))()
    json_format.Parse(json.dumps(text), message)
    print(json_format.MessageToJson(message, indent=None))
"#;
    let mut python = std::process::Command::new(required_env("ARTIFACTD_TEST_PYTHON"))
        .args(["-c", script])
        .env("PYTHONPATH", required_env("ARTIFACTD_TEST_STUBS"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    for message in &printed {
        use std::io::Write;
        writeln!(stdin, "{}", serde_json::to_string(message).unwrap()).unwrap();
    }
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let read: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let written: Vec<&Value> = printed.iter().map(|(_, message)| message).collect();
    assert_eq!(read.iter().collect::<Vec<_>>(), written);

    // And it says all that the server says.
    let said = server.calls().get(by_key("f")).await.unwrap();
    let shown = json(&["info", "f"]).messages().remove(0);
    assert_eq!(shown["etag"], said.etag.as_str());
    assert_eq!(shown["hash"], said.hash.as_str());
    assert_eq!(shown["description"], "words ä\u{7}");
    assert_eq!(shown["size"], said.size.to_string());
    assert_eq!(shown["nObjects"], "2");
}

#[tokio::test]
async fn odd_names_are_kept_or_refused_and_never_mistaken() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    for name in [
        "-dash",
        "two words",
        "ä/é.csv",
        "e\u{301}",
        "A",
        "a",
        "a.",
        "%2e%2e",
        "100%",
        "'\"$(x)`;",
    ] {
        write(&ctl.home().join(name), name.as_bytes());
        ctl.run(&["put", "--", name, name]).ok();
        assert_eq!(ctl.run(&["cat", "--", name]).ok(), name);
    }
    assert_eq!(ctl.run(&["ls"]).ok().lines().count(), 10);
    let latin = OsStr::from_bytes(b"\xe4.txt");
    fs::write(ctl.home().join(latin), b"latin").unwrap();
    let refused = ctl.run(&[OsStr::new("put"), latin]).failed(2);
    assert!(
        refused.contains("not UTF-8") && refused.contains("give one"),
        "{refused}"
    );
    ctl.run(&[OsStr::new("put"), latin, OsStr::new("latin.txt")]).ok();
    assert_eq!(ctl.run(&["cat", "latin.txt"]).ok(), "latin");
    for key in ["../x", "/x", "a//b", "a\nb", "a\u{202e}b", "C:\\x", "a@@1", ""] {
        let refused = ctl.run(&["put", "a", key]).failed(2);
        assert!(
            !refused.contains('\u{202e}') && refused.lines().count() == 1,
            "{refused}"
        );
    }
    // A description that would clear a terminal is shown as what it is.
    ctl.run(&["put", "a", "evil", "-d", "x\u{1b}[2Jy"]).ok();
    let info = ctl.run(&["info", "evil"]).ok();
    assert!(info.contains("x\\u{1b}[2Jy"), "{info}");
}

#[tokio::test]
async fn settings_come_from_flags_then_the_environment_then_the_file() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    let file = ctl.home().join(".config/artifactd/artifactctl.toml");
    write(&file, b"endpoint = \"http://127.0.0.1:1\"\nspace = \"nowhere\"\n");
    // The environment names the server, the file the space.
    assert!(ctl.run(&["ls"]).failed(3).contains("nowhere"));
    assert_eq!(ctl.run(&["ls", "--space", "default"]).ok(), "");
    assert_eq!(ctl.run_with(&[("ARTIFACTD_SPACE", "default")], &["ls"]).ok(), "");
    assert!(
        ctl.run(&["ls", "--endpoint", "http://127.0.0.1:1"])
            .failed(6)
            .contains("127.0.0.1:1")
    );
    let other = ctl.home().join("other.toml");
    write(&other, format!("endpoint = \"{}\"\n", server.url()).as_bytes());
    let with_file = ["ls", "--config", "other.toml"];
    assert_eq!(ctl.run_with(&[("ARTIFACTD_ENDPOINT", "")], &with_file).ok(), "");

    write(&other, b"endpoin = \"x\"\n");
    assert!(ctl.run(&with_file).failed(2).contains("endpoin"));
    write(&other, b"token = \"hunter2\"\n");
    let readable = ctl.run(&with_file).failed(2);
    assert!(
        readable.contains("chmod 600") && !readable.contains("hunter2"),
        "{readable}"
    );
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ctl.run(&with_file).ok(), "");
    let elsewhere = ["ls", "--endpoint", "http://10.255.255.1:1"];
    let in_the_clear = ctl.run_with(&[("ARTIFACTD_TOKEN", "hunter2")], &elsewhere).failed(2);
    assert!(in_the_clear.contains("in the clear") && !in_the_clear.contains("hunter2"));
    assert!(
        ctl.run(&["ls", "--config", "missing.toml"])
            .failed(8)
            .contains("missing.toml")
    );
    assert!(!ctl.run(&["help"]).ok().contains("hunter2"));
}

#[tokio::test]
async fn every_shell_is_helped() {
    let ctl = Ctl::of("http://127.0.0.1:1");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ctl.run(&["completions", shell]).ok();
        assert!(script.contains("artifactctl") && script.contains("versions"), "{shell}");
    }
    let bash = ctl.run(&["completions", "bash"]).ok();
    let file = ctl.home().join("completions.bash");
    fs::write(&file, bash).unwrap();
    let checked = std::process::Command::new("bash")
        .arg("-n")
        .arg(&file)
        .status()
        .unwrap();
    assert!(checked.success());
}

#[tokio::test]
async fn the_readme_shows_every_command_and_exit_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(root.join("client/cli/README.md")).unwrap();
    let ctl = Ctl::of("http://127.0.0.1:1");
    let help = ctl.run(&["--help"]).ok();
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert!(
            readme.contains(&format!("| `{command}")),
            "{command} is not in the README"
        );
    }
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130, 141, 143] {
        assert!(
            readme.contains(&format!("\n| {code} | ")),
            "{code} is not in the README"
        );
    }
}
