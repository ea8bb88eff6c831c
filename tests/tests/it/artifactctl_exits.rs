//! The exit codes of the command line, each met.

use std::{fs, io::Read};

use artifactd_tests::{
    TestServer,
    command::Ctl,
    content::content,
    impostor::{Goods, Impostor, Reply, refused},
    server::free_port,
};
use rustix::process::Signal;

fn write(ctl: &Ctl, name: &str, content: &[u8]) {
    fs::write(ctl.home().join(name), content).unwrap();
}

#[tokio::test]
async fn what_is_wrong_on_this_side_is_2_or_8() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl, "x", b"x");
    let usages: [&[&str]; 15] = [
        &[],
        &["fly"],
        &["put"],
        &["ls", "--limit", "many"],
        &["info", "a@@"],
        &["put", "x", "../x"],
        &["put", "x", "--sha256", "12"],
        &["put", "x", "--revises", "nobody"],
        &["put", "--each", "x"],
        &["--endpoint", "nonsense", "ls"],
        &["find", "size > many"],
        &["find", "-o", "colour"],
        &["search", "*"],
        &["alias"],
        &["alias", "set", "x", "latest"],
    ];
    for arguments in usages {
        ctl.run(arguments).failed(2);
    }
    for arguments in [["put", "missing"].as_slice(), &["get", "x", "/dev/null/x"]] {
        ctl.run(&["put", "x"]).ok();
        ctl.run(arguments).failed(8);
    }
    ctl.run(&["replace", "x", "missing", "-y"]).failed(8);
}

#[tokio::test]
async fn what_is_not_there_is_3_and_what_is_in_the_way_is_4() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl, "x", b"x");
    let missing: [&[&str]; 10] = [
        &["info", "x"],
        &["cat", "x"],
        &["get", "x"],
        &["versions", "x"],
        &["rm", "x"],
        &["restore", "AAAABBBBCCCCDDDD"],
        &["replace", "x", "x", "-y"],
        &["put", "x", "--storage", "nowhere"],
        &["ls", "--space", "nowhere"],
        &["alias", "set", "x", "prod"],
    ];
    for arguments in missing {
        ctl.run(arguments).failed(3);
    }
    ctl.run(&["put", "x"]).ok();
    ctl.run(&["put", "x", "y"]).ok();
    ctl.run(&["cat", "x@@7"]).failed(3);
    ctl.run(&["alias", "rm", "x", "prod"]).failed(3);
    write(&ctl, "other", b"other");
    write(&ctl, "taken", b"mine");
    let uid = ctl.run(&["info", "x"]).ok()[..].lines().nth(1).unwrap()[14..].to_owned();
    let conflicts: [&[&str]; 9] = [
        &["get", "x", "taken"],
        &["put", "x", "y", "--if-content-exists", "fail"],
        &["put", "other", "x", "--version-label", "1x", "--revises", &uid[..16]],
        &["replace", "x", "other", "-y", "--etag", "stale"],
        &["rm", "--permanent", "-y", &uid],
        &["cat", "x", "--member", "a"],
        &["ls", "-m", "x"],
        &["alias", "set", "x", "1x"],
        &["alias", "set", "x", "prod", "--if-at", &uid],
    ];
    write(&ctl, "labelled", b"labelled");
    ctl.run(&["put", "labelled", "x", "--version-label", "1x"]).ok();
    for arguments in conflicts {
        ctl.run(arguments).failed(4);
    }
    assert_eq!(fs::read(ctl.home().join("taken")).unwrap(), b"mine");
    ctl.run(&["get", "x@@1", "taken", "--overwrite"]).ok();
    assert_eq!(fs::read(ctl.home().join("taken")).unwrap(), b"x");
    ctl.run(&["rm", &uid]).ok();
    ctl.run(&["cat", &uid]).failed(4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_5_and_who_is_away_is_6_and_the_rest_is_1() {
    let impostor = Impostor::start(|_| refused(7, "A_REASON_OF_TOMORROW")).await;
    Ctl::of(impostor.url()).run(&["ls"]).failed(5);
    let impostor = Impostor::start(|_| refused(16, "A_REASON_OF_TOMORROW")).await;
    Ctl::of(impostor.url()).run(&["info", "x"]).failed(5);
    let impostor = Impostor::start(|_| refused(13, "INTERNAL")).await;
    Ctl::of(impostor.url()).run(&["info", "x"]).failed(1);
    let impostor = Impostor::start(|_| Reply::raw(&b"\0\0\0\0\x01x"[..])).await;
    let told = Ctl::of(impostor.url()).run(&["info", "x"]);
    assert!(matches!(told.code, 1 | 6), "{told:?}");
    let away = Ctl::of(format!("http://127.0.0.1:{}", free_port()));
    let told = away.run(&["status"]).failed(6);
    assert!(told.starts_with("artifactctl: http://127.0.0.1:"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_content_is_7() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl, "x", &content(1, 700_000));
    ctl.run(&["put", "x", "--sha256", &"0".repeat(64)]).failed(7);
    ctl.run(&["put", "x"]).ok();
    server.overwrite_only_object(|stored| stored[300_000] ^= 1);
    ctl.run(&["cat", "x"]).failed(7);
    ctl.run(&["get", "x", "down"]).failed(7);
    assert!(!ctl.home().join("down").exists());
    // A server that sends other bytes than it should.
    let mut lying = Goods::file("x", content(1, 100_000));
    lying.artifact.hash = "0".repeat(64);
    let impostor = Impostor::start(move |asked| lying.answer(asked)).await;
    let deceived = Ctl::of(impostor.url());
    deceived.run(&["cat", "x"]).failed(7);
    deceived.run(&["get", "x"]).failed(7);
    assert_eq!(fs::read_dir(deceived.home()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_undone_and_nobody_confirmed_is_9() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    write(&ctl, "x", b"x");
    ctl.run(&["put", "x"]).ok();
    for arguments in [["rm", "--permanent", "--force", "x"].as_slice(), &["replace", "x", "x"]] {
        let refused = ctl.run(arguments).failed(9);
        assert!(refused.contains("--yes"), "{refused}");
        // A pipe is nobody.
        ctl.run_reading(b"y\n", arguments).failed(9);
    }
    assert_eq!(ctl.run(&["cat", "x"]).ok(), "x");
}

#[tokio::test]
async fn what_went_well_in_parts_is_10() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    fs::create_dir(ctl.home().join("f")).unwrap();
    for name in ["a", "b@@c", "d"] {
        write(&ctl, &format!("f/{name}"), name.as_bytes());
    }
    let partly = ctl.run(&["put", "--each", "f"]);
    assert_eq!((partly.code, partly.stdout.lines().count()), (10, 2), "{partly:?}");
    assert!(partly.stderr.contains("f/b@@c"), "{partly:?}");
}

#[tokio::test]
async fn a_reader_that_has_enough_is_141_and_hears_nothing_of_it() {
    let server = TestServer::start().await;
    server.client().await.save(content(1, 8 << 20), "x").await.unwrap();
    let ctl = Ctl::of(server.url());
    for arguments in [["cat", "x"].as_slice(), &["cat", "x", "--json"]] {
        let mut running = ctl.start(arguments);
        let mut stdout = running.take_stdout();
        stdout.read_exact(&mut [0; 10]).unwrap();
        drop(stdout);
        let ran = running.wait();
        assert_eq!((ran.code, ran.stderr.as_str()), (141, ""));
    }
    let mut running = ctl.start(&["completions", "zsh"]);
    drop(running.take_stdout());
    assert_eq!(running.wait().stderr, "");
}

#[tokio::test]
async fn a_signal_is_130_or_143() {
    // A server that never answers.
    let impostor = Impostor::start(|_| Reply::status(0).ending(artifactd_tests::impostor::End::Silence)).await;
    let ctl = Ctl::of(impostor.url());
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let running = ctl.start(&["info", "x"]);
        while impostor.take_asked().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        running.signal(signal);
        let ran = running.wait();
        assert_eq!((ran.code, ran.stderr.as_str()), (code, "artifactctl: stopped\n"));
    }
}
