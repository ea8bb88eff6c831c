//! The command line on a terminal: progress, and questions.

use std::fs;

use artifactd_tests::{TestServer, command::Ctl, content::content};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_are_shown_on_a_terminal_and_nowhere_else() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    fs::write(ctl.home().join("x.bin"), content(1, 40 * MIB)).unwrap();
    fs::create_dir(ctl.home().join("f")).unwrap();
    for number in 0..3 {
        fs::write(ctl.home().join(format!("f/{number}")), content(number, 2 * MIB)).unwrap();
    }
    let shown = |arguments: &[&str]| {
        let (code, seen) = ctl.start_on_terminal(arguments).wait();
        assert_eq!(code, 0, "{seen}");
        seen
    };
    for arguments in [["put", "x.bin"].as_slice(), &["get", "x.bin", "down.bin"]] {
        let seen = shown(arguments);
        for part in ["40.00 MiB/40.00 MiB", "MiB/s", " left"] {
            assert!(seen.contains(part), "{part} is not in {seen}");
        }
    }
    assert!(shown(&["put", "f"]).contains("6.00 MiB/6.00 MiB"));
    let folder = shown(&["get", "f", "g"]);
    assert!(folder.contains(", 3 of 3 files"), "{folder}");
    let quiet = shown(&["get", "x.bin", "quiet.bin", "--quiet"]);
    assert!(!quiet.contains("MiB/s"), "{quiet}");
    let piped = ctl.run(&["get", "x.bin", "piped.bin"]);
    assert_eq!(piped.stderr, "");
    piped.ok();
}

#[tokio::test]
async fn who_is_asked_must_say_yes() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    fs::write(ctl.home().join("x"), b"x").unwrap();
    fs::write(ctl.home().join("y"), b"y").unwrap();
    ctl.run(&["put", "x"]).ok();
    for answer in ["n\n", "\n", "maybe\n", "\u{4}"] {
        let mut asked = ctl.start_on_terminal(&["rm", "--permanent", "--force", "x"]);
        asked.types(answer);
        let (code, seen) = asked.wait();
        assert_eq!(code, 9, "{seen}");
        assert!(seen.contains("Destroy x for good? [y/N]"), "{seen}");
    }
    let mut asked = ctl.start_on_terminal(&["replace", "x", "y"]);
    asked.types("y\n");
    assert_eq!(asked.wait().0, 0);
    assert_eq!(ctl.run(&["cat", "x"]).ok(), "y");
    let mut asked = ctl.start_on_terminal(&["rm", "--permanent", "--force", "x"]);
    asked.types("yes\n");
    assert_eq!(asked.wait().0, 0);
    ctl.run(&["info", "x"]).failed(3);
    // Trash asks nobody.
    ctl.run(&["put", "x"]).ok();
    ctl.run(&["rm", "x"]).ok();
}
