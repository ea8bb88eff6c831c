//! The first steps in every language, as users copy them: stock clients made from our
//! protos, over a line that fails in each way that they are said to survive.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use artifactd_tests::{
    TestServer,
    calls::by_key,
    content::content,
    proxy::{Proxy, Trap},
    required_env,
};
use tokio::process::Command;

/// Bytes of a part unless somebody wishes others.
const PART: u64 = 8 << 20;
const SIZE: u64 = 5 * PART + 77;

/// Where the upload is cut.
const CUT: u64 = 3 * PART + PART / 2;

/// What may be sent again: a part that was not whole, and what was on its way when a call was refused.
const AGAIN: u64 = PART + (4 << 20);

const TIMEOUT: Duration = Duration::from_secs(60);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn service_config() -> PathBuf {
    repository().join("client/service_config.json")
}

fn python() -> Command {
    let mut python = Command::new(required_env("ARTIFACTD_TEST_PYTHON"));
    python.arg(repository().join("tests/polyglot/python/first_steps.py"));
    python.env("PYTHONPATH", required_env("ARTIFACTD_TEST_STUBS"));
    python
}

fn go() -> Command {
    let mut go = Command::new(required_env("ARTIFACTD_TEST_GO"));
    go.env("GRPC_GO_RETRY", "on");
    go
}

fn java() -> Command {
    let mut java = Command::new("java");
    java.args([
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &required_env("ARTIFACTD_TEST_JAVA"),
        "FirstSteps",
    ]);
    java
}

fn node(script: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(Path::new(&required_env("ARTIFACTD_TEST_NODE")).join(script));
    node
}

#[tokio::test]
async fn the_first_steps_in_python_survive_an_absence_and_two_cuts() {
    survive(python(), &[]).await;
}

#[tokio::test]
async fn the_first_steps_in_go_survive_an_absence_and_two_cuts() {
    survive(go(), &[]).await;
}

#[tokio::test]
async fn the_first_steps_in_java_survive_an_absence_and_two_cuts() {
    survive(java(), &[]).await;
}

#[tokio::test]
async fn the_first_steps_in_node_survive_an_absence_and_two_cuts() {
    survive(node("first_steps.mjs"), &[&repository().join("proto")]).await;
}

/// Runs the first steps while the server is away at first, the answer to a save is cut,
/// and then the upload.
async fn survive(mut program: Command, more: &[&Path]) {
    let mut server = TestServer::start().await;
    server.kill();
    let proxy = Proxy::start(server.address()).await;
    proxy.set_trap(Trap::Said(b"tour/small.csv"));
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = (folder.path().join("large.bin"), content(5, SIZE as usize));
    std::fs::write(&path, &bytes).unwrap();
    let through = proxy.through(&server.url()).replace("http://", "");
    program.arg(through).args([&path, &service_config()]).args(more);
    let running = tokio::spawn(output_of(program));

    until("it calls", || proxy.connections() > 0).await;
    server.start_again_in_place().await;
    until("it saves", || proxy.is_sprung()).await;
    proxy.set_trap(Trap::Sent(proxy.sent_bytes() + CUT));
    let out = succeeded(running.await.unwrap());

    assert!(proxy.is_sprung(), "the upload was not cut");
    let large = format!("listed   tour/large.bin, {SIZE} bytes");
    let expected = [
        "saved    tour/small.csv version 1 (CREATED)",
        "uploaded tour/large.bin version 1 (CREATED)",
        &large,
        "listed   tour/small.csv, 32 bytes",
        "fetched  tour/large.bin, sha256 as recorded",
        "refused  ARTIFACT_NOT_FOUND",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    assert!(std::fs::read(folder.path().join("large.bin.copy")).unwrap() == bytes);
    let sent = proxy.sent_bytes();
    assert!(sent <= SIZE + AGAIN, "{sent} bytes were sent of {SIZE}");
    let versions = server.calls().family(by_key("tour/small.csv")).await.unwrap();
    assert_eq!(versions.len(), 1, "the save that was repeated had the effect of two");
    server.assert_clean();
}

#[tokio::test]
async fn without_the_service_config_a_stock_client_gives_up() {
    let mut server = TestServer::start().await;
    server.kill();
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("file"), folder.path().join("config.json"));
    std::fs::write(&path, b"x").unwrap();
    std::fs::write(&config, "{}").unwrap();
    let mut program = python();
    program.arg(server.address().to_string()).args([&path, &config]);
    let Output { status, stderr, .. } = output_of(program).await;
    assert!(!status.success());
    let err = String::from_utf8_lossy(&stderr);
    assert!(err.contains("StatusCode.UNAVAILABLE"), "{err}");
}

#[tokio::test]
async fn a_page_lists_downloads_and_uploads_over_grpc_web() {
    let server = TestServer::setup()
        .env("ARTIFACTD_SERVER__ALLOWED_ORIGINS", "http://localhost:3000")
        .start()
        .await;
    let out = succeeded(page(&server).await);
    let size = PART + 77;
    let [listed, fetched] = [
        format!("listed   web/large.bin, {size} bytes"),
        format!("fetched  {size} bytes, sha256 as recorded"),
    ];
    let expected = [
        "uploaded web/large.bin version 1",
        &listed,
        &fetched,
        "refused  ARTIFACT_NOT_FOUND",
        "asked before: 6 calls",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    server.assert_clean();
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_not_allowed_gets_nothing() {
    let server = TestServer::setup()
        .env("ARTIFACTD_SERVER__ALLOWED_ORIGINS", "http://localhost:3001")
        .start()
        .await;
    let Output { status, stderr, .. } = page(&server).await;
    assert!(!status.success());
    let err = String::from_utf8_lossy(&stderr);
    assert!(err.contains("turns the origin http://localhost:3000 away"), "{err}");
}

/// What a page does that comes from another origin than the server.
async fn page(server: &TestServer) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.bin");
    std::fs::write(&path, content(6, (PART + 77) as usize)).unwrap();
    let mut program = node("browser.mjs");
    let stubs = Path::new(&required_env("ARTIFACTD_TEST_NODE")).join("stubs");
    program.arg(server.url()).args([path, stubs]);
    output_of(program).await
}

async fn output_of(mut program: Command) -> Output {
    let running = program.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(TIMEOUT, running).await;
    ended.expect("it ends in time").expect("run it")
}

fn succeeded(Output { status, stdout, stderr }: Output) -> String {
    let [out, err] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{out}\n{err}");
    out
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to it that {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
